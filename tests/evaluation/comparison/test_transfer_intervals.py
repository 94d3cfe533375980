"""How often the intervals of drops and of their spread hold the truth, on matrices drawn at random."""

from itertools import product

import numpy as np
import pytest
from helpers.comparing import simulated_people
from helpers.prediction_tables import letters, table_of
from scipy import stats

from gender_cls.evaluation.bootstrap import bootstrap_units, count_units
from gender_cls.evaluation.comparison.transfer_drops import Foreign, drop_of
from gender_cls.evaluation.comparison.transfer_rows import Answers
from gender_cls.evaluation.comparison.transfer_scores import Measured, measure
from gender_cls.evaluation.influence import moved_scores
from gender_cls.evaluation.metrics import decision_scores, macro_f1, probability_scores

QUALITIES = np.array([[1.2, 0.6, 0.2], [0.1, 1.2, 0.7], [0.5, 0.3, 1.2]])  # rows: trained on; columns: tested on
LUCK = 0.3  # of each network on each dataset
NOISE = np.sqrt(1 + 0.7**2 + 0.5 + LUCK**2)
MATRICES = 60


def matrix_of(rng: np.random.Generator, people: int, seeds: int) -> list[Foreign]:
    """The cells away from home; people of a column are easy or hard for all, and have up to four images."""
    drawn = [simulated_people(rng, people, 4) for _ in QUALITIES]
    common = [rng.normal(0, 1, people) for _ in QUALITIES]

    def tested(row: int, column: int) -> Measured:
        female, who = drawn[column]
        ease = QUALITIES[row, column] * NOISE + common[column][who] + rng.normal(0, 0.7, people)[who]
        tables = []
        for _ in range(seeds):
            right = ease + LUCK * rng.normal() + rng.normal(0, np.sqrt(0.5), len(who)) > 0
            names = [f"{column} {person}" for person in who]
            tables.append([table_of(letters(female), letters(female == right), names)])
        return measure(Answers(str(column), "home" if row == column else "elsewhere", tables, "/data"))

    homes = [tested(row, row) for row in range(3)]
    return [
        Foreign(str(row), homes[row], tested(row, column))
        for row, column in product(range(3), repeat=2)
        if row != column
    ]


def test_intervals_of_drops_hold_the_truth() -> None:
    rng, truth = np.random.default_rng(1), stats.norm.cdf(QUALITIES)
    elsewhere = ~np.eye(3, dtype=bool)
    drops = (np.diag(truth)[:, None] - truth)[elsewhere]
    expected = {"mean_drop": drops.mean(), "spread": drops.std(ddof=1), "mean_elsewhere": truth[elsewhere].mean()}
    found = [drop_of("net", matrix_of(rng, 24, 3)) for _ in range(MATRICES)]
    for name, true in expected.items():
        held = np.mean([one[name]["low"] <= true <= one[name]["high"] for one in found])
        assert 0.87 <= held <= 1, name  # 2.8 standard errors below 0.95; that of the spread is cautious
        if name != "spread":
            assert np.mean([one[name]["value"] for one in found]) == pytest.approx(true, abs=0.015)


def test_movements_are_derivatives_of_the_scores() -> None:
    rng = np.random.default_rng(0)
    female = rng.random(200) < 0.4
    p_female = np.round(1 / (1 + np.exp(-rng.normal(np.where(female, 1, -1)))), 1)  # with ties
    says_female = p_female >= 0.5
    step = 1e-6
    weights = np.ones((201, 200))
    weights[1:] += step * np.eye(200)
    scores = decision_scores(female, says_female, weights)
    scores |= {"macro_f1": macro_f1(scores), "auroc": probability_scores(female, p_female)(weights)["auroc"]}
    for name, moved in moved_scores(female, says_female, p_female).items():
        assert moved.score == pytest.approx(scores[name][0])
        assert moved.by_row == pytest.approx((scores[name][1:] - scores[name][0]) / step, abs=1e-6)
        assert moved.by_row.sum() == pytest.approx(0)


def test_intervals_agree_with_those_of_a_bootstrap_over_people() -> None:
    rng = np.random.default_rng(2)
    (cell, *_) = matrix_of(rng, 120, 1)
    table, units = cell.here.test.table, bootstrap_units(cell.here.test.table)
    female, p_female = (table["label"] == "FEMALE").to_numpy(), table["p_FEMALE"].to_numpy()
    weights = rng.standard_exponential((2000, count_units(units)))[:, units]
    scores = decision_scores(female, p_female >= 0.5, weights)
    scores |= {"macro_f1": macro_f1(scores), "auroc": probability_scores(female, p_female)(weights)["auroc"]}
    for name, score in cell.here.scores.items():
        assert np.sqrt((score.moved**2).sum()) == pytest.approx(scores[name].std(), rel=0.06)
