"""Labelled folders, a CSV file or a dataset -> one checked, sorted table with one row per image."""

import hashlib
import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from gender_cls.config.data import CLASSES, UNKNOWN, DataConfig, SplitBy
from gender_cls.data.columns import (
    MANIFEST_COLUMNS,
    SPLIT_ALIASES,
    given_names,
    warn_of_spellings,
    without_placeholders,
)
from gender_cls.data.corrections import apply_corrections
from gender_cls.data.csv_text import csv_text
from gender_cls.data.cue_boxes import cue_boxes
from gender_cls.data.folders import Found, check_names, labelled_images, left_out_sentence
from gender_cls.data.image_list import read_image_list
from gender_cls.data.same_files import file_identity, one_row_per_file
from gender_cls.data.source import find_source
from gender_cls.errors import GenderClsError, first_few, plural, require

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Manifest:
    """The images of an experiment.

    `table` has one row per image, sorted by path. Its columns hold strings, empty where unknown: `path` (posix,
    relative to `root`), `label` (one of CLASSES, or UNKNOWN), `identity`, `camera`, `source`, `split`, then any others.
    """

    table: pd.DataFrame
    root: Path  # absolute
    left_out: Mapping[str, Sequence[str]] = field(default_factory=dict)  # files without a row, by `folders.LEFT_OUT`

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
    left_out: dict[str, list[str]] = {}
    if data.importer is not None:
        from gender_cls.data.importers import read_dataset  # imports scipy, which folders and tables do not need

        table = read_dataset(data)
    else:
        if csv is not None:
            table, root = read_image_list(csv, data, root)
            files = [file_identity(f"{root}/{path}") for path in table["path"].tolist()]
        else:
            found = labelled_images(root, data)
            _warn_of_one_part(root)
            table, files, left_out = _table_of(found, root), [image.file for image in found.images], found.left_out
        table, again = one_row_per_file(table, root, files, data.csv or root)
        left_out["again"] = sorted([*left_out.get("again", []), *again])
    check_names(table["path"].tolist(), data.csv or root)
    table = table.sort_values("path", ignore_index=True)
    if data.pattern is not None:
        table = _with_pattern(table, data.pattern)
    table = without_placeholders(table, data.csv or root)
    warn_of_spellings(table, data.csv or root)
    further = [column for column in table.columns if column not in MANIFEST_COLUMNS]
    lacking = {column: "" for column in MANIFEST_COLUMNS if column not in table}
    table = table.assign(**lacking)[[*MANIFEST_COLUMNS, *further]]
    if data.corrections is not None:
        table = apply_corrections(table, Path(data.corrections))
    _check(table, data, root)
    return Manifest(limited(table, data.limit, data.split_seed), root, left_out)


def _table_of(found: Found, root: Path) -> pd.DataFrame:
    """Path, label and split of the images in the folders of labels and splits."""
    require(
        bool(found.images),
        f"There are no images under {root}: expected the folders {' and '.join(CLASSES)} (or an alias under "
        f"data.aliases) with files such as .jpg, .png or .bmp. {left_out_sentence(found.left_out)}",
    )
    check_names((image.path for image in found.images), root)  # before a table holds them
    rows = [(image.path, image.place.label, image.place.split) for image in found.images]
    return pd.DataFrame(rows, columns=["path", "label", "split"])


def _warn_of_one_part(root: Path) -> None:
    """Warn if the folder is one part of a split that lies next to it."""
    part = SPLIT_ALIASES.get(root.name.lower())
    names = sorted(folder.name for folder in root.parent.iterdir() if folder.is_dir()) if part is not None else []
    if others := [name for name in names if SPLIT_ALIASES.get(name.lower(), part) != part]:
        log.warning(
            f"data.root={root} is one part of a split, next to {first_few(others)}, so a new split is made of this "
            f"part alone. data.root={root.parent} keeps the given split."
        )


def _with_pattern(table: pd.DataFrame, pattern: str) -> pd.DataFrame:
    """Search `pattern` in each path; its named groups become columns."""
    groups = list(re.compile(pattern).groupindex)
    found = table["path"].str.extract(pattern)[groups]
    unmatched = table["path"][found.isna().all(axis=1)]
    require(
        unmatched.empty,
        f"data.pattern does not fit {len(unmatched)} of {plural(len(table), 'path')}: {first_few(unmatched)}; pattern: "
        f"{pattern}",
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
    require(twice.empty, f"{where} names {plural(len(twice), 'image')} more than once: {first_few(twice)}.")
    require(
        bool((table["label"] != UNKNOWN).any()),
        f"{where} has no labels: {plural(len(table), 'image')} of unknown label.",
    )
    for label in CLASSES:
        require(
            bool((table["label"] == label).any()),
            f"{where} holds one class only: among {plural(len(table), 'image')} none is {label} (folders or values "
            f"that would count: {', '.join((label, *data.aliases[label]))}).",
        )
    cue_boxes(table)  # or raise
    without = table["path"][(table["split"] == "") & (table["label"] != UNKNOWN)]
    if (table["split"] != "").any():
        require(
            data.published_split is not None or without.empty,
            f"{where} gives a split for some images and none for others, such as {first_few(without)}.",
        )
        split_by = data.split_by.value if data.split_by is not SplitBy.identity else None
        for key, value in (("folds", data.folds), ("leave_out", data.leave_out), ("split_by", split_by)):
            require(value is None, f"data.{key}={value} cannot be used with {where}, which comes with its own split.")
        val_by = data.val_by.value if data.val_by is not None else None
        require(
            val_by is None or "val" not in set(table["split"]),
            f"data.val_by={val_by} cannot be used with {where}, which comes with its own validation split.",
        )


def limited(table: pd.DataFrame, limit: int | None, seed: int) -> pd.DataFrame:
    """`limit` random rows; labels and splits keep their shares (largest remainders, at least one row each)."""
    if limit is None or limit >= len(table):
        return table
    strata = table.groupby(["label", "split"], sort=True).indices
    exact = np.array([len(rows) * limit / len(table) for rows in strata.values()])
    take = np.maximum(np.floor(exact).astype(int), 1)
    for stratum in np.argsort(take - exact, kind="stable")[: max(limit - take.sum(), 0)]:
        take[stratum] += 1
    rng = np.random.default_rng(seed)
    chosen = np.concatenate([rng.permutation(rows)[:n] for rows, n in zip(strata.values(), take, strict=True)])
    return table.iloc[np.sort(chosen)].reset_index(drop=True)
