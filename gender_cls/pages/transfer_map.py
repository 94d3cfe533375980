"""The transfer matrix as pages show it: a square per candidate and dataset, darker where the score is higher."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from gender_cls.errors import of_people, plural
from gender_cls.evaluation.comparison.transfer_json import TRANSFER_SCORES, Cell, Drop, Transfer
from gender_cls.evaluation.comparison.transfer_lines import ALL_OTHERS, Line, lines_by_method, saw
from gender_cls.evaluation.estimate import Estimate
from gender_cls.evaluation.wording import score_title
from gender_cls.pages.axes import axis_around, end_of_differences

MOST_OPEN = 10  # pairs of methods that are shown at once; the others are folded away


@dataclass(frozen=True)
class Square:
    """One candidate on one dataset."""

    score: Estimate | None  # None: not tested
    shade: float  # how much of the colour, 0 to 1
    kind: str  # home, elsewhere or held_out; or why there is no test: not_tested, in_train
    saw: bool  # whether a square that is not home is of data that the candidate saw
    about: str  # what was tested, in words


@dataclass(frozen=True)
class TransferMap:
    """The matrix of one score."""

    title: str  # of the score
    low: float  # the score without colour
    high: float  # the score with most colour
    rows: dict[str, list[tuple[Line, list[Square]]]]  # by method


def transfer_parts(transfer: Transfer) -> dict[str, Any]:
    """What the section on other datasets shows in addition to the record.

    Returns:
        `transfer_maps`: a map for each score, balanced accuracy first.
        `at_home`, `held_out`, `seen`: whether there are squares of a candidate's own test, of sources that were held
        out of training, and of data that a candidate saw although its test is of other data.
        `all_others`: whether there are lines of all sources but that of the column.
        `transfer_axis`, `transfer_gap`: the ends of the axes of scores and of differences.
        `most_open_transfer_pairs`: how many pairs are shown at once.
    """
    cells = [cell for row in transfer["rows"] for cell in row["cells"]]
    lines = [line for of_method in lines_by_method(transfer).values() for line in of_method]
    means = [drop["mean_elsewhere"][key] for drop in transfer["drops"] for key in ("low", "value", "high")]
    gaps = (pair["difference"][key] for pair in transfer["pairs"] for key in ("low", "value", "high"))
    return {
        "transfer_maps": [_map_of(transfer, score) for score in TRANSFER_SCORES],
        "at_home": any(cell["kind"] == "home" for cell in cells),
        "held_out": any(cell["kind"] == "held_out" for cell in cells),
        "seen": any(map(saw, cells)),
        "all_others": any(line.trained_on == ALL_OTHERS for line in lines),
        "transfer_axis": axis_around([*means, *map(home_of, transfer["drops"])]),
        "transfer_gap": end_of_differences(gaps),
        "most_open_transfer_pairs": MOST_OPEN,
    }


def home_of(drop: Drop) -> float | None:
    """The mean score at home that a method's mean drop refers to."""
    elsewhere, mean_drop = drop["mean_elsewhere"]["value"], drop["mean_drop"]["value"]
    return None if elsewhere is None or mean_drop is None else elsewhere + mean_drop


def _map_of(transfer: Transfer, score: str) -> TransferMap:
    low, high = axis_around(cell["scores"][score]["value"] for row in transfer["rows"] for cell in row["cells"])
    rows = {
        method: [(line, _squares(line, transfer["datasets"], score, low, high)) for line in lines]
        for method, lines in lines_by_method(transfer).items()
    }
    return TransferMap(score_title(score), low, high, rows)


def _squares(line: Line, datasets: Sequence[str], score: str, low: float, high: float) -> list[Square]:
    missing = "in_train" if any(cell["kind"] == "held_out" for cell in line.cells.values()) else "not_tested"
    squares = []
    for dataset in datasets:
        if (cell := line.cells.get(dataset)) is None:
            squares.append(Square(None, 0.0, missing, saw=False, about=""))
            continue
        found = cell["scores"][score]
        share = 0.0 if found["value"] is None else (found["value"] - low) / (high - low)
        squares.append(Square(found, round(share, 3), cell["kind"], saw(cell), _about(cell)))
    return squares


def _about(cell: Cell) -> str:
    images = of_people(cell["images"], "image", cell["identities"])
    left_out = f", {plural(cell['left_out'], 'image')} left out that the runs had seen" if cell["left_out"] else ""
    return f"{images}, {plural(cell['seeds'], 'seed')}{left_out}"
