import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from scipy import stats

from gender_cls.evaluation import bootstrap as bootstrapping
from gender_cls.evaluation.bootstrap import bootstrap, bootstrap_units, estimate, estimates, ratio
from gender_cls.evaluation.estimate import undefined


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


def test_a_sample_has_as_many_units_as_the_data_and_all_rows_of_a_unit() -> None:
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
    counts = weights[:, [0, 1, 3, 4]]
    assert (counts.sum(axis=1) == 4).all()
    for unit in range(4):  # how often a unit is drawn is binomial
        drawn = np.bincount(counts[:, unit].astype(int), minlength=5)
        assert stats.chisquare(drawn, 4000 * stats.binom.pmf(np.arange(5), 4, 1 / 4)).pvalue > 0.001


def test_the_same_seed_gives_the_same_draws_whatever_the_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    units, values = rng.integers(0, 7, 31), rng.integers(0, 5, 31).astype(float)
    _, units = np.unique(units, return_inverse=True)
    whole = bootstrap(units, mean_of(values), 1000, seed=3)["mean"]
    assert not np.array_equal(whole, bootstrap(units, mean_of(values), 1000, seed=4)["mean"])
    for cells in (bootstrapping.WEIGHTS_AT_ONCE, 1, 31 * 3, 31 * 999):
        monkeypatch.setattr(bootstrapping, "WEIGHTS_AT_ONCE", cells)
        assert np.array_equal(whole, bootstrap(units, mean_of(values), 1000, seed=3)["mean"])


def test_rows_repeated_within_their_unit_change_nothing() -> None:
    rng = np.random.default_rng(2)
    values, units = rng.integers(0, 2, 40).astype(float), np.arange(40)
    once = estimates(units, mean_of(values), 500)
    assert estimates(np.repeat(units, 10), mean_of(np.repeat(values, 10)), 500) == once
    as_if_independent = estimates(np.arange(400), mean_of(np.repeat(values, 10)), 500)["mean"]
    width = once["mean"]["high"] - once["mean"]["low"]
    assert width > 2.5 * (as_if_independent["high"] - as_if_independent["low"])


def test_interval_of_a_mean_is_students_interval() -> None:
    values = np.random.default_rng(3).normal(size=12)
    found = estimates(np.arange(12), mean_of(values), 200_000)["mean"]
    low, high = stats.t.interval(0.95, 11, values.mean(), stats.sem(values))
    assert found["value"] == pytest.approx(values.mean())
    assert found["high"] - found["low"] == pytest.approx(high - low, rel=0.03)
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


def test_undefined_draws_are_left_out_up_to_one_in_twenty() -> None:
    draws = np.linspace(0, 1, 1000)
    draws[::20] = np.nan
    found = estimate(0.5, draws, 1000)
    assert found["remark"] is None
    assert found["low"] == pytest.approx(0.025, abs=0.002)
    draws[1] = np.nan
    found = estimate(0.5, draws, 1000)
    assert (found["value"], found["low"], found["high"]) == (0.5, None, None)
    assert "51 of 1,000" in found["remark"]
    assert "0 of 0" in estimate(0.5, np.array([]), 1000)["remark"]


def test_draws_that_do_not_vary_are_remarked_on() -> None:
    found = estimate(0.5, np.full(100, 0.5), 9)
    assert (found["value"], found["low"], found["high"]) == (0.5, 0.5, 0.5)
    assert "no width" in found["remark"]
    assert estimate(0.0, np.zeros(100), 9, is_share=False)["high"] == 0, "of a difference"


@pytest.mark.parametrize("people", [2, 9, 216])
def test_a_share_of_none_or_all_has_the_interval_of_clopper_and_pearson(people: int) -> None:
    for share in (0, 1):
        found = estimate(float(share), np.full(100, float(share)), people)
        exact = stats.binomtest(share * people, people).proportion_ci(0.95, "exact")
        assert (found["low"], found["high"]) == pytest.approx((exact.low, exact.high))
        assert "Clopper and Pearson" in (found["remark"] or "")


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
