"""What remains of a model's scores when its pictures get worse, or when a part of them is taken away.

Everything starts from a logit for each test image and variant: log p_FEMALE - log p_MALE of the raw softmax. Unlike a
probability it keeps its precision near 0 and 1.
"""

from collections.abc import Iterable

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import expit

from gender_cls.config.data import CLASSES
from gender_cls.data.variant_names import CORRUPTIONS, SEVERITIES, SHORTCUTS
from gender_cls.evaluation.bootstrap import RESAMPLES, bootstrap_units, estimates, ratio
from gender_cls.evaluation.estimate import Estimate
from gender_cls.evaluation.metrics import RELIABILITY_EDGES, reliability_bins
from gender_cls.evaluation.schema import CorruptionScores, Severity, Shortcut, Stress, WorstCorruption

FEMALE, MALE = CLASSES

SCORES = ("balanced_accuracy", "flip_rate", "coverage", "ece")

MOST_RESAMPLES = 2_000
"""Of the stress test: 45 variants of 10,000 images of nobody known take 4 s on one core, and 13 s with 10,000. The ends
of an interval then vary by chance with a standard deviation of 1.5 % of its width."""

Band = tuple[float, float]
"""Low and high calibrated probability of FEMALE; strictly between them the answer is `abstain`."""


def variants(stress: bool, shortcuts: bool) -> list[str]:
    """The columns of logits, in order: `low_resolution_1` to `box_shift_5`, then `person_masked` to `eight_pixels`."""
    corrupted = [f"{name}_{severity}" for name in CORRUPTIONS for severity in SEVERITIES]
    return (corrupted if stress else []) + (list(SHORTCUTS) if shortcuts else [])


def stress_scores(
    test: pd.DataFrame,
    logits: pd.DataFrame,
    temperature: float,
    band: Band | None,
    resamples: int = MOST_RESAMPLES,
    seed: int = 0,
) -> Stress:
    """Scores by corruption and severity.

    Decisions are the more probable label. A mean is null when one of its balanced accuracies is; the worst is the
    lowest that is defined.

    Args:
        test: predictions of the test split; what flips differs from its `prediction`.
        logits: `path` and a column for each of the `variants`; rows in any order. A variant has null scores when the
            logit of an image is NaN or its row is missing.
        temperature: of the calibration; `ece` and `coverage` depend on it.
        band: of abstention; null without one.
        resamples: of the bootstrap, of which no more than MOST_RESAMPLES are drawn.
    """
    resamples = min(resamples, MOST_RESAMPLES)
    scored = _score(test, logits, variants(stress=True, shortcuts=False), temperature, band, resamples, seed)
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


def shortcut_scores(
    test: pd.DataFrame, logits: pd.DataFrame, resamples: int = RESAMPLES, seed: int = 0
) -> list[Shortcut]:
    """Balanced accuracy, at the more probable label, with a part of the picture taken away.

    Args:
        test: predictions of the test split.
        logits: `path` and a column for each of SHORTCUTS, as in `stress_scores`.
    """
    scored = _score(test, logits, list(SHORTCUTS), 1.0, None, resamples, seed)
    return [
        Shortcut(name=name, title=title, balanced_accuracy=scored[f"{name} balanced_accuracy"])
        for name, title in SHORTCUTS.items()
    ]


def _stressed_by(name: str, scored: dict[str, Estimate], band: Band | None) -> CorruptionScores:
    severities = [
        Severity(
            severity=severity,
            balanced_accuracy=scored[f"{name}_{severity} balanced_accuracy"],
            ece=scored[f"{name}_{severity} ece"],
            flip_rate=scored[f"{name}_{severity} flip_rate"],
            coverage=None if band is None else scored[f"{name}_{severity} coverage"],
        )
        for severity in SEVERITIES
    ]
    values = [one["balanced_accuracy"]["value"] for one in severities]
    lowest = min((value for value in values if value is not None), default=None)
    return CorruptionScores(name=name, title=CORRUPTIONS[name], severities=severities, mean=_mean(values), worst=lowest)


def _mean(values: Iterable[float | None]) -> float | None:
    """Null when one of them is."""
    mean = np.array(list(values), dtype=np.float64).mean()
    return float(mean) if np.isfinite(mean) else None


def _score(
    test: pd.DataFrame,
    logits: pd.DataFrame,
    names: list[str],
    temperature: float,
    band: Band | None,
    resamples: int,
    seed: int,
) -> dict[str, Estimate]:
    """`variant score` -> number, for balanced_accuracy, flip_rate, coverage and ece.

    All four are made of sums over images. So each unit's images are added up first, and one product of matrices gives
    what every resample needs of all variants.
    """
    table = logits.set_index("path")[names].reindex(test["path"])
    missing = table.isna().sum()
    complete = [name for name in names if not missing[name]]
    female, said_female = ((test[column] == FEMALE).to_numpy() for column in ("label", "prediction"))
    terms = _terms(table[complete].to_numpy(np.float64), female, said_female, temperature, band)
    units = bootstrap_units(test)
    order = np.argsort(units, kind="stable")
    sums = np.add.reduceat(terms[order], np.flatnonzero(np.diff(units[order], prepend=-1)))

    def statistics(weights: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
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

    absent = [f"There is no {label} image." for label, there in ((FEMALE, female), (MALE, ~female)) if not there.any()]
    remarks = {f"{name} balanced_accuracy": remark for name in complete for remark in absent}
    if not len(test):
        remarks = dict.fromkeys((f"{name} {score}" for name in complete for score in SCORES), "There are no images.")
    result = estimates(np.arange(len(sums)), statistics, resamples, seed, remarks)
    for name in names:
        if missing[name]:
            remark = f"{missing[name]} of {len(test)} images have no logit."
            result |= {f"{name} {score}": Estimate(value=None, low=None, high=None, remark=remark) for score in SCORES}
    return result


def _terms(
    logits: NDArray[np.float64],
    female: NDArray[np.bool_],
    said_female: NDArray[np.bool_],
    temperature: float,
    band: Band | None,
) -> NDArray[np.float64]:
    """(rows, variants, 21): what each image adds to the counts that the scores are made of.

    First is FEMALE, is MALE, is FEMALE and found so, is MALE and found so, changes its answer, is answered. Then, in
    the place of its bin of 15, by how much its calibrated probability exceeds the label (see `calibration_error`).
    """
    p_female = expit(logits / temperature)
    low, high = band if band is not None else (0.5, 0.5)
    says_female = logits >= 0  # as argmax does, a tie is the first of CLASSES
    female, said_female = female[:, None], said_female[:, None]
    terms = np.zeros((*logits.shape, 6 + len(RELIABILITY_EDGES) - 1))
    counts = (
        female,
        ~female,
        female & says_female,
        ~female & ~says_female,
        says_female != said_female,
        (p_female <= low) | (p_female >= high),
    )
    for at, count in enumerate(counts):
        terms[..., at] = count
    bins = 6 + reliability_bins(p_female)
    np.put_along_axis(terms, bins[..., None], (p_female - female)[..., None], axis=-1)
    return terms
