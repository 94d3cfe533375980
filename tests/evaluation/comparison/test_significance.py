from itertools import combinations

import numpy as np
import pytest
from helpers.comparing import simulated_answers, simulated_people
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests

from gender_cls.evaluation.bootstrap import bootstrap
from gender_cls.evaluation.comparison.significance import compare_pairs, resample_means
from gender_cls.evaluation.metrics import decision_scores

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
    means = resample_means([a, b], female, units, resamples=200)
    assert [seeds.tolist() for seeds in means.by_seed] == [pytest.approx([7 / 12, 1]), pytest.approx([0.5])]
    assert means.difference(0, 1)[0]["value"] == pytest.approx(19 / 24 - 0.5)


def test_resamples_are_those_of_the_rows_themselves() -> None:
    """Sums over people stand for rows."""
    rng = np.random.default_rng(0)
    female, units = simulated_people(rng, 12, 5)
    (correct,) = simulated_answers(rng, units, [1.0])
    draws = resample_means([correct], female, units, resamples=50, seed=3).draws[0]
    of_rows = bootstrap(units, lambda weights: decision_scores(female, correct[0] == female, weights), 50, 3)
    assert draws == pytest.approx(of_rows["balanced_accuracy"])


@pytest.mark.parametrize("seeds", [1, 3])
def test_a_model_compared_with_itself_is_never_significant(seeds: int) -> None:
    rng = np.random.default_rng(1)
    for trial in range(150):
        female, units = simulated_people(rng, 30, 4)
        (correct,) = simulated_answers(rng, units, [1.0], seeds, luck=0.3)
        means = resample_means([correct, correct.copy(), correct[::-1]], female, units, 200, trial)
        for pair in compare_pairs(["a", "b", "c"], means, paths(len(units))):
            assert pair["p_value"] == pair["p_holm"] == 1
            assert not pair["significant"]
            assert pair["low"] <= 0 <= pair["high"]
            assert pair["verdict"].startswith(f"No significant difference between {pair['a']} and {pair['b']}: ")
            assert pair["mcnemar"]["p_value"] == 1 or seeds > 1


@pytest.mark.parametrize(
    ("people", "seeds", "luck"), [(60, 1, 0.0), (200, 1, 0.0), (200, 3, 0.4)], ids=["60", "200", "200, 3 seeds"]
)
def test_two_equally_good_models_differ_in_five_percent_and_intervals_cover(
    people: int, seeds: int, luck: float
) -> None:
    rng = np.random.default_rng(2)
    found_different = covered = 0
    for trial in range(300):
        female, units = simulated_people(rng, people, 6)
        answers = simulated_answers(rng, units, [quality(0.75)] * 2, seeds, luck)
        found, p_value = resample_means(answers, female, units, 500, trial).difference(0, 1)
        found_different += p_value < 0.05
        covered += found["low"] <= 0 <= found["high"]
    assert 0.02 <= found_different / 300 <= 0.09
    assert 0.92 <= covered / 300 <= 0.98


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
    found = [resample_means(*simulated(), 500, trial).difference(0, 1) for trial in range(300)]
    told_apart = np.mean([p_value < 0.05 for _, p_value in found])
    assert told_apart == pytest.approx(expected, abs=0.08)  # 2.8 standard errors of 300 trials
    assert 0.92 <= np.mean([interval["low"] <= truth <= interval["high"] for interval, _ in found]) <= 0.98


def test_training_luck_is_in_the_interval_of_several_seeds() -> None:
    """Two of five seeds fail: the mean is uncertain, although every person is answered alike."""
    female, units = np.arange(400) % 2 == 0, np.arange(400)
    good, bad = np.ones(400, dtype=bool), female  # 1.0 and 0.5
    means = resample_means([np.stack([good, good, good, bad, bad])], female, units, 4000)
    found = means.of(0)
    assert found["value"] == pytest.approx(0.8)
    expected = np.std([1, 1, 1, 0.5, 0.5], ddof=1) / np.sqrt(5)  # standard error of the mean of five seeds
    assert means.luck[0].std() == pytest.approx(expected, rel=0.05)
    half = stats.t.ppf(0.975, 4) * expected  # of Student's interval
    assert found["value"] - found["low"] == pytest.approx(half, rel=0.25)
    assert found["high"] <= 1


def test_holm_over_all_pairs_as_statsmodels() -> None:
    rng = np.random.default_rng(4)
    female, units = simulated_people(rng, 80, 4)
    answers = simulated_answers(rng, units, [quality(score) for score in (0.85, 0.8, 0.75, 0.65)])
    pairs = compare_pairs(list("abcd"), resample_means(answers, female, units, 1000), paths(len(units)))
    assert [(pair["a"], pair["b"]) for pair in pairs] == list(combinations("abcd", 2))
    reject, corrected, *_ = multipletests([pair["p_value"] for pair in pairs], method="holm")
    assert [pair["p_holm"] for pair in pairs] == pytest.approx(corrected)
    assert [pair["significant"] for pair in pairs] == reject.tolist()
    assert 0 < sum(reject) < 6


def test_the_better_one_is_named_whichever_comes_first() -> None:
    rng = np.random.default_rng(5)
    female, units = simulated_people(rng, 200, 3)
    answers = simulated_answers(rng, units, [quality(0.6), quality(0.9)])
    (pair,) = compare_pairs(["poor", "good"], resample_means(answers, female, units, 1000), paths(len(units)))
    assert pair["high"] < 0
    interval = f"{-pair['difference']:.3f} [{-pair['high']:.3f}, {-pair['low']:.3f}]"
    assert pair["verdict"] == f"good is better than poor by {interval}, p < 0.001 (Holm)."


def test_many_pairs_do_not_run_out_of_resamples() -> None:
    """With 190 pairs Holm multiplies by up to 190: one in a thousand draws is too coarse for a clear difference."""
    rng = np.random.default_rng(6)
    female, units = simulated_people(rng, 200, 3)
    answers = simulated_answers(rng, units, [quality(0.95), *[quality(0.6)] * 19])
    pairs = compare_pairs([str(i) for i in range(20)], resample_means(answers, female, units, 1000), paths(len(units)))
    assert all(pair["significant"] for pair in pairs if pair["a"] == "0")


def test_mcnemar_as_statsmodels_on_one_image_a_person() -> None:
    rng = np.random.default_rng(7)
    female, units = simulated_people(rng, 120, 4)
    a, b = simulated_answers(rng, units, [quality(0.85), quality(0.7)])
    names = paths(len(units))
    (pair,) = compare_pairs(["a", "b"], resample_means([a, b], female, units, 100), names)
    found = pair["mcnemar"]
    assert found["people"] == 120
    counts = [[0, found["only_a"]], [found["only_b"], 0]]
    assert found["p_value"] == pytest.approx(mcnemar(counts, exact=True).pvalue)

    shuffled = rng.permutation(len(units))  # the choice of the image depends on its path, not on its place
    means = resample_means([a[:, shuffled], b[:, shuffled]], female[shuffled], units[shuffled], 100)
    (other,) = compare_pairs(["a", "b"], means, [names[row] for row in shuffled])
    assert other["mcnemar"] == found


def test_mcnemar_takes_one_seed_a_person() -> None:
    female, units = np.arange(200) % 2 == 0, np.arange(200)
    right, wrong = np.ones(200, dtype=bool), np.zeros(200, dtype=bool)
    means = resample_means([np.stack([right, wrong]), np.stack([wrong])], female, units, 100)
    (pair,) = compare_pairs(["a", "b"], means, paths(200))
    assert pair["mcnemar"]["only_b"] == 0
    assert 70 <= pair["mcnemar"]["only_a"] <= 130  # for half the people the seed that is right


def test_what_is_not_defined_says_why() -> None:
    answers = [np.array([[True, False, True]]), np.array([[True, True, True]])]
    one_label = resample_means(answers, np.ones(3, dtype=bool), np.arange(3), 50)
    (pair,) = compare_pairs(["a", "b"], one_label, paths(3))
    one_person = resample_means(answers, np.array([True, False, True]), np.zeros(3, dtype=int), 50)
    (alone,) = compare_pairs(["a", "b"], one_person, paths(3))
    assert pair["difference"] is pair["p_value"] is pair["p_holm"] is None
    assert not pair["significant"]
    assert "no MALE image" in pair["verdict"]
    assert alone["difference"] == pytest.approx(-0.5)
    assert alone["low"] is alone["p_value"] is None
    assert "one person" in alone["verdict"]
    assert compare_pairs(["a"], one_person, paths(3)) == []
