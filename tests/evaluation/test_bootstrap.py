import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from scipy import stats

from gender_cls.evaluation import bootstrap as bootstrapping
from gender_cls.evaluation.bootstrap import bootstrap, bootstrap_units, estimate, estimates, ratio
from gender_cls.evaluation.estimate import undefined
from gender_cls.evaluation.share_interval import share_interval


def mean_of(values: NDArray[np.float64]) -> bootstrapping.Statistics:
    return lambda weights: {"mean": ratio(weights @ values, weights.sum(axis=1))}


def test_units_are_people_then_groups_then_images() -> None:
    table = pd.DataFrame(
        {"identity": ["bob", "", "ann", "bob", "", "", ""], "group": ["1", "2", "3", "1", "2", "", ""]}
    )
    assert bootstrap_units(table).tolist() == [0, 1, 2, 0, 1, 3, 4]
    assert bootstrap_units(table.drop(columns="group")).tolist() == [0, 1, 2, 0, 3, 4, 5]
    same_name = pd.DataFrame({"identity": ["1", "", "", "2"], "group": ["1", "1", "", ""]}, index=[7, 7, 2, 0])
    assert bootstrap_units(same_name).tolist() == [0, 1, 2, 3]
    assert bootstrap_units(table[:0]).tolist() == []


def test_a_sample_weighs_all_rows_of_a_unit_alike_and_as_much_as_the_data() -> None:
    units = np.array([0, 1, 0, 2, 3, 3])
    seen = []

    def statistics(weights: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
        seen.append(weights)
        return {"rows": weights.sum(axis=1)}

    bootstrap(units, statistics, resamples=4000)
    weights = np.concatenate(seen)
    assert weights.shape == (4000, 6)
    assert (weights[:, 0] == weights[:, 2]).all()
    assert (weights[:, 4] == weights[:, 5]).all()
    weights = weights[:, [0, 1, 3, 4]]
    assert weights.sum(axis=1) == pytest.approx(4)
    for weight in weights.T:  # the share of one of four units follows Beta(1, 3)
        assert stats.kstest(weight / 4, stats.beta(1, 3).cdf).pvalue > 0.001


def test_the_same_seed_gives_the_same_draws_whatever_the_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    units, values = rng.integers(0, 7, 31), rng.integers(0, 5, 31).astype(float)
    _, units = np.unique(units, return_inverse=True)
    whole = bootstrap(units, mean_of(values), 1000, seed=3)["mean"]
    assert not np.array_equal(whole, bootstrap(units, mean_of(values), 1000, seed=4)["mean"])
    for cells in (bootstrapping.WEIGHTS_AT_ONCE, 1, 31 * 3, 31 * 999):
        monkeypatch.setattr(bootstrapping, "WEIGHTS_AT_ONCE", cells)
        assert whole == pytest.approx(bootstrap(units, mean_of(values), 1000, seed=3)["mean"], rel=1e-12)


def test_rows_repeated_within_their_unit_change_nothing() -> None:
    rng = np.random.default_rng(2)
    values, units = rng.integers(0, 2, 40).astype(float), np.arange(40)
    once = estimates(units, mean_of(values), 500)
    repeated = estimates(np.repeat(units, 10), mean_of(np.repeat(values, 10)), 500)["mean"]
    assert [repeated["low"], repeated["high"]] == pytest.approx([once["mean"]["low"], once["mean"]["high"]])
    as_if_independent = estimates(np.arange(400), mean_of(np.repeat(values, 10)), 500)["mean"]
    width = once["mean"]["high"] - once["mean"]["low"]
    assert width > 2.5 * (as_if_independent["high"] - as_if_independent["low"])


def test_interval_of_a_mean_is_students_interval() -> None:
    values = np.random.default_rng(3).normal(size=12)
    found = estimates(np.arange(12), mean_of(values), 200_000)["mean"]
    low, high = stats.t.interval(0.95, 11, values.mean(), stats.sem(values))
    assert found["value"] == pytest.approx(values.mean())
    assert found["high"] - found["low"] == pytest.approx(high - low, rel=0.05)
    assert found["low"] == pytest.approx(low, abs=0.1 * (high - low))


def test_undefined_values_and_single_units_have_a_remark() -> None:
    found = estimates(np.zeros(3, dtype=int), mean_of(np.array([1.0, 2, 3])), 10)["mean"]
    assert (found["value"], found["low"], found["high"]) == (2.0, None, None)
    assert "only one person" in found["remark"]
    draws = np.linspace(0, 1, 101)
    assert estimate(np.nan, draws, 9, "There is nobody.") == undefined("There is nobody.")
    assert estimate(np.nan, draws, 9)["remark"]
    assert estimate(0.5, draws, 9, "There is nobody.")["remark"] is None
    np.testing.assert_array_equal(ratio(np.array([1.0, 0, 3]), np.array([2.0, 0, 0])), [0.5, np.nan, np.nan])


def test_draws_that_do_not_vary_are_remarked_on() -> None:
    found = estimate(0.5, np.full(100, 0.5), 9)
    assert (found["value"], found["low"], found["high"]) == (0.5, 0.5, 0.5)
    assert "no width" in found["remark"]


def test_a_share_has_the_interval_of_the_variance_of_its_draws() -> None:
    """Of 40 people with one image each, 32 are right: random weights vary by p q / (n + 1)."""
    right = np.arange(40) < 32
    found = estimates(np.arange(40), mean_of(right.astype(float)), 20_000, shares={"mean": (40,)})["mean"]
    assert (found["value"], found["remark"]) == (0.8, None)
    assert [found["low"], found["high"]] == pytest.approx(share_interval(0.8, 0.8 * 0.2 / 40, [40]), abs=0.001)


def test_a_share_of_one_person_has_no_interval_and_a_label_without_people_does_not_count() -> None:
    draws = np.full(100, 1.0)
    for people in ((1,), (1, 0)):
        found = estimate(1.0, draws, 9, share_of=people)
        assert (found["low"], found["high"]) == (None, None)
        assert "only one person" in found["remark"]
    assert estimate(1.0, draws, 9, share_of=(9, 0)) == estimate(1.0, draws, 9, share_of=(9,))


def test_no_rows_are_undefined() -> None:
    units = np.array([], dtype=np.intp)
    assert np.isnan(bootstrap(units, mean_of(np.array([])), 5)["mean"]).all()
    assert estimates(units, mean_of(np.array([])), 5)["mean"]["value"] is None
    assert bootstrap(units, mean_of(np.array([])), 0) == {}


def of_value_and_draws(value: float, draws: NDArray[np.float64]) -> bootstrapping.Statistics:
    """Two errors that are known beforehand: one sample is the data, many are resamples."""
    return lambda weights: dict.fromkeys(("ece", "fog 3 ece"), np.array([value]) if len(weights) == 1 else draws)


def test_interval_of_the_calibration_error_allows_for_its_bias() -> None:
    draws, units = np.random.default_rng(6).normal(0.15, 0.01, 1000), np.arange(100)  # noise adds 0.03 to the 0.12
    found = estimates(units, of_value_and_draws(0.12, draws), 1000)["ece"]
    assert found["high"] == estimate(0.12, draws, 100)["high"] == pytest.approx(0.15 + 2 * 0.01, abs=0.003)
    assert estimates(units, of_value_and_draws(0.12, draws), 1000)["fog 3 ece"] == found
    assert (found["value"], found["low"]) == pytest.approx((0.12, 0.12 - (found["high"] - 0.12)))
    assert estimates(units, of_value_and_draws(0.01, draws), 1000)["ece"]["low"] == 0
    assert estimates(units, of_value_and_draws(np.nan, draws), 1000, remarks={"ece": "Why."})["ece"]["remark"] == "Why."
