"""The transfer matrix as CSV with all numbers of each cell, as Markdown, and for the terminal."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from gender_cls.data.csv_text import csv_text
from gender_cls.errors import plural
from gender_cls.evaluation.comparison.transfer_json import TRANSFER_SCORES, Cell, Transfer, TransferRow
from gender_cls.evaluation.comparison.transfer_lines import Line, lines_by_method, saw
from gender_cls.evaluation.estimate import Estimate
from gender_cls.evaluation.wording import (
    MISSING,
    capitalised,
    decimal,
    markdown_table,
    p_value,
    score_title,
    stated,
)
from gender_cls.system.terminal import Column, table_on_screen

if TYPE_CHECKING:
    from rich.table import Table

SAW = "†"


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
        **{"tested_on": cell["dataset"], "kind": cell["kind"], "seen": cell["seen"]},
        **{name: cell[name] for name in ("images", "identities", "seeds", "left_out")},
        **{key: value for name, score in scores for key, value in _interval(name, score).items()},
        **_interval("home_balanced_accuracy", row["home"]),
        "drop": drop,
    }


def _interval(name: str, found: Estimate) -> dict[str, float | None]:
    return {name: found["value"], f"{name}_low": found["low"], f"{name}_high": found["high"]}


def transfer_markdown(transfer: Transfer) -> str:
    """What the matrix says, a matrix for each score, and the tables of methods and of their pairs."""
    parts = ["".join(f"- {_text(sentence)}\n" for sentence in transfer["sentences"])]
    lines, marks = _lines(transfer), _marks(transfer, "bold")
    for score in TRANSFER_SCORES:
        title = capitalised(score_title(score))
        cells = [[*_names(line, transfer), *_line_cells(line, transfer, score)] for line in lines]
        parts.append(f"{title}, trained on (rows) and tested on (columns).{marks}\n")
        parts.append(_table([*_names(None, transfer), *transfer["datasets"]], cells))
    if transfer["drops"]:
        heading = ["method", "tests", "elsewhere", "drop", "spread", "worst", "CDD", "SD"]
        parts.append(_table(heading, _drops(transfer)))
    if transfer["pairs"]:
        pairs = [
            [f"{pair['a']} - {pair['b']}", stated(pair["difference"]), p_value(pair["p_holm"]), pair["verdict"]]
            for pair in transfer["pairs"]
        ]
        parts.append(_table(["pair, elsewhere", "difference [95 %]", "p (Holm)", ""], pairs))
    parts += ["".join(f"- {_text(remark)}\n" for remark in transfer["remarks"])] * bool(transfer["remarks"])
    return "\n".join(parts)


def transfer_on_screen(transfer: Transfer, page: str) -> list["str | Table"]:
    """The matrix of balanced accuracy, as many columns of it as fit, and the drop of each method.

    Args:
        page: the name of the page that has the rest.
    """
    lines, datasets = _lines(transfer), transfer["datasets"]
    named = [_names(line, transfer) for line in lines]
    first = [Column(title, [names[place] for names in named]) for place, title in enumerate(_names(None, transfer))]
    columns = [
        Column(dataset, [_on_screen(line.cells.get(dataset)) for line in lines], rank=place)
        for place, dataset in enumerate(datasets, 1)
    ]
    table = table_on_screen([*first, *columns])
    missing = len(first) + len(datasets) - len(table.columns)
    more = f" {page} has {plural(missing, 'more column')}." if missing else ""
    parts: list[str | Table] = [
        f"Balanced accuracy, trained on (rows) and tested on (columns).{_marks(transfer, '*')}{more}",
        table,
    ]
    if transfer["drops"]:
        drops = transfer["drops"]
        worst = [drop["worst"]["scores"]["balanced_accuracy"]["value"] if drop["worst"] else None for drop in drops]
        parts += ["", table_on_screen([
            Column("method", [drop["method"] for drop in drops]),
            Column("elsewhere [95 %]", [stated(drop["mean_elsewhere"]) for drop in drops]),
            Column("drop [95 %]", [stated(drop["mean_drop"]) for drop in drops]),
            Column("spread", [decimal(drop["spread"]["value"]) for drop in drops], number=True, rank=2),
            Column("worst", list(map(decimal, worst)), number=True, rank=1),
        ])]  # fmt: skip
    return parts


def _lines(transfer: Transfer) -> list[Line]:
    return [line for lines in lines_by_method(transfer).values() for line in lines]


def _marks(transfer: Transfer, home: str) -> str:
    """What the signs in the matrix mean, as far as it has them; `home` marks home."""
    lines = _lines(transfer)
    cells = [cell for line in lines for cell in line.cells.values()]
    meanings = {
        f"{home}: home, its own test split": any(cell["kind"] == "home" for cell in cells),
        f"{SAW}: it saw images of that dataset in training": any(map(saw, cells)),
        f"{MISSING}: not tested": any(len(line.cells) < len(transfer["datasets"]) for line in lines),
    }
    return "".join(f" {meaning}." for meaning, there in meanings.items() if there)


def _names(line: Line | None, transfer: Transfer) -> list[str]:
    """What a line is called, with its method where there are several; headings for None."""
    several = len(transfer["methods"]) > 1
    if line is None:
        return ["method"] * several + ["trained on"]
    return [line.method] * several + [line.trained_on]


def _line_cells(line: Line, transfer: Transfer, score: str) -> list[str]:
    cells = [line.cells.get(dataset) for dataset in transfer["datasets"]]
    return [MISSING if cell is None else _in_markdown(cell, score) for cell in cells]


def _in_markdown(cell: Cell, score: str) -> str:
    written = stated(cell["scores"][score])
    return f"**{written}**" if cell["kind"] == "home" else written + SAW * saw(cell)


def _on_screen(cell: Cell | None) -> str:
    if cell is None:
        return MISSING
    return decimal(cell["scores"]["balanced_accuracy"]["value"]) + "*" * (cell["kind"] == "home") + SAW * saw(cell)


def _drops(transfer: Transfer) -> list[list[str]]:
    rows = []
    for drop in transfer["drops"]:
        worst = MISSING
        if drop["worst"] is not None:
            score = decimal(drop["worst"]["scores"]["balanced_accuracy"]["value"])
            worst = f"{score}, {drop['worst_trained_on']} on {drop['worst']['dataset']}"
        numbers = [stated(drop["mean_elsewhere"]), stated(drop["mean_drop"]), stated(drop["spread"])]
        rows.append([drop["method"], str(drop["cells"]), *numbers, worst, decimal(drop["cdd"]), decimal(drop["sd"])])
    return rows


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return markdown_table([*map(_text, header)], [[*map(_text, row)] for row in rows]) + "\n"


def _text(cell: str) -> str:
    return cell.replace("|", r"\|")
