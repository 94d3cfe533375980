import numpy as np
import pytest
from statsmodels.stats.proportion import confint_proportions_2indep, proportion_confint

from gender_cls.evaluation.bootstrap import ONE_PERSON, sample
from gender_cls.evaluation.differences import difference_of_others, difference_of_same
from gender_cls.evaluation.estimate import Estimate, undefined


def wilson(right: int, of: int) -> Estimate:
    low, high = proportion_confint(right, of, method="wilson")
    return Estimate(value=right / of, low=float(low), high=float(high), remark=None)


@pytest.mark.parametrize(("a", "b"), [((56, 70), (48, 80)), ((9, 10), (3, 10)), ((10, 10), (0, 20)), ((5, 9), (5, 9))])
def test_with_wilsons_intervals_it_is_newcombes_interval(a: tuple[int, int], b: tuple[int, int]) -> None:
    found = difference_of_others(wilson(*a), wilson(*b))
    expected = confint_proportions_2indep(*a, *b, method="newcomb", correction=False)
    assert [found["low"], found["high"]] == pytest.approx(list(expected), abs=1e-12)


def test_newcombes_own_example() -> None:
    found = difference_of_others(wilson(56, 70), wilson(48, 80))
    assert [found["value"], found["low"], found["high"]] == pytest.approx([0.2, 0.0524, 0.3339], abs=5e-5)


def test_what_is_missing_in_one_is_missing_in_the_difference() -> None:
    whole, alone = wilson(3, 4), Estimate(value=0.5, low=None, high=None, remark=ONE_PERSON)
    assert difference_of_others(whole, undefined("There is no MALE image.")) == undefined("There is no MALE image.")
    assert difference_of_others(alone, whole) == Estimate(value=-0.25, low=None, high=None, remark=ONE_PERSON)


def test_paired_shares_that_never_differ_are_not_known_to_be_equal() -> None:
    right = np.array([1.0, 1, 0, 1, 1, 1])
    sampled = sample(
        np.arange(6), lambda weights: dict.fromkeys(("a accuracy", "accuracy"), weights @ right / 6), 50,
        shares={"a accuracy": (6,), "accuracy": (6,)},
    )  # fmt: skip
    found = difference_of_same(sampled, "a accuracy", "accuracy")
    assert found["value"] == 0
    assert -0.5 < found["low"] < -0.1
    assert found["high"] == -found["low"]


def test_the_interval_of_a_paired_loss_is_about_the_differences() -> None:
    rng = np.random.default_rng(0)
    hard, gain = 10 * rng.random(40), 1 + 0.1 * rng.random(40)
    columns = np.stack([hard, hard + gain], axis=1)

    def statistics(weights: np.ndarray) -> dict[str, np.ndarray]:
        return dict(zip(("loss", "other loss"), (weights @ columns / weights.sum(axis=1)[:, None]).T, strict=True))

    found = difference_of_same(sample(np.arange(40), statistics, 500), "other loss", "loss")
    assert found["value"] == pytest.approx(gain.mean())
    assert 1 < found["low"] < found["value"] < found["high"] < 1.1
