from itertools import combinations, product

import numpy as np
import pytest
from helpers.comparing import simulated_answers, simulated_people
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests

from gender_cls.evaluation.comparison import significance
from gender_cls.evaluation.comparison.significance import compare_pairs, means_of

EASE = np.sqrt(1 + 0.49 + 0.5)  # of what `simulated_answers` adds to a quality


def quality(balanced_accuracy: float) -> float:
    return float(stats.norm.ppf(balanced_accuracy) * EASE)


def paths(rows: int) -> list[str]:
    return [f"{row}.png" for row in range(rows)]


def test_balanced_accuracy_and_difference_by_hand() -> None:
    female = np.array([True, True, False, False, False])
    units = np.array([0, 0, 1, 2, 2])
    a = np.array([[1, 0, 1, 1, 0], [1, 1, 1, 1, 1]], dtype=bool)  # (1/2 + 2/3) / 2 and 1
    b = np.array([[0, 0, 1, 1, 1]], dtype=bool)  # 1/2
    means = means_of([a, b], female, units, draws=200)
    assert [seeds.tolist() for seeds in means.by_seed] == [pytest.approx([7 / 12, 1]), pytest.approx([0.5])]
    assert means.difference(0, 1)[0]["value"] == pytest.approx(19 / 24 - 0.5)


def turned_signs(answers: list[np.ndarray], female: np.ndarray, units: np.ndarray) -> float:
    """The exact p-value, from the images themselves: exchange the answers of both candidates for some people."""
    a, b = (one.mean(axis=0) for one in answers)
    people = np.unique(units)

    def difference(exchanged: np.ndarray) -> float:
        swap = np.isin(units, exchanged)
        first, second = np.where(swap, b, a), np.where(swap, a, b)
        return float(np.mean([(first - second)[label].mean() for label in (female, ~female)]))

    seen = abs(difference(people[:0]))
    all_ways = product([False, True], repeat=len(people))
    return float(np.mean([abs(difference(people[np.array(way)])) >= seen - 1e-12 for way in all_ways]))


def test_p_value_is_that_of_all_exchanges_of_answers() -> None:
    rng = np.random.default_rng(8)
    for people, seeds in ((2, 1), (6, 1), (9, 2), (11, 1)):
        female, units = simulated_people(rng, people, 4)
        answers = simulated_answers(rng, units, [quality(0.9), quality(0.55)], seeds)
        _, p_value = means_of(answers, female, units, 50).difference(0, 1)
        assert p_value == pytest.approx(turned_signs(answers, female, units))


@pytest.mark.parametrize(("people", "differing", "alone"), [(14, 8, 3), (19, 9, 4)], ids=["14 people", "19 people"])
def test_few_people_with_several_images_are_not_overrated(people: int, differing: int, alone: int) -> None:
    """All people who differ do so on the same side; on one image of each, only a few differ (McNemar 1/4 and 1/8)."""
    units = np.repeat(np.arange(people), 4)
    female = units % 2 == 0
    a, b = np.ones((1, len(units)), dtype=bool), np.ones((1, len(units)), dtype=bool)
    b[0, np.isin(units, np.arange(differing)) & (np.arange(len(units)) % 4 == 1)] = False
    found, p_value = means_of([a, b], female, units, 2000).difference(0, 1)
    assert p_value == pytest.approx(2 / 2**differing)
    assert found["low"] > 0
    b[0] = True
    b[0, np.isin(units, np.arange(alone))] = False  # all images of a few people: no number of images can help
    (pair,) = compare_pairs(["a", "b"], means_of([a, b], female, units, 2000), paths(len(units)))
    assert pair["p_value"] == pair["mcnemar"]["p_value"] == 2 / 2**alone
    assert pair["low"] <= 0 < pair["difference"]
    assert pair["verdict"].startswith("No significant difference")


def test_random_signs_of_many_people_agree_with_all_signs(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(9)
    female, units = simulated_people(rng, 16, 4)
    answers = simulated_answers(rng, units, [quality(0.95), quality(0.6)], 2)
    exact = means_of(answers, female, units, 10).difference(0, 1)[1]
    monkeypatch.setattr(significance, "FEW_PEOPLE", 3)
    sampled = means_of(answers, female, units, 20_000).difference(0, 1)[1]
    assert 0.01 < exact < 0.6
    assert sampled == pytest.approx(exact, abs=0.01)
    monkeypatch.setattr(significance, "SIGNS_AT_ONCE", 500)
    assert means_of(answers, female, units, 20_000).difference(0, 1)[1] == pytest.approx(exact, abs=0.01)


def test_interval_and_p_value_never_contradict_each_other() -> None:
    rng, near = np.random.default_rng(10), 0
    for _ in range(300):
        female, units = simulated_people(rng, int(rng.integers(8, 30)), 4)
        answers = simulated_answers(rng, units, [quality(0.85), quality(0.6)], int(rng.choice([1, 3])), luck=0.3)
        found, p_value = means_of(answers, female, units, 300).difference(0, 1)
        assert (found["low"] <= 0 <= found["high"]) == (p_value >= 0.05)
        assert -1 <= found["low"] <= found["value"] <= found["high"] <= 1
        near += 0.01 < p_value < 0.1
    assert near > 30


def test_chance_of_training_joins_that_of_people_from_three_seeds_on() -> None:
    """Everybody is answered better by a, but its seeds are far apart: p is that of Welch's test and a little more."""
    female, units = np.arange(400) % 2 == 0, np.arange(400)
    rng = np.random.default_rng(11)
    a = rng.random((3, 400)) < np.array([[0.95], [0.75], [0.85]])
    b = rng.random((3, 400)) < np.array([[0.7], [0.75], [0.65]])
    _, p_value = means_of([a, b], female, units, 2000).difference(0, 1)
    welch = stats.ttest_ind(
        *([np.mean([run[female].mean(), run[~female].mean()]) for run in runs] for runs in (a, b)), equal_var=False
    ).pvalue
    assert 0.03 < welch < p_value < 1.5 * welch
    for seeds in (1, 2):
        assert means_of([a[:seeds], b], female, units, 2000).difference(0, 1)[1] < 0.001


@pytest.mark.parametrize("seeds", [1, 3])
def test_a_model_compared_with_itself_is_never_significant(seeds: int) -> None:
    rng = np.random.default_rng(1)
    for trial in range(150):
        female, units = simulated_people(rng, 30, 4)
        (correct,) = simulated_answers(rng, units, [1.0], seeds, luck=0.3)
        means = means_of([correct, correct.copy(), correct[::-1]], female, units, 200, trial)
        for pair in compare_pairs(["a", "b", "c"], means, paths(len(units))):
            assert pair["p_value"] == pair["p_holm"] == 1
            assert not pair["significant"]
            assert pair["low"] <= 0 <= pair["high"]
            assert pair["verdict"].startswith(f"No significant difference between {pair['a']} and {pair['b']}: ")
            assert pair["mcnemar"]["p_value"] == 1 or seeds > 1


def test_two_different_models_are_told_apart_at_the_expected_rate() -> None:
    """Expected from the spread of the difference over other simulated data, by the normal distribution."""
    rng, qualities, truth = np.random.default_rng(3), [quality(0.80), quality(0.74)], 0.80 - 0.74

    def simulated() -> tuple[list[np.ndarray], np.ndarray, np.ndarray]:
        female, units = simulated_people(rng, 150, 6)
        return simulated_answers(rng, units, qualities), female, units

    def difference(answers: list[np.ndarray], female: np.ndarray, units: np.ndarray) -> float:
        first, second = (one[0][female].mean() + one[0][~female].mean() for one in answers)
        return (first - second) / 2

    spread = np.std([difference(*simulated()) for _ in range(2000)])
    expected = stats.norm.sf(1.96 - truth / spread) + stats.norm.cdf(-1.96 - truth / spread)
    assert 0.3 < expected < 0.8
    found = [means_of(*simulated(), 500, trial).difference(0, 1) for trial in range(300)]
    told_apart = np.mean([p_value < 0.05 for _, p_value in found])
    assert told_apart == pytest.approx(expected, abs=0.08)  # 2.8 standard errors of 300 trials
    assert 0.92 <= np.mean([interval["low"] <= truth <= interval["high"] for interval, _ in found]) <= 0.98


def test_training_luck_is_in_the_interval_of_several_seeds_and_not_of_two() -> None:
    """Some seeds fail: the mean is uncertain, although every person is answered alike."""
    female, units = np.arange(400) % 2 == 0, np.arange(400)
    good, bad = np.ones(400, dtype=bool), female  # 1.0 and 0.5
    two = means_of([np.stack([good, bad])], female, units, 0).of(0)
    assert two["value"] == 0.75
    assert 0.7 < two["low"] < two["high"] < 0.8
    three = means_of([np.stack([good, good, bad])], female, units, 0).of(0)
    five = means_of([np.stack([good, good, good, bad, bad])], female, units, 0).of(0)
    assert 0 < three["low"] < five["low"] < 0.8 - 2 * np.std([1, 1, 1, 0.5, 0.5], ddof=1) / np.sqrt(5)
    assert five["high"] < three["high"] < 1
    same = means_of([np.stack([good] * 3)], female, units, 0).of(0)
    assert same == means_of([good[None]], female, units, 0).of(0)


def test_holm_over_all_pairs_as_statsmodels() -> None:
    rng = np.random.default_rng(4)
    female, units = simulated_people(rng, 80, 4)
    answers = simulated_answers(rng, units, [quality(score) for score in (0.85, 0.8, 0.75, 0.65)])
    pairs = compare_pairs(list("abcd"), means_of(answers, female, units, 1000), paths(len(units)))
    assert [(pair["a"], pair["b"]) for pair in pairs] == list(combinations("abcd", 2))
    reject, corrected, *_ = multipletests([pair["p_value"] for pair in pairs], method="holm")
    assert [pair["p_holm"] for pair in pairs] == pytest.approx(corrected)
    assert [pair["significant"] for pair in pairs] == reject.tolist()
    assert 0 < sum(reject) < 6


def test_the_better_one_is_named_whichever_comes_first() -> None:
    rng = np.random.default_rng(5)
    female, units = simulated_people(rng, 200, 3)
    answers = simulated_answers(rng, units, [quality(0.6), quality(0.9)])
    (pair,) = compare_pairs(["poor", "good"], means_of(answers, female, units, 1000), paths(len(units)))
    assert pair["high"] < 0
    interval = f"{-pair['difference']:.3f} [{-pair['high']:.3f}, {-pair['low']:.3f}]"
    assert pair["verdict"] == f"good is better than poor by {interval}, p < 0.001 (Holm)."


def test_many_pairs_do_not_run_out_of_resamples() -> None:
    """With 190 pairs Holm multiplies by up to 190: one in a thousand draws is too coarse for a clear difference."""
    rng = np.random.default_rng(6)
    female, units = simulated_people(rng, 200, 3)
    answers = simulated_answers(rng, units, [quality(0.95), *[quality(0.6)] * 19])
    pairs = compare_pairs([str(i) for i in range(20)], means_of(answers, female, units, 1000), paths(len(units)))
    assert all(pair["significant"] for pair in pairs if pair["a"] == "0")


def test_mcnemar_as_statsmodels_on_one_image_a_person() -> None:
    rng = np.random.default_rng(7)
    female, units = simulated_people(rng, 120, 4)
    a, b = simulated_answers(rng, units, [quality(0.85), quality(0.7)])
    names = paths(len(units))
    (pair,) = compare_pairs(["a", "b"], means_of([a, b], female, units, 100), names)
    found = pair["mcnemar"]
    assert found["people"] == 120
    counts = [[0, found["only_a"]], [found["only_b"], 0]]
    assert found["p_value"] == pytest.approx(mcnemar(counts, exact=True).pvalue)

    shuffled = rng.permutation(len(units))  # the choice of the image depends on its path, not on its place
    means = means_of([a[:, shuffled], b[:, shuffled]], female[shuffled], units[shuffled], 100)
    (other,) = compare_pairs(["a", "b"], means, [names[row] for row in shuffled])
    assert other["mcnemar"] == found


def test_mcnemar_takes_one_seed_a_person() -> None:
    female, units = np.arange(200) % 2 == 0, np.arange(200)
    right, wrong = np.ones(200, dtype=bool), np.zeros(200, dtype=bool)
    means = means_of([np.stack([right, wrong]), np.stack([wrong])], female, units, 100)
    (pair,) = compare_pairs(["a", "b"], means, paths(200))
    assert pair["mcnemar"]["only_b"] == 0
    assert 70 <= pair["mcnemar"]["only_a"] <= 130  # for half the people the seed that is right


def test_what_is_not_defined_says_why() -> None:
    answers = [np.array([[True, False, True]]), np.array([[True, True, True]])]
    one_label = means_of(answers, np.ones(3, dtype=bool), np.arange(3), 50)
    (pair,) = compare_pairs(["a", "b"], one_label, paths(3))
    one_person = means_of(answers, np.array([True, False, True]), np.zeros(3, dtype=int), 50)
    (alone,) = compare_pairs(["a", "b"], one_person, paths(3))
    assert pair["difference"] is pair["p_value"] is pair["p_holm"] is None
    assert not pair["significant"]
    assert "no MALE image" in pair["verdict"]
    assert alone["difference"] == pytest.approx(-0.5)
    assert alone["low"] is alone["p_value"] is None
    assert "one person" in alone["verdict"]
    assert compare_pairs(["a"], one_person, paths(3)) == []
