import json
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import pytest
from helpers.example_metrics import assert_matches
from helpers.prediction_tables import letters, table_of
from numpy.typing import NDArray
from scipy.special import expit
from scipy.special import logit as log_odds_of
from sklearn.metrics import balanced_accuracy_score

from gender_cls.config.evaluation import OperatingPointRule
from gender_cls.evaluation.calibration import calibrated
from gender_cls.evaluation.decisions import ABSTAIN, DecisionRule, choose_abstention, choose_operating_point
from gender_cls.evaluation.estimate import undefined
from gender_cls.evaluation.metrics import is_female
from gender_cls.evaluation.risk_coverage import area_under_risk_coverage, risk_coverage
from gender_cls.evaluation.schema import Abstention, OperatingPoint

BALANCED = OperatingPointRule.balanced_accuracy
AT_HALF = DecisionRule(1.0, 0.5, None)


def drawn(people: int, seed: int, shift: float = 0.0) -> pd.DataFrame:
    """Three images per person; the logits lie `shift` too high."""
    rng = np.random.default_rng(seed)
    female = np.repeat(rng.random(people) < 0.4, 3)
    logits = np.where(female, 2, -2) + np.repeat(rng.normal(0, 1, people), 3) + rng.normal(0, 1.3, 3 * people) + shift
    return table_of(letters(female), expit(logits), images_each=3)


EMPTY = table_of("", [])
BROKEN = table_of("FMFM", [0.9, np.nan, 0.6, 0.2])
INFINITE = table_of("FMFM", [0.9, np.inf, 0.6, 0.2])
CONSTANT = table_of("FMFM", [0.7, 0.7, 0.7, 0.7])
WOMEN = table_of("FFFF", [0.9, 0.8, 0.6, 0.2])
UNLUCKY = ("FM", "FMFM")  # by rising probability: no threshold beats chance


def test_answers_at_the_threshold_and_at_the_ends_of_the_band() -> None:
    table = table_of("FFFFFFF", [0.1, 0.2, 0.3, 0.4, 0.5, 0.9, np.nan])
    _, low, _, threshold, high, _, _ = calibrated(table, 1.0)  # to the last bit
    without = DecisionRule(1.0, threshold, None).answers(table)
    assert without.tolist() == ["MALE", "MALE", "MALE", "FEMALE", "FEMALE", "FEMALE", ABSTAIN]
    with_band = DecisionRule(1.0, threshold, (low, high)).answers(table)
    assert with_band.tolist() == ["MALE", "MALE", ABSTAIN, ABSTAIN, "FEMALE", "FEMALE", ABSTAIN]
    assert DecisionRule(1.0, threshold, (threshold, threshold)).answers(table).tolist() == without.tolist()
    assert DecisionRule(1.0, 0.4, None).answers(EMPTY).tolist() == []
    at_the_calibrated_one = DecisionRule(2.0, float(expit(1.0)), None)
    assert at_the_calibrated_one.answers(table_of("FF", expit([3.0, 1.0]))).tolist() == ["FEMALE", "MALE"]


@pytest.mark.parametrize("band", [(0.3, 0.5), None])
def test_the_rule_comes_back_from_metrics_json(band: tuple[float, float] | None) -> None:
    metrics = {"calibration": {"temperature": 1.5}, "operating_point": {"threshold": 0.4}, "abstention": {"band": band}}
    assert DecisionRule.from_metrics(json.loads(json.dumps(metrics))) == DecisionRule(1.5, 0.4, band)


@pytest.mark.parametrize("rule", OperatingPointRule)
def test_operating_point_against_every_threshold_there_is(rule: OperatingPointRule) -> None:
    for seed in range(8):
        table = drawn(25, seed, shift=1.0).round({"p_FEMALE": 2})  # with ties
        table["p_MALE"] = 1 - table["p_FEMALE"]
        female, p_female = is_female(table), expit(log_odds_of(table["p_FEMALE"]) / 1.7)
        point = choose_operating_point(table, table, 1.7, rule, 20)
        tried = []
        for low, high in pairwise(np.unique(p_female)):
            middle = (log_odds_of(low) + log_odds_of(high)) / 2
            recalls = (p_female >= high)[female].mean(), (p_female < high)[~female].mean()
            difference = round(abs(recalls[0] - recalls[1]), 9) if rule is OperatingPointRule.equal_recall else 0
            tried.append((difference, -round(sum(recalls), 9), abs(middle), middle))
        assert log_odds_of(point["threshold"]) == pytest.approx(min(tried)[3], abs=1e-9)
        assert not np.isin(point["threshold"], p_female)
        found = point["validation"]["balanced_accuracy"]["value"]
        assert found == pytest.approx(balanced_accuracy_score(female, p_female >= point["threshold"]))
        assert point["remark"] is None


def test_the_threshold_undoes_a_shift_and_is_chosen_without_test() -> None:
    validation, test = drawn(300, 1, shift=1.5), drawn(300, 2, shift=1.5)
    point = choose_operating_point(validation, test, 1.0, BALANCED, 200)
    assert log_odds_of(point["threshold"]) == pytest.approx(1.5, abs=0.7)
    female, p_female = is_female(test), test["p_FEMALE"].to_numpy()
    value = point["test"]["balanced_accuracy"]
    assert value["value"] == pytest.approx(balanced_accuracy_score(female, p_female >= point["threshold"]))
    assert value["value"] > balanced_accuracy_score(female, p_female >= 0.5) + 0.03
    assert value["low"] < value["value"] < value["high"]
    other = choose_operating_point(validation, WOMEN, 1.0, BALANCED, 200)
    assert (other["threshold"], other["validation"]) == (point["threshold"], point["validation"])
    assert other["test"]["recall_MALE"] == other["test"]["balanced_accuracy"] == undefined("There is no MALE image.")


@pytest.mark.parametrize(
    ("validation", "rules", "remark"),
    [
        (EMPTY, OperatingPointRule, "There are no images."),
        (BROKEN, OperatingPointRule, "1 of 4 probabilities"),
        (INFINITE, OperatingPointRule, "1 of 4 probabilities"),
        (WOMEN, OperatingPointRule, "no MALE image"),
        (CONSTANT, OperatingPointRule, "none does better"),
        *((table_of(labels, np.linspace(0.6, 0.9, len(labels))), [BALANCED], "none does better") for labels in UNLUCKY),
    ],
)
def test_a_threshold_that_cannot_be_chosen_stays_a_half(validation: pd.DataFrame, rules: Any, remark: str) -> None:
    for rule in rules:
        point = choose_operating_point(validation, validation, 1.0, rule, 20)
        assert point["threshold"] == 0.5
        assert remark in (point["remark"] or "")
        assert_matches(point, OperatingPoint)


def test_probabilities_that_are_not_finite_leave_no_scores() -> None:
    found = choose_operating_point(drawn(20, 0), BROKEN, 1.0, BALANCED, 20)["test"]
    nothing = undefined("1 of 4 probabilities are not finite.")
    assert found == dict.fromkeys(("balanced_accuracy", "recall_FEMALE", "recall_MALE"), nothing)


def test_certain_and_saturated_probabilities_keep_the_threshold_between_them() -> None:
    neighbours = [[score, np.nextafter(score, 1)] for score in np.linspace(0.01, 0.99, 99)]
    for scores in ([0.0, 1.0], [0.0, 1e-300], [1 - 2.0**-52, 1.0], *neighbours):
        table = table_of("MF", scores)
        if len(np.unique(calibrated(table, 1.0))) == 1:
            continue  # the arithmetic of float64 has made them one
        point = choose_operating_point(table, table, 1.0, BALANCED, 2)
        assert 0 < point["threshold"] < 1
        assert DecisionRule(1.0, point["threshold"], None).answers(table).tolist() == ["MALE", "FEMALE"]


# Twenty sure and right, then by falling certainty: right, wrong, right, wrong, wrong.
BY_HAND = table_of("F" * 10 + "M" * 10 + "FMMFM", [0.99] * 10 + [0.01] * 10 + [0.9, 0.8, 0.3, 0.4, 0.55])


@pytest.mark.parametrize(
    ("target", "answered", "wrong", "nearest", "next_"),
    [
        (0.13, 25, 3, None, None),  # 3/25 = 0.12: no image has to abstain
        (0.11, 24, 2, 0.55, 0.4),  # 2/24 = 0.083
        (0.05, 23, 1, 0.4, 0.3),  # 1/23 = 0.043
        (0.04, 21, 0, 0.8, 0.9),  # 1/22 = 0.045
        (0.0, 21, 0, 0.8, 0.9),
    ],
)
def test_band_by_hand(target: float, answered: int, wrong: int, nearest: float | None, next_: float | None) -> None:
    found = choose_abstention(BY_HAND, BY_HAND, AT_HALF, target, 50)
    assert found["validation"]["coverage"]["value"] == pytest.approx(answered / 25)
    assert found["validation"]["error"]["value"] == pytest.approx(wrong / answered)
    assert found["test"] == found["validation"]
    assert (found["target_error"], found["reached"]) == (target, True)
    if nearest is None or next_ is None:
        assert found["band"] is None
        assert found["remark"].startswith("No band is needed")
    else:
        assert found["remark"] is None
        margin = (abs(log_odds_of(nearest)) + abs(log_odds_of(next_))) / 2
        assert found["band"] == pytest.approx([expit(-margin), expit(margin)])


def test_a_target_that_needs_no_band_has_none_and_every_image_is_answered() -> None:
    for threshold in np.linspace(0.03, 0.97, 19):  # between the probabilities
        found = choose_abstention(BY_HAND, BY_HAND, DecisionRule(1.0, threshold, None), 0.9, 2)
        assert found["band"] is None
        assert "90 %" in found["remark"]
        wrong = (BY_HAND["p_FEMALE"] >= threshold) != (BY_HAND["label"] == "FEMALE")
        assert found["test"]["coverage"]["value"] == 1
        assert found["test"]["error"]["value"] == pytest.approx(wrong.mean())


def test_fewer_than_twenty_answers_are_no_band() -> None:
    wrong_among_the_sure = BY_HAND.assign(label=BY_HAND["label"].mask(BY_HAND.index == 0, "MALE"))
    found = choose_abstention(wrong_among_the_sure, BY_HAND, AT_HALF, 0.04, 50)
    assert found["remark"].startswith("There is no band")
    assert "4 %" in found["remark"]
    assert "20 images" in found["remark"]
    assert found["band"] is None
    for split, wrong in (("validation", 4), ("test", 3)):
        assert found[split]["coverage"]["value"] == 1, "every image is answered"
        assert found[split]["error"]["value"] == pytest.approx(wrong / 25)
    assert found["aurc"]["value"] is not None
    found = choose_abstention(wrong_among_the_sure, BY_HAND, AT_HALF, 0.05, 50)
    assert found["validation"]["coverage"]["value"] == 0.84


@pytest.mark.parametrize(
    ("wrong_at", "target", "answered"),
    [
        # 10 of 200 are 5 %, but of 101 to 199 it is more, so that the 200 are luck. 5 of 100 are 5 %, below it is less.
        (range(95, 105), 0.05, 100),
        (range(190, 200), 0.05, 200),
        # The one mistake among the surest is more than 2 % of 20 to 49 answers; 3 of 170 are less, 4 of 171 more.
        ((4, 150, 160, 170, 180), 0.02, 170),
    ],
)
def test_luck_does_not_make_a_band_and_one_confident_mistake_does_not_forbid_it(
    wrong_at: range | tuple[int, ...], target: float, answered: int
) -> None:
    """The most certain images first; MALE is answered throughout."""
    labels = "".join("F" if place in wrong_at else "M" for place in range(200))
    table = table_of(labels, expit(-np.linspace(6, 0.1, 200)))
    found = choose_abstention(table, table, AT_HALF, target, 20)
    assert found["validation"]["coverage"]["value"] == pytest.approx(answered / 200)


@pytest.mark.parametrize(("seed", "target"), [(0, 0.2), (1, 0.05), (2, 0.02)])
def test_the_stored_numbers_are_those_of_the_answers(seed: int, target: float) -> None:
    validation, test = drawn(200, seed, shift=0.7), drawn(200, seed + 10, shift=0.7)
    point = choose_operating_point(validation, test, 1.3, BALANCED, 20)
    found = choose_abstention(validation, test, DecisionRule(1.3, point["threshold"], None), target, 100)
    metrics = {"calibration": {"temperature": 1.3}, "operating_point": point, "abstention": found}
    rule = DecisionRule.from_metrics(json.loads(json.dumps(metrics)))
    for table, accepted in ((validation, found["validation"]), (test, found["test"])):
        answers = rule.answers(table)
        answered = answers != ABSTAIN
        assert accepted["coverage"]["value"] == pytest.approx(answered.mean(), rel=1e-12)
        assert accepted["error"]["value"] == pytest.approx((answers != table["label"])[answered].mean(), rel=1e-12)
    low, high = found["band"] or [point["threshold"]] * 2
    below, above = np.diff(log_odds_of([low, point["threshold"], high]))
    assert below == pytest.approx(above, abs=1e-9)
    assert below >= 0
    assert found["validation"]["error"]["value"] <= target
    coverage = found["test"]["coverage"]["value"]
    on_curve = min(found["curve"], key=lambda one: abs(one["coverage"] - coverage))
    assert on_curve["error"] == pytest.approx(found["test"]["error"]["value"], abs=0.01)


def test_the_target_is_met_on_test_within_a_few_points() -> None:
    found = [choose_abstention(drawn(250, seed), drawn(250, seed + 1000), AT_HALF, 0.05, 100) for seed in range(30)]
    errors = np.array([one["test"]["error"]["value"] for one in found])
    assert errors.mean() == pytest.approx(0.05, abs=0.01)
    assert np.quantile(np.abs(errors - 0.05), 0.9) < 0.03
    assert np.mean([one["test"]["coverage"]["value"] for one in found]) > 0.6
    assert np.mean([one["reached"] for one in found]) >= 0.8


def test_reached_is_false_where_the_whole_interval_lies_above_the_target() -> None:
    validation = drawn(300, 1)
    mirrored = validation.assign(label=np.where(is_female(validation), "MALE", "FEMALE"))
    found = choose_abstention(validation, mirrored, AT_HALF, 0.05, 100)
    assert found["test"]["error"]["low"] > 0.9
    assert found["reached"] is False


def naive_area(wrong: NDArray[np.bool_], certainty: NDArray[np.float64]) -> float:
    """The mean over all n of the error of the n surest; of equally sure ones as many mistakes as on average."""
    errors = []
    for n in range(1, len(wrong) + 1):
        cut = sorted(certainty, reverse=True)[n - 1]
        surer = certainty > cut
        errors.append((wrong[surer].sum() + (n - surer.sum()) * wrong[certainty == cut].mean()) / n)
    return float(np.mean(errors))


@pytest.mark.parametrize("steps", [3, 12, 10**9], ids=["many ties", "some ties", "no ties"])
def test_aurc_of_weights_is_that_of_repeated_rows_in_a_naive_loop(steps: int) -> None:
    rng = np.random.default_rng(1)
    certainty = np.sort(rng.integers(0, steps, 40).astype(float))[::-1]
    wrong, weights = rng.random(40) < 0.3, rng.integers(0, 4, (20, 40))
    weights[0], weights[1] = 0, 1
    found = area_under_risk_coverage(wrong, certainty, weights.astype(float))
    assert np.isnan(found[0])
    expected = [naive_area(np.repeat(wrong, counts), np.repeat(certainty, counts)) for counts in weights[1:]]
    np.testing.assert_allclose(found[1:], expected, rtol=1e-10)


def test_risk_coverage_keeps_ties_together() -> None:
    coverage, error = risk_coverage(np.array([True, False, True, False, False]), np.array([1.0, 3, 2, 2, 5]))
    assert coverage.tolist() == [1, 0.8, 0.4, 0.2]
    assert error.tolist() == [0.4, 0.25, 0, 0]


def test_the_curve_is_at_most_a_hundred_points_of_the_whole_with_intervals() -> None:
    test = drawn(200, 3)
    threshold, temperature = 0.4, 1.6
    found = choose_abstention(test, test, DecisionRule(temperature, threshold, None), 0.05, 300)
    logits = log_odds_of(test["p_FEMALE"].to_numpy()) / temperature
    certainty = np.abs(logits - log_odds_of(threshold))
    wrong = (logits >= log_odds_of(threshold)) != is_female(test)
    assert found["aurc"]["value"] == pytest.approx(naive_area(wrong, certainty), rel=1e-10)
    assert found["aurc"]["low"] < found["aurc"]["value"] < found["aurc"]["high"]
    assert [one["coverage"] for one in found["curve"]] == pytest.approx(np.arange(100, 0, -1) / 100)
    for one in found["curve"]:
        surest = np.argsort(-certainty)[: round(600 * one["coverage"])]
        assert one["error"] == pytest.approx(wrong[surest].mean())
        assert one["low"] <= one["error"] <= one["high"]
    few = choose_abstention(BY_HAND, BY_HAND, AT_HALF, 0.05, 50)["curve"]
    assert [one["coverage"] for one in few] == [count / 25 for count in range(25, 19, -1)]
    assert [one["error"] for one in few] == [3 / 25, 2 / 24, 1 / 23, 1 / 22, 0, 0]


@pytest.mark.parametrize("threshold", [0.5, 1e-300, 1.0])
def test_degenerate_splits_have_a_band_or_a_remark(threshold: float) -> None:
    good = drawn(20, 0)
    one_person = good.assign(identity="ann")
    rule = DecisionRule(1.0, threshold, None)
    for validation in (good, one_person, EMPTY, BROKEN, INFINITE, CONSTANT, WOMEN, pd.concat([CONSTANT] * 9)):
        for test in (good, one_person, EMPTY, BROKEN, INFINITE, CONSTANT, WOMEN):
            found = choose_abstention(validation, test, rule, 0.5, 20)
            assert_matches(found, Abstention)
            assert (found["band"] is None) == (found["remark"] is not None)


def test_degenerate_splits_say_what_they_lack() -> None:
    good = drawn(100, 0)
    for table, remark in ((EMPTY, "There are no images."), (INFINITE, "1 of 4 probabilities are not finite.")):
        assert choose_abstention(table, good, AT_HALF, 0.05, 20)["remark"].endswith(remark)
        found = choose_abstention(good, table, AT_HALF, 0.05, 20)
        assert found["test"] == {"coverage": undefined(remark), "error": undefined(remark)}
        assert (found["aurc"], found["curve"], found["reached"]) == (undefined(remark), [], None)
    doubtful = table_of("FM", [0.5, 0.5])
    unanswered = choose_abstention(good, doubtful, DecisionRule(1.0, 0.49, None), 0.01, 20)
    assert unanswered["test"]["coverage"]["value"] == 0
    assert unanswered["test"]["error"] == undefined("No image is answered.")
    assert unanswered["reached"] is None
    one_person = choose_abstention(good, good.assign(identity="ann"), AT_HALF, 0.05, 20)
    assert one_person["test"]["error"]["low"] is None
    assert one_person["reached"] is (one_person["test"]["error"]["value"] <= 0.05)
