"""Where the data of a configuration are. Imports no pandas, so that a wrong path is found within a second."""

import os
from collections.abc import Set
from pathlib import Path

from gender_cls.config.data import CLASSES, SPLITS, DataConfig
from gender_cls.errors import require

ARCHIVES = (".zip", ".tar", ".tgz", ".gz", ".bz2", ".xz", ".7z", ".rar")


def find_source(data: DataConfig) -> tuple[Path, Path | None]:
    """The folder that paths are relative to, and `data.csv` if it is set; both absolute.

    Raises:
        GenderClsError: one of them does not exist, or `data.root` is the folder of one label.
    """
    root, csv = (Path(path) if path is not None else None for path in (data.root, data.csv))
    require(root is None or root.is_dir(), f"data.root is not a folder: {root}.{_way_out(root)}")
    require(csv is None or csv.is_file(), f"data.csv is not a file: {csv}.")
    if root is not None and csv is None and data.importer is None:
        require(
            not _is_of_one_label(root, data),
            f"data.root={root} is the folder of one label: name the folder that holds it, data.root={root.parent}.",
        )
    folder = root or (csv and csv.parent)
    assert folder is not None, "DataConfig.check asks for one of the two"
    return folder, csv


def _way_out(root: Path | None) -> str:
    """A further sentence, on what to do, for a `data.root` that is not a folder; empty if nothing is known."""
    name = "" if root is None else root.name
    if name.lower().endswith(ARCHIVES):
        return " Unpack the archive, and name the folder."
    if name.lower().endswith((".csv", ".tsv")):
        return f" A table of images is data.csv={root}."
    return " Draw the demo data first: python -m gender_cls.demo." if "demo_data" in str(root) else ""


def _is_of_one_label(root: Path, data: DataConfig) -> bool:
    """Whether the folder is called like a label, and holds no folders of labels itself."""
    labels = {alias.lower() for label in CLASSES for alias in (label, *data.aliases[label])}
    return root.name.lower() in labels and not has_labels(root, labels)


def has_labels(folder: Path, labels: Set[str]) -> bool:
    """Whether a folder, or one for a split in it, has folders of labels, which are given in lower case."""
    places = [folder, *(folder / split for split in SPLITS)]
    names = {
        name.lower() for place in places if place.is_dir() and os.access(place, os.R_OK) for name in os.listdir(place)
    }
    return not labels.isdisjoint(names)
