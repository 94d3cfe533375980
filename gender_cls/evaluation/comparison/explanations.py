"""What each run's `metrics.json` says of its maps -> what a candidate's say, the mean over its runs."""

from collections.abc import Sequence

from gender_cls.evaluation.comparison.costs import mean_or_none
from gender_cls.evaluation.comparison.schema import CandidateExplanations, MeanMethod, MeanPlace
from gender_cls.evaluation.schema import PLACES, Explanations, MethodScores
from gender_cls.runs.run import Run

BASELINE = "blurred"
"""Of the games that are compared; the other of BASELINES is in each run's own record."""


def mean_explanations(runs: Sequence[Run]) -> CandidateExplanations | None:
    """Of finished runs; None where none of them was explained."""
    explained: list[tuple[Run, Explanations]] = [
        (run, found) for run in runs if (found := run.metrics["explanations"]) is not None
    ]
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
    """Over the runs that have the method."""
    games = [game for one in scores for game in one["games"] if game["baseline"] == BASELINE]
    flags = [one["randomisation"]["flagged"] for one in scores if one["randomisation"] is not None]
    return MeanMethod(
        name=scores[0]["name"],
        title=scores[0]["title"],
        runs=len(scores),
        insertion_gain=mean_or_none(game["insertion_gain"]["value"] for game in games),
        deletion_gain=mean_or_none(game["deletion_gain"]["value"] for game in games),
        places=[_mean_place(name, scores) for name in PLACES],
        flagged=True if True in flags else None if None in flags or not flags else False,
    )


def _mean_place(name: str, scores: Sequence[MethodScores]) -> MeanPlace:
    places = [place for one in scores for place in one["places"] if place["name"] == name]
    return MeanPlace(
        name=name,
        share=mean_or_none(place["share"]["value"] for place in places),
        area=mean_or_none(place["area"] for place in places),
    )
