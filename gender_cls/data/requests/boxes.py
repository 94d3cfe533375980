"""Boxes of people in the frames of a film, as trackers write them -> a table. Imports no torch."""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from gender_cls.data.columns import stands_for_nothing
from gender_cls.data.text_table import BLANKS, read_text
from gender_cls.errors import plural, require, visible

SIDES = ("left", "top", "width", "height")
COLUMNS = ("frame", "id", *SIDES, "conf", "class")
"""Of MOTChallenge's text, in this order; in the results of trackers three numbers without a meaning follow `conf`."""

NEEDED = ("frame", *SIDES)
PEDESTRIAN = 1
GROUND_TRUTH_WIDTH = 9  # values in a line of MOTChallenge's ground truth since 2016: the last are class and visibility
FORM = "frame,id,left,top,width,height,conf"

_AROUND = f'{BLANKS}"'


class Boxes(NamedTuple):
    """The boxes that are used, and how many were left out."""

    # frame (as the file numbers it), track ("" where none is given), and SIDES in whole pixels. The same track in the
    # boxes of another film is another one.
    rows: pd.DataFrame
    left_out: Mapping[str, int]  # why, as the end of a sentence -> boxes


class _Box(NamedTuple):
    """A line of the file, with NaN where it has no value."""

    line: int
    frame: int
    track: str
    sides: tuple[float, float, float, float]
    conf: float
    kind: float  # the class of MOTChallenge's ground truth


def read_boxes(file: Path, *, stride: int, first_frame: int) -> Boxes:
    """The boxes in every `stride`-th frame, sorted by frame; those of one frame are in the file's order.

    The file is MOTChallenge's text, whose values lie between commas, blanks, tabs or semicolons, or a table whose first
    line names at least `frame` and SIDES. Left and top count from 0, the first pixel, as trackers write them. Of
    MOTChallenge's ground truth, boxes with conf 0 and classes other than pedestrian are left out.

    Args:
        first_frame: the number of the film's first frame in the file, 0 or 1.

    Raises:
        GenderClsError: the file cannot be read, or a line makes no sense.
    """
    boxes = list(_boxes(file, first_frame))
    require(bool(boxes), f"{file} holds no boxes: its lines should be {FORM}.")
    used = [box for box in boxes if box.conf != 0]
    require(
        bool(used),
        f"All boxes of {file} have conf 0, which marks boxes that do not count: write their confidence, or leave conf "
        "out.",
    )
    people = [box for box in used if math.isnan(box.kind) or box.kind == PEDESTRIAN]
    require(bool(people), f"No box of {file} has the class {PEDESTRIAN}, MOTChallenge's number of pedestrians.")
    _check_tracks(file, people)
    taken = sorted((box for box in people if (box.frame - first_frame) % stride == 0), key=lambda box: box.frame)
    require(bool(taken), f"No box of {file} lies in a frame that stride={stride} takes: choose a smaller stride.")
    left_out = {
        "marked by conf 0 as not counting": len(boxes) - len(used),
        "of another class than pedestrian": len(used) - len(people),
        "in frames that stride leaves out": len(people) - len(taken),
    }
    rows = pd.DataFrame(
        {"frame": [box.frame for box in taken], "track": pd.Series([box.track for box in taken], dtype="str")}
    )
    rows[list(SIDES)] = whole_pixels([box.sides for box in taken])
    return Boxes(rows, {why: number for why, number in left_out.items() if number})


def whole_pixels(boxes: ArrayLike) -> NDArray[np.int64]:
    """Boxes (N, 4), each left, top, width, height, rounded by their edges; half a pixel goes to the right and down.

    Two boxes that share an edge still share it.
    """
    sides = np.asarray(boxes, dtype=np.float64).reshape(-1, 4)
    start = np.floor(sides[:, :2] + 0.5)
    end = np.floor(sides[:, :2] + sides[:, 2:] + 0.5)
    return np.hstack([start, end - start]).astype(np.int64)


def _boxes(file: Path, first_frame: int) -> Iterator[_Box]:
    lines = [(number, line) for number, line in _lines(file) if any(line)]
    if not lines:
        return
    names, start = _names(file, *lines[0])
    place = {name: names.index(name) for name in COLUMNS if name in names}
    for number, line in lines[start:]:
        where = f"{file}, line {number}"
        require(
            len(line) >= len(names),
            f"{where} has {plural(len(line), 'value')} instead of {len(names)}: it should be {','.join(names)}.",
        )
        values = {name: _number(line[place[name]], name, where) for name in place if name != "id"}
        frame = values["frame"]
        require(frame == int(frame), f"{where}: frame is {line[place['frame']]} instead of a whole number.")
        require(
            frame >= first_frame,
            f"{where}: there is no frame {frame:.0f}, because frames are numbered from {first_frame}"
            + (": give first_frame=0 if the file numbers them from 0." if frame == 0 else "."),
        )
        sides = values["left"], values["top"], values["width"], values["height"]
        require(
            max(map(abs, sides)) < 1e6, f"{where}: the box {', '.join(f'{side:g}' for side in sides)} is too large."
        )
        name = _track(line[place["id"]]) if "id" in place else ""
        yield _Box(number, int(frame), name, sides, values.get("conf", math.nan), values.get("class", math.nan))


def _lines(file: Path) -> Iterator[tuple[int, list[str]]]:
    """The number of each line and its values, without the blanks and quotes around them."""
    lines = read_text(file, str(file)).splitlines()
    first = next((line for line in lines if line.strip(BLANKS)), "")
    sign = max(",;\t", key=first.count)
    for number, line in enumerate(lines, 1):
        yield number, [value.strip(_AROUND) for value in (line.split(sign) if sign in first else line.split())]


def _names(file: Path, number: int, line: Sequence[str]) -> tuple[list[str], int]:
    """The names of the columns, and how many lines they take: 1 if the first line has them, else 0."""
    titles = [re.sub("^(track|track_id|identity)$", "id", value.lower()) for value in line]
    if any(title in COLUMNS for title in titles):
        missing = [name for name in NEEDED if name not in titles]
        require(not missing, f"{file}, line {number}: there is no column {', '.join(missing)}; it should name {FORM}.")
        repeated = {title for title in titles if titles.count(title) > 1 and title in COLUMNS}
        require(not repeated, f"{file}, line {number} names {', '.join(sorted(repeated))} twice.")
        return [title if title in (*NEEDED, "id", "conf") else f"({title})" for title in titles], 1
    where = f"{file}, line {number}"
    require(
        not _shares(line[1:5]),
        f"{where} looks like YOLO's labels of one frame, whose boxes are shares of the picture: give one file of the "
        f"whole film, in pixels, with lines {FORM}.",
    )
    require(len(line) > 5, f"{where} has {plural(len(line), 'value')}: it should be {FORM}, one line per box.")
    return [*COLUMNS][: 8 if len(line) == GROUND_TRUTH_WIDTH else min(len(line), 7)], 0


def _shares(values: Sequence[str]) -> bool:
    """Whether the values are four numbers from 0 to 1."""
    try:
        return len(values) == 4 and all(0 <= float(value) <= 1 for value in values)
    except ValueError:
        return False


def _number(text: str, name: str, where: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    unknown = name in ("conf", "class") and stands_for_nothing(text or "nan")
    require(math.isfinite(value) or unknown, f"{where}: {name} is {visible(text)} instead of a number.")
    return value


def _track(text: str) -> str:
    """The track's id, "" for none: detectors write -1."""
    whole = re.fullmatch(r"([+-]?\d+)\.0*", text)
    name = whole[1] if whole else text
    return "" if stands_for_nothing(name) else name


def _check_tracks(file: Path, boxes: Sequence[_Box]) -> None:
    """GenderClsError if a track has two boxes in a frame."""
    first: dict[tuple[int, str], int] = {}
    for box in boxes:
        other = first.setdefault((box.frame, box.track), box.line)
        require(
            other == box.line or not box.track,
            f"{file}: track {visible(box.track)} has two boxes in frame {box.frame}, in lines {other} and {box.line}; "
            "give each person's track an id of its own, and each film a file of its own.",
        )
