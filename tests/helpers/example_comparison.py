"""Comparisons made up for the tests of pages, with everything that is in `compare.json`."""

from statistics import mean, stdev
from typing import Any

from gender_cls.evaluation.comparison.compare_json import CandidateRow, Comparison, Pair
from gender_cls.evaluation.comparison.transfer_json import Cell, Transfer, TransferRow
from gender_cls.evaluation.estimate import Estimate, undefined


def candidate(title: str, score: float, milliseconds: float, seeds: int = 3, **changed: Any) -> CandidateRow:
    """A finished candidate; its interval is 0.05 wide on either side."""
    spread = 0.0084 if seeds > 1 else None
    runs = [{"folder": f"/sweeps/a/{title}-{seed}", "state": "finished", "error": None} for seed in range(seeds)]
    times = {"milliseconds_batch_1": 8 * milliseconds, "milliseconds_batch_32": milliseconds, "fit_seconds": 431.0}
    times |= {"disturbed": None} | {f"{name}_spread": [0.97 * times[name], 1.02 * times[name]] for name in [*times][:2]}
    sizes = {"parameters": 2_225_282.0, "flops": 5.99e8, "peak_memory_bytes": 1.25 * 2**30}
    row: Any = {
        **{"title": title, "model": title, "dataset": "peta", "varied": {}},
        **{"runs": runs, "repeated": [], "seeds": list(range(seeds)), "compared": True, "remark": None},
        **{"rows": "same", "leaky": False, "validation": {"mean": score + 0.011, "spread": spread and 0.0052}},
        "test": {
            **{"mean": score, "spread": spread, "low": score - 0.05, "high": score + 0.05, "remark": None},
            "seed_scores": [score + 0.0084 * (seed - (seeds - 1) / 2) for seed in range(seeds)],
            "covers": "people and training" if seeds > 2 else "people",
        },
        **{"auroc": score + 0.061, "accuracy": score + 0.007, "log_loss": 0.4567, "ece": 0.0234},
        "standing": {"kind": "useful", "level": "fine", "sentence": "The model beats the best trivial baseline."},
        "recalls": [
            {"label": "FEMALE", "images": 400, "right": 400 * (score - 0.02), "recall": score - 0.02},
            {"label": "MALE", "images": 418, "right": 418 * (score + 0.02), "recall": score + 0.02},
        ],
        "baseline": {"title": "Source", "balanced_accuracy": 0.5912},
        **{"cost": {**sizes, **times, "device": "cpu, 2 threads, float32"}, "pareto": True, "explanations": None},
    }
    return row | changed


def unscored(title: str) -> CandidateRow:
    """A candidate whose run was tested, but not by this version."""
    none: Any = candidate(title, 0.5, 1.0, seeds=1)
    none |= dict.fromkeys(("rows", "leaky", "standing", "auroc", "accuracy", "log_loss", "ece", "baseline", "pareto"))
    none |= {part: dict.fromkeys(none[part]) for part in ("validation", "test", "cost")}
    none["test"]["seed_scores"] = []
    return none | {"seeds": [], "recalls": [], "compared": False, "remark": "It was evaluated by another version."}


FAILED: Any = {"folder": "/sweeps/a/resnet_typo-0", "state": "failed", "error": "There is no model of that name."}


def pair(a: CandidateRow, b: CandidateRow, p_holm: float = 0.21, half: float = 0.04) -> Pair:
    difference, significant = (a["test"]["mean"] or 0) - (b["test"]["mean"] or 0), p_holm < 0.05
    found: Any = {
        **{"a": a["title"], "b": b["title"], "remark": None, "p_value": p_holm / 2, "p_holm": p_holm},
        **{"difference": difference, "low": difference - half, "high": difference + half, "significant": significant},
        "verdict": f"{a['title']} is better." if significant else "No significant difference.",
        "mcnemar": {"people": 206, "only_a": 31, "only_b": 17, "p_value": 0.0595},
    }
    return found


def roc_of(title: str, auroc: float) -> Any:
    """A power curve of that area."""
    power = (1 - auroc) / auroc
    return {"candidate": title, "auroc": auroc, "points": [[step / 60, (step / 60) ** power] for step in range(61)]}


def compared(rows: list[CandidateRow], **changed: Any) -> Comparison:
    """A comparison of these candidates, the compared ones first."""
    sound = [row for row in rows if row["compared"]]
    shares = [[1.0 if a == b else 0.8 + 0.17 / (1 + abs(a - b)) for b in range(len(sound))] for a in range(len(sound))]
    vote = agreement = None
    if len(sound) > 1:
        agreement = {"candidates": [row["title"] for row in sound], "shares": shares}
        vote = {
            "networks": sum(len(row["seeds"]) for row in sound),
            "balanced_accuracy": {"value": 0.8444, "low": 0.8001, "high": 0.8807, "remark": None},
            **{"accuracy": 0.8512, "auroc": 0.9123},
            "cost": {**sound[0]["cost"], "milliseconds_batch_32": 29.9, "parameters": 91_000_000.0},
        }
    record: Any = {
        **{"resamples": 10_000, **dict.fromkeys(("identities", "units"), 206 if sound else 0)},
        **{
            "images": 818 if sound else 0,
            "candidates": rows,
            "unfinished": [],
            "ensemble": vote,
            "agreement": agreement,
        },
        "baseline": {"title": "Source", "balanced_accuracy": 0.5912} if sound else None,
        "pairs": [pair(a, b) for index, a in enumerate(sound) for b in sound[index + 1 :]],
        **{"verdict": ["The first is better.", "One run has failed."], "cautions": ["One run has failed."]},
        "roc": [roc_of(row["title"], row["auroc"] or 0.5) for row in sound],
        "all_wrong": [
            {"path": f"MALE/w{index}.png", "label": "MALE", "identity": f"p{index}", "p_label": 0.031 + index / 100}
            for index in range(5 if sound else 0)
        ],
        "transfer": None,
    }
    return record | changed


def example_comparison() -> Comparison:
    """Two candidates of three seeds, which can be told apart, one that has no score, and a run that failed."""
    first, second = candidate("convnext_tiny", 0.8345, 21.3), candidate("mobilenetv2_100", 0.7912, 4.56)
    verdict = [
        "convnext_tiny is best on validation (balanced accuracy 0.845) and has 0.834 [0.784, 0.884] on test.",
        "convnext_tiny is better than mobilenetv2_100 by 0.043 [0.013, 0.073], p = 0.012 (Holm).",
        "Not compared: old_net. It was evaluated by another version.",
        "No run is counted twice.",
    ]
    return compared(
        [first, second, unscored("old_net")],
        pairs=[pair(first, second, 0.0123, 0.03)],
        verdict=verdict,
        cautions=verdict[2:3],
        unfinished=[FAILED],
    )


def many(number: int) -> Comparison:
    return compared([candidate(f"net{index:02d}", 0.9 - index / 100, 1.5**index) for index in range(number)])


TRANSFERRED = {  # balanced accuracy by method, trained on (rows) and tested on (columns, in the same order)
    "mobilenetv2_100": ((0.842, 0.731, 0.655), (0.702, 0.873, 0.689), (0.594, 0.648, 0.801)),
    "convnext_tiny": ((0.871, 0.772, None), (0.741, 0.896, 0.733), (0.627, 0.690, 0.834)),
}
DATASETS = ("peta", "pa100k", "market1501")
NOT_TESTED = "convnext_tiny on peta was not tested on market1501: run python -m gender_cls.evaluate elsewhere=all."


def example_transfer() -> Transfer:
    """Two methods on three datasets of different sizes; one cell is missing, and one method saw some of a column."""
    rows = [
        _transfer_row(method, index, scores)
        for method, matrix in TRANSFERRED.items()
        for index, scores in enumerate(matrix)
    ]
    drops: Any = [_drop_of(method, [row for row in rows if row["method"] == method]) for method in TRANSFERRED]
    verdict = "convnext_tiny is better than mobilenetv2_100 elsewhere by 0.042 [0.018, 0.066], p = 0.002 (Holm)."
    return {
        **{"datasets": list(DATASETS), "methods": list(TRANSFERRED), "rows": rows, "drops": drops},
        "pairs": [
            {
                **{"a": "mobilenetv2_100", "b": "convnext_tiny", "cells": 4, "difference": _about(-0.0422, 0.024)},
                **{"p_value": 0.0021, "p_holm": 0.0021, "significant": True, "verdict": verdict},
            }
        ],
        "sentences": ["Elsewhere convnext_tiny loses 0.154 [0.122, 0.186] of balanced accuracy.", verdict],
        "remarks": [NOT_TESTED],
    }


def _transfer_row(method: str, trained: int, scores: tuple[float | None, ...]) -> TransferRow:
    cells: list[Cell] = [
        {
            **{"dataset": DATASETS[column], "kind": "home" if column == trained else "elsewhere", "seeds": 3},
            **{"images": (1140, 10_000, 3368)[column], "identities": (820, 0, 751)[column]},
            **{"left_out": 17 * seen, "seen": bool(column == trained or seen)},
            "scores": {
                **{"balanced_accuracy": _about(score, 0.02), "macro_f1": _about(score - 0.013, 0.024)},
                "auroc": _about(score + 0.061, 0.018),
            },
        }
        for column, score in enumerate(scores)
        if score is not None
        for seen in [(method, trained, column) == ("mobilenetv2_100", 2, 0)]
    ]
    home = next(cell["scores"]["balanced_accuracy"] for cell in cells if cell["kind"] == "home")
    foreign = [cell["scores"]["balanced_accuracy"]["value"] or 0 for cell in cells if not cell["seen"]]
    return {
        **{"candidate": f"{method} on {DATASETS[trained]}", "method": method, "trained_on": DATASETS[trained]},
        **{"home": home, "cells": cells, "mean_elsewhere": _about(mean(foreign), 0.023)},
        "mean_drop": _about((home["value"] or 0) - mean(foreign), 0.029),
    }


def _drop_of(method: str, rows: list[TransferRow]) -> Any:
    foreign = [(row, cell) for row in rows for cell in row["cells"] if not cell["seen"]]
    scores = [cell["scores"]["balanced_accuracy"]["value"] or 0 for _, cell in foreign]
    drops = [(row["home"]["value"] or 0) - score for (row, _), score in zip(foreign, scores, strict=True)]
    row, worst = foreign[scores.index(min(scores))]
    return {
        **{"method": method, "cells": len(foreign), "mean_drop": _about(mean(drops), 0.032)},
        **{"spread": _about(stdev(drops), 0.021), "mean_elsewhere": _about(mean(scores), 0.027)},
        **{"worst": worst, "worst_trained_on": row["trained_on"], "cdd": mean(drops) - 0.004, "sd": stdev(scores)},
    }


def _about(value: float, half: float) -> Estimate:
    return {**undefined(""), "value": value, "low": value - half, "high": value + half, "remark": None}
