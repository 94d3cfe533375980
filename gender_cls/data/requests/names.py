"""Paths of requested images: where each file lies, and what the names of files and folders say about it."""

import os
import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import pandas as pd

from gender_cls.config.data import UNKNOWN, DataConfig
from gender_cls.data.columns import label_names, without_placeholders
from gender_cls.data.image_list import spellings, why_missing
from gender_cls.data.text_table import BLANKS
from gender_cls.errors import GenderClsError, plural, visible

_ODD = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


def writable(path: str) -> str:
    """The path with `\\012`, as `ls -b` writes it, for control characters and bytes that are not UTF-8.

    Tables cannot keep them.
    """
    return _ODD.sub(lambda found: f"\\{ord(found[0]) & 0xFF:03o}", path)


def located(paths: Sequence[str], folder: Path, where: str) -> list[str]:
    """The absolute paths of files, in their order; a file that does not exist keeps its place.

    Args:
        paths: absolute, or relative to `folder`, maybe as programs on other machines write them.
        where: what lists them, as the beginning of a sentence.

    Raises:
        GenderClsError: none of the files exists.
    """
    tidy = cache(tidy_folder)
    found, missing = [], 0
    for path in paths:
        full = os.path.join(folder, path)
        if not os.path.exists(full):
            there = next((one for one in spellings(path) if os.path.exists(os.path.join(folder, one))), None)
            full = os.path.join(folder, path.strip(BLANKS).replace("\\", "/") if there is None else there)
            missing += there is None and not os.path.lexists(full)
        parent, name = os.path.split(full)
        found.append(os.path.join(tidy(parent), name))
    if missing == len(paths):
        raise GenderClsError(
            f"{where} names {plural(missing, 'file that does', 'files that do')} not exist, such as "
            f"{visible(paths[0])}: {why_missing(paths[0], folder) or f'its paths count from {visible(folder)}'}."
        )
    return found


def tidy_folder(folder: str) -> str:
    """An absolute path without `.` and `..`; links stay, because their names may be those of labels."""
    tidy = os.path.normpath(folder)
    if tidy != folder and os.path.exists(folder) and not os.path.samefile(folder, tidy):  # `..` after a link
        return os.path.realpath(folder)
    return tidy


def with_names(rows: pd.DataFrame, data: DataConfig, root: Path | None) -> pd.DataFrame:
    """The rows with `label`, `identity` and `camera`, from the names of files and folders unless a table gave them.

    The names that count are those below the deepest folder that holds all images, so the same images say the same,
    however they are listed. The label is that of the nearest folder named like one, up to and including that folder.
    `data.pattern` finds identity and camera, for images of the run's own data in the path below `root`, as in training.
    It finds no identity for a row with a box: others may stand in the same picture.

    Args:
        rows: with `path`, absolute, and maybe with columns of a table; NaN where the table has no such column.
    """
    labels, pattern = label_names(data), re.compile(data.pattern or "(?!)")
    paths = rows["path"].tolist()
    known: dict[str, str] = {}  # each folder once, because there are millions of paths
    folders = [known.setdefault(folder, folder) for folder in map(os.path.dirname, paths)]
    common = os.path.commonpath(known)

    @cache
    def label(folder: str) -> str:
        own, parent = labels.get(os.path.basename(folder).lower()), os.path.dirname(folder)
        return own or (UNKNOWN if folder in (common, parent) else label(parent))

    @cache
    def below(folder: str) -> str:
        """The part of the folder's path that the pattern may see, with a slash at its end."""
        real = os.path.realpath(folder)
        own = root is not None and Path(real).is_relative_to(root)
        seen = os.path.relpath(real, root) if own else os.path.relpath(folder, common)
        return "" if seen == "." else f"{Path(seen).as_posix()}/"

    found: dict[str, list[str]] = {"identity": [], "camera": []}
    for folder, path in zip(folders, paths, strict=True):
        match = pattern.search(below(folder) + os.path.basename(path))
        for group, values in found.items():
            values.append((match and group in pattern.groupindex and match[group]) or "")
    told = pd.DataFrame({"label": list(map(label, folders)), **found}, rows.index, dtype="str")
    if "width" in rows:
        told["identity"] = told["identity"].where(rows["width"].isna(), "")
    for column in told.columns.intersection(rows.columns):
        told[column] = rows[column].fillna(told[column])
    told = without_placeholders(told, "images")
    return rows.assign(label=told["label"], identity=told["identity"], camera=told["camera"])
