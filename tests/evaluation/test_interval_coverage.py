"""How often a 95 % interval holds the truth, and a test of equals rejects: counted over simulated data.

The table of all settings is in `interval_coverage.md`. This writes it anew, in a few minutes:

    PYTHONPATH=.:tests python tests/evaluation/test_interval_coverage.py
"""

from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.special import ndtr, ndtri

from gender_cls.evaluation.bootstrap import bootstrap, estimates
from gender_cls.evaluation.comparison.significance import means_of
from gender_cls.evaluation.metrics import (
    calibration_scores,
    decision_scores,
    is_female,
    probability_scores,
    score_shares,
)

DATASETS = 300
RESAMPLES = 300
PEOPLE = 200
TABLE = Path(__file__).with_name("interval_coverage.md")
SHARES = ("balanced_accuracy", "recall_FEMALE", "accuracy", "auroc")
PEOPLE_NOISE = 0.25  # luck of training that moves a score about as much as the choice of 50 people does
PROMISED = ("balanced_accuracy", "accuracy", "auroc", "brier")


def simulate(seed: int, people: int, clustered: bool) -> pd.DataFrame:
    """Predictions of people with one image each, or with 1 to 30 (few have many) that resemble each other."""
    rng = np.random.default_rng([seed, people])
    images = (1 + 30 * rng.random(people) ** 3).astype(int) if clustered else np.ones(people, dtype=int)
    female = rng.random(people) < 0.42
    person = np.where(female, 1.0, -1.0) + 1.2 * rng.normal(size=people)
    unit = np.repeat(np.arange(people), images)
    p_female = 1 / (1 + np.exp(-1.5 * (person[unit] + 0.8 * rng.normal(size=len(unit)))))
    label = np.where(female[unit], "FEMALE", "MALE")
    return pd.DataFrame({"identity": unit, "label": label, "p_FEMALE": p_female, "p_MALE": 1 - p_female})


def statistics(table: pd.DataFrame, weights: np.ndarray) -> dict[str, np.ndarray]:
    female, p_female = is_female(table), table["p_FEMALE"].to_numpy()
    return decision_scores(female, p_female >= 0.5, weights) | probability_scores(female, p_female)(weights)


@cache
def truth(clustered: bool) -> dict[str, float]:
    """The scores of so many people that their noise is a twentieth of that of 200."""
    table = simulate(0, 100_000, clustered)
    return {name: value[0] for name, value in statistics(table, np.ones((1, len(table)))).items()}


@pytest.mark.parametrize("clustered", [False, True], ids=["independent images", "images of people"])
def test_95_percent_intervals_cover_92_to_98_percent(clustered: bool) -> None:
    true, covered = truth(clustered), dict.fromkeys(PROMISED, 0)
    for seed in range(DATASETS):
        table = simulate(seed, PEOPLE, clustered)
        units = table["identity"].to_numpy()
        shares = score_shares(is_female(table), (table["p_FEMALE"] >= 0.5).to_numpy(), units)
        found = estimates(
            units, lambda weights, table=table: statistics(table, weights), RESAMPLES, seed=seed, shares=shares
        )
        for name in PROMISED:
            covered[name] += found[name]["low"] <= true[name] <= found[name]["high"]
    for name, times in covered.items():
        assert 0.92 <= times / DATASETS <= 0.98, f"{name}: {times / DATASETS:.1%}"


def test_taking_images_for_independent_covers_far_too_little() -> None:
    true, covered = truth(True)["accuracy"], 0
    for seed in range(DATASETS):
        table = simulate(seed, 50, clustered=True)
        right = ((table["p_FEMALE"] >= 0.5) == (table["label"] == "FEMALE")).to_numpy().astype(float)
        images = np.arange(len(table))
        found = estimates(
            images, lambda weights, right=right: {"": weights @ right / len(right)}, 300, shares={"": (len(images),)}
        )[""]
        covered += found["low"] <= true <= found["high"]
    assert covered / DATASETS < 0.75


@pytest.mark.parametrize("clustered", [False, True], ids=["independent images", "images of people"])
def test_interval_of_the_calibration_error_covers_in_spite_of_its_bias(clustered: bool) -> None:
    true, percentiles, covered = truth(clustered)["ece"], 0, 0
    for seed in range(DATASETS):
        table = simulate(seed, PEOPLE, clustered)
        ece, units = calibration_scores(is_female(table), table["p_FEMALE"].to_numpy()), table["identity"].to_numpy()
        found = estimates(units, ece, 400, seed=seed)["ece"]
        covered += found["low"] <= true <= found["high"]
        percentiles += np.quantile(bootstrap(units, ece, 200, seed)["ece"], 0.025) <= true
    assert 0.92 <= covered / DATASETS <= 0.99  # it is wider than it need be, never too narrow
    assert clustered or percentiles / DATASETS < 0.4


def margins(
    rng: np.random.Generator, people: int, scores: list[float], seeds: int = 1, luck: float = 0.0
) -> tuple[np.ndarray, np.ndarray, list[np.ndarray], list[float]]:
    """One to five images of each person, who are easy or hard for all candidates and for each.

    Returns:
        (rows,) whether FEMALE; (rows,) who; of each candidate the (seeds, rows) margins, N(q, 1) + N(0, luck^2), above
        0 if the answer is right; and the true score of each candidate's seeds, whose mean over all seeds is `scores`.
    """
    units = np.repeat(np.arange(people), rng.integers(1, 6, people))
    common, found, true = rng.normal(0, np.sqrt(0.5), people), [], []
    for score in scores:
        own = common + rng.normal(0, 0.5, people)
        quality = ndtri(score) * np.sqrt(1 + luck**2) + luck * rng.normal(size=(seeds, 1))
        found.append(quality + own[units] + rng.normal(0, 0.5, (seeds, len(units))))
        true.append(float(ndtr(quality).mean()))
    return units % 2 == 0, units, found, true


def scores_covered(people: int, score: float, datasets: int) -> dict[str, float]:
    """How often the intervals of one model's scores hold the truth."""
    true = dict.fromkeys(SHARES, score) | {"auroc": ndtr(ndtri(score) * np.sqrt(2))}
    covered = dict.fromkeys(SHARES, 0)
    for dataset in range(datasets):
        female, units, [(margin,)], _ = margins(np.random.default_rng([dataset, people]), people, [score])
        p_female = ndtr(np.where(female, margin, -margin))
        of_probabilities, says_female = probability_scores(female, p_female), p_female >= 0.5

        def statistics(weights: np.ndarray, female=female, says=says_female, other=of_probabilities) -> dict:
            return {**decision_scores(female, says, weights), **other(weights)}

        shares = score_shares(female, says_female, units)
        found = estimates(units, statistics, 200, seed=dataset, shares=shares)
        for name in SHARES:
            covered[name] += found[name]["low"] <= true[name] <= found[name]["high"]
    return {name: times / datasets for name, times in covered.items()}


def seeds_covered(people: int, seeds: int, luck: float, datasets: int, score: float = 0.8) -> tuple[float, float]:
    """How often the interval of a mean over seeds holds the true score of these seeds, and that of all seeds."""
    covered = np.zeros(2)
    for dataset in range(datasets):
        rng = np.random.default_rng([dataset, people, seeds])
        female, units, [margin], [true] = margins(rng, people, [score], seeds, luck)
        found = means_of([margin > 0], female, units, 0).of(0)
        assert 0 <= found["low"] <= found["high"] <= 1
        covered += [found["low"] <= truth <= found["high"] for truth in (true, score)]
    return covered[0] / datasets, covered[1] / datasets


def pairs_told_apart(
    people: int, seeds: int, luck: float, datasets: int, scores: tuple[float, float] = (0.8, 0.8)
) -> tuple[float, float]:
    """How often p is below 0.05, and how often the interval holds the true difference."""
    rejected = covered = 0
    for dataset in range(datasets):
        rng = np.random.default_rng([dataset, people, seeds])
        female, units, found, _ = margins(rng, people, list(scores), seeds, luck)
        interval, p_value = means_of([one > 0 for one in found], female, units, 1000, dataset).difference(0, 1)
        rejected += p_value < 0.05
        covered += interval["low"] <= scores[0] - scores[1] <= interval["high"]
    return rejected / datasets, covered / datasets


@pytest.mark.parametrize("people", [10, 20, 50])
def test_intervals_of_shares_cover_with_few_people(people: int) -> None:
    found = pd.DataFrame([scores_covered(people, score, 120) for score in (0.6, 0.8, 0.95)])
    for name, covered in found.mean().items():
        assert 0.93 <= covered <= 0.99, f"{name}: {covered:.1%}"


@pytest.mark.parametrize("people", [20, 100, 500])
@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_intervals_of_means_over_seeds_cover_what_they_say(people: int, seeds: int) -> None:
    these, all_seeds = seeds_covered(people, seeds, PEOPLE_NOISE, 200)
    assert 0.91 <= (these if seeds == 2 else all_seeds) <= 1
    assert seeds > 2 or people < 500 or all_seeds < 0.7, "two seeds do not cover the chance of training"


@pytest.mark.parametrize(
    ("people", "seeds", "luck"), [(10, 1, 0), (20, 1, 0), (50, 1, 0), (20, 3, 0.25), (50, 3, 0.25), (50, 5, 0.25)]
)
def test_equally_good_candidates_differ_in_at_most_five_percent(people: int, seeds: int, luck: float) -> None:
    rejected, covered = pairs_told_apart(people, seeds, luck, 300)
    assert rejected <= 0.08
    assert covered == 1 - rejected


def test_a_test_of_people_alone_would_take_the_luck_of_training_for_a_difference() -> None:
    assert pairs_told_apart(50, 2, PEOPLE_NOISE, 200)[0] > 0.15


@pytest.mark.parametrize("people", [10, 20, 50])
def test_intervals_of_a_difference_cover(people: int) -> None:
    assert 0.92 <= pairs_told_apart(people, 1, 0, 200, (0.8, 0.6))[1] <= 1


def score_lines(datasets: int) -> Iterator[str]:
    yield "# Simulated coverage of 95 % intervals, and level of the test of a difference"
    yield f"\n{datasets:,} datasets for each number; one to five images of each person, correlated 0.75 within them."
    yield "\n## A model's scores: coverage in %\n"
    yield "| people | true score | " + " | ".join(SHARES) + " |"
    yield "|---" * (2 + len(SHARES)) + "|"
    for people in (10, 20, 50):
        for score in (0.6, 0.8, 0.95):
            found = scores_covered(people, score, datasets)
            yield f"| {people} | {score} | " + " | ".join(f"{100 * found[name]:.1f}" for name in SHARES) + " |"


def seed_lines(datasets: int) -> Iterator[str]:
    yield "\n## A mean over seeds, true score 0.8: coverage in %\n"
    yield "`these`: of the true score of the trained seeds; `all`: of the mean over all seeds that could be trained."
    yield "With two seeds the interval promises only the first.\n"
    yield "| people | seeds | luck 0: these, all | luck 0.25: these, all |\n|---|---|---|---|"
    for people in (20, 50, 100, 500):
        for seeds in (2, 3, 5):
            cells = [seeds_covered(people, seeds, luck, datasets) for luck in (0.0, PEOPLE_NOISE)]
            yield f"| {people} | {seeds} | " + " | ".join(f"{100 * a:.1f}, {100 * b:.1f}" for a, b in cells) + " |"


def pair_lines(datasets: int) -> Iterator[str]:
    yield "\n## A paired difference: p < 0.05 in %, and coverage in %\n"
    yield "With one or two seeds the test and the interval are about the people alone, so luck of training looks like a"
    yield "difference: the page says so.\n"
    yield "| people | seeds | luck | 0.8 and 0.8 | 0.95 and 0.95 | 0.8 and 0.6 | 0.95 and 0.8 |"
    yield "|---" * 7 + "|"
    for people in (10, 20, 50):
        for seeds, luck in ((1, 0.0), (2, PEOPLE_NOISE), (3, 0.0), (3, PEOPLE_NOISE), (5, PEOPLE_NOISE)):
            pairs = [(0.8, 0.8), (0.95, 0.95), (0.8, 0.6), (0.95, 0.8)]
            cells = [pairs_told_apart(people, seeds, luck, datasets, pair) for pair in pairs]
            row = " | ".join(f"{100 * a:.1f}, {100 * b:.1f}" for a, b in cells)
            yield f"| {people} | {seeds} | {luck} | {row} |"


if __name__ == "__main__":
    lines = (line for part in (score_lines, seed_lines, pair_lines) for line in part(500))
    TABLE.write_text("\n".join(lines) + "\n", encoding="utf-8")
