"""Where the axes of bars and the scales of colours begin and end."""

import math
from collections.abc import Iterable, Sequence

from gender_cls.evaluation.estimate import Estimate


def known(values: Iterable[float | None]) -> list[float]:
    """The values that are finite numbers."""
    return [value for value in values if value is not None and math.isfinite(value)]


def axis_around(values: Iterable[float | None]) -> tuple[float, float]:
    """The ends of an axis that holds every known value, in steps of 0.05; from 0.5 to 1 without any."""
    found = known(values)
    low = math.floor(20 * min(found, default=0.5) + 1e-9) / 20
    return low, max(math.ceil(20 * max(found, default=1.0) - 1e-9) / 20, low + 0.05)


def end_of_differences(values: Iterable[float | None]) -> float:
    """The end of an axis that holds every known difference, and 0 in its middle."""
    largest = max(map(abs, known(values)), default=0.0)
    step = 0.01 if largest <= 0.1 else 0.05
    return step * max(1, math.ceil(largest / step - 1e-9))


def start_of_scores(estimates: Sequence[Estimate]) -> float:
    """Where an axis of balanced accuracies starts: 0.5, or the tenth below all intervals."""
    return math.floor(10 * min([0.5, *known(each["low"] for each in estimates)])) / 10


def end_of_sizes(estimates: Iterable[Estimate], marks: Iterable[float] = ()) -> float:
    """The tenth above the absolute values of all intervals and marks."""
    ends = [*marks, *(end for each in estimates for end in (each["value"], each["low"], each["high"]))]
    return math.ceil(10 * max([0.1, *map(abs, known(ends))])) / 10
