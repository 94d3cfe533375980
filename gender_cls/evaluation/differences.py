"""The difference of two scores with its interval: scores of different people, or of the same people."""

import numpy as np

from gender_cls.evaluation.bootstrap import ONE_PERSON, Sampled, estimate, is_biased_upward, people_variance
from gender_cls.evaluation.estimate import Estimate, undefined
from gender_cls.evaluation.share_interval import difference_variance, quantile


def difference_of_others(a: Estimate, b: Estimate) -> Estimate:
    """A score minus that of other people, such as those of another dataset, with the interval from theirs.

    Each end lies as far from the difference as the two ends that lead there lie from their scores, added up as squares
    (Newcombe 1998, method 10, for two proportions; Zou & Donner 2008 for any two independent estimates). So the
    difference takes over what is special about each interval: that of a perfect score of few people is wide, that of a
    loss reaches further up than down. The sum of the two variances, with a symmetric interval, would know nothing of
    this. `tests/evaluation/elsewhere_coverage.md` says how often the interval holds the truth.
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


def difference_of_same(sampled: Sampled, a: str, b: str) -> Estimate:
    """One statistic minus another of the same people, with the interval from their paired draws.

    That of shares follows from the variance, see `difference_variance`; both must be shares of the same people. Others
    get the expanded percentile interval. If noise raises both, such as ECE, the interval covers the basic one too;
    noise raises the smaller one more, so the difference is rather too small than too large.
    """
    value, draws = sampled.values[a] - sampled.values[b], sampled.draws[a] - sampled.draws[b]
    found = estimate(value, draws, sampled.units, sampled.remarks.get(a) or sampled.remarks.get(b))
    low, high = found["low"], found["high"]
    if low is None or high is None:
        return found
    if people := [number for number in sampled.shares.get(a, ()) if number]:
        half = quantile(np.inf) * np.sqrt(difference_variance(value, people_variance(draws, people), people))
        return Estimate(
            value=value, low=max(-1.0, value - float(half)), high=min(1.0, value + float(half)), remark=None
        )
    if is_biased_upward(a):
        low, high = min(low, 2 * value - high), max(high, 2 * value - low)
    return Estimate(value=value, low=low, high=high, remark=found["remark"])
