"""How often the intervals of a test on other data hold the truth, counted over simulated data.

The table of all settings is in `elsewhere_coverage.md`. This writes it anew, in a few minutes:

    PYTHONPATH=.:tests python tests/evaluation/test_elsewhere_coverage.py
"""

from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit, logit
from scipy.stats import norm

from gender_cls.evaluation.decisions import DecisionRule
from gender_cls.evaluation.differences import difference_of_others
from gender_cls.evaluation.elsewhere_schema import COMPARED_SCORES, LOWER_IS_BETTER
from gender_cls.evaluation.estimate import Estimate
from gender_cls.evaluation.measured_here import measure_here

TABLE = Path(__file__).with_name("elsewhere_coverage.md")
RESAMPLES = 200
PRIOR = 0.42
AT_HALF = DecisionRule(1.0, 0.5, None)
HOME = {"share": PRIOR, "added": 0.0, "noise": 0.0}
SHIFTS = {
    "none": HOME,
    "share of labels": HOME | {"share": 0.7},
    "added to all logits": HOME | {"added": 1.5},
    "noise": HOME | {"noise": 2.0},
}
ADAPTED = ("balanced_accuracy", "macro_f1", "accuracy", "log_loss")
"""Scores whose paired differences are counted. That of ECE is left out: noise raises an ECE that is nearly 0, so that
its gain is shown too small."""


def simulate(rng: np.random.Generator, people: int, share: float, added: float, noise: float) -> pd.DataFrame:
    """One to five images of each person, correlated 0.75 within them; without a shift the logits are calibrated."""
    female = rng.permutation(people) < round(share * people)
    units = np.repeat(np.arange(people), rng.integers(1, 6, people))
    own, each = rng.normal(0, np.sqrt(0.75), people), rng.normal(0, 0.5, len(units))
    x = np.where(female, 1, -1)[units] + own[units] + each
    logits = 2 * x + logit(PRIOR) + added + noise * rng.normal(size=len(units))
    label = np.where(female[units], "FEMALE", "MALE")
    names = units.astype(str)
    return pd.DataFrame({"identity": names, "label": label, "p_FEMALE": expit(logits), "p_MALE": expit(-logits)})


def measured(table: pd.DataFrame, resamples: int) -> dict[str, Estimate]:
    here = measure_here(table, AT_HALF, PRIOR, None, resamples)
    best, below_best = here.best()
    found = {name: here.of(name) for name in COMPARED_SCORES}
    found |= {"best": best, "below_best": below_best, "suggested share": here.of("prior share")}
    return found | {f"gain of {name}": here.difference(f"prior {name}", name) for name in ADAPTED}


def drop(score: str, home: Estimate, here: Estimate) -> Estimate:
    return difference_of_others(here, home) if score in LOWER_IS_BETTER else difference_of_others(home, here)


@cache
def truth(shift: str) -> dict[str, float]:
    """The numbers of so many people that their noise does not matter."""
    table = simulate(np.random.default_rng(1), 30_000, **SHIFTS[shift])
    return {name: one["value"] for name, one in measured(table, 2).items()}


def covered(people: int, shift: str, datasets: int) -> dict[str, float]:
    """How often the intervals of the drops, and of what is measured here only, hold the truth."""
    true, at_home = truth(shift), truth("none")
    hits: dict[str, list[bool]] = {}
    for dataset in range(datasets):
        rng = np.random.default_rng([dataset, people])
        home, here = (measured(simulate(rng, people, **one), RESAMPLES) for one in (HOME, SHIFTS[shift]))
        for score in COMPARED_SCORES:
            lost = true[score] - at_home[score] if score in LOWER_IS_BETTER else at_home[score] - true[score]
            found = drop(score, home[score], here[score])
            hits.setdefault(f"drop of {score}", []).append(found["low"] <= lost <= found["high"])
        for name in here.keys() - {*COMPARED_SCORES}:
            found = here[name]
            if found["low"] is not None:  # few answers may suggest one label only
                hits.setdefault(name, []).append(found["low"] <= true[name] <= found["high"])
    return {name: float(np.mean(those)) for name, those in sorted(hits.items())}


@pytest.mark.parametrize("people", [10, 20, 50])
def test_intervals_of_drops_and_gains_cover_with_few_people(people: int) -> None:
    found = pd.DataFrame([covered(people, shift, 40) for shift in SHIFTS]).mean()
    assert truth("none")["balanced_accuracy"] == pytest.approx(norm.cdf(1), abs=0.01)
    for name, share in found.items():
        least = 0.87 if name == "drop of log_loss" else 0.92  # few people hold few of the worst mistakes
        assert least <= share <= 1, f"{name}: {share:.1%}"


def lines(datasets: int) -> Iterator[str]:
    yield "# Simulated coverage of the 95 % intervals of a test on other data\n"
    yield f"In %. {datasets:,} datasets for each number; home and elsewhere have as many people each, with one to five"
    yield "images, correlated 0.75 within them. `drop`: home against elsewhere; `gain`: answers re-weighed by the share"
    yield "of labels that they suggest, against the plain ones; `best` and `below_best`: at the best threshold here.\n"
    columns = {
        f"{people} people, {shift}": covered(people, shift, datasets) for people in (10, 20, 50) for shift in SHIFTS
    }
    names = [*next(iter(columns.values()))]
    yield "| people | shift | " + " | ".join(name.replace("_", " ") for name in names) + " |"
    yield "|---" * (2 + len(names)) + "|"
    for title, found in columns.items():
        cells = " | ".join(f"{100 * found[name]:.1f}" for name in names)
        yield f"| {title.replace(' people, ', ' | ')} | {cells} |"


if __name__ == "__main__":
    TABLE.write_text("\n".join(lines(400)) + "\n", encoding="utf-8")
