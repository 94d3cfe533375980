"""How well probabilities agree with the labels, before and after temperature scaling (Guo et al. 2017,
arXiv 1706.04599)."""

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.optimize import brentq
from scipy.special import expit

from gender_cls.evaluation import metrics
from gender_cls.evaluation.bootstrap import Booleans, Numbers, Units, bootstrap_units, count_people, estimates, ratio
from gender_cls.evaluation.estimate import undefined
from gender_cls.evaluation.schema import Calibration, Reliability, ReliabilityBin

TEMPERATURES = (0.05, 20.0)  # the searched range; outside it logits say next to nothing, or training hardly began


def log_odds(p_female: ArrayLike, p_male: ArrayLike) -> Numbers:
    """log p_FEMALE - log p_MALE; a probability below the smallest normal float64 counts as that, so 0 gives -708."""
    least = np.finfo(np.float64).tiny
    return np.log(np.maximum(p_female, least)) - np.log(np.maximum(p_male, least))


def logit(table: pd.DataFrame) -> Numbers:
    """(rows,) log odds, exact near 0 and near 1 because both columns are used; NaN where one is not finite."""
    return logit_of(table[[f"p_{metrics.FEMALE}", f"p_{metrics.MALE}"]].to_numpy(np.float64))


def logit_of(probabilities: Numbers) -> Numbers:
    """(..., 2) probabilities of FEMALE and MALE -> (...) log odds; see `logit`."""
    p = np.where(np.isfinite(probabilities), probabilities, np.nan)
    return log_odds(p[..., 0], p[..., 1])


def calibrated(table: pd.DataFrame, temperature: float) -> Numbers:
    """(rows,) probability of FEMALE after temperature scaling, NaN where it was not finite before."""
    return expit(logit(table) / temperature)


def problem_of(numbers: Numbers) -> str | None:
    """Why nothing can be computed from these probabilities or logits, or None."""
    if not len(numbers):
        return "There are no images."
    wrong = int((~np.isfinite(numbers)).sum())
    return f"{wrong} of {len(numbers)} probabilities are not finite." if wrong else None


def fit_temperature(female: Booleans, logits: Numbers) -> tuple[float, str | None]:
    """The temperature T with the lowest log loss of sigmoid(logits / T) on validation, and None or a remark.

    The loss is convex in 1 / T, so the root of its slope is the only minimum. With a remark, T is not a fitted one: it
    is 1 if nothing can be learnt about it, or the end of TEMPERATURES beyond which the loss still falls.

    Args:
        logits: (rows,) log p_FEMALE - log p_MALE.
    """
    if problem := problem_of(logits):
        return 1.0, f"The temperature stays 1. On validation: {problem}"
    if absent := metrics.absent_labels(female):
        return 1.0, f"The temperature stays 1: on validation there is no {absent[0]} image."
    if not logits.any():
        return 1.0, "The temperature stays 1: all probabilities on validation are 0.5."
    towards_label = np.where(female, logits, -logits)
    if (towards_label >= 0).all():
        # The loss falls for ever as T goes to 0, and with a tiny T the first mistake on test would cost without bound.
        return 1.0, "The temperature stays 1: without a mistake on validation, no confidence is too high for it."

    def slope(log_temperature: float) -> float:  # of the loss by 1 / T; falls with T
        return -float(np.mean(towards_label * expit(-towards_label * np.exp(-log_temperature))))

    least, most = np.log(TEMPERATURES)
    if slope(most) >= 0:
        return TEMPERATURES[1], (
            f"The temperature is held at {TEMPERATURES[1]:g}: the probabilities on validation say little or nothing "
            "about the label."
        )
    if slope(least) <= 0:
        return TEMPERATURES[0], (
            f"The temperature is held at {TEMPERATURES[0]:g}: the probabilities on validation are all close to 0.5 and "
            "nearly always on the right side."
        )
    return float(np.exp(brentq(slope, least, most, xtol=1e-12))), None


def reliability(female: Booleans, p_female: Numbers, units: Units, resamples: int) -> Reliability:
    """Scores of the probabilities, and the share of FEMALE in each of 15 bins of equal width.

    If a probability is not finite, there are no scores and shares, and its row is in no bin.
    """
    count = len(metrics.RELIABILITY_EDGES) - 1
    finite = np.isfinite(p_female)
    bins = np.full(len(female), -1)
    bins[finite] = metrics.reliability_bins(p_female[finite])
    inside = (bins[:, None] == np.arange(count)).astype(np.float64)
    names = [f"bin {index}" for index in range(count)]

    if problem := problem_of(p_female):
        found = {name: undefined(problem) for name in ("brier", "log_loss", "ece", *names)}
    else:
        of_probabilities, inside_female = metrics.calibration_scores(female, p_female), inside * female[:, None]

        def statistics(weights: Numbers) -> dict[str, Numbers]:
            shares = ratio(weights @ inside_female, weights @ inside)
            return {**of_probabilities(weights), **dict(zip(names, shares.T, strict=True))}

        remarks = dict.fromkeys(names, "There are no images in this bin.")
        shares = {name: count_people(units, bins == index) for index, name in enumerate(names)}
        found = estimates(units, statistics, resamples, remarks, shares=shares)
    return Reliability(
        brier=found["brier"],
        log_loss=found["log_loss"],
        ece=found["ece"],
        bins=[
            ReliabilityBin(
                low=float(metrics.RELIABILITY_EDGES[index]),
                high=float(metrics.RELIABILITY_EDGES[index + 1]),
                images=int(inside[:, index].sum()),
                probability=float(p_female[bins == index].mean()) if (bins == index).any() else None,
                share=found[name],
            )
            for index, name in enumerate(names)
        ],
    )


def calibrate(validation: pd.DataFrame, test: pd.DataFrame, resamples: int) -> Calibration:
    """Fit the temperature on the predictions of validation; score the probabilities of test without and with it."""
    temperature, remark = fit_temperature(metrics.is_female(validation), logit(validation))
    female, units = metrics.is_female(test), bootstrap_units(test)
    return Calibration(
        temperature=temperature,
        remark=remark,
        before=reliability(female, metrics.p_female_of(test), units, resamples),
        after=reliability(female, calibrated(test, temperature), units, resamples),
    )
