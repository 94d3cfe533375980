"""What all views of the transfer matrix share: its lines, and its rows by candidate."""

from collections.abc import Sequence
from dataclasses import dataclass

from gender_cls.evaluation.comparison.transfer_json import Cell, Transfer, TransferRow

ALL_OTHERS = "all others"


@dataclass(frozen=True)
class Line:
    """One line: a candidate, or all of a method that were trained on all sources but the one of the column."""

    method: str
    trained_on: str
    candidates: list[str]  # titles
    cells: dict[str, Cell]  # by dataset; those without a test are missing


def lines_by_method(transfer: Transfer) -> dict[str, list[Line]]:
    """The lines of each method, in the order of the rows.

    Candidates that were trained on all sources but one, and tested on nothing else, would each have a line with a
    single cell. Those of a method share a line.
    """
    lines: dict[str, list[Line]] = {method: [] for method in transfer["methods"]}
    for method, of_method in lines.items():
        rows = [row for row in transfer["rows"] if row["method"] == method]
        held_out = [row for row in rows if all(cell["kind"] == "held_out" for cell in row["cells"])]
        sources = [cell["dataset"] for row in held_out for cell in row["cells"]]
        shared = held_out if len(held_out) > 1 and len(set(sources)) == len(sources) else []
        of_method += [_line(row["trained_on"], [row]) for row in rows if row not in shared]
        if shared:
            of_method.append(_line(ALL_OTHERS, shared))
    return lines


def rows_by_candidate(transfer: Transfer | None) -> dict[str, TransferRow]:
    """The rows by the title of their candidate, for the table of candidates."""
    return {} if transfer is None else {row["candidate"]: row for row in transfer["rows"]}


def saw(cell: Cell) -> bool:
    """Whether the candidate saw images of this dataset in training, although its own test is of other data."""
    return cell["seen"] and cell["kind"] != "home"


def _line(trained_on: str, rows: Sequence[TransferRow]) -> Line:
    cells = {cell["dataset"]: cell for row in rows for cell in row["cells"]}
    return Line(rows[0]["method"], trained_on, [row["candidate"] for row in rows], cells)
