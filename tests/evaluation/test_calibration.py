import math

import numpy as np
import pandas as pd
import pytest
from helpers.example_metrics import assert_matches
from helpers.prediction_tables import letters, table_of
from numpy.typing import NDArray
from scipy.special import expit
from sklearn.linear_model import LogisticRegression

from gender_cls.evaluation.bootstrap import bootstrap_units
from gender_cls.evaluation.calibration import calibrate, calibrated, fit_temperature, log_odds, logit, reliability
from gender_cls.evaluation.estimate import undefined
from gender_cls.evaluation.metrics import is_female, score_rows
from gender_cls.evaluation.schema import Calibration


def drawn(rows: int, overconfidence: float = 2.5, seed: int = 0) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Labels, and logits that are that many times too large."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0.3, 1.5, rows)
    return rng.random(rows) < expit(logits), overconfidence * logits


def predictions(female: NDArray[np.bool_], logits: NDArray[np.float64], images_each: int = 1) -> pd.DataFrame:
    """Predictions to the last bit of the logits; `images_each` neighbouring rows are one person."""
    return table_of(letters(female), expit(logits), images_each=images_each).assign(p_MALE=expit(-logits))


@pytest.mark.parametrize("overconfidence", [0.3, 1.0, 2.5, 8.0])
def test_temperature_agrees_with_logistic_regression_without_intercept(overconfidence: float) -> None:
    female, logits = drawn(500, overconfidence)
    temperature, remark = fit_temperature(female, logits)
    regression = LogisticRegression(C=np.inf, fit_intercept=False, tol=1e-10).fit(logits[:, None], female)
    assert (temperature, remark) == (pytest.approx(1 / regression.coef_[0, 0], rel=1e-5), None)
    assert temperature == pytest.approx(overconfidence, rel=0.2)


def test_the_temperature_of_two_thirds_right_at_one_logit_is_worked_out_by_hand() -> None:
    # sigmoid(2 / T) = 2/3, so 2 / T = log 2
    temperature, remark = fit_temperature(np.array([True, True, False]), np.array([2.0, 2.0, 2.0]))
    assert (temperature, remark) == (pytest.approx(2 / math.log(2), rel=1e-9), None)


@pytest.mark.parametrize(
    ("female", "logits", "temperature", "remark"),
    [
        ([], [], 1, "no images"),
        ([1, 0], [np.nan, 1], 1, "1 of 2 probabilities"),
        ([1, 0], [1, -np.inf], 1, "1 of 2 probabilities"),
        ([1, 1], [1, -1], 1, "no MALE image"),
        ([0, 0], [1, -1], 1, "no FEMALE image"),
        ([1, 0], [0, 0], 1, "are 0.5"),
        ([1, 1, 0], [9, 1, -4], 1, "without a mistake"),
        ([1, 0, 1, 0], [3, 3, -3, -3], 20, "held at 20"),
        ([1, 0], [-700, 700], 20, "held at 20"),
        ([1, 0, 1, 1], [0.01, -0.01, 0.01, -0.0001], 0.05, "held at 0.05"),
    ],
)
def test_a_temperature_that_cannot_be_fitted_has_a_remark(
    female: list[int], logits: list[float], temperature: float, remark: str
) -> None:
    found, why = fit_temperature(np.array(female, dtype=bool), np.array(logits, dtype=float))
    assert found == temperature
    assert remark in (why or "")


def test_logits_come_back_exactly_near_0_and_near_1_and_at_them() -> None:
    logits = np.array([-700.0, -100, -40, -1, 0, 1e-9, 1, 40, 100, 700])
    table = predictions(np.ones(10, dtype=bool), logits)
    assert table["p_FEMALE"].iloc[-1] == 1  # one column alone would not do
    np.testing.assert_allclose(logit(table), logits, rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(calibrated(table, 10), expit(logits / 10), rtol=1e-12)
    assert log_odds([1.0, 0.0], [0.0, 1.0]) == pytest.approx([708.396, -708.396], abs=1e-3)


def test_a_probability_that_is_not_finite_has_no_logit() -> None:
    table = pd.DataFrame({"p_FEMALE": [np.nan, np.inf, 0.5, np.inf, 0.5], "p_MALE": [0.5, 0.5, -np.inf, np.inf, 0.5]})
    assert np.isnan(logit(table)).tolist() == [True, True, True, True, False]
    assert np.isnan(calibrated(table, 2)).tolist() == [True, True, True, True, False]


def test_calibrating_never_changes_the_order_or_the_more_probable_label() -> None:
    female, logits = drawn(1000, overconfidence=1)
    table = predictions(female, logits)
    for temperature in (0.3, 1, 7):
        after = calibrated(table, temperature)
        assert (np.argsort(after) == np.argsort(logits)).all()
        assert ((after >= 0.5) == (logits >= 0)).all()
    np.testing.assert_allclose(calibrated(table, 1), table["p_FEMALE"], rtol=1e-14)


def test_reliability_by_hand() -> None:
    female = np.array([False, True, True, False, True, True])
    p_female = np.array([0.0, 1 / 15, 0.1, 0.5, 0.97, 1.0])
    found = reliability(female, p_female, np.arange(6), 200)
    filled = {index: one for index, one in enumerate(found["bins"]) if one["images"]}
    edges = [[one["low"], one["high"]] for one in found["bins"]]
    np.testing.assert_allclose(edges, [[i / 15, (i + 1) / 15] for i in range(15)])
    counts = {index: (one["images"], one["probability"], one["share"]["value"]) for index, one in filled.items()}
    assert counts == {
        0: (1, 0, 0),
        1: (2, pytest.approx((1 / 15 + 0.1) / 2), 1),  # the lower edge belongs to the bin
        7: (1, 0.5, 0),
        14: (2, pytest.approx(0.985), 1),  # and 1 to the last
    }
    assert found["ece"]["value"] == pytest.approx((0 + (2 - 1 / 15 - 0.1) + 0.5 + 0.03) / 6)
    assert found["brier"]["value"] == pytest.approx(((14 / 15) ** 2 + 0.9**2 + 0.5**2 + 0.03**2) / 6)
    assert found["log_loss"]["value"] == pytest.approx(-np.log([1 / 15, 0.1, 0.5, 0.97]).sum() / 6)
    share = filled[1]["share"]
    assert (share["value"], share["remark"]) == (1, None)
    assert share["low"] < 0.4 < share["high"] == 1, "of two images"
    assert "only one person" in filled[7]["share"]["remark"]
    assert found["bins"][2]["probability"] is None
    assert found["bins"][2]["share"] == undefined("There are no images in this bin.")


def test_before_calibration_stand_the_scores_of_the_split_with_the_same_intervals() -> None:
    table = predictions(*drawn(300), images_each=3)
    table.loc[0, ["p_FEMALE", "p_MALE"]] = (1.0, 0.0)
    scores = score_rows(table, 200)["scores"]
    before = calibrate(table, table, 200)["before"]
    for name in ("brier", "log_loss", "ece"):
        for key in ("value", "low", "high"):
            assert before[name][key] == pytest.approx(scores[name][key], rel=1e-10)


def test_the_interval_of_a_share_follows_people_not_images() -> None:
    female, people = np.arange(40) % 2 == 0, np.arange(40)  # all in one bin
    once = reliability(female, np.full(40, 0.5), people, 2000)["bins"][7]["share"]
    assert reliability(female.repeat(10), np.full(400, 0.5), people.repeat(10), 2000)["bins"][7]["share"] == once
    assert once["low"] == pytest.approx(0.5 - 2.05 * math.sqrt(0.25 / 40), abs=0.03)  # as of a binomial


def test_calibrating_on_validation_mends_an_overconfident_network_on_test() -> None:
    validation, test = predictions(*drawn(800, seed=1), images_each=2), predictions(*drawn(800, seed=2), images_each=2)
    found = calibrate(validation, test, 500)
    before, after = found["before"], found["after"]
    assert (found["temperature"], None) == fit_temperature(is_female(validation), logit(validation))
    assert (found["temperature"], found["remark"]) == (pytest.approx(2.5, rel=0.2), None)
    for name in ("brier", "log_loss", "ece"):
        assert after[name]["value"] < before[name]["value"]
    assert after["ece"]["high"] < before["ece"]["low"]
    assert before == reliability(is_female(test), test["p_FEMALE"].to_numpy(), bootstrap_units(test), 500)


def test_degenerate_splits_have_numbers_or_remarks() -> None:
    female, logits = drawn(40)
    good = predictions(female, logits)
    broken = good.assign(p_FEMALE=good["p_FEMALE"].where(good.index != 3))
    one_person = good.assign(identity="ann")
    constant = good.assign(p_FEMALE=0.5, p_MALE=0.5)
    one_class = good.assign(label="MALE")
    equal = [(table, table) for table in (good.iloc[:0], one_person, constant, one_class)]
    for validation, test in [(good, broken), (broken, good), *equal]:
        found = calibrate(validation, test, 50)
        assert_matches(found, Calibration)
        assert len(found["after"]["bins"]) == 15
    assert calibrate(good, good.iloc[:0], 50)["after"]["ece"] == undefined("There are no images.")
    unusable = calibrate(good, broken, 50)["after"]
    assert unusable["brier"]["remark"] == "1 of 40 probabilities are not finite."
    assert {one["share"]["value"] for one in unusable["bins"]} == {None}
    assert sum(one["images"] for one in unusable["bins"]) == 39
    assert calibrate(good, one_person, 50)["after"]["ece"]["low"] is None
    assert calibrate(constant, constant, 50)["after"]["bins"][7]["probability"] == 0.5
