"""Transfer matrices of any size, and of sources that were left out; `example_comparison.py` has a small one."""

from collections.abc import Sequence
from typing import Any

from helpers.example_metrics import example_estimate

from gender_cls.evaluation.comparison.transfer_json import Transfer

METHODS = ("convnext_tiny", "mobilenetv2_100")


def cell(dataset: str, kind: str, score: float, *, seen: bool = False, left_out: int = 0) -> Any:
    """A cell; macro F1 is 0.01 lower than the balanced accuracy, AUROC 0.06 higher."""
    scores = {"balanced_accuracy": score, "macro_f1": score - 0.01, "auroc": min(score + 0.06, 1.0)}
    return {
        **{"dataset": dataset, "kind": kind, "seeds": 3, "images": 1000, "identities": 200, "left_out": left_out},
        **{"seen": seen or kind == "home"},
        "scores": {name: example_estimate(value) for name, value in scores.items()},
    }


def row(method: str, trained_on: str, home: float, cells: Sequence[Any]) -> Any:
    """One candidate; its means are those of its cells that are not home."""
    away = [one["scores"]["balanced_accuracy"]["value"] for one in cells if one["kind"] != "home"]
    mean = sum(away) / len(away)
    return {
        **{"candidate": f"{method} {trained_on}", "method": method, "trained_on": trained_on},
        **{"home": example_estimate(home), "cells": list(cells)},
        **{"mean_elsewhere": example_estimate(mean), "mean_drop": example_estimate(home - mean, 0.04, least=-1.0)},
    }


def score_of(method: int, trained: int, tested: int) -> float:
    """Balanced accuracy: lower the further away the dataset is, and for later methods."""
    return round(0.88 - 0.02 * method - 0.03 * abs(trained - tested) - 0.005 * trained, 4)


def drop_of(method: str, rows: Sequence[Any]) -> Any:
    """The means over the rows, and the worst of their cells that are not home."""
    scores = [one["mean_elsewhere"]["value"] for one in rows]
    lost = [one["mean_drop"]["value"] for one in rows]
    away = [(one, each) for one in rows for each in one["cells"] if each["kind"] != "home"]
    trained, worst = min(away, key=lambda found: found[1]["scores"]["balanced_accuracy"]["value"])
    return {
        **{"method": method, "cells": len(away), "spread": example_estimate(0.0512), "worst": worst},
        "mean_drop": example_estimate(sum(lost) / len(lost), 0.04, least=-1.0),
        "mean_elsewhere": example_estimate(sum(scores) / len(scores)),
        **{"worst_trained_on": trained["trained_on"], "cdd": 0.1441, "sd": 0.0671},
    }


def transfer_of(datasets: Sequence[str], methods: Sequence[str]) -> Transfer:
    """Each method trained on each dataset and tested on all; the last row has no test on the first dataset.

    What was trained on the first dataset has seen images of the last.
    """
    rows = []
    for number, method in enumerate(methods):
        for trained, name in enumerate(datasets):
            cells = [
                cell(
                    other, "home" if trained == tested else "elsewhere", score_of(number, trained, tested),
                    seen=trained == 0 and tested == len(datasets) - 1 > 1, left_out=7 * (trained != tested),
                )
                for tested, other in enumerate(datasets)
            ]  # fmt: skip
            rows.append(row(method, name, score_of(number, trained, trained), cells))
    if len(datasets) > 2:
        del rows[-1]["cells"][0]
    drops = [drop_of(method, [one for one in rows if one["method"] == method]) for method in methods]
    difference = drops[0]["mean_elsewhere"]["value"] - drops[-1]["mean_elsewhere"]["value"]
    pairs = [
        {
            **{"a": methods[0], "b": method, "cells": 5, "p_value": 0.004, "p_holm": 0.012, "significant": True},
            **{"difference": example_estimate(difference, 0.015, least=-1.0), "verdict": f"{methods[0]} is better."},
        }
        for method in methods[1:]
    ]
    sentences = [f"Elsewhere {methods[0]} loses least."]
    remarks = ["What was trained on the last dataset was not tested on the first."]
    found: Any = {"datasets": list(datasets), "methods": list(methods), "rows": rows, "drops": drops}
    return found | {"pairs": pairs, "sentences": sentences, "remarks": remarks}


def left_out_sources(sources: Sequence[str] = ("3DPeS", "MIT", "iLID")) -> Transfer:
    """One method trained on all sources but one, each of which is tested on the one that was left out."""
    rows = [
        row(METHODS[0], f"all but {source}", 0.88, [cell(source, "held_out", 0.7 + index / 50)])
        for index, source in enumerate(sources)
    ]
    found: Any = {
        "datasets": list(sources),
        "methods": [METHODS[0]],
        "rows": rows,
        "drops": [drop_of(METHODS[0], rows)],
    }
    return found | {"pairs": [], "sentences": [], "remarks": []}
