"""Boxes of people in the frames of a video, as trackers write them -> a table. Imports no torch."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from gender_cls.data.columns import stands_for_nothing
from gender_cls.data.text_table import BLANKS, read_text
from gender_cls.errors import GenderClsError, plural, require, visible

SIDES = ("left", "top", "width", "height")
COLUMNS = ("frame", "id", *SIDES, "conf", "class")
"""Of MOTChallenge's text, in this order; in the results of trackers three numbers without a meaning follow `conf`."""

NEEDED = ("frame", *SIDES)
PEDESTRIAN = 1
GROUND_TRUTH_WIDTH = 9  # values in a line of MOTChallenge's ground truth since 2016: the last are class and visibility
FARTHEST, LAST_FRAME = 1e6, 1e9  # pixels and frames; what is beyond makes no sense
FORM = "frame,id,left,top,width,height,conf"

_AROUND = f'{BLANKS}"'


class Boxes(NamedTuple):
    """The boxes that are used, and how many were left out."""

    # frame (as the file numbers it), track ("" where none is given), and SIDES in whole pixels. The same track in the
    # boxes of another video is another one.
    rows: pd.DataFrame
    left_out: Mapping[str, int]  # why, as the end of a sentence -> boxes


def read_boxes(file: Path, *, stride: int, first_frame: int) -> Boxes:
    """The boxes in every `stride`-th frame, sorted by frame; those of one frame are in the file's order.

    The file is MOTChallenge's text, whose values lie between commas, blanks, tabs or semicolons, or a table whose first
    line names at least `frame` and SIDES. Left and top count from 0, the first pixel, as trackers write them. Of
    MOTChallenge's ground truth, boxes with conf 0 and classes other than pedestrian are left out.

    Args:
        first_frame: the number of the video's first frame in the file, 0 or 1.

    Raises:
        GenderClsError: the file cannot be read, or a line makes no sense.
    """
    boxes = _read(file, first_frame)
    used = boxes[boxes["conf"] != 0]
    require(
        len(used) > 0,
        f"All boxes of {file} have conf 0, which marks boxes that do not count: write their confidence, or leave conf "
        "out.",
    )
    people = used[used["class"].isna() | (used["class"] == PEDESTRIAN)]
    require(len(people) > 0, f"No box of {file} has the class {PEDESTRIAN}, MOTChallenge's number of pedestrians.")
    _check_tracks(file, people)
    taken = people[(people["frame"] - first_frame) % stride == 0].sort_values("frame", kind="stable")
    require(len(taken) > 0, f"No box of {file} lies in a frame that stride={stride} takes: choose a smaller stride.")
    left_out = {
        "marked by conf 0 as not counting": len(boxes) - len(used),
        "of another class than pedestrian": len(used) - len(people),
        "in frames that stride leaves out": len(people) - len(taken),
    }
    rows = taken[["frame", "track"]].reset_index(drop=True)
    rows[list(SIDES)] = whole_pixels(taken[list(SIDES)])
    return Boxes(rows, {why: number for why, number in left_out.items() if number})


def whole_pixels(boxes: ArrayLike) -> NDArray[np.int64]:
    """Boxes (N, 4), each left, top, width, height, rounded by their edges; half a pixel goes to the right and down.

    Two boxes that share an edge still share it.
    """
    sides = np.asarray(boxes, dtype=np.float64).reshape(-1, 4)
    start = np.floor(sides[:, :2] + 0.5)
    end = np.floor(sides[:, :2] + sides[:, 2:] + 0.5)
    return np.hstack([start, end - start]).astype(np.int64)


def _read(file: Path, first_frame: int) -> pd.DataFrame:
    """The boxes with `line` (its number), frame (a whole number), track, SIDES, and conf and class or NaN."""
    lines = _lines(file)
    require(bool(lines), f"{file} holds no boxes: its lines should be {FORM}.")
    names, start = _names(file, *lines[0])
    lines = lines[start:]
    require(bool(lines), f"{file} holds no boxes below the line that names its columns.")
    for number, line in lines:
        if len(line) < len(names):
            raise GenderClsError(f"{file}, line {number} has {plural(len(line), 'value')} instead of {len(names)}.")
    texts = {name: [line[place] for _, line in lines] for place, name in enumerate(names) if name in COLUMNS}
    table = pd.DataFrame({"line": [number for number, _ in lines]})
    for name in (*NEEDED, "conf", "class"):
        table[name] = pd.to_numeric(pd.Series(texts.get(name, np.nan), table.index), errors="coerce")
        for place in _places(~np.isfinite(table[name]) if name in texts else False):
            text = texts[name][place]
            if name in NEEDED or (text and not stands_for_nothing(text)):
                raise GenderClsError(f"{file}, line {lines[place][0]}: {name} is {visible(text)} instead of a number.")
    for place in _places((table["frame"] % 1 != 0) | ~table["frame"].between(first_frame, LAST_FRAME)):
        frame = table["frame"][place]
        hint = " If the file numbers them from 0, give first_frame=0." if frame == 0 else ""
        raise GenderClsError(
            f"{file}, line {lines[place][0]}: there is no frame {frame:g}; frames are numbered {first_frame}, "
            f"{first_frame + 1}, {first_frame + 2}, ....{hint}"
        )
    sides = table[list(SIDES)]
    for place in _places((sides.abs() > FARTHEST).any(axis=1)):
        box = ", ".join(f"{side:g}" for side in sides.loc[place])
        raise GenderClsError(f"{file}, line {lines[place][0]}: the box {box} lies in no picture.")
    names_of_tracks = pd.Series(texts.get("id", ""), table.index, dtype="str")
    table["track"] = names_of_tracks.map({text: _track(text) for text in names_of_tracks.unique()}).astype("str")
    return table.astype({"frame": np.int64})


def _places(marks: ArrayLike) -> list[int]:
    """Where something is true."""
    return np.flatnonzero(marks).tolist()


def _lines(file: Path) -> list[tuple[int, list[str]]]:
    """The number and the values of each line that has some, without the blanks and quotes around them."""
    lines = read_text(file, str(file)).splitlines()
    first = next((line for line in lines if line.strip(BLANKS)), "")
    sign = max(",;\t", key=first.count)
    split = [line.split(sign) if sign in first else line.split() for line in lines]
    values = [[value.strip(_AROUND) for value in line] for line in split]
    return [(number, line) for number, line in enumerate(values, 1) if any(line)]


def _names(file: Path, number: int, line: Sequence[str]) -> tuple[list[str], int]:
    """The names of the columns, and how many lines they take: 1 if the first line has them, else 0."""
    titles = [re.sub("^(track|track_id|identity)$", "id", value.lower()) for value in line]
    if any(title in COLUMNS for title in titles):
        missing = [name for name in NEEDED if name not in titles]
        require(not missing, f"{file}, line {number}: there is no column {', '.join(missing)}; it should name {FORM}.")
        repeated = {title for title in titles if titles.count(title) > 1 and title in COLUMNS}
        require(not repeated, f"{file}, line {number} names {', '.join(sorted(repeated))} twice.")
        return ["" if title == "class" else title for title in titles], 1  # whose numbers have another meaning
    where = f"{file}, line {number}"
    require(
        not _shares(line[1:5]),
        f"{where} looks like YOLO's labels of one frame, whose boxes are shares of the picture: give one file of the "
        f"whole video, in pixels, with lines {FORM}.",
    )
    require(len(line) > 5, f"{where} has {plural(len(line), 'value')}: it should be {FORM}, one line per box.")
    return [*COLUMNS][: 8 if len(line) == GROUND_TRUTH_WIDTH else min(len(line), 7)], 0


def _shares(values: Sequence[str]) -> bool:
    """Whether the values are four numbers from 0 to 1."""
    try:
        return len(values) == 4 and all(0 <= float(value) <= 1 for value in values)
    except ValueError:
        return False


def _track(text: str) -> str:
    """The track's id, "" for none: detectors write -1."""
    whole = re.fullmatch(r"([+-]?\d+)\.0*", text)
    name = whole[1] if whole else text
    return "" if stands_for_nothing(name) else name


def _check_tracks(file: Path, boxes: pd.DataFrame) -> None:
    """GenderClsError if a track has two boxes in a frame."""
    known = boxes[boxes["track"] != ""]
    again: Any = known[known.duplicated(["frame", "track"])].head(1).to_dict("records")
    for box in again:
        same = known[(known["frame"] == box["frame"]) & (known["track"] == box["track"])]
        raise GenderClsError(
            f"{file}: track {visible(box['track'])} has two boxes in frame {box['frame']}, in lines "
            f"{same['line'].iloc[0]} and {box['line']}; give each person's track an id of its own, and each video a "
            "file of its own."
        )
