from typing import Any

import numpy as np
import pandas as pd
import pytest
from helpers.example_metrics import assert_matches
from helpers.prediction_tables import letters, table_of
from scipy.special import expit
from scipy.special import logit as log_odds_of
from sklearn.metrics import balanced_accuracy_score

from gender_cls.data.variant_names import CORRUPTIONS, SHORTCUTS
from gender_cls.evaluation.bootstrap import bootstrap_units, count_people, estimates
from gender_cls.evaluation.estimate import undefined
from gender_cls.evaluation.metrics import calibration_scores, decision_scores, is_female
from gender_cls.evaluation.schema import Severity, Stress
from gender_cls.evaluation.stress import shortcut_scores, stress_scores, variants

RESAMPLES = 200
TABLE = table_of("FFFMMM", "FFMMMF", ["ann", "ann", "eve", "bob", "cid", ""])
CLEAN = [2.0, 1.0, -1.0, -2.0, -1.0, 0.5]


def logits_of(table: pd.DataFrame, same: Any, **others: Any) -> pd.DataFrame:
    """All variants have the logits `same`, except the `others`."""
    columns = {name: others.get(name, same) for name in variants(stress=True, shortcuts=True)}
    return pd.DataFrame({"path": table["path"], **columns})


def severity(stress: Stress, variant: str) -> Severity:
    name, number = variant.rsplit("_", 1)
    (one,) = [one for one in stress["corruptions"] if one["name"] == name]
    return one["severities"][int(number) - 1]


def test_variants_come_in_a_fixed_order() -> None:
    names = variants(stress=True, shortcuts=True)
    assert len(names) == len(set(names)) == 50
    assert names[:6] == [*(f"low_resolution_{severity}" for severity in (1, 2, 3, 4, 5)), "motion_blur_1"]
    assert names[45:] == list(SHORTCUTS)
    asked = ((True, False), (False, True), (False, False))
    assert [variants(stress, shortcuts) for stress, shortcuts in asked] == [names[:45], names[45:], []]


@pytest.mark.parametrize(("band", "coverage"), [((0.25, 0.5), 1.0), ((0.25, 0.6), 0.5)])
def test_probabilities_on_the_edge_of_the_band_are_answered(band: tuple[float, float], coverage: float) -> None:
    table = table_of("FM", "FM")
    stress = stress_scores(table, logits_of(table, [0.0, log_odds_of(0.25)]), 1.0, band, resamples=20)
    assert severity(stress, "jpeg_1")["coverage"]["value"] == coverage


def test_ties_are_the_first_class_and_infinite_logits_are_certain() -> None:
    table = table_of("FM", "FM")
    fog = severity(stress_scores(table, logits_of(table, [0.0, -1.0]), 2.0, None, 20), "fog_1")
    assert (fog["balanced_accuracy"]["value"], fog["flip_rate"]["value"], fog["coverage"]) == (1.0, 0.0, None)
    fog = severity(stress_scores(table, logits_of(table, [np.inf, -np.inf]), 2.0, (0.1, 0.9), resamples=20), "fog_1")
    assert (fog["balanced_accuracy"]["value"], fog["ece"]["value"]) == (1.0, 0.0)


def test_scores_and_intervals_agree_with_scikit_learn_and_with_the_scores_of_the_test_split() -> None:
    rng = np.random.default_rng(0)
    people = [f"p{number}" if row > 20 else "" for row, number in enumerate(rng.integers(30, size=150))]
    table = table_of(letters(rng.random(150) < 0.5), letters(rng.random(150) < 0.5), people)
    values = np.where(is_female(table), 0.5, -0.5) + rng.normal(0, 1.5, len(table))
    logits = logits_of(table, rng.normal(0, 1, len(table)), occlusion_4=values, grey=values)
    stress = stress_scores(table, logits.sample(frac=1, random_state=0), 1.7, (0.4, 0.7), RESAMPLES)
    got = severity(stress, "occlusion_4")

    female, p_female = is_female(table), expit(values / 1.7)
    answers = np.where(values >= 0, "FEMALE", "MALE")
    answered = (p_female <= 0.4) | (p_female >= 0.7)
    assert got["balanced_accuracy"]["value"] == pytest.approx(balanced_accuracy_score(table["label"], answers))

    def statistics(weights: np.ndarray) -> dict[str, np.ndarray]:
        return {
            "balanced_accuracy": decision_scores(female, values >= 0, weights)["balanced_accuracy"],
            "ece": calibration_scores(female, p_female)(weights)["ece"],
            "flip_rate": weights @ (answers != table["prediction"]).to_numpy(float) / weights.sum(axis=1),
            "coverage": weights @ answered.astype(float) / weights.sum(axis=1),
        }

    units = bootstrap_units(table)
    everybody = dict.fromkeys(("flip_rate", "coverage"), count_people(units, female | True))
    shares = {"balanced_accuracy": count_people(units, female, ~female), **everybody}
    for name, wanted in estimates(units, statistics, RESAMPLES, shares=shares).items():
        assert got[name] == {key: pytest.approx(value) for key, value in wanted.items()}, name
    grey = shortcut_scores(table, logits, RESAMPLES)[list(SHORTCUTS).index("grey")]
    assert grey["balanced_accuracy"] == got["balanced_accuracy"]


def test_no_more_resamples_are_drawn_than_an_interval_needs() -> None:
    table = table_of("FM" * 20, "FM" * 20)
    logits = logits_of(table, np.random.default_rng(0).normal(0, 1, 40))
    many, enough, few = (stress_scores(table, logits, 1.0, None, resamples) for resamples in (50_000, 2_000, 500))
    assert many == enough != few


def test_means_and_the_worst() -> None:
    table = table_of("FFMM", "FFMM")
    right, half, wrong = [1.0, 1.0, -1.0, -1.0], [1.0, -1.0, -1.0, -1.0], [-1.0, -1.0, 1.0, 1.0]
    logits = logits_of(table, right, defocus_4=half, defocus_5=wrong, jpeg_5=half)
    stress = stress_scores(table, logits, 1.0, None, resamples=20)
    assert_matches(stress, Stress)
    scores = {one["name"]: (one["title"], one["mean"], one["worst"]) for one in stress["corruptions"]}
    assert list(scores) == list(CORRUPTIONS)
    assert scores["defocus"] == ("defocus", pytest.approx((1 + 1 + 1 + 0.75 + 0) / 5), 0.0)
    assert scores["jpeg"] == ("JPEG compression", pytest.approx(4.75 / 5), 0.75)
    assert scores["fog"] == ("fog", 1.0, 1.0)
    assert stress["mean"] == pytest.approx((45 - 0.25 - 1 - 0.25) / 45)
    assert stress["worst"] == {"name": "defocus", "severity": 5, "balanced_accuracy": 0.0}


def test_a_missing_logit_leaves_its_variant_without_scores_and_says_so() -> None:
    logits = logits_of(TABLE, CLEAN, fog_5=[np.nan, 1.0, np.nan, -1.0, -1.0, -1.0])
    stress = stress_scores(TABLE, logits, 1.0, (0.4, 0.6), resamples=20)
    assert_matches(stress, Stress)
    nothing = undefined("2 of 6 images have no logit.")
    scores = dict.fromkeys(("balanced_accuracy", "ece", "flip_rate", "coverage"), nothing)
    assert severity(stress, "fog_5") == {"severity": 5, **scores}
    by = {one["name"]: one for one in stress["corruptions"]}
    assert (by["fog"]["mean"], by["fog"]["worst"]) == (None, pytest.approx(2 / 3))
    assert stress["mean"] is None
    assert by["jpeg"]["mean"] == pytest.approx(2 / 3)

    shortcuts = shortcut_scores(TABLE, logits_of(TABLE, CLEAN).iloc[:4], resamples=20)
    assert shortcuts[0]["balanced_accuracy"] == nothing


def test_one_class_and_no_images_have_reasons() -> None:
    table = table_of("FF", "FM")
    stress = stress_scores(table, logits_of(table, [1.0, 1.0]), 1.0, None, resamples=20)
    fog = severity(stress, "fog_1")
    assert fog["balanced_accuracy"] == undefined("There is no MALE image.")
    assert fog["flip_rate"]["value"] == 0.5
    assert (stress["mean"], stress["worst"], stress["corruptions"][0]["worst"]) == (None, None, None)

    empty = table_of("", "")
    fog = severity(stress_scores(empty, logits_of(empty, []), 1.0, (0.4, 0.6), resamples=20), "fog_1")
    assert [fog[name] for name in fog if name != "severity"] == [undefined("There are no images.")] * 4


def test_shortcuts_worked_out_by_hand() -> None:
    logits = logits_of(TABLE, CLEAN, grey=[1.0, 1.0, 1.0, -1.0, 1.0, 1.0], background_only=[1.0] * 6)
    shortcuts = shortcut_scores(TABLE, logits, RESAMPLES)
    assert [(one["name"], one["title"]) for one in shortcuts] == list(SHORTCUTS.items())
    values = {one["name"]: one["balanced_accuracy"]["value"] for one in shortcuts}
    assert (values["grey"], values["person_only"]) == pytest.approx(((1 + 1 / 3) / 2, 2 / 3))
    assert values["background_only"] == 0.5
