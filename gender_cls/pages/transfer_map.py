"""The transfer matrix as pages show it: a square per candidate and dataset, darker where the score is higher."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from gender_cls.errors import of_people, plural
from gender_cls.evaluation.comparison.transfer_json import TRANSFER_SCORES, Cell, Drop, Transfer, TransferRow
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
    saw: bool  # whether a square away from home is of data that the candidate saw
    about: str  # what was tested, in words


@dataclass(frozen=True)
class TransferMap:
    """The matrix of one score."""

    title: str  # of the score
    low: float  # the score without colour
    high: float  # the score with most colour
    rows: dict[str, list[tuple[TransferRow, list[Square]]]]  # by method


def transfer_parts(transfer: Transfer) -> dict[str, Any]:
    """What the section on other datasets shows besides the record.

    Returns:
        `transfer_maps`: a map for each score, balanced accuracy first. `at_home`, `held_out` and `seen`: whether there
        are squares of a candidate's own test, of sources that were held out of training, and of data that a candidate
        saw although its test is of other data. `transfer_axis` and `transfer_gap`: the ends of the axes of scores and
        of differences. `most_open_transfer_pairs`: how many pairs are shown at once.
    """
    cells = [cell for row in transfer["rows"] for cell in row["cells"]]
    means = [drop["mean_elsewhere"][key] for drop in transfer["drops"] for key in ("low", "value", "high")]
    gaps = (pair["difference"][key] for pair in transfer["pairs"] for key in ("low", "value", "high"))
    return {
        "transfer_maps": [_map_of(transfer, score) for score in TRANSFER_SCORES],
        "at_home": any(cell["kind"] == "home" for cell in cells),
        "held_out": any(cell["kind"] == "held_out" for cell in cells),
        "seen": any(map(saw, cells)),
        "transfer_axis": axis_around([*means, *map(home_of, transfer["drops"])]),
        "transfer_gap": end_of_differences(gaps),
        "most_open_transfer_pairs": MOST_OPEN,
    }


def saw(cell: Cell) -> bool:
    """Whether the candidate saw images of this dataset in training, although its own test is of other data."""
    return cell["trained_on"] and cell["kind"] != "home"


def elsewhere_of(transfer: Transfer | None) -> dict[str, TransferRow]:
    """The rows by the title of their candidate, for the table of candidates."""
    return {} if transfer is None else {row["candidate"]: row for row in transfer["rows"]}


def home_of(drop: Drop) -> float | None:
    """The mean score at home that a method's mean drop refers to."""
    mean, lost = drop["mean_elsewhere"]["value"], drop["mean_drop"]["value"]
    return None if mean is None or lost is None else mean + lost


def _map_of(transfer: Transfer, score: str) -> TransferMap:
    values = [cell["scores"][score]["value"] for row in transfer["rows"] for cell in row["cells"]]
    low, high = axis_around(values)
    rows: dict[str, list[tuple[TransferRow, list[Square]]]] = {method: [] for method in transfer["methods"]}
    for row in transfer["rows"]:
        rows[row["method"]].append((row, _squares(row, transfer["datasets"], score, low, high)))
    return TransferMap(score_title(score), low, high, rows)


def by_dataset(row: TransferRow) -> dict[str, Cell]:
    """The cells of a candidate; datasets without a test are missing."""
    return {cell["dataset"]: cell for cell in row["cells"]}


def _squares(row: TransferRow, datasets: Sequence[str], score: str, low: float, high: float) -> list[Square]:
    cells = by_dataset(row)
    missing = "in_train" if any(cell["kind"] == "held_out" for cell in row["cells"]) else "not_tested"
    squares = []
    for dataset in datasets:
        if (cell := cells.get(dataset)) is None:
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
