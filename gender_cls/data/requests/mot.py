"""Folders in MOTChallenge's form: one picture per frame, and the boxes in a text file. Imports no torch."""

import configparser
import logging
import re
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

from gender_cls.data.image_files import IMAGE_SUFFIXES
from gender_cls.data.requests.boxes import Boxes, read_boxes
from gender_cls.data.requests.videos import is_video
from gender_cls.data.text_table import read_text
from gender_cls.errors import GenderClsError, first_few, one_line, plural, require

log = logging.getLogger(__name__)

FRAMES, INFO = "img1", "seqinfo.ini"
OWN_BOXES = ("gt/gt.txt", "det/det.txt")
_NUMBER = re.compile(r"\d+$")


class MotSequence(NamedTuple):
    """What a MOT folder says of its frames."""

    frames: Path  # the folder with one picture per frame
    suffix: str | None  # of these pictures; None: any
    rate: Fraction | None  # frames per second


def is_mot_folder(folder: Path) -> bool:
    """Whether a folder has MOTChallenge's form."""
    return (folder / FRAMES).is_dir() or (folder / INFO).is_file()


def scene_of(path: str) -> str:
    """The video itself, or the MOT folder or other folder that a frame's picture lies in."""
    if is_video(path):
        return path
    folder = Path(path).parent
    return str(folder.parent if folder.name == FRAMES or (folder.parent / INFO).is_file() else folder)


def is_frames(folder: Path) -> bool:
    """Whether a folder with pictures is that of a MOT folder's frames."""
    return folder.name == FRAMES and any((folder.parent / name).is_file() for name in (INFO, *OWN_BOXES))


def mot_rows(folder: Path, boxes: Path | None, *, stride: int, first_frame: int) -> Boxes:
    """One row per box: `path` is the picture of the frame, `frame` the number that the boxes give it.

    A picture's number is the one at the end of its name. The first frame is the picture with number 1, or 0 if there
    is one with that number.

    Args:
        boxes: see `read_boxes`, as are `stride` and `first_frame`; None: gt/gt.txt, or else det/det.txt.

    Raises:
        GenderClsError: there are no frames or no boxes, or a file makes no sense.
    """
    sequence = read_sequence(folder)
    file = boxes or next((folder / name for name in OWN_BOXES if (folder / name).is_file()), None)
    if file is None:
        raise GenderClsError(
            f"{folder} has neither {' nor '.join(OWN_BOXES)}, and there is no detector here: name the file of its "
            "boxes with boxes=FILE."
        )
    pictures = _numbered(sequence)
    rows, left_out = read_boxes(file, stride=stride, first_frame=first_frame)
    shift = (0 if 0 in pictures else 1) - first_frame
    example = next(iter(pictures.values()))
    paths = {
        frame: str(pictures.get(frame + shift, renumbered(example, frame + shift)))
        for frame in rows["frame"].unique().tolist()
    }
    missing = [path for frame, path in paths.items() if frame + shift not in pictures]
    if missing:
        log.warning(
            f"{file} has boxes in {plural(len(missing), 'frame')} that {sequence.frames} does not hold: "
            f"{first_few(Path(path).name for path in missing)}. It holds numbers {min(pictures)} to {max(pictures)}; "
            f"first_frame={first_frame} says how the boxes number the first frame."
        )
    rows.insert(0, "path", rows["frame"].map(paths))
    return Boxes(rows, left_out)


def read_sequence(folder: Path) -> MotSequence:
    """Where the frames of a MOT folder are, from its seqinfo.ini if it has one.

    Raises:
        GenderClsError: that file makes no sense, or names a folder that is not there.
    """
    file = folder / INFO
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read_string(read_text(file, str(file)) if file.is_file() else "[Sequence]")
        info = parser["Sequence"]
        frames = folder / info.get("imDir", FRAMES)
        suffix, rate = info.get("imExt", "").strip().lower() or None, Fraction(info.get("frameRate", "0"))
    except (configparser.Error, KeyError, ValueError, ZeroDivisionError) as error:
        raise GenderClsError(f"{file} cannot be read: {one_line(error)}. Repair or remove it.") from None
    require(frames.is_dir(), f"{folder} is no MOT folder: its frames should be in {frames}, which is not there.")
    return MotSequence(frames, suffix, rate if rate > 0 else None)


def picture_number(picture: Path) -> int | None:
    """The number at the end of a picture's name."""
    found = _NUMBER.search(picture.stem)
    return int(found[0]) if found else None


def renumbered(picture: Path, number: int) -> Path:
    """The path of a picture whose name ends with this number instead."""
    return picture.with_stem(_NUMBER.sub(lambda found: f"{number:0{len(found[0])}}", picture.stem))


def _numbered(sequence: MotSequence) -> dict[int, Path]:
    """The pictures of the frames by their numbers."""
    suffixes = IMAGE_SUFFIXES if sequence.suffix is None else {sequence.suffix}
    pictures: dict[int, Path] = {}
    for file in sorted(sequence.frames.iterdir()):
        number = picture_number(file)
        if number is None or file.suffix.lower() not in suffixes or file.name.startswith("."):
            continue
        other = pictures.setdefault(number, file)
        require(other == file, f"{other} and {file.name} have the same number: keep one of them.")
    require(bool(pictures), f"{sequence.frames} holds no frames such as 000001{sequence.suffix or '.jpg'}.")
    return pictures
