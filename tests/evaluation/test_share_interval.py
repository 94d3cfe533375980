import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.proportion import proportion_confint

from gender_cls.evaluation.share_interval import difference_variance, share_interval


@pytest.mark.parametrize(("right", "people"), [(0, 5), (3, 5), (14, 20), (19, 20), (20, 20), (150, 200)])
def test_with_one_image_a_person_it_is_wilsons_interval(right: int, people: int) -> None:
    share = right / people
    found = share_interval(share, share * (1 - share) / people, [people])
    assert found == pytest.approx(proportion_confint(right, people, method="wilson"), abs=0.03 if people < 20 else 0.01)


def test_images_that_repeat_each_other_count_once_and_others_as_many() -> None:
    """Of 100 people with ten images each: all ten alike, or each a chance of its own."""
    alike = share_interval(0.8, 0.8 * 0.2 / 100, [100])
    own = share_interval(0.8, 0.8 * 0.2 / 1000, [100])
    assert alike == pytest.approx(proportion_confint(80, 100, method="wilson"), abs=0.005)
    few, many = (proportion_confint(8 * n, 10 * n, method="wilson") for n in (10, 100))
    assert many[0] > own[0] > few[0] + 0.01


@pytest.mark.parametrize("people", [[2], [5], [50], [2, 2], [7, 3], [100, 80]])
def test_a_perfect_score_is_neither_certain_nor_less_certain_than_one_with_a_mistake(people: list[int]) -> None:
    low, high = share_interval(1.0, 0.0, people)
    assert 0 < low < high == 1
    assert share_interval(0.0, 0.0, people) == pytest.approx((0, 1 - low))
    first = people[0]
    for wrong in (0.1, 0.5, 1.0):  # one person has this share of wrong images
        missed = wrong / first / len(people)
        variance = (wrong**2 / first - (wrong / first) ** 2) / first / len(people) ** 2
        with_mistake = share_interval(1 - missed, variance, people)
        assert with_mistake[0] < low
        assert with_mistake[1] - with_mistake[0] > high - low


def test_no_interval_leaves_0_and_1_or_its_value() -> None:
    rng = np.random.default_rng(0)
    for _ in range(500):
        value, people = rng.choice([0, 1, rng.random()]), rng.integers(1, 9, rng.integers(1, 3)).tolist()
        variance = value * (1 - value) / min(people) * rng.random()
        low, high = share_interval(value, variance, people, rng.choice([0, rng.random()]), 2)
        assert 0 <= low <= value <= high <= 1


def test_chance_of_training_known_from_few_seeds_takes_students_quantile() -> None:
    """With very many people, and scores far from 0 and 1, what is left is Student's interval of the seeds."""
    low, high = share_interval(0.5, 0.25 / 1e9, [10**9], training=0.001**2, training_freedom=2)
    half = stats.t.ppf(0.975, 2) * 0.001
    assert (high - low) / 2 == pytest.approx(half, rel=0.01)


def test_the_variance_of_a_difference_is_its_own_and_that_of_half_a_person_on_each_side() -> None:
    assert difference_variance(0.1, 0.0004, [5000, 5000]) == pytest.approx(0.0004, rel=0.01)
    # Ten people who are answered alike, and half a person at +1 and at -1: squares 1 of 11 people.
    assert difference_variance(0.0, 0.0, [10]) == pytest.approx(1 / 10 / 10)
