"""A comparison as CSV, with every column, and as Markdown that a terminal can show."""

import csv
import io
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gender_cls.evaluation.comparison.schema import (
    OTHER_ROWS,
    CandidateRow,
    Comparison,
    Ensemble,
    MeanCost,
    MeanScore,
    Pair,
)
from gender_cls.evaluation.comparison.significance import p_text
from gender_cls.pages.markdown import markdown_table

ENSEMBLE = "soft-vote ensemble"
HEADINGS = ("model", "seeds", "val bal. acc.", "test bal. acc. [95 %]", "AUROC")
COST_HEADINGS = ("params", "FLOPs", "ms, 1 / 32", "memory", "train s", "Pareto")
PAIR_HEADINGS = ("pair", "difference [95 %]", "p (Holm)", "", "McNemar: people, only 1st, only 2nd right, p")


def to_csv(comparison: Comparison) -> str:
    """A row a candidate in the order of the comparison, the ensemble last; what is null is empty."""
    records = [_record(row) for row in comparison["candidates"]]
    if comparison["ensemble"] is not None:
        records.append(_ensemble_record(comparison["ensemble"]))
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    return text.getvalue()


COLUMNS = (
    "model",
    "state",
    "seeds",
    "compared",
    "remark",
    "rows",
    "leaky",
    "val_balanced_accuracy",
    "val_spread",
    "test_balanced_accuracy",
    "test_spread",
    "test_low",
    "test_high",
    "test_auroc",
    "test_accuracy",
    "test_log_loss",
    "test_ece",
    "best_baseline",
    "best_baseline_balanced_accuracy",
    *MeanCost.__annotations__,
    "pareto",
    "folders",
    "errors",
)
"""Of the CSV."""


def _record(row: CandidateRow) -> dict[str, Any]:
    baseline = row["baseline"]
    return {
        "model": row["title"],
        "state": _state(row),
        "seeds": " ".join("?" if seed is None else str(seed) for seed in row["seeds"]),
        "compared": row["compared"],
        "remark": row["remark"],
        "rows": row["rows"],
        "leaky": row["leaky"],
        "val_balanced_accuracy": row["validation"]["mean"],
        "val_spread": row["validation"]["spread"],
        "test_balanced_accuracy": row["test"]["mean"],
        "test_spread": row["test"]["spread"],
        "test_low": row["test"]["low"],
        "test_high": row["test"]["high"],
        "test_auroc": row["auroc"],
        "test_accuracy": row["accuracy"],
        "test_log_loss": row["log_loss"],
        "test_ece": row["ece"],
        "best_baseline": baseline and baseline["title"],
        "best_baseline_balanced_accuracy": baseline and baseline["balanced_accuracy"],
        **row["cost"],
        "pareto": row["pareto"],
        "folders": " ".join(Path(run["folder"]).name for run in row["runs"]),
        "errors": " ".join(run["error"] for run in row["runs"] if run["error"]),
    }


def _ensemble_record(ensemble: Ensemble) -> dict[str, Any]:
    score = ensemble["balanced_accuracy"]
    return {
        "model": ENSEMBLE,
        "test_balanced_accuracy": score["value"],
        "test_low": score["low"],
        "test_high": score["high"],
        "test_auroc": ensemble["auroc"],
        "test_accuracy": ensemble["accuracy"],
        **ensemble["cost"],
    }


def to_markdown(comparison: Comparison) -> str:
    """The candidates, the pairs, the verdict, and what has not finished and why."""
    rows = [[*HEADINGS, *COST_HEADINGS, "note"], *(_cells(row) for row in comparison["candidates"])]
    if comparison["ensemble"] is not None:
        rows.append(_ensemble_cells(comparison["ensemble"]))
    parts = [_aligned(rows), _caption(comparison)]
    if comparison["pairs"]:
        parts.append(_aligned([list(PAIR_HEADINGS), *(_pair_cells(pair) for pair in comparison["pairs"])]))
    parts.append("".join(f"- {sentence}\n" for sentence in comparison["verdict"]))
    unfinished = [run for row in comparison["candidates"] for run in row["runs"] if run["state"] != "finished"]
    if unfinished:
        parts.append(
            "Not finished:\n\n"
            + "".join(f"- {Path(run['folder']).name}: {run['error'] or run['state']}\n" for run in unfinished)
        )
    return "\n".join(parts)


def _cells(row: CandidateRow) -> list[str]:
    test = row["test"]
    notes = ["LEAKY"] * bool(row["leaky"]) + [OTHER_ROWS] * (row["rows"] == OTHER_ROWS)
    state = _state(row)
    return [
        row["title"],
        str(len(row["seeds"])),
        _score(row["validation"]),
        _score(test, test["low"], test["high"]),
        _number(row["auroc"]),
        *_cost_cells(row["cost"]),
        {None: "-", True: "yes", False: "no"}[row["pareto"]],
        ", ".join(notes + [state] * (state != "finished")),
    ]


def _ensemble_cells(ensemble: Ensemble) -> list[str]:
    score = ensemble["balanced_accuracy"]
    test = MeanScore(mean=score["value"], spread=None)
    return [
        ENSEMBLE,
        "-",
        "-",
        _score(test, score["low"], score["high"]),
        _number(ensemble["auroc"]),
        *_cost_cells(ensemble["cost"]),
        "-",
        f"{ensemble['networks']} networks",
    ]


def _cost_cells(cost: MeanCost) -> list[str]:
    return [
        _scaled(cost["parameters"], 1e6, ".2f", " M"),
        _scaled(cost["flops"], 1e9, ".2f", " G"),
        _milliseconds(cost),
        _scaled(cost["peak_memory_bytes"], 2**30, ".1f", " GiB"),
        _scaled(cost["fit_seconds"], 1, ".0f"),
    ]


def _milliseconds(cost: MeanCost) -> str:
    one, many = cost["milliseconds_batch_1"], cost["milliseconds_batch_32"]
    return "-" if one is None and many is None else f"{_scaled(one, 1, '.1f')} / {_scaled(many, 1, '.1f')}"


def _pair_cells(pair: Pair) -> list[str]:
    second = pair["mcnemar"]
    better = pair["a"] if (pair["difference"] or 0) > 0 else pair["b"]
    return [
        f"{pair['a']} - {pair['b']}",
        _score(MeanScore(mean=pair["difference"], spread=None), pair["low"], pair["high"]),
        "-" if pair["p_holm"] is None else p_text(pair["p_holm"]),
        f"{better} is better" if pair["significant"] else "no significant difference",
        f"{second['people']}, {second['only_a']}, {second['only_b']}, {p_text(second['p_value'])}",
    ]


def _caption(comparison: Comparison) -> str:
    people = comparison["identities"]
    test = f"Test: {comparison['images']} images" + (f", {people} people. " if people else ". ")
    baseline = comparison["baseline"]
    trivial = (
        f"Best trivial baseline there: {baseline['title']}, {baseline['balanced_accuracy']:.3f}. " if baseline else ""
    )
    return (
        f"{test}{trivial}ms: per image, one by one and in batches of 32. memory: the most that training took, of the "
        "process on a CPU, of its tensors on a GPU. ±: standard deviation over seeds.\n"
    )


def _state(row: CandidateRow) -> str:
    """`finished`, or how many runs are in which state."""
    counts = Counter(run["state"] for run in row["runs"])
    if len(counts) == 1:
        return next(iter(counts))
    return ", ".join(f"{count} {state}" for state, count in counts.items())


def _score(score: MeanScore, low: float | None = None, high: float | None = None) -> str:
    """`0.804 [0.765, 0.841] ± 0.012`, as far as it is known."""
    interval = "" if low is None or high is None else f" [{low:.3f}, {high:.3f}]"
    spread = "" if score["spread"] is None else f" ± {score['spread']:.3f}"
    return _number(score["mean"]) + interval + spread


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _scaled(value: float | None, unit: float, digits: str, suffix: str = "") -> str:
    return "-" if value is None else f"{value / unit:{digits}}{suffix}"


def _aligned(rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; the first row is the heading."""
    header, *others = [[cell.replace("|", r"\|") for cell in row] for row in rows]
    return markdown_table(header, others) + "\n"
