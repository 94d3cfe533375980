from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
import torch
from helpers.prediction_tables import table_of
from sklearn import metrics as sklearn_metrics
from torchmetrics.classification import BinaryCalibrationError

from gender_cls.config.data import CLASSES
from gender_cls.evaluation.bootstrap import Booleans, Numbers
from gender_cls.evaluation.estimate import undefined
from gender_cls.evaluation.metrics import (
    by_identity,
    calibration_scores,
    decision_scores,
    probability_scores,
    reliability_bins,
    score_rows,
    score_shares,
    score_split,
)
from gender_cls.evaluation.schema import SCORES


def all_scores(female: Booleans, p_female: Numbers, weights: Numbers) -> dict[str, Numbers]:
    return {**decision_scores(female, p_female >= 0.5, weights), **probability_scores(female, p_female)(weights)}


def values(table: pd.DataFrame) -> dict[str, float | None]:
    return {name: found["value"] for name, found in score_rows(table, 20)["scores"].items()}


SIX = table_of("FFFFMM", [0.9, 0.8, 0.7, 0.2, 0.6, 0.1], ["a", "a", "b", "", "c", "c"])
"""4 FEMALE (3 right), 2 MALE (1 right)."""


def test_bins_hold_their_lower_edge_and_the_last_one_both() -> None:
    edges = np.linspace(0, 1, 16)
    assert reliability_bins(edges).tolist() == [*range(15), 14]
    assert reliability_bins(np.nextafter(edges[1:], 0)).tolist() == list(range(15))


Reference = Callable[[Booleans, Numbers, Numbers], float]


def of_answers(score: Callable[..., float], *, male: bool = False, **options: float) -> Reference:
    """A score of scikit-learn, of the answers at 0.5; of FEMALE or of MALE as the positive class."""
    return lambda y, p, w: score(y != male, (p >= 0.5) != male, sample_weight=w, **options)


def of_probabilities(score: Callable[..., float]) -> Reference:
    return lambda y, p, w: score(y, p, sample_weight=w)


REFERENCES: dict[str, Reference] = {
    "balanced_accuracy": of_answers(sklearn_metrics.balanced_accuracy_score),
    "accuracy": of_answers(sklearn_metrics.accuracy_score),
    "mA": of_answers(sklearn_metrics.balanced_accuracy_score),
    **{
        f"{name}_{label}": of_answers(score, male=label == "MALE", zero_division=np.nan)
        for name, score in (
            ("recall", sklearn_metrics.recall_score),
            ("precision", sklearn_metrics.precision_score),
            ("f1", sklearn_metrics.f1_score),
        )
        for label in CLASSES
    },
    "auroc": of_probabilities(sklearn_metrics.roc_auc_score),
    "average_precision_FEMALE": of_probabilities(sklearn_metrics.average_precision_score),
    "average_precision_MALE": lambda y, p, w: sklearn_metrics.average_precision_score(~y, -p, sample_weight=w),
    "brier": of_probabilities(sklearn_metrics.brier_score_loss),
    "log_loss": of_probabilities(sklearn_metrics.log_loss),
}


def test_scores_of_a_table() -> None:
    result = score_rows(SIX, 50)
    assert (result["images"], result["identities"], result["units"]) == (6, 3, 4)
    assert result["confusion_matrix"] == [[3, 1], [1, 1]]
    found, (female, p_female) = values(SIX), (SIX["label"] == "FEMALE", SIX["p_FEMALE"])
    assert tuple(found) == SCORES
    expected = {name: reference(female, p_female, np.ones(6)) for name, reference in REFERENCES.items()}
    expected["ece"] = (0.1 + 0.2 + 0.3 + 0.8 + 0.6 + 0.1) / 6  # each in a bin of its own
    assert found == pytest.approx(expected)


@pytest.mark.parametrize("decimals", [1, 2, 17], ids=["many ties", "some ties", "no ties"])
def test_weighted_scores_agree_with_scikit_learn(decimals: int) -> None:
    assert {*REFERENCES, "ece"} == set(SCORES)
    rng = np.random.default_rng(decimals)
    for rows in (12, 60, 300):
        female = rng.random(rows) < 0.4
        p_female = np.clip(rng.beta(0.8, 0.8, rows) + 0.2 * (female - 0.5), 0, 1).round(decimals)
        weights = rng.integers(0, 4, (4, rows)).astype(float)
        weights[:, :2] += 1
        female[:2] = True, False  # both labels count in every sample
        found = all_scores(female, p_female, weights)
        for name, reference in REFERENCES.items():
            expected = [reference(female, p_female, row) for row in weights]
            assert found[name] == pytest.approx(expected, rel=1e-12), name


@pytest.mark.parametrize("decimals", [2, 17])
def test_calibration_error_agrees_with_torchmetrics(decimals: int) -> None:
    rng = np.random.default_rng(decimals)
    p_female = rng.random(500).round(decimals).clip(0, 0.99)  # torchmetrics gives 1 a bin of its own
    female = rng.random(500) < p_female**2
    weights = rng.integers(0, 3, (5, 500))
    found = calibration_scores(female, p_female)(weights.astype(float))["ece"]
    for row, value in zip(weights, found, strict=True):
        metric = BinaryCalibrationError(n_bins=15, norm="l1")
        drawn = torch.tensor(p_female.repeat(row)), torch.tensor(female.repeat(row)).long()
        assert value == pytest.approx(metric(*drawn).item(), abs=1e-6)


def test_certain_and_wrong_has_a_finite_log_loss() -> None:
    eps = np.finfo(np.float64).eps
    found = probability_scores(np.array([True, False]), np.array([0.0, 1.0]))(np.eye(2))
    assert found["log_loss"] == pytest.approx([-np.log(eps), -np.log(eps)])
    nearly = probability_scores(np.array([False]), np.array([1 - 2**-40]))(np.ones((1, 1)))
    assert nearly["log_loss"] == pytest.approx([40 * np.log(2)], rel=1e-12)


def test_constant_probabilities_have_chance_scores() -> None:
    found = values(table_of("FFFM", [0.7] * 4))
    assert found["balanced_accuracy"] == found["auroc"] == 0.5
    assert found["average_precision_FEMALE"] == pytest.approx(3 / 4)
    assert found["average_precision_MALE"] == pytest.approx(1 / 4)
    assert found["f1_MALE"] == 0
    assert found["precision_MALE"] is None


def test_one_label_only_leaves_what_is_defined() -> None:
    scores = score_rows(table_of("MMMM", [0.1, 0.2, 0.6, 0.4]), 50)["scores"]
    for name in ("balanced_accuracy", "mA", "recall_FEMALE", "auroc", "average_precision_FEMALE"):
        assert scores[name] == undefined("There is no FEMALE image.")
    assert scores["accuracy"]["value"] == scores["recall_MALE"]["value"] == 0.75
    assert scores["average_precision_MALE"]["value"] == scores["precision_MALE"]["value"] == 1
    assert scores["precision_FEMALE"]["value"] == scores["f1_FEMALE"]["value"] == 0
    assert scores["brier"]["value"] == pytest.approx((0.01 + 0.04 + 0.36 + 0.16) / 4)


def test_what_is_never_answered_has_no_precision() -> None:
    scores = score_rows(table_of("FMM", [0.1, 0.2, 0.3]), 50)["scores"]
    assert scores["precision_FEMALE"] == undefined("Nothing was answered FEMALE.")
    assert scores["f1_FEMALE"]["value"] == 0
    scores = score_rows(table_of("MM", [0.1, 0.2]), 50)["scores"]
    assert scores["f1_FEMALE"] == undefined("There is no FEMALE image, and nothing was answered FEMALE.")


def test_one_person_of_a_label_leaves_no_interval_of_its_recall_and_a_wide_one_of_their_mean() -> None:
    scores = score_rows(table_of("FMMMM", [0.9, 0.1, 0.2, 0.3, 0.6]), 1000)["scores"]
    assert scores["recall_FEMALE"]["low"] is None
    assert "only one person" in scores["recall_FEMALE"]["remark"]
    assert scores["balanced_accuracy"]["value"] == pytest.approx(7 / 8)
    assert 0 < scores["balanced_accuracy"]["low"] < 0.5
    assert scores["accuracy"]["high"] < 1


def test_each_score_is_a_share_of_the_people_it_is_about() -> None:
    female, says_female = np.array([1, 1, 1, 0, 0], dtype=bool), np.array([1, 0, 0, 0, 1], dtype=bool)
    shares = score_shares(female, says_female, np.array([0, 0, 1, 2, 3]))
    assert shares == {
        **dict.fromkeys(("balanced_accuracy", "mA", "auroc", "average_precision_FEMALE"), (2, 2)),
        **{"average_precision_MALE": (2, 2), "accuracy": (4,), "recall_FEMALE": (2,), "recall_MALE": (2,)},
        **{"precision_FEMALE": (2,), "precision_MALE": (3,), "f1_FEMALE": (3,), "f1_MALE": (4,)},
    }
    assert set(shares) == set(SCORES) - {"brier", "log_loss", "ece"}


def test_no_images_have_no_scores() -> None:
    nothing = {"images": 0, "identities": 0, "units": 0, "confusion_matrix": [[0, 0], [0, 0]], "by_identity": None}
    scores = dict.fromkeys(SCORES, undefined("There are no images."))
    assert score_split(table_of("", []), 10) == {**nothing, "scores": scores}


@pytest.mark.parametrize("broken", [np.nan, np.inf, -np.inf])
def test_probabilities_that_are_not_finite_leave_no_scores(broken: float) -> None:
    result = score_split(table_of("FFMM", [0.9, broken, 0.2, 0.1], ["a", "a", "b", "c"]), 10)
    assert result["confusion_matrix"] == [[1, 0], [0, 2]]
    for scored, rows in ((result, 4), (result["by_identity"], 3)):
        nothing = undefined(f"Probabilities that are not finite: 1 of {rows}.")
        assert scored["scores"] == dict.fromkeys(SCORES, nothing)


def test_people_vote_with_their_mean_probability_and_have_their_most_frequent_label() -> None:
    people = by_identity(
        table_of(
            "FMFMMFFFM",
            [0.9, 0.1, 0.3, 0.8, 0.4, 0.5, 0.5, 0.1, 0.1],
            ["bob", "ann", "bob", "ann", "", "cid", "cid", "ann", "dan"],
        )
    )
    assert list(people.columns) == ["identity", "label", "p_FEMALE", "p_MALE", "prediction"]
    assert people.to_dict("list") == {
        "identity": ["bob", "ann", "cid", "dan"],
        "label": ["FEMALE", "MALE", "FEMALE", "MALE"],
        "p_FEMALE": pytest.approx([0.6, 1 / 3, 0.5, 0.1]),
        "p_MALE": pytest.approx([0.4, 2 / 3, 0.5, 0.9]),
        "prediction": ["FEMALE", "MALE", "FEMALE", "MALE"],  # equal: the first of CLASSES
    }
    assert by_identity(table_of("MF", [0.5] * 2, ["a", "a"]))["label"].tolist() == [CLASSES[0]]


def test_scores_by_person() -> None:
    result = score_split(SIX, 50)["by_identity"]
    assert (result["images"], result["identities"], result["units"]) == (3, 3, 3)
    assert result["confusion_matrix"] == [[2, 0], [0, 1]]  # a 0.85, b 0.7; c 0.35
    assert result["scores"]["balanced_accuracy"]["value"] == 1
    assert score_split(SIX.assign(identity=""), 50)["by_identity"] is None
