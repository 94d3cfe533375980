"""A number with its interval, the smallest part of `metrics.json`."""

from collections.abc import Iterable, Mapping
from typing import Any, TypedDict


class Estimate(TypedDict):
    """A number and its interval."""

    value: float | None  # null if it is not defined
    low: float | None  # null if the interval is not defined
    high: float | None
    remark: str | None  # why something is null, or what is special about the interval


def undefined(remark: str) -> Estimate:
    """A number that cannot be computed, with the reason."""
    return Estimate(value=None, low=None, high=None, remark=remark)


def is_above_0(found: Estimate) -> bool:
    """Whether its whole interval lies above 0."""
    return found["low"] is not None and found["low"] > 0


def best_baseline(baselines: Iterable[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """Of trivial baselines, the one with the best balanced accuracy; None where none has a score."""
    scored = [one for one in baselines if one["balanced_accuracy"] is not None]
    return max(scored, key=lambda one: one["balanced_accuracy"], default=None)
