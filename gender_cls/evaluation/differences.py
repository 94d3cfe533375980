"""The difference of two scores with its interval: scores of different people, or of the same people."""

from collections.abc import Sequence

import numpy as np

from gender_cls.evaluation.bootstrap import ONE_PERSON, Numbers, estimate, people_variance
from gender_cls.evaluation.estimate import Estimate, undefined
from gender_cls.evaluation.share_interval import difference_variance, quantile


def difference_of_others(a: Estimate, b: Estimate) -> Estimate:
    """A score minus that of other people, such as those of another dataset, with the interval from theirs.

    Each end lies as far from the difference as the two ends that lead there lie from their scores, added up as squares
    (Newcombe 1998, method 10, for two proportions; Zou & Donner 2008 for any two independent estimates). So the
    difference takes over what is special about each interval: that of a perfect score of few people is wide, those of
    losses lean to one side. It is no longer than it must be for being asked for a third bootstrap, and needs the two
    numbers only. `tests/evaluation/interval_coverage.md` says how often it holds the truth.
    """
    for one in (a, b):
        if one["value"] is None:
            return undefined(one["remark"] or "One of the two is not defined.")
    assert a["value"] is not None
    assert b["value"] is not None
    value = a["value"] - b["value"]
    for one in (a, b):
        if one["low"] is None or one["high"] is None:
            return Estimate(value=value, low=None, high=None, remark=one["remark"] or ONE_PERSON)
    down_a, up_a = _reach(a)
    down_b, up_b = _reach(b)
    return Estimate(
        value=value, low=value - float(np.hypot(down_a, up_b)), high=value + float(np.hypot(up_a, down_b)), remark=None
    )


def _reach(found: Estimate) -> tuple[float, float]:
    """How far its interval reaches below and above a score."""
    value, low, high = found["value"], found["low"], found["high"]
    assert value is not None
    assert low is not None
    assert high is not None
    return value - low, high - value


def paired_difference(
    value: float, draws: Numbers, units: int, remark: str | None = None, share_of: Sequence[int] = ()
) -> Estimate:
    """The difference of two scores of the same people, with its interval.

    That of shares follows from the variance of the draws, see `difference_variance`; others get the expanded percentile
    interval.

    Args:
        value: NaN if undefined.
        draws: (resamples,) of the difference, both scores from the same resample.
        units: how many were drawn from.
        remark: why the value is undefined; ignored if it is defined.
        share_of: of how many people both scores are shares, see `Shares`.
    """
    found = estimate(value, draws, units, remark, share_of)
    if found["low"] is not None and share_of:
        half = quantile(np.inf) * np.sqrt(difference_variance(value, people_variance(draws, share_of), share_of))
        found["low"], found["high"] = max(-1.0, value - float(half)), min(1.0, value + float(half))
    return found
