"""How a model's scores change when its images get worse, or when a part of each is removed.

The input is a logit for each test image and variant: log p_FEMALE - log p_MALE of the raw softmax. Unlike a probability
it keeps its precision near 0 and 1.
"""

from collections.abc import Iterable
from typing import cast

import numpy as np
import pandas as pd
from scipy.special import expit

from gender_cls.data.variant_names import CORRUPTIONS, SEVERITIES, SHORTCUTS
from gender_cls.evaluation.bootstrap import Booleans, Numbers, bootstrap_units, count_people, estimates, ratio
from gender_cls.evaluation.estimate import Estimate, undefined
from gender_cls.evaluation.metrics import RELIABILITY_EDGES, absent_labels, is_female, reliability_bins
from gender_cls.evaluation.schema import CorruptionScores, Severity, Shortcut, Stress, WorstCorruption

STRESS_SCORES = ("balanced_accuracy", "ece", "flip_rate", "coverage")

MOST_RESAMPLES = 2_000
"""Limit for the stress test, whose many variants would take long. The ends of an interval then vary by chance with a
standard deviation of 1.5 % of its width."""

Band = tuple[float, float]
"""Low and high calibrated probability of FEMALE; strictly between them the answer is `abstain`."""


def variants(stress: bool, shortcuts: bool) -> list[str]:
    """The columns of logits, in order: `low_resolution_1` to `box_shift_5`, then `person_masked` to `eight_pixels`."""
    corrupted = [f"{name}_{severity}" for name in CORRUPTIONS for severity in SEVERITIES]
    return (corrupted if stress else []) + (list(SHORTCUTS) if shortcuts else [])


def stress_scores(
    test: pd.DataFrame, logits: pd.DataFrame, temperature: float, band: Band | None, resamples: int
) -> Stress:
    """Scores by corruption and severity.

    The answer is the more probable label. A mean is null if one of its balanced accuracies is; the worst is the lowest
    that is defined.

    Args:
        test: predictions of the test split; an answer that differs from its `prediction` counts as flipped.
        logits: `path` and a column for each of the `variants`; rows in any order. A variant has null scores if the
            logit of an image is NaN or its row is missing.
        temperature: of the calibration; `ece` and `coverage` depend on it.
        resamples: no more than MOST_RESAMPLES are drawn.
    """
    names = variants(stress=True, shortcuts=False)
    drawn = min(resamples, MOST_RESAMPLES)
    scored = _score_variants(test, logits, names, drawn, temperature=temperature, band=band)
    corruptions = [_stressed_by(name, scored, band) for name in CORRUPTIONS]
    cells = [
        WorstCorruption(name=one["name"], severity=cell["severity"], balanced_accuracy=value)
        for one in corruptions
        for cell in one["severities"]
        if (value := cell["balanced_accuracy"]["value"]) is not None
    ]
    return Stress(
        corruptions=corruptions,
        mean=_mean(one["mean"] for one in corruptions),
        worst=min(cells, key=lambda cell: cell["balanced_accuracy"], default=None),
    )


def shortcut_scores(test: pd.DataFrame, logits: pd.DataFrame, resamples: int) -> list[Shortcut]:
    """Balanced accuracy, at the more probable label, with a part of each image removed.

    `logits` has `path` and a column for each of SHORTCUTS; rows in any order.
    """
    scored = _score_variants(test, logits, list(SHORTCUTS), resamples, temperature=1.0, band=None)
    return [
        Shortcut(name=name, title=title, balanced_accuracy=scored[f"{name} balanced_accuracy"])
        for name, title in SHORTCUTS.items()
    ]


def _stressed_by(name: str, scored: dict[str, Estimate], band: Band | None) -> CorruptionScores:
    def at(severity: int) -> Severity:
        found = {score: scored[f"{name}_{severity} {score}"] for score in STRESS_SCORES}
        return cast(Severity, {"severity": severity, **found, **({"coverage": None} if band is None else {})})

    severities = [at(severity) for severity in SEVERITIES]
    values = [one["balanced_accuracy"]["value"] for one in severities]
    lowest = min((value for value in values if value is not None), default=None)
    return CorruptionScores(name=name, title=CORRUPTIONS[name], severities=severities, mean=_mean(values), worst=lowest)


def _mean(values: Iterable[float | None]) -> float | None:
    """None if one of the values is."""
    mean = np.array(list(values), dtype=np.float64).mean()
    return float(mean) if np.isfinite(mean) else None


def _score_variants(
    test: pd.DataFrame, logits: pd.DataFrame, names: list[str], resamples: int, *, temperature: float, band: Band | None
) -> dict[str, Estimate]:
    """`variant score` -> number, for balanced_accuracy, flip_rate, coverage and ece.

    All four come from sums over images. So the images of each person are added up first, and one matrix product gives
    the sums of all resamples and variants.
    """
    table = logits.set_index("path")[names].reindex(test["path"])
    missing = table.isna().sum()
    complete = [name for name in names if not missing[name]]
    female, said_female = is_female(test), is_female(test, "prediction")
    terms = _terms(table[complete].to_numpy(np.float64), female, said_female, temperature, band)
    units = bootstrap_units(test)
    order = np.argsort(units, kind="stable")
    sums = np.add.reduceat(terms[order], np.flatnonzero(np.diff(units[order], prepend=-1)))

    def statistics(weights: Numbers) -> dict[str, Numbers]:
        drawn = np.tensordot(weights, sums, axes=1)
        females, males, right_female, right_male, flipped, answered = np.moveaxis(drawn[..., :6], -1, 0)
        images = females + males
        scores = {
            "balanced_accuracy": (ratio(right_female, females) + ratio(right_male, males)) / 2,
            "flip_rate": ratio(flipped, images),
            "coverage": ratio(answered, images),
            "ece": ratio(np.abs(drawn[..., 6:]).sum(axis=-1), images),
        }
        return {f"{name} {score}": scores[score][:, at] for at, name in enumerate(complete) for score in scores}

    if len(test):
        absent = [f"There is no {label} image." for label in absent_labels(female)]
        remarks = {f"{name} balanced_accuracy": remark for name in complete for remark in absent}
    else:
        remarks = {f"{name} {score}": "There are no images." for name in complete for score in STRESS_SCORES}
    people = {"balanced_accuracy": count_people(units, female, ~female)}
    people |= dict.fromkeys(("flip_rate", "coverage"), (len(sums),))
    shares = {f"{name} {score}": number for name in complete for score, number in people.items()}
    result = estimates(np.arange(len(sums)), statistics, resamples, remarks, shares=shares)
    for name in names:
        if missing[name]:
            remark = f"{missing[name]} of {len(test)} images have no logit."
            result |= {f"{name} {score}": undefined(remark) for score in STRESS_SCORES}
    return result


def _terms(logits: Numbers, female: Booleans, said_female: Booleans, temperature: float, band: Band | None) -> Numbers:
    """(rows, variants, 21): what each image adds to the sums that the scores are made of.

    The first six count: is FEMALE, is MALE, is FEMALE and found so, is MALE and found so, changes its answer, is
    answered. Then, at the place of its bin of 15, by how much its calibrated probability exceeds the label (see
    `calibration_scores`).
    """
    p_female = expit(logits / temperature)
    low, high = band if band is not None else (0.5, 0.5)
    says_female = logits >= 0  # as argmax does, a tie is the first of CLASSES
    female, said_female = female[:, None], said_female[:, None]
    terms = np.zeros((*logits.shape, 6 + len(RELIABILITY_EDGES) - 1))
    answered = (p_female <= low) | (p_female >= high)
    right_female, right_male, flipped = female & says_female, ~female & ~says_female, says_female != said_female
    for at, count in enumerate((female, ~female, right_female, right_male, flipped, answered)):
        terms[..., at] = count
    bins = 6 + reliability_bins(p_female)
    np.put_along_axis(terms, bins[..., None], (p_female - female)[..., None], axis=-1)
    return terms
