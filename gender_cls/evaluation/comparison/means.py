"""Costs, baselines and scores of maps from the `metrics.json` of several runs, and which candidates are worth their
cost."""

from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from itertools import permutations
from typing import Any, cast

import numpy as np

from gender_cls.config.data import CLASSES
from gender_cls.evaluation.comparison.candidates import Candidate
from gender_cls.evaluation.comparison.compare_json import (
    BestBaseline,
    CandidateExplanations,
    CandidateRow,
    MeanCost,
    MeanCue,
    MeanMethod,
    MeanPlace,
    Pair,
)
from gender_cls.evaluation.explanation_schema import Cue, MethodScores
from gender_cls.runs.run import Run

SPREADS = ("milliseconds_batch_1_spread", "milliseconds_batch_32_spread")
TIMES = ("milliseconds_batch_1", "milliseconds_batch_32", *SPREADS, "disturbed")
BASELINE = "blurred"  # the compared one of BASELINES; the other is in each run's own record


def mean_or_none(values: Iterable[float | None]) -> float | None:
    """The mean; None if there are no values, or one is not known."""
    numbers = [np.nan if value is None else value for value in values]
    return float(np.mean(numbers)) if numbers and np.isfinite(numbers).all() else None


def mean_cost(runs: Sequence[Run]) -> MeanCost:
    """The mean cost of finished runs; times are those of undisturbed runs, where there are some (see `MeanCost`)."""

    def widest(lows: Sequence[float], highs: Sequence[float]) -> list[float]:
        return [min(lows), max(highs)]

    costs = [run.metrics["cost"] for run in runs]
    undisturbed = [cost for cost in costs if cost["disturbed"] is None] or costs
    timed: dict[str, Any] = {**_together(undisturbed, _least_or_none, widest)}
    found: dict[str, Any] = {**_together(costs, mean_or_none, widest), **{name: timed[name] for name in TIMES}}
    return cast(MeanCost, found)


def cost_of_all(candidates: Sequence[Candidate]) -> MeanCost:
    """The cost of every seed of every candidate together: sums, and the largest memory, because they train in turn."""
    costs = [mean_cost(one.runs) for candidate in candidates for one in candidate.trained]
    total = _together(costs, _sum_or_none, lambda lows, highs: [sum(lows), sum(highs)])
    peaks = [cost["peak_memory_bytes"] for cost in costs]
    total["peak_memory_bytes"] = None if None in peaks else max(peak for peak in peaks if peak is not None)
    return total


def _together(
    costs: Sequence[Mapping[str, Any]],
    number: Callable[[list[float | None]], float | None],
    spread: Callable[[Sequence[float], Sequence[float]], list[float]],
) -> MeanCost:
    """One cost of several; a spread is null if there are no costs, or one is not known."""
    found: dict[str, Any] = {}
    for name in MeanCost.__annotations__:
        values = [cost[name] for cost in costs]
        if name in ("device", "disturbed"):
            found[name] = "; ".join(dict.fromkeys(filter(None, values))) or None
        elif name in SPREADS:
            found[name] = None if None in values or not values else spread(*zip(*values, strict=True))
        else:
            found[name] = number(values)
    return cast(MeanCost, found)


def _least_or_none(values: list[float | None]) -> float | None:
    return None if mean_or_none(values) is None else min(value for value in values if value is not None)


def _sum_or_none(values: list[float | None]) -> float | None:
    mean = mean_or_none(values)
    return None if mean is None else mean * len(values)


_Point = tuple[str, float, list[float]]
"""A candidate's title, its test score, and the spread of its milliseconds."""


def mark_pareto(rows: Sequence[CandidateRow], pairs: Sequence[Pair]) -> None:
    """Fill in `pareto` of the compared candidates' rows if it can be known (see `CandidateRow`)."""
    if len({row["cost"]["device"] for row in rows}) > 1:
        return
    better = {
        (pair["a"], pair["b"]) if (pair["difference"] or 0) > 0 else (pair["b"], pair["a"])
        for pair in pairs
        if pair["significant"]
    }
    worth = [row for row in rows if row["standing"] and row["standing"]["kind"] in ("baseline", "useful")]
    points = [
        (row["title"], mean, spread)
        for row in worth
        if (mean := row["test"]["mean"]) is not None
        and (spread := row["cost"]["milliseconds_batch_32_spread"]) is not None
    ]
    dominated = {b[0] for a, b in permutations(points, 2) if _dominates(a, b, better)}
    timed = {title for title, _, _ in points}
    for row in rows:
        if row not in worth:
            row["pareto"] = False
        elif row["title"] in timed:
            row["pareto"] = row["title"] not in dominated


def _dominates(a: _Point, b: _Point, better: Container[tuple[str, str]]) -> bool:
    """Whether a is better than b in score or time by more than noise, and not worse in the other."""
    (a_title, a_score, (a_least, a_most)), (b_title, b_score, (b_least, b_most)) = a, b
    faster, slower = a_most < b_least, a_least > b_most
    return (faster and a_score >= b_score) or (not slower and (a_title, b_title) in better)


def best_mean_baseline(runs: Sequence[Run]) -> BestBaseline | None:
    """The trivial baseline with the best mean balanced accuracy; None if none has a score."""
    scores: dict[str, list[float | None]] = {}
    for run in runs:
        for one in run.metrics["baselines"]:
            scores.setdefault(one["title"], []).append(one["balanced_accuracy"])
    means = ((title, mean_or_none(values)) for title, values in scores.items())
    known = [BestBaseline(title=title, balanced_accuracy=mean) for title, mean in means if mean is not None]
    return max(known, key=lambda one: one["balanced_accuracy"], default=None)


def mean_explanations(runs: Sequence[Run]) -> CandidateExplanations | None:
    """Scores of maps of finished runs; None if none of them was explained."""
    explained = [(run, found) for run in runs if (found := run.metrics["explanations"]) is not None]
    if not explained:
        return None
    methods: dict[str, list[MethodScores]] = {}
    for _, found in explained:
        for method in found["methods"]:
            methods.setdefault(method["name"], []).append(method)
    classes = {found["explained_class"] for _, found in explained}
    return CandidateExplanations(
        folder=str(explained[0][0].folder),
        explained_class=classes.pop() if len(classes) == 1 else None,
        methods=[_mean_method(scores) for scores in methods.values()],
    )


def _mean_method(scores: Sequence[MethodScores]) -> MeanMethod:
    """The mean over the runs that have the method."""
    games = [game for one in scores for game in one["games"] if game["baseline"] == BASELINE]
    flags = [one["randomisation"]["flagged"] for one in scores if one["randomisation"] is not None]
    return MeanMethod(
        name=scores[0]["name"],
        title=scores[0]["title"],
        runs=len(scores),
        insertion_gain=mean_or_none(game["insertion_gain"]["value"] for game in games),
        deletion_gain=mean_or_none(game["deletion_gain"]["value"] for game in games),
        places=[
            MeanPlace(
                name=same[0]["name"],
                share=mean_or_none(place["share"]["value"] for place in same),
                area=mean_or_none(place["area"] for place in same),
            )
            for same in zip(*(one["places"] for one in scores), strict=True)
        ],
        cue=_mean_cue([one["cue"] for one in scores if one["cue"]]),
        flagged=True if True in flags else None if None in flags or not flags else False,
    )


def _mean_cue(of_runs: Sequence[dict[str, Cue]]) -> dict[str, MeanCue] | None:
    """By label, the mean over the runs that have it."""
    by_label = {label: [run[label] for run in of_runs if label in run] for label in CLASSES}
    means = {
        label: MeanCue(
            hit=mean_or_none(one["hit"]["value"] for one in cues),
            mass=mean_or_none(one["mass"]["value"] for one in cues),
            area=sum(one["area"] for one in cues) / len(cues),
        )
        for label, cues in by_label.items()
        if cues
    }
    return means or None
