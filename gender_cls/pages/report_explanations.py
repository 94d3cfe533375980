"""What `report_explanations.html.jinja` needs besides the numbers: axes, areas and remarks."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

from gender_cls.evaluation.estimate import Estimate
from gender_cls.evaluation.schema import PLACES, Explanations


def explained(explanations: Explanations) -> dict[str, Any]:
    """What the section repeats of all methods together.

    Returns:
        `gain`: the axis of gains goes from minus this to this; `share`: that of shares from 0 to this; `areas`: of each
        place, null where no map has mass; `agreement`: (method, later method) -> Estimate;
        `remarks`: on numbers, each once.
    """
    methods, agreement = explanations["methods"], explanations["agreement"]
    games = [game for method in methods for game in method["games"]]
    places = [place for method in methods for place in method["places"]]
    gains = [gain for game in games for gain in (game["deletion_gain"], game["insertion_gain"])]
    shares = [place["share"] for place in places]
    known = {place["name"]: place["area"] for place in places if place["area"] is not None}
    stages = [stage for method in methods if method["randomisation"] for stage in method["randomisation"]["stages"]]
    every = [*gains, *shares, *(pair["correlation"] for pair in agreement), *(stage["similarity"] for stage in stages)]
    return {
        "gain": _axis_to(gains),
        "share": _axis_to(shares, known.values()),
        "areas": {name: known.get(name) for name in PLACES},
        "agreement": {(pair["a"], pair["b"]): pair["correlation"] for pair in agreement},
        "remarks": list(dict.fromkeys(each["remark"] for each in every if each["remark"])),
    }


def placed(estimate: Estimate, begin: float, end: float) -> Estimate:
    """The same on an axis that goes from 0 to 1 where its own goes from `begin` to `end`."""
    value, low, high = (
        None if number is None else (number - begin) / (end - begin)
        for number in (estimate["value"], estimate["low"], estimate["high"])
    )
    return {"value": value, "low": low, "high": high, "remark": estimate["remark"]}


def _axis_to(estimates: Sequence[Estimate], marks: Iterable[float] = ()) -> float:
    """A tenth that no interval and no mark goes beyond."""
    ends = [*marks, *(end for each in estimates for end in (each["value"], each["low"], each["high"]))]
    return math.ceil(10 * max([0.1, *(abs(end) for end in ends if end is not None)])) / 10
