"""What a command asks about, by `images=...` or `data=...` -> a table with one row per image or box."""

import glob
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
from gender_cls.data.requests.names import located, tidy_folder, with_names, writable
from gender_cls.errors import GenderClsError, require, visible

REQUEST_COLUMNS = ("path", "frame", "track", "identity", "camera", "label", "left", "top", "width", "height")
"""Texts, except `frame` and the box, which are whole numbers (Int64). `path` is absolute, `label` is one of CLASSES or
UNKNOWN. What is not known is empty, as are the frame of a picture and the box of a row about a whole picture."""

NUMBERS = ("frame", "left", "top", "width", "height")


@dataclass(frozen=True)
class Requested:
    """The images that are asked for."""

    rows: pd.DataFrame  # with REQUEST_COLUMNS, in the order of the request
    name: str  # for the folder of the results
    left_out: Mapping[str, Sequence[str]] = field(default_factory=dict)  # files without a row, by `folders.LEFT_OUT`


def read_requested(
    names: Sequence[str],
    data: DataConfig,
    root: Path,
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
        data: of the run: its pattern finds identity and camera, its aliases name the labels.
        root: of the run's own data.
        boxes: the file with the boxes of the one MOT folder or video.
        first_frame: how `boxes` numbers the first frame.

    Raises:
        GenderClsError: there are no images, a folder or table cannot be read, or a table makes no sense.
    """
    left_out: dict[str, list[str]] = {kind: [] for kind in LEFT_OUT}
    parts = [part for name in names for part in _parts(name, left_out)]
    rows = pd.concat(parts, ignore_index=True) if len(parts) > 1 else parts[0]
    once = {kind: sorted(set(paths)) for kind, paths in left_out.items()}
    return Requested(_complete(with_names(rows, data, root)), _result_name(names[0]), once)


def requested_dataset(data: DataConfig) -> Requested:
    """The rows of all images of a dataset, with what its annotations say of them.

    Raises:
        GenderClsError: as for `read_manifest`.
    """
    manifest = read_manifest(data)
    table = manifest.table.assign(path=f"{manifest.root}/" + manifest.table["path"])
    rows = _complete(table[["path", "label", "identity", "camera"]])
    return Requested(rows, dataset_name(data, None), manifest.left_out)


def _parts(name: str, left_out: dict[str, list[str]]) -> Iterator[pd.DataFrame]:
    """Tables with `path` and maybe others of REQUEST_COLUMNS."""
    if name == STANDARD_INPUT:
        content = sys.stdin.buffer.read()
        lines = content.split(b"\0" if b"\0" in content else b"\n")  # find -print0 ends each path with a zero
        paths = [os.fsdecode(line) for line in lines if line.strip()]
        require(bool(paths), "Standard input is empty: it should have one path per line.")
        yield _pictures(located(paths, Path.cwd(), "Standard input"))
    elif os.path.lexists(name):
        yield _named(Path(name), left_out)
    else:
        found = glob.glob(name, recursive=True)
        require(bool(found), f"images names no file or folder: {visible(name)}")
        chosen: set[str] = set()  # a pattern may find a folder and what is in it
        for path in map(os.path.normpath, found):
            if os.path.isdir(path):
                chosen.update(_pictures_below(path, left_out))
            elif is_picture(path):
                chosen.add(path)
            else:
                left_out["other"].append(path)
        require(bool(chosen), f"There are no images among what {visible(name)} finds. {left_out_sentence(left_out)}")
        yield _pictures(sorted(chosen))


def _named(path: Path, left_out: dict[str, list[str]]) -> pd.DataFrame:
    """The rows of one file or folder."""
    if path.is_dir():
        found = _pictures_below(str(path), left_out)
        require(
            bool(found),
            f"There are no images under {visible(path)}: expected files such as .jpg, .png or .bmp. "
            f"{left_out_sentence(left_out)}",
        )
        return _pictures(found)
    if path.suffix.lower() in NO_IMAGES:
        raise GenderClsError(
            f"{visible(path)} is neither an image nor a table (.csv or .parquet). If it holds one path per line, write "
            f"images=- < {path.name}"
        )
    return _pictures(located([str(path)], path.parent, "images"))


def _pictures_below(folder: str, left_out: dict[str, list[str]]) -> list[str]:
    """The sorted paths of the images in a folder and the folders in it."""
    top = tidy_folder(folder)
    found = find_images(Path(top), Place(), lambda place, _: place)
    for kind, paths in found.left_out.items():
        left_out[kind] += [f"{top}/{path}" for path in paths]
    return sorted(f"{top}/{image.path}" for image in found.images)


def _pictures(paths: Sequence[str]) -> pd.DataFrame:
    return pd.DataFrame({"path": pd.Series(list(map(writable, paths)), dtype="str")})


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
