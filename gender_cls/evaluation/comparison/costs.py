"""What candidates cost, and which of them are worth it."""

from collections.abc import Iterable, Sequence

import numpy as np

from gender_cls.evaluation.comparison.candidates import Candidate
from gender_cls.evaluation.comparison.schema import CandidateRow, MeanCost
from gender_cls.runs.run import Run


def mean_or_none(values: Iterable[float | None]) -> float | None:
    """None where there are none, or one is not known."""
    numbers = [np.nan if value is None else value for value in values]
    return float(np.mean(numbers)) if numbers and np.isfinite(numbers).all() else None


def mean_cost(runs: Sequence[Run]) -> MeanCost:
    """Of finished runs."""
    costs = [run.metrics["cost"] for run in runs]
    return MeanCost(
        parameters=mean_or_none(cost["parameters"] for cost in costs),
        flops=mean_or_none(cost["flops"] for cost in costs),
        milliseconds_batch_1=mean_or_none(cost["milliseconds_batch_1"] for cost in costs),
        milliseconds_batch_32=mean_or_none(cost["milliseconds_batch_32"] for cost in costs),
        peak_memory_bytes=mean_or_none(cost["peak_memory_bytes"] for cost in costs),
        fit_seconds=mean_or_none(cost["fit_seconds"] for cost in costs),
        device=_devices(cost["device"] for cost in costs),
    )


def cost_of_all(candidates: Sequence[Candidate]) -> MeanCost:
    """Of every seed of every candidate together: the sums, and the largest memory, because they train in turn."""
    costs = [mean_cost(one.runs) for candidate in candidates for one in candidate.trained]
    memory = [cost["peak_memory_bytes"] for cost in costs]
    return MeanCost(
        parameters=_sum(cost["parameters"] for cost in costs),
        flops=_sum(cost["flops"] for cost in costs),
        milliseconds_batch_1=_sum(cost["milliseconds_batch_1"] for cost in costs),
        milliseconds_batch_32=_sum(cost["milliseconds_batch_32"] for cost in costs),
        peak_memory_bytes=None if None in memory else max(value for value in memory if value is not None),
        fit_seconds=_sum(cost["fit_seconds"] for cost in costs),
        device=_devices(cost["device"] for cost in costs),
    )


def _sum(values: Iterable[float | None]) -> float | None:
    known = list(values)
    mean = mean_or_none(known)
    return None if mean is None else mean * len(known)


def _devices(names: Iterable[str | None]) -> str | None:
    return "; ".join(dict.fromkeys(name for name in names if name)) or None


def mark_pareto(rows: Sequence[CandidateRow]) -> None:
    """Fill in `pareto` of the compared candidates' rows, where it can be known (see `CandidateRow`)."""
    if len({row["cost"]["device"] for row in rows}) > 1:
        return
    points = {
        row["title"]: (score, -milliseconds)
        for row in rows
        if (score := row["test"]["mean"]) is not None
        and (milliseconds := row["cost"]["milliseconds_batch_32"]) is not None
    }
    for row in rows:
        if point := points.get(row["title"]):
            row["pareto"] = not any(_dominates(other, point) for other in points.values())


def _dominates(one: tuple[float, float], other: tuple[float, float]) -> bool:
    """Whether it is as good in both, and better in one."""
    return one[0] >= other[0] and one[1] >= other[1] and one != other
