"""`data.csv`, a user's own table of images -> rows of a manifest, with paths as the manifest has them."""

import logging
import os
import re
import unicodedata
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

import pandas as pd

from gender_cls.config.data import CLASSES, UNKNOWN, DataConfig
from gender_cls.data.columns import (
    MANIFEST_COLUMNS,
    SPLIT_ALIASES,
    USED_COLUMNS,
    given_names,
    label_names,
    splits_next_to_trainval,
    stands_for_nothing,
)
from gender_cls.data.csv_text import true_text
from gender_cls.data.text_table import BLANKS, read_text_table
from gender_cls.errors import GenderClsError, first_few, plural, require

log = logging.getLogger(__name__)

_INDIRECT = re.compile(r"(^|/)\.{0,2}(/|$)")  # an empty part, . or ..
_ON_WINDOWS = re.compile(r"[A-Za-z]:[\\/]|\\\\")
_ON_THE_WEB = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")


def read_image_list(csv: Path, data: DataConfig, root: Path) -> tuple[pd.DataFrame, Path]:
    """The rows of the table, and the folder that their paths are relative to.

    That folder is `root`, or the one that holds all images if `data.root` is not set and all paths are absolute.

    Raises:
        GenderClsError: the table cannot be read, a label or a split is unknown, or a file does not exist.
    """
    name = f"data.csv ({csv})"
    known = [*MANIFEST_COLUMNS, *USED_COLUMNS]
    table = read_text_table(csv, name, ("path", "label"), known=known, as_written="path")
    if renamed := given_names(table.columns):
        table = table.rename(columns=renamed)
        log.info(f"{name} has columns named like those of this program; here they are {', '.join(renamed.values())}.")
    labels = f"labels that are neither {' nor '.join(CLASSES)} nor {UNKNOWN} nor under data.aliases"
    table["label"] = _meant(table["label"], label_names(data), f"{name} holds {labels}")
    if "split" in table:
        table["split"] = _splits(table["split"], name)
    if data.root is None and len(table) and table["path"].map(os.path.isabs).all():
        folder = Path(os.path.commonpath(set(map(os.path.dirname, table["path"]))))
        root = root if folder.is_relative_to(root) else folder
    table["path"] = _located(table["path"].tolist(), root, csv)
    return table, root


def _meant(values: pd.Series, names: dict[str, str], what: str) -> pd.Series:
    """The label or split that each value is an alias of; GenderClsError, which begins with `what`, if it is none."""
    value = values.str.lower()
    strange = sorted(set(value) - set(names))
    require(not strange, f"{what}: {first_few(strange)}.")
    return value.map(names)


def _splits(values: pd.Series, name: str) -> pd.Series:
    values = values.where(~values.map(stands_for_nothing), "").str.lower()
    others = splits_next_to_trainval(set(values))
    require(
        not others,
        f"{name} has the split trainval next to {first_few(others)}: write train or val for each of its images.",
    )
    return _meant(values, {**SPLIT_ALIASES, "": ""}, f"{name} holds splits other than train, val and test")


def _located(paths: Sequence[str], root: Path, csv: Path) -> list[str]:
    """Each path relative to `root`, in the one spelling that the manifest has."""

    @cache
    def folder(given: str) -> str:
        full = os.path.join(root, given)
        tidy = os.path.normpath(full)
        if not Path(tidy).is_relative_to(root) or not os.path.samefile(full, tidy):  # a link may lead elsewhere
            real = os.path.realpath(full)
            tidy = real if Path(real).is_relative_to(root) or not os.path.exists(tidy) else tidy
        relative = Path(os.path.relpath(tidy, root)).as_posix()
        return "" if relative == "." else f"{relative}/"

    found, missing = [], []
    for path in paths:
        if os.path.isfile(f"{root}/{path}") and not _INDIRECT.search(path):
            found.append(path)
            continue
        spelling = next((one for one in spellings(path) if os.path.isfile(os.path.join(root, one))), None)
        if spelling is None:
            missing.append(path)
        else:
            parent, image = os.path.split(spelling)
            found.append(folder(parent) + image)
    for path in missing:
        raise GenderClsError(
            f"data.csv names {plural(len(missing), 'file that does', 'files that do')} not exist under {root}: "
            f"{first_few(missing)}; {_way_out(path, root, csv)} ({csv})."
        )
    return found


def spellings(path: str) -> Iterator[str]:
    """Names that the file may have: the path itself, then as tables of other programs and machines would write it."""
    yield path
    stripped = path.strip(BLANKS)
    slashes = stripped.replace("\\", "/")
    yield from (stripped, true_text(stripped), slashes, Path(slashes).as_posix())
    yield from (unicodedata.normalize(form, stripped) for form in ("NFC", "NFD"))


def _way_out(path: str, root: Path, csv: Path) -> str:
    """What would help to find a file, as the end of a sentence."""
    path = path.strip(BLANKS)
    if reason := why_missing(path, root):
        return reason
    for place in (csv.parent, root.parent):
        if os.path.isfile(place / path):
            return f"it exists under {place}, so set data.root={place}"
    return "set data.root to the folder that its paths are relative to"


def why_missing(path: str, folder: Path) -> str | None:
    """Why a path that may be relative to `folder` names no file, as the end of a sentence; None if it is not clear."""
    path = path.strip(BLANKS)
    if not path:
        return "a row without a path names no image"
    if _ON_WINDOWS.match(path):
        return f"a path of a Windows machine must become one that is relative to {folder}"
    if _ON_THE_WEB.match(path):
        return "download the images first, and name the files"
    if os.path.exists(os.path.join(folder, path)):
        return "it is a folder or a device, not a file"
    parent, name = os.path.split(os.path.join(folder, path))
    alike = [other for other in os.listdir(parent) if other.lower() == name.lower()] if os.path.isdir(parent) else []
    return f"{alike[0]} exists, and capitals count" if alike else None
