"""A comparison as CSV with all numbers, and as Markdown for readers; rows are in the order of the comparison."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial, reduce
from pathlib import Path
from typing import Any, cast

import pandas as pd

from gender_cls.config.data import CLASSES
from gender_cls.data.csv_text import csv_text
from gender_cls.errors import of_people
from gender_cls.evaluation.comparison.compare_json import (
    NOT_TESTED,
    OTHER_ROWS,
    CandidateRow,
    Comparison,
    Ensemble,
    MeanCost,
    Pair,
)
from gender_cls.evaluation.comparison.means import SPREADS
from gender_cls.evaluation.comparison.sentences import short_verdict
from gender_cls.evaluation.comparison.transfer_json import TransferRow
from gender_cls.evaluation.comparison.transfer_lines import rows_by_candidate
from gender_cls.evaluation.estimate import Estimate
from gender_cls.evaluation.wording import (
    ABOUT_DISTURBED,
    MISSING,
    decimal,
    duration,
    in_bytes,
    markdown_table,
    p_value,
    short,
    stated,
    timed,
)
from gender_cls.pages.links import run_links
from gender_cls.pages.transfer_table import transfer_markdown

ENSEMBLE = "soft vote of all"
MOST_VARIED = 4  # settings that vary have a column each in the table of scores; more of them have a table of their own
PAIR_HEADINGS = ("pair", "difference [95 %]", "p (Holm)", "", "McNemar: people, only 1st, only 2nd right, p")


def _state(row: CandidateRow) -> str:
    """`finished`, or how many runs are in which state."""
    counts = Counter(run["state"] for run in row["runs"])
    return ", ".join(f"{count} {state}" if len(counts) > 1 else state for state, count in counts.items())


def _field(*keys: str) -> Callable[[CandidateRow], Any]:
    """Reads the value below these keys of a row; null where a part on the way is null or not there."""
    return lambda row: reduce(lambda part, key: part and part.get(key), keys, cast(Any, row))


def _recall(row: CandidateRow, label: str) -> float | None:
    return next((one["recall"] for one in row.get("recalls", []) if one["label"] == label), None)


def _away(row: CandidateRow, away: Mapping[str, TransferRow], name: str, end: str) -> float | None:
    found: Any = away.get(row["title"])
    return None if found is None else found[name][end]


def _spread_end(name: str, at: int) -> Callable[[Any], float | None]:
    return lambda row: (row["cost"][name] or (None, None))[at]


CSV_COLUMNS: dict[str, Callable[[CandidateRow], Any]] = {
    "state": _state,
    "seeds": lambda row: " ".join("?" if seed is None else str(seed) for seed in row["seeds"]),
    **{name: _field(name) for name in ("compared", "remark", "rows", "leaky")},
    "validation_balanced_accuracy": _field("validation", "mean"),
    "validation_spread": _field("validation", "spread"),
    "test_balanced_accuracy": _field("test", "mean"),
    "standing": _field("standing", "kind"),
    **{f"test_{name}": _field("test", name) for name in ("spread", "low", "high")},
    **{f"test_recall_{label}": partial(_recall, label=label) for label in CLASSES},
    **{f"test_{name}": _field(name) for name in ("auroc", "accuracy", "log_loss", "ece")},
    "best_baseline": _field("baseline", "title"),
    "best_baseline_balanced_accuracy": _field("baseline", "balanced_accuracy"),
    **{name: _field("cost", name) for name in MeanCost.__annotations__ if name not in SPREADS},
    **{f"{name}_{end}": _spread_end(name, at) for name in SPREADS for at, end in enumerate(("low", "high"))},
    "pareto": _field("pareto"),
    "folders": lambda row: " ".join(Path(run["folder"]).name for run in row["runs"]),
    "errors": lambda row: " ".join(run["error"] for run in row["runs"] if run["error"]),
}
"""Columns of the CSV after the candidate, its model and the settings that vary, and how each follows from a row."""


def to_csv(comparison: Comparison) -> str:
    """One row per candidate in the order of the comparison, the ensemble last; a null value is an empty cell."""
    rows: list[Any] = list(comparison["candidates"])
    varied = list(rows[0]["varied"]) if rows else []
    if (ensemble := comparison["ensemble"]) is not None:
        score = ensemble["balanced_accuracy"]
        test = {"mean": score["value"], "low": score["low"], "high": score["high"]}
        named = {"title": ENSEMBLE, "varied": dict.fromkeys(varied)}
        rows.append({**ensemble, **named, "test": test, "seeds": [], "runs": []})
    columns = {"candidate": _field("title"), "model": _field("model")}
    columns |= {key: _field("varied", key) for key in varied} | CSV_COLUMNS
    if away := rows_by_candidate(comparison["transfer"]):
        columns |= {
            f"{name}_{end}" if end != "value" else name: partial(_away, away=away, name=name, end=end)
            for name in ("mean_elsewhere", "mean_drop")
            for end in ("value", "low", "high")
        }
    return csv_text(pd.DataFrame({name: [value(row) for row in rows] for name, value in columns.items()}, dtype=object))


def to_markdown(comparison: Comparison, folder: Path) -> str:
    """The answer; scores, costs and pairs as tables; and the runs that have not finished, with the reason.

    Args:
        folder: where the text is kept: its links to the reports are relative to it.
    """
    rows, ensemble = comparison["candidates"], comparison["ensemble"]
    parts = ["".join(f"- {sentence}\n" for sentence in comparison["verdict"])]
    if rows:
        scores = _score_table(rows, ensemble, rows_by_candidate(comparison["transfer"]))
        parts += [scores, _below_scores(comparison), _cost_table(rows, ensemble), _below_costs(rows)]
    if comparison["pairs"]:
        parts.append(_table(PAIR_HEADINGS, [_pair_cells(pair) for pair in comparison["pairs"]]))
    if comparison["transfer"] is not None:
        parts.append(f"Transfer matrix:\n\n{transfer_markdown(comparison['transfer'])}")
    if rows and len(rows[0]["varied"]) > MOST_VARIED:
        cells = [[row["title"], *row["varied"].values()] for row in rows]
        parts.append(_table(["candidate", *rows[0]["varied"]], cells))
    if comparison["unfinished"]:
        lines = [f"- {Path(run['folder']).name}: {run['error'] or run['state']}\n" for run in comparison["unfinished"]]
        parts.append("Not finished:\n\n" + "".join(lines))
    if reports := [line for row in rows for line in _report_lines(row, folder)]:
        parts.append("Reports:\n\n" + "".join(reports))
    return "\n".join(parts)


def _score_table(rows: Sequence[CandidateRow], ensemble: Ensemble | None, away: Mapping[str, TransferRow]) -> str:
    """`away`: what candidates score on other datasets, by title; without any, there are no columns for it."""
    varied, elsewhere = list(rows[0]["varied"])[:MOST_VARIED], ["elsewhere", "drop"] * bool(away)
    heading = ["candidate", *varied, "seeds", "validation", "test [95 %]", *CLASSES, "AUROC", *elsewhere, "note"]
    cells = [_score_cells(row, varied, away) for row in rows]
    if ensemble is not None:
        numbers = [
            MISSING,
            stated(ensemble["balanced_accuracy"]),
            *[MISSING] * len(CLASSES),
            decimal(ensemble["auroc"]),
        ]
        numbers += [MISSING] * len(elsewhere)
        cells.append([ENSEMBLE, *[""] * len(varied), MISSING, *numbers, f"{ensemble['networks']} networks"])
    return _table(heading, cells)


def _score_cells(row: CandidateRow, varied: Sequence[str], away: Mapping[str, TransferRow]) -> list[str]:
    validation, test, found = row["validation"], row["test"], away.get(row["title"])
    elsewhere = [MISSING, MISSING] if found is None else [stated(found["mean_elsewhere"]), stated(found["mean_drop"])]
    return [
        row["title"],
        *(row["varied"][key] for key in varied),
        str(len(row["seeds"])),
        _score_cell(validation["mean"], spread=validation["spread"]),
        _score_cell(test["mean"], test["low"], test["high"], test["spread"]),
        *(decimal(_recall(row, label)) for label in CLASSES),
        decimal(row["auroc"]),
        *elsewhere[: 2 * bool(away)],
        notes_of(row),
    ]


def notes_of(row: CandidateRow) -> str:
    """Why its scores are not to be relied on, in a few words; empty if nothing speaks against them."""
    state = _state(row)
    notes = ["LEAKY"] * bool(row["leaky"])
    notes += [row["standing"]["kind"]] if row["standing"] and row["standing"]["level"] == "stop" else []
    notes += ["not tested"] * (row["remark"] == NOT_TESTED)
    notes += [OTHER_ROWS] * (row["rows"] == OTHER_ROWS)
    return ", ".join(notes + [state] * (state != "finished"))


def _cost_table(rows: Sequence[CandidateRow], ensemble: Ensemble | None) -> str:
    heading = ["candidate", "parameters", "FLOPs", "ms, 1 / 32", "memory", "training", "Pareto"]
    pareto = {None: MISSING, True: "yes", False: "no"}
    cells = [[row["title"], *_cost_cells(row["cost"]), pareto[row["pareto"]]] for row in rows]
    if ensemble is not None:
        cells.append([ENSEMBLE, *_cost_cells(ensemble["cost"]), MISSING])
    return _table(heading, cells)


def _cost_cells(cost: MeanCost) -> list[str]:
    times = cost["milliseconds_batch_1"], cost["milliseconds_batch_32"]
    return [
        short(cost["parameters"]),
        short(cost["flops"]),
        " / ".join(timed(decimal(time, 1), cost["disturbed"]) for time in times),
        in_bytes(cost["peak_memory_bytes"]),
        duration(cost["fit_seconds"]),
    ]


def _pair_cells(pair: Pair) -> list[str]:
    second = pair["mcnemar"]
    return [
        f"{pair['a']} - {pair['b']}",
        _score_cell(pair["difference"], pair["low"], pair["high"]),
        p_value(pair["p_holm"]),
        short_verdict(pair),
        f"{second['people']}, {second['only_a']}, {second['only_b']}, {p_value(second['p_value'])}",
    ]


def _report_lines(row: CandidateRow, folder: Path) -> list[str]:
    lines = []
    for run in row["runs"]:
        if links := run_links(folder, run["folder"]):
            listed = ", ".join(f"[{name}]({address})" for name, address in links)
            lines.append(f"- {row['title']}, {Path(run['folder']).name}: {listed}\n")
    return lines


def _below_scores(comparison: Comparison) -> str:
    return (
        f"{about_test(comparison)} {' and '.join(CLASSES)}: the share of the test images with that label that get it. "
        "±: standard deviation over seeds.\n"
    )


def about_test(comparison: Comparison) -> str:
    """What test is, the best score there without looking at a person, and what the scores are."""
    baseline, test = comparison["baseline"], of_people(comparison["images"], "image", comparison["identities"])
    best = ""
    if baseline is not None:
        best = f" Best trivial baseline there: {baseline['title']}, {baseline['balanced_accuracy']:.3f}."
    return f"Test: {test}.{best} Validation and test: balanced accuracy at the threshold 0.5."


def _below_costs(rows: Sequence[CandidateRow]) -> str:
    disturbed = f"{ABOUT_DISTURBED} " * any(row["cost"]["disturbed"] for row in rows)
    return (
        f"ms: per image, one by one and in batches of 32; the fastest call. {disturbed}memory: the most that training "
        "took, of the process on a CPU, of its tensors on a GPU.\n"
    )


def _score_cell(
    value: float | None, low: float | None = None, high: float | None = None, spread: float | None = None
) -> str:
    """`0.804 [0.765, 0.841] ± 0.012`, as far as it is known."""
    number = stated(Estimate(value=value, low=low, high=high, remark=None))
    return number if spread is None else f"{number} ± {spread:.3f}"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return markdown_table(header, [[cell.replace("|", r"\|") for cell in row] for row in rows]) + "\n"
