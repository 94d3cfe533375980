"""The runs of a sweep -> one honest table, best validation score first, failed jobs included."""

from pathlib import Path
from typing import Any

import pandas as pd

from gender_cls.run import Run, write_atomically

COLUMNS = {
    "model": "model",
    "parameters": "parameters",
    "val_balanced_accuracy": "val bal. acc.",
    "test_balanced_accuracy": "test bal. acc.",
    "test_accuracy": "test acc.",
    "test_auroc": "test AUROC",
    "best_baseline": "best baseline",
    "leaky": "leaky",
    "seconds": "seconds",
    "state": "state",
    "folder": "folder",
}
"""Columns of leaderboard.csv and their headings in leaderboard.md; the CSV has `error` as well."""


def leaderboard(runs: list[Run]) -> pd.DataFrame:
    """A row a run: those that have a validation score by it, then the others in the order given.

    The order must not look at test: whoever picks the first row picks by validation.
    """
    table = pd.DataFrame([_row(run) for run in runs], columns=[*COLUMNS, "error"])
    return table.sort_values("val_balanced_accuracy", ascending=False, kind="stable", ignore_index=True)


def _row(run: Run) -> dict[str, Any]:
    status, metrics = run.status, run.metrics
    test = metrics.get("test", {})
    return {
        "model": status.get("model"),
        "parameters": metrics.get("parameters"),
        "val_balanced_accuracy": metrics.get("validation", {}).get("balanced_accuracy"),
        **{f"test_{name}": test.get(name) for name in ("balanced_accuracy", "accuracy", "auroc")},
        "best_baseline": (run.best_baseline or {}).get("balanced_accuracy"),
        "leaky": metrics.get("data", {}).get("leaky"),
        "seconds": status.get("seconds"),
        "state": status.get("state"),
        "folder": run.folder.name,
        "error": status.get("error"),
    }


def write_leaderboard(folder: Path, runs: list[Run]) -> str:
    """Write `leaderboard.csv` and `leaderboard.md` into the sweep's folder; return the Markdown."""
    table = leaderboard(runs)
    write_atomically(folder / "leaderboard.csv", table.to_csv(index=False))
    errors = table[table["error"].notna()]
    text = markdown(table)
    text += "".join(f"\n- {row.folder}: {row.error}" for row in errors.itertuples()) + ("\n" if len(errors) else "")
    write_atomically(folder / "leaderboard.md", text)
    return text


def markdown(table: pd.DataFrame) -> str:
    """The leaderboard as an aligned Markdown table."""
    rows = [
        list(COLUMNS.values()),
        *([_text(column, row[column]) for column in COLUMNS] for _, row in table.iterrows()),
    ]
    widths = [max(len(row[index]) for row in rows) for index in range(len(COLUMNS))]
    aligned = [[cell.ljust(width) for cell, width in zip(row, widths, strict=True)] for row in rows]
    rule = ["-" * width for width in widths]
    return "".join(f"| {' | '.join(row)} |\n" for row in [aligned[0], rule, *aligned[1:]])


def _text(column: str, value: Any) -> str:
    if pd.isna(value):
        return "-"
    if column == "parameters":
        return f"{value / 1e6:.2f} M"
    if column == "seconds":
        return f"{value:.0f}"
    if column == "leaky":
        return "LEAKY" if value else "no"
    return f"{value:.3f}" if isinstance(value, float) else str(value).replace("|", r"\|")
