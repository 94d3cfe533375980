"""How the error falls as fewer images are answered, the most certain ones first."""

import numpy as np
from scipy.special import digamma

from gender_cls.evaluation.bootstrap import Booleans, Numbers, Units, count_units, estimates, ratio
from gender_cls.evaluation.calibration import problem_of
from gender_cls.evaluation.estimate import Estimate, undefined
from gender_cls.evaluation.schema import RiskCoveragePoint

MOST_POINTS = 100  # that are stored of a curve


def risk_coverage_curve(
    wrong: Booleans, certainty: Numbers, units: Units, resamples: int
) -> tuple[Estimate, list[RiskCoveragePoint]]:
    """AURC and the curve. The interval at a point is for a fixed threshold on certainty, not for a fixed coverage.

    Args:
        wrong: (rows,) whether the answer is wrong.
        certainty: (rows,); if one is not finite, there is no curve.
    """
    if problem := problem_of(certainty):
        return undefined(problem), []
    order = np.argsort(-certainty, kind="stable")
    wrong, certainty = wrong[order], certainty[order]
    coverage, error = risk_coverage(wrong, certainty)
    steps = np.arange(MOST_POINTS, 0, -1) / MOST_POINTS
    points = np.unique(np.searchsorted(-coverage, -steps, "right") - 1)  # the smallest coverage that reaches each step
    last = np.rint(coverage[points] * len(wrong)).astype(np.intp) - 1

    def statistics(weights: Numbers) -> dict[str, Numbers]:
        failed = np.cumsum(weights * wrong, axis=1)[:, last]
        errors = ratio(failed, np.cumsum(weights, axis=1)[:, last])
        area = area_under_risk_coverage(wrong, certainty, weights)
        return {"aurc": area} | {str(point): errors[:, index] for index, point in enumerate(points)}

    units = units[order]
    new = np.zeros(len(units), dtype=np.intp)
    new[np.unique(units, return_index=True)[1]] = 1
    people = np.cumsum(new)[last].tolist()  # with an answer at each point
    shares = {str(point): (number,) for point, number in zip(points, people, strict=True)}
    found = estimates(units, statistics, resamples, shares={"aurc": (count_units(units),), **shares})
    curve = []
    for point in points:
        share, wrong_share, interval = float(coverage[point]), float(error[point]), found[str(point)]
        curve.append(RiskCoveragePoint(coverage=share, error=wrong_share, low=interval["low"], high=interval["high"]))
    return found["aurc"], curve


def risk_coverage(wrong: Booleans, certainty: Numbers) -> tuple[Numbers, Numbers]:
    """The error among the most certain images, for each share of the images that a threshold can select.

    Args:
        wrong: (rows,) whether the answer is wrong; at least one row.
        certainty: (rows,) finite.

    Returns:
        coverage, falling from 1, and error, both (distinct certainties,).
    """
    order = np.argsort(-certainty, kind="stable")
    answered = 1 + np.append(np.flatnonzero(np.diff(certainty[order])), len(order) - 1)[::-1]
    return answered / len(wrong), np.cumsum(wrong[order])[answered - 1] / answered


def area_under_risk_coverage(wrong: Booleans, certainty: Numbers, weights: Numbers) -> Numbers:
    """AURC (Geifman & El-Yaniv 2017, arXiv 1705.08500): the mean error of the 1, 2, ..., n most certain images.

    For images that are equally certain, including copies in a resample, it is the average over all their orders.

    Args:
        wrong: (rows,) whether the answer is wrong, the most certain first.
        certainty: (rows,) finite, falling.

    Returns:
        (resamples,), NaN where all weights are 0.
    """
    # A mistake at position i adds 1/i + ... + 1/n to the sum of the errors, which is H(n) - H(i - 1), H the harmonic
    # numbers. If tied at positions a + 1 to b, it adds the mean over them, and H(0) + ... + H(k - 1) = k H(k) - k.
    answered = np.pad(np.cumsum(weights, axis=1), ((0, 0), (1, 0)))
    before = answered[:, np.searchsorted(-certainty, -certainty[wrong], "left")]
    after = answered[:, np.searchsorted(-certainty, -certainty[wrong], "right")]
    summed = after * (_harmonic(after) - 1) - before * (_harmonic(before) - 1)
    mean = np.divide(summed, after - before, out=np.zeros_like(summed), where=after > before)
    mistakes, images = weights[:, wrong], answered[:, -1]
    return ratio(mistakes.sum(axis=1) * _harmonic(images) - (mistakes * mean).sum(axis=1), images)


def _harmonic(count: Numbers) -> Numbers:
    return digamma(count + 1) + np.euler_gamma
