"""How often a 95 % interval holds the truth: counted over simulated datasets whose truth is known."""

from functools import cache

import numpy as np
import pandas as pd
import pytest

from gender_cls.evaluation.bootstrap import bootstrap, estimates
from gender_cls.evaluation.metrics import calibration_scores, decision_scores, is_female, probability_scores

DATASETS = 300
RESAMPLES = 500
PEOPLE = 200
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
    """The scores of so many people that their noise is a fortieth of that of 200."""
    table = simulate(0, 300_000, clustered)
    return {name: value[0] for name, value in statistics(table, np.ones((1, len(table)))).items()}


@pytest.mark.parametrize("clustered", [False, True], ids=["independent images", "images of people"])
def test_95_percent_intervals_cover_92_to_98_percent(clustered: bool) -> None:
    true, covered = truth(clustered), dict.fromkeys(PROMISED, 0)
    for seed in range(DATASETS):
        table = simulate(seed, PEOPLE, clustered)
        units = table["identity"].to_numpy()
        found = estimates(units, lambda weights, table=table: statistics(table, weights), RESAMPLES, seed=seed)
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
        found = estimates(images, lambda weights, right=right: {"": weights @ right / len(right)}, 300)[""]
        covered += found["low"] <= true <= found["high"]
    assert covered / DATASETS < 0.75


@pytest.mark.parametrize("clustered", [False, True], ids=["independent images", "images of people"])
def test_interval_of_the_calibration_error_covers_in_spite_of_its_bias(clustered: bool) -> None:
    true, percentiles, covered = truth(clustered)["ece"], 0, 0
    for seed in range(DATASETS):
        table = simulate(seed, PEOPLE, clustered)
        ece, units = calibration_scores(is_female(table), table["p_FEMALE"].to_numpy()), table["identity"].to_numpy()
        found = estimates(units, ece, 1000, seed=seed)["ece"]
        covered += found["low"] <= true <= found["high"]
        percentiles += np.quantile(bootstrap(units, ece, 200, seed)["ece"], 0.025) <= true
    assert 0.92 <= covered / DATASETS <= 0.98
    assert clustered or percentiles / DATASETS < 0.4
