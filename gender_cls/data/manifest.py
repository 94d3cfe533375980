"""Labelled folders, a CSV file or a dataset -> one checked, sorted table with one row per image."""

import hashlib
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from gender_cls.config.data import CLASSES, UNKNOWN, DataConfig, SplitBy
from gender_cls.data.columns import MANIFEST_COLUMNS, SPLIT_ALIASES, given_names, label_names, without_placeholders
from gender_cls.data.corrections import apply_corrections
from gender_cls.data.csv_text import csv_text
from gender_cls.data.image_files import IMAGE_SUFFIXES
from gender_cls.data.image_list import read_image_list
from gender_cls.data.source import find_source
from gender_cls.errors import GenderClsError, first_few, require

LOOSE_COLUMNS = ("path", "label", "identity", "camera", "source", "group")


@dataclass(frozen=True)
class Manifest:
    """The images of an experiment.

    `table` has one row per image, sorted by path. Its columns hold strings, empty where unknown: `path` (posix,
    relative to `root`), `label` (one of CLASSES, or UNKNOWN), `identity`, `camera`, `source`, `split`, then any others.
    """

    table: pd.DataFrame
    root: Path  # absolute

    def to_csv(self) -> str:
        """The text of `manifest.csv`: the same rows give the same bytes on every machine."""
        return csv_text(self.table)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of `manifest.csv` in hexadecimal digits."""
        return hashlib.sha256(self.to_csv().encode()).hexdigest()


def read_manifest(data: DataConfig) -> Manifest:
    """Find the images and check them without opening one.

    Raises:
        GenderClsError: there are no images, a label is unknown or missing, a file does not exist, or the pattern does
            not fit.
    """
    root, csv = find_source(data)
    if data.importer is not None:
        from gender_cls.data.importers import read_dataset  # imports scipy, which folders and tables do not need

        table = read_dataset(data)
    elif csv is not None:
        table, root = read_image_list(csv, data, root)
    else:
        table = _from_folders(root, data)
    table = table.sort_values("path", ignore_index=True)
    if data.pattern is not None:
        table = _with_pattern(table, data.pattern)
    table = without_placeholders(table, data.csv or root)
    further = [column for column in table.columns if column not in MANIFEST_COLUMNS]
    lacking = {column: "" for column in MANIFEST_COLUMNS if column not in table}
    table = table.assign(**lacking)[[*MANIFEST_COLUMNS, *further]]
    if data.corrections is not None:
        table = apply_corrections(table, Path(data.corrections))
    _check(table, data, root)
    if data.limit is not None:
        table = _limited(table, data.limit, data.split_seed)
    return Manifest(table, root)


def _from_folders(root: Path, data: DataConfig) -> pd.DataFrame:
    """`root/<label>/**` or `root/<split>/<label>/**`."""
    rows: list[tuple[str, str, str]] = []
    by_split = {root: ""}
    if any(folder.name.lower() in SPLIT_ALIASES and folder.is_dir() for folder in root.iterdir()):
        by_split = _named_folders(root, SPLIT_ALIASES, "the folders train, val and test")
    for parent, split in by_split.items():
        what = f"a label ({', '.join(CLASSES)} or an alias under data.aliases)"
        for folder, label in _named_folders(parent, label_names(data), what).items():
            rows.extend((path.relative_to(root).as_posix(), label, split) for path in images_below(folder))
    require(
        bool(rows),
        f"There are no images under {root}: expected the folders {' and '.join(CLASSES)} (or an alias under "
        "data.aliases) with files such as .jpg, .png or .bmp.",
    )
    return pd.DataFrame(rows, columns=["path", "label", "split"])


def _named_folders(parent: Path, names: dict[str, str], what: str) -> dict[Path, str]:
    """Folders in `parent` and what their names mean. An image in any other folder, left out silently, is an error."""
    found = {}
    for folder in sorted(entry for entry in parent.iterdir() if entry.is_dir() and not entry.name.startswith(".")):
        if folder.name.lower() in names:
            found[folder] = names[folder.name.lower()]
        elif any(True for _ in images_below(folder)):
            raise GenderClsError(f"The folder {folder} holds images but its name is not {what}: rename or move it.")
    return found


def images_below(folder: Path) -> Iterable[Path]:
    """The images at any depth below a folder, without hidden files and folders, in any order."""
    for directory, subdirectories, files in os.walk(folder, followlinks=True):
        subdirectories[:] = [name for name in subdirectories if not name.startswith(".")]
        for name in files:
            if not name.startswith(".") and os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES:
                yield Path(directory, name)


def passed_over(root: Path) -> dict[str, list[str]]:
    """Files below a folder of images that get no row: `hidden` images, and files with an `other_suffix`."""
    found: dict[str, list[str]] = {"hidden": [], "other_suffix": []}
    for directory, subdirectories, files in os.walk(root, followlinks=True):
        subdirectories.sort()
        for name in sorted(files):
            path = Path(directory, name).relative_to(root)
            is_image = path.suffix.lower() in IMAGE_SUFFIXES
            if is_image and any(part.startswith(".") for part in path.parts):
                found["hidden"].append(path.as_posix())
            elif not is_image:
                found["other_suffix"].append(path.as_posix())
    return found


def _with_pattern(table: pd.DataFrame, pattern: str) -> pd.DataFrame:
    """Search `pattern` in each path; its named groups become columns."""
    groups = list(re.compile(pattern).groupindex)
    found = table["path"].str.extract(pattern)[groups]
    unmatched = table["path"][found.isna().all(axis=1)]
    require(
        unmatched.empty,
        f"data.pattern does not fit {len(unmatched)} of {len(table)} paths: {first_few(unmatched)}; pattern: {pattern}",
    )
    for group in {"path", "label", "split"}.intersection(groups):
        raise GenderClsError(
            f"data.pattern must not name a group '{group}': use identity, camera or a column of your own."
        )
    names = given_names(groups)
    return table.assign(**{names.get(group, group): found[group].fillna("") for group in groups})


def _check(table: pd.DataFrame, data: DataConfig, root: Path) -> None:
    where = data.csv or root
    require(not table.empty, f"There are no images in {where}.")
    twice = table["path"][table["path"].duplicated()]
    require(twice.empty, f"{where} names {len(twice)} images more than once: {first_few(twice)}.")
    for label in CLASSES:
        require(
            bool((table["label"] == label).any()),
            f"{where} holds one class only: none of its {len(table)} images is {label} (folders or values that "
            f"would count: {', '.join((label, *data.aliases[label]))}).",
        )
    without = table["path"][(table["split"] == "") & (table["label"] != UNKNOWN)]
    if (table["split"] != "").any():
        require(
            data.published_split is not None or without.empty,
            f"{where} gives a split for some images and none for others, such as {first_few(without)}.",
        )
        split_by = data.split_by.value if data.split_by is not SplitBy.identity else None
        for key, value in (("folds", data.folds), ("leave_out", data.leave_out), ("split_by", split_by)):
            require(value is None, f"data.{key}={value} cannot be used with {where}, which comes with its own split.")


def _limited(table: pd.DataFrame, limit: int, seed: int) -> pd.DataFrame:
    """`limit` random rows; labels and splits keep their shares (largest remainders, at least one row each)."""
    if limit >= len(table):
        return table
    strata = table.groupby(["label", "split"], sort=True).indices
    exact = np.array([len(rows) * limit / len(table) for rows in strata.values()])
    take = np.maximum(np.floor(exact).astype(int), 1)
    for stratum in np.argsort(take - exact, kind="stable")[: max(limit - take.sum(), 0)]:
        take[stratum] += 1
    rng = np.random.default_rng(seed)
    chosen = np.concatenate([rng.permutation(rows)[:n] for rows, n in zip(strata.values(), take, strict=True)])
    return table.iloc[np.sort(chosen)].reset_index(drop=True)


def loose_images(paths: Sequence[Path], data: DataConfig, manifest: pd.DataFrame, root: Path) -> pd.DataFrame:
    """One row per image from anywhere with LOOSE_COLUMNS, sorted by path; "" where a value is unknown.

    An image of the manifest has its row there. For another image, the nearest folder around it with the name of a
    label, up to the named folder, gives the label (else `unknown`); `data.pattern` finds identity and camera.

    Args:
        paths: absolute, of files and folders.
        root: the folder that the manifest's paths are relative to.

    Raises:
        GenderClsError: a folder holds no images.
    """
    known = {root / path: row for path, row in zip(manifest["path"], manifest.to_dict("records"), strict=True)}
    rows: dict[Path, dict[str, str]] = {}
    for path in paths:
        files = list(images_below(path)) if path.is_dir() else [path]
        require(bool(files), f"There are no images under {path}: expected files such as .jpg, .png or .bmp.")
        rows |= {file: _loose_row(file, path, known.get(file), data) for file in files}
    return pd.DataFrame([rows[file] for file in sorted(rows)], columns=list(LOOSE_COLUMNS))


def _loose_row(file: Path, named: Path, known: dict | None, data: DataConfig) -> dict[str, str]:
    if known is None:
        labels = label_names(data)
        above = file.parents[: max(1, len(file.parts) - len(named.parts))]
        folders = [labels[folder.name.lower()] for folder in above if folder.name.lower() in labels]
        found = re.search(data.pattern, file.as_posix()) if data.pattern is not None else None
        known = {**(found.groupdict("") if found else {}), "label": folders[0] if folders else UNKNOWN}
    return {column: known.get(column, "") for column in LOOSE_COLUMNS} | {"path": str(file)}
