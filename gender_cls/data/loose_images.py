"""Rows for images from anywhere: from the manifest, or from their folders and names."""

import re
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from gender_cls.config.data import UNKNOWN, DataConfig
from gender_cls.data.manifest import images_below, label_names
from gender_cls.errors import require

COLUMNS = ("path", "label", "identity", "camera", "source", "group")


def loose_images(paths: Sequence[Path], data: DataConfig, manifest: pd.DataFrame, root: Path) -> pd.DataFrame:
    """One row per image with COLUMNS, sorted by path; "" where a value is unknown.

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
        rows |= {file: _row(file, path, known.get(file), data) for file in files}
    return pd.DataFrame([rows[file] for file in sorted(rows)], columns=list(COLUMNS))


def _row(file: Path, named: Path, known: dict | None, data: DataConfig) -> dict[str, str]:
    if known is not None:
        row = {column: known.get(column, "") for column in COLUMNS}
    else:
        labels = label_names(data)
        above = file.parents[: max(1, len(file.parts) - len(named.parts))]
        folders = [labels[folder.name.lower()] for folder in above if folder.name.lower() in labels]
        found = re.search(data.pattern, file.as_posix()) if data.pattern is not None else None
        groups = {name: value or "" for name, value in found.groupdict().items()} if found else {}
        row = {column: groups.get(column, "") for column in COLUMNS} | {"label": folders[0] if folders else UNKNOWN}
    return row | {"path": str(file)}
