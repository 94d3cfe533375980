"""A comparison as CSV, with every column, and as Markdown for a terminal."""

from collections import Counter
from collections.abc import Callable, Sequence
from functools import reduce
from pathlib import Path
from typing import Any, cast

import pandas as pd

from gender_cls.data.csv_text import csv_text
from gender_cls.errors import plural
from gender_cls.evaluation.comparison.compare_json import (
    OTHER_ROWS,
    CandidateRow,
    Comparison,
    Ensemble,
    MeanCost,
    Pair,
)
from gender_cls.evaluation.comparison.means import SPREADS
from gender_cls.evaluation.estimate import Estimate
from gender_cls.evaluation.wording import MISSING, decimal, duration, in_bytes, p_value, short, stated
from gender_cls.pages.page import markdown_table

ENSEMBLE = "soft-vote ensemble"
SCORE_HEADINGS = ("model", "seeds", "val bal. acc.", "test bal. acc. [95 %]", "AUROC")
COST_HEADINGS = ("params", "FLOPs", "ms, 1 / 32", "memory", "train")
PAIR_HEADINGS = ("pair", "difference [95 %]", "p (Holm)", "", "McNemar: people, only 1st, only 2nd right, p")


def _state(row: CandidateRow) -> str:
    """`finished`, or how many runs are in which state."""
    counts = Counter(run["state"] for run in row["runs"])
    return ", ".join(f"{count} {state}" if len(counts) > 1 else state for state, count in counts.items())


def _field(*keys: str) -> Callable[[CandidateRow], Any]:
    """Reads the value below these keys of a row; null where a part on the way is null or not there."""
    return lambda row: reduce(lambda part, key: part and part.get(key), keys, cast(Any, row))


def _spread_end(name: str, at: int) -> Callable[[Any], float | None]:
    return lambda row: (row["cost"][name] or (None, None))[at]


CSV_COLUMNS: dict[str, Callable[[CandidateRow], Any]] = {
    "model": _field("title"),
    "state": _state,
    "seeds": lambda row: " ".join("?" if seed is None else str(seed) for seed in row["seeds"]),
    **{name: _field(name) for name in ("compared", "remark", "rows", "leaky")},
    "val_balanced_accuracy": _field("validation", "mean"),
    "val_spread": _field("validation", "spread"),
    "test_balanced_accuracy": _field("test", "mean"),
    "standing": _field("standing", "kind"),
    **{f"test_{name}": _field("test", name) for name in ("spread", "low", "high")},
    **{f"test_{name}": _field(name) for name in ("auroc", "accuracy", "log_loss", "ece")},
    "best_baseline": _field("baseline", "title"),
    "best_baseline_balanced_accuracy": _field("baseline", "balanced_accuracy"),
    **{name: _field("cost", name) for name in MeanCost.__annotations__ if name not in SPREADS},
    **{f"{name}_{end}": _spread_end(name, at) for name in SPREADS for at, end in enumerate(("low", "high"))},
    "pareto": _field("pareto"),
    "folders": lambda row: " ".join(Path(run["folder"]).name for run in row["runs"]),
    "errors": lambda row: " ".join(run["error"] for run in row["runs"] if run["error"]),
}
"""Columns of the CSV, and how each follows from a candidate."""


def to_csv(comparison: Comparison) -> str:
    """One row per candidate in the order of the comparison, the ensemble last; a null value is an empty cell."""
    rows: list[Any] = list(comparison["candidates"])
    if (ensemble := comparison["ensemble"]) is not None:
        score = ensemble["balanced_accuracy"]
        test = {"mean": score["value"], "low": score["low"], "high": score["high"]}
        rows.append({**ensemble, "title": ENSEMBLE, "test": test, "seeds": [], "runs": []})
    columns = {name: [value(row) for row in rows] for name, value in CSV_COLUMNS.items()}
    return csv_text(pd.DataFrame(columns, dtype=object))


def to_markdown(comparison: Comparison) -> str:
    """The candidates, the pairs, the verdict, and the runs that have not finished with the reason."""
    rows = [_candidate_cells(row) for row in comparison["candidates"]]
    if comparison["ensemble"] is not None:
        rows.append(_ensemble_cells(comparison["ensemble"]))
    parts = [_table([*SCORE_HEADINGS, *COST_HEADINGS, "Pareto", "note"], rows), _below_table(comparison)]
    if comparison["pairs"]:
        parts.append(_table(PAIR_HEADINGS, [_pair_cells(pair) for pair in comparison["pairs"]]))
    parts.append("".join(f"- {sentence}\n" for sentence in comparison["verdict"]))
    unfinished = [run for row in comparison["candidates"] for run in row["runs"] if run["state"] != "finished"]
    if unfinished:
        lines = [f"- {Path(run['folder']).name}: {run['error'] or run['state']}\n" for run in unfinished]
        parts.append("Not finished:\n\n" + "".join(lines))
    return "\n".join(parts)


def _candidate_cells(row: CandidateRow) -> list[str]:
    validation, test, state = row["validation"], row["test"], _state(row)
    notes = ["LEAKY"] * bool(row["leaky"]) + [OTHER_ROWS] * (row["rows"] == OTHER_ROWS)
    return [
        row["title"],
        str(len(row["seeds"])),
        _score_cell(validation["mean"], spread=validation["spread"]),
        _score_cell(test["mean"], test["low"], test["high"], test["spread"]),
        decimal(row["auroc"]),
        *_cost_cells(row["cost"]),
        {None: MISSING, True: "yes", False: "no"}[row["pareto"]],
        ", ".join(notes + [state] * (state != "finished")),
    ]


def _ensemble_cells(ensemble: Ensemble) -> list[str]:
    scores = [MISSING, MISSING, stated(ensemble["balanced_accuracy"]), decimal(ensemble["auroc"])]
    return [ENSEMBLE, *scores, *_cost_cells(ensemble["cost"]), MISSING, f"{ensemble['networks']} networks"]


def _cost_cells(cost: MeanCost) -> list[str]:
    return [
        short(cost["parameters"]),
        short(cost["flops"]),
        f"{decimal(cost['milliseconds_batch_1'], 1)} / {decimal(cost['milliseconds_batch_32'], 1)}",
        in_bytes(cost["peak_memory_bytes"]),
        duration(cost["fit_seconds"]),
    ]


def _pair_cells(pair: Pair) -> list[str]:
    second = pair["mcnemar"]
    better = pair["a"] if (pair["difference"] or 0) > 0 else pair["b"]
    return [
        f"{pair['a']} - {pair['b']}",
        _score_cell(pair["difference"], pair["low"], pair["high"]),
        p_value(pair["p_holm"]),
        f"{better} is better" if pair["significant"] else "no significant difference",
        f"{second['people']}, {second['only_a']}, {second['only_b']}, {p_value(second['p_value'])}",
    ]


def _below_table(comparison: Comparison) -> str:
    baseline, test = comparison["baseline"], f"Test: {plural(comparison['images'], 'image')}"
    if comparison["identities"]:
        test += f", {plural(comparison['identities'], 'person', 'people')}"
    test += ". "
    if baseline is not None:
        test += f"Best trivial baseline there: {baseline['title']}, {baseline['balanced_accuracy']:.3f}. "
    return (
        f"{test}ms: per image, one by one and in batches of 32. memory: the most that training took, of the process on "
        "a CPU, of its tensors on a GPU. ±: standard deviation over seeds.\n"
    )


def _score_cell(
    value: float | None, low: float | None = None, high: float | None = None, spread: float | None = None
) -> str:
    """`0.804 [0.765, 0.841] ± 0.012`, as far as it is known."""
    number = stated(Estimate(value=value, low=low, high=high, remark=None))
    return number if spread is None else f"{number} ± {spread:.3f}"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return markdown_table(header, [[cell.replace("|", r"\|") for cell in row] for row in rows]) + "\n"
