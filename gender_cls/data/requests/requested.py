"""What a command asks about, by `images=...` or `data=...` -> a table with one row per image or box."""

import glob
import logging
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from gender_cls.config.data import DataConfig, dataset_name, folder_name
from gender_cls.config.predict import STANDARD_INPUT
from gender_cls.data.folders import LEFT_OUT, NO_IMAGES, Place, find_images, left_out_sentence
from gender_cls.data.image_files import is_picture
from gender_cls.data.manifest import read_manifest
from gender_cls.data.requests.boxes import SIDES
from gender_cls.data.requests.image_table import TABLE_SUFFIXES, read_image_table
from gender_cls.data.requests.mot import is_frames, is_mot_folder, mot_rows
from gender_cls.data.requests.names import located, tidy_folder, with_names, writable
from gender_cls.data.requests.videos import is_video, video_rows
from gender_cls.errors import GenderClsError, count, first_few, plural, require, visible

log = logging.getLogger(__name__)

REQUEST_COLUMNS = ("path", "frame", "track", "identity", "camera", "label", *SIDES)
"""Texts, except `frame` and the box, which are whole numbers (Int64). `path` is absolute, `label` is one of CLASSES or
UNKNOWN. What is not known is empty, as are the frame of a picture and the box of a row about a whole picture."""

NUMBERS = ("frame", *SIDES)


@dataclass(frozen=True)
class Requested:
    """The images that are asked for."""

    rows: pd.DataFrame  # with REQUEST_COLUMNS, in the order of the request
    name: str  # for the folder of the results
    left_out: Mapping[str, Sequence[str]] = field(default_factory=dict)  # files without a row, by `folders.LEFT_OUT`


def read_requested(
    names: Sequence[str],
    data: DataConfig,
    root: Path | None,
    *,
    boxes: str | None = None,
    stride: int = 1,
    first_frame: int = 1,
) -> Requested:
    """The rows of what `images` names: files, folders, patterns, tables, MOT folders, videos, standard input.

    A file that is missing or no picture gets a row, because reading it says what is wrong. In folders, and among the
    files that a pattern finds, only those count that `is_picture` takes for images.

    Args:
        names: absolute, or STANDARD_INPUT.
        data: its pattern finds identity and camera, its aliases name the labels.
        root: of the run's own data.
        boxes: the file with the boxes of the one MOT folder or video.
        stride: of its frames, every so many.
        first_frame: how `boxes` numbers the first frame.

    Raises:
        GenderClsError: there are no images, a folder or table cannot be read, or a table makes no sense.
    """
    reading = _Reading(data, Path(boxes) if boxes is not None else None, {"stride": stride, "first_frame": first_frame})
    parts = [part for name in names for part in reading.parts(name)]
    require(
        boxes is None or reading.videos == 1,
        f"boxes={boxes} belongs to one MOT folder or video, and images names {reading.videos or 'none'}: answer for "
        "each by a command of its own.",
    )
    rows = pd.concat(parts, ignore_index=True)
    rows["path"] = pd.Series(map(writable, rows["path"]), dtype="str")
    left_out = {kind: sorted(set(paths)) for kind, paths in reading.left_out.items()}
    return Requested(_complete(with_names(rows, data, root)), _result_name(names[0]), left_out)


def requested_dataset(data: DataConfig) -> Requested:
    """The rows of all images of a dataset, with what its annotations say of them.

    Raises:
        GenderClsError: as for `read_manifest`.
    """
    manifest = read_manifest(data)
    table = manifest.table.assign(path=f"{manifest.root}/" + manifest.table["path"])
    rows = _complete(table[["path", "label", "identity", "camera"]])
    return Requested(rows, dataset_name(data, None), manifest.left_out)


@dataclass
class _Reading:
    """What is read so far of a request; each part is a table with `path` and maybe others of REQUEST_COLUMNS."""

    data: DataConfig
    boxes: Path | None
    numbering: dict[str, int]  # of frames: `stride` and `first_frame`
    videos: int = 0  # also MOT folders
    left_out: dict[str, list[str]] = field(default_factory=lambda: {kind: [] for kind in LEFT_OUT})

    def parts(self, name: str) -> Iterator[pd.DataFrame]:
        """The parts that one name stands for."""
        if name == STANDARD_INPUT:
            content = sys.stdin.buffer.read()
            lines = content.split(b"\0" if b"\0" in content else b"\n")  # find -print0 ends each path with a zero
            paths = [os.fsdecode(line) for line in lines if line.strip()]
            require(bool(paths), "Standard input is empty: it should have one path per line.")
            yield _pictures(located(paths, Path.cwd(), "Standard input"))
        elif os.path.lexists(name):
            yield self._file_or_folder(Path(name))
        else:
            found = glob.glob(name, recursive=True)
            require(bool(found), f"images names no file or folder: {visible(name)}")
            yield from self._found(sorted(located(found, Path("/"), name)), name)

    def _file_or_folder(self, path: Path) -> pd.DataFrame:
        if path.is_dir() and not is_mot_folder(path):
            found = self._below(str(path))
            require(
                bool(found),
                f"There are no images under {visible(path)}: expected files such as .jpg, .png or .bmp. "
                f"{left_out_sentence(self.left_out)}",
            )
            return _pictures(found)
        if path.is_dir() or is_video(path):
            return self._video(path)
        if path.suffix.lower() in TABLE_SUFFIXES:
            return read_image_table(path, self.data)
        if path.suffix.lower() in NO_IMAGES:
            raise GenderClsError(
                f"{visible(path)} is neither an image nor a table (.csv or .parquet). If it holds one path per line, "
                f"write images=- < {path.name}"
            )
        return _pictures(located([str(path)], path.parent, "images"))

    def _found(self, paths: Sequence[str], pattern: str) -> Iterator[pd.DataFrame]:
        """The parts of what a pattern finds, which may be a folder and also what is in it."""
        pictures: set[str] = set()
        videos: list[str] = []
        for path in paths:
            if os.path.isfile(path) or not os.path.exists(path):
                if is_picture(path):
                    pictures.add(path)
                elif is_video(path):
                    videos.append(path)
                else:
                    self.left_out["other"].append(path)
            elif not os.path.isdir(path):
                self.left_out["special"].append(path)
            elif is_mot_folder(Path(path)):
                videos.append(path)
            else:
                pictures.update(self._below(path))
        require(
            bool(pictures or videos),
            f"There are no images among what {visible(pattern)} finds. {left_out_sentence(self.left_out)}",
        )
        if pictures:
            yield _pictures(sorted(pictures))
        yield from map(self._video, map(Path, videos))

    def _below(self, folder: str) -> list[str]:
        """The sorted paths of the images in a folder and the folders in it."""
        top = tidy_folder(folder)
        found = find_images(Path(top), Place(), lambda place, _: place)
        for kind, paths in found.left_out.items():
            self.left_out[kind] += [f"{top}/{path}" for path in paths]
        pictures = sorted(f"{top}/{image.path}" for image in found.images)
        sequences = {
            str(folder.parent) for folder in map(Path, set(map(os.path.dirname, pictures))) if is_frames(folder)
        }
        require(
            not sequences - {os.path.dirname(top)},
            f"{visible(folder)} holds {plural(len(sequences), 'MOT folder')}, whose pictures are whole frames: "
            f"{first_few(sorted(sequences))}. Name the MOT folders instead, for example by a pattern in quotes.",
        )
        return pictures

    def _video(self, path: Path) -> pd.DataFrame:
        self.videos += 1
        rows, left_out = (mot_rows if path.is_dir() else video_rows)(path, self.boxes, **self.numbering)
        if left_out:
            said = "; ".join(f"{count(boxes)} {why}" for why, boxes in left_out.items())
            log.info(f"Boxes of {visible(path)} that are left out: {said}.")
        return rows


def _pictures(paths: Sequence[str]) -> pd.DataFrame:
    return pd.DataFrame({"path": paths}, dtype=object)  # as texts they would have to be UTF-8


def _complete(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows with all REQUEST_COLUMNS, in their order and with their types."""

    def column(name: str) -> pd.Series:
        if name in NUMBERS:
            return rows[name].astype("Int64") if name in rows else pd.Series(pd.NA, rows.index, "Int64")
        return rows[name].fillna("").astype("str") if name in rows else pd.Series("", rows.index, "str")

    return pd.DataFrame({name: column(name) for name in REQUEST_COLUMNS})


def _result_name(name: str) -> str:
    """The name of a file without its suffix, of a folder, or of the folder that a pattern searches."""
    if name == STANDARD_INPUT:
        return "standard_input"
    path = Path(name)
    while not os.path.lexists(path):
        path = path.parent
    return folder_name(path.name if path.is_dir() else path.stem, "images")
