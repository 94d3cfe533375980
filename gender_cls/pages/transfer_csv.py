"""The transfer matrix as CSV: one row per cell, with all its numbers."""

from typing import Any

import pandas as pd

from gender_cls.data.csv_text import csv_text
from gender_cls.evaluation.comparison.transfer_json import TRANSFER_SCORES, Cell, Transfer, TransferRow
from gender_cls.evaluation.estimate import Estimate


def transfer_to_csv(transfer: Transfer) -> str:
    """The cells by row, then by column of the matrix; a null value is an empty cell."""
    cells = [_numbers(row, cell) for row in transfer["rows"] for cell in row["cells"]]
    return csv_text(pd.DataFrame(cells, dtype=object))


def _numbers(row: TransferRow, cell: Cell) -> dict[str, Any]:
    scores = [(name, cell["scores"][name]) for name in TRANSFER_SCORES]
    home, here = row["home"]["value"], cell["scores"]["balanced_accuracy"]["value"]
    drop = None if home is None or here is None or cell["kind"] == "home" else home - here
    return {
        **{"method": row["method"], "candidate": row["candidate"], "trained_on": row["trained_on"]},
        **{"tested_on": cell["dataset"], "kind": cell["kind"], "trained_on_it": cell["trained_on"]},
        **{name: cell[name] for name in ("images", "identities", "seeds", "left_out")},
        **{key: value for name, score in scores for key, value in _interval(name, score).items()},
        **_interval("home_balanced_accuracy", row["home"]),
        "drop": drop,
    }


def _interval(name: str, found: Estimate) -> dict[str, float | None]:
    return {name: found["value"], f"{name}_low": found["low"], f"{name}_high": found["high"]}
