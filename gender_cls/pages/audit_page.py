"""The audit's findings -> `audit.html`: one file to look at, with nothing to fetch and nothing to run."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pandas as pd

from gender_cls.data.image_files import Fault
from gender_cls.drawing.thumbnails import Gallery, Thumbnail
from gender_cls.evaluation.wording import count, words
from gender_cls.pages.page import page_environment

MOST_IN_GROUP = 4
"""Pictures shown of one person or one set of duplicates."""

MOST_NAMES = 50
"""Unreadable files named a finding; all of them are in audit.csv."""

MOST_POINTS = 100
"""Points drawn of a curve."""

UNREADABLE = get_args(Fault)
"""Findings that are counted among `unreadable`."""

EXTREMES: dict[str, tuple[str, bool, str]] = {
    "low": ("height", True, "{width:.0f} × {height:.0f} px"),
    "dark": ("brightness", True, "brightness {brightness:.0f}"),
    "bright": ("brightness", False, "brightness {brightness:.0f}"),
    "blurred": ("sharpness", True, "sharpness {sharpness:.2f}"),
    "odd_aspect": ("path", True, "{width:.0f} × {height:.0f} px"),
}
"""Finding -> the column that it looks at, whether low values are the worst, and what is written below a picture."""


def render_audit(
    totals: dict[str, Any], images: pd.DataFrame, suspects: pd.DataFrame | None, root: Path, thumbnails: int
) -> str:
    """The page, as HTML.

    Args:
        totals: the content of `audit.json`; what was not computed is null or empty, and the page says so.
        images: the rows of `audit.csv`, one an image.
        suspects: the rows of `suspects.csv`, most suspect first; None when they were not computed.
        root: the folder that the paths are relative to.
        thumbnails: most pictures shown a finding; 0 shows none.
    """
    environment = page_environment()
    environment.filters["thin"] = _thin

    def gallery() -> Gallery:
        return Gallery(root, thumbnails)

    faults = totals["faults"] or {}
    kinds = [name for name in faults if name not in UNREADABLE]
    return environment.get_template("audit.html.jinja").render(
        totals=totals,
        findings=[_finding(name, faults, images, gallery()) for name in kinds if faults[name]["images"]],
        clean=[words(name) for name in kinds if not faults[name]["images"]],
        faulty=int(images[kinds].any(axis=1).sum()),
        copies=int((images["duplicate_cluster"] >= 0).sum()),
        duplicates=_duplicates(images, gallery()),
        across_splits=_people(images, "identity_across_splits", gallery()),
        both_labels=_people(images, "identity_with_both_labels", gallery()),
        suspects=None if suspects is None else _suspects(suspects, gallery()),
        flagged=0 if suspects is None else int(suspects["flagged"].sum()),
        thumbnails=thumbnails,
    )


@dataclass(frozen=True)
class Group:
    """Pictures of one person or one set of duplicates, some of `size`; a tag is (words, level of the verdict)."""

    title: str
    tags: list[tuple[str, str]]
    pictures: list[Thumbnail]
    size: int


@dataclass(frozen=True)
class Groups:
    """Some of `total` groups."""

    shown: list[Group]
    total: int


@dataclass(frozen=True)
class Finding:
    """One kind of finding about files and pictures; `unreadable` holds (path, reason)."""

    name: str
    count: int
    description: str
    pictures: list[Thumbnail]
    unreadable: list[tuple[str, str]]

    @property
    def hidden(self) -> int:
        """How many of them the page does not show."""
        return self.count - len(self.pictures) - len(self.unreadable)


def _finding(name: str, faults: dict[str, Any], images: pd.DataFrame, gallery: Gallery) -> Finding:
    rows = images[images[name]]
    broken = rows["reason"].fillna("") != ""
    column, ascending, note = EXTREMES.get(name, ("path", True, ""))
    worst = rows[~broken].sort_values(column, ascending=ascending, kind="stable").head(gallery.left)
    named = rows[broken].head(MOST_NAMES)
    why = [
        (path, reason.removeprefix(f"Cannot read {gallery.root / path}: "))
        for path, reason in zip(named["path"], named["reason"], strict=True)
    ]
    kinds = [f"{count(faults[kind]['images'])} {words(kind)}" for kind in UNREADABLE if faults[kind]["images"]]
    return Finding(
        name=name,
        count=faults[name]["images"],
        description=", ".join(kinds) if name == "unreadable" else faults[name]["description"],
        pictures=gallery.take(worst, lambda row: note.format(**row)),
        unreadable=why,
    )


def _duplicates(images: pd.DataFrame, gallery: Gallery) -> Groups:
    """Sets of duplicates: across splits first, then with both labels, then the largest."""
    flags = [f"{kind}_across_{what}" for kind in ("exact", "near") for what in ("labels", "splits")]
    columns = ["path", "label", "split", "identity", "duplicate_cluster", "exact_duplicates", *flags]
    rows = images.loc[images["duplicate_cluster"] >= 0, columns]
    cluster = rows["duplicate_cluster"]
    size = cluster.groupby(cluster).transform("size")
    rows = rows.assign(
        crosses=(rows["exact_across_splits"] | rows["near_across_splits"]).groupby(cluster).transform("any"),
        disagrees=(rows["exact_across_labels"] | rows["near_across_labels"]).groupby(cluster).transform("any"),
        same=(rows["exact_duplicates"] == size - 1).groupby(cluster).transform("all"),
        size=size,
    ).sort_values(["crosses", "disagrees", "size", "duplicate_cluster"], ascending=[False, False, False, True])

    def describe(group: pd.DataFrame) -> tuple[str, list[tuple[str, str]]]:
        first = group.iloc[0]
        people = group["identity"].replace("", np.nan).nunique()
        tags = [("across splits", "stop", first["crosses"]), ("both labels", "stop", first["disagrees"])]
        tags.append((f"{people} people", "warn", people > 1))
        title = "the same pixels" if first["same"] else "nearly the same"
        return title, [(words, level) for words, level, holds in tags if holds]

    return _groups(rows, rows["duplicate_cluster"], describe, gallery)


def _people(images: pd.DataFrame, flag: str, gallery: Gallery) -> Groups:
    rows = images.loc[images[flag], ["path", "label", "split", "identity"]]
    return _groups(rows, rows["identity"], lambda group: (group["identity"].iloc[0], []), gallery)


def _suspects(suspects: pd.DataFrame, gallery: Gallery) -> Groups:
    """By person, most suspect first; an image without an identity stands alone."""
    rows = suspects[suspects["flagged"]]
    identity = rows["identity"].fillna("")

    def describe(group: pd.DataFrame) -> tuple[str, list[tuple[str, str]]]:
        return group["identity"].iloc[0], []

    def note(row: Any) -> str:
        return f"→ {row['suggested_label']} {1 - row['score']:.2f}"

    return _groups(rows, identity.where(identity != "", rows["path"]), describe, gallery, note)


def _groups(
    rows: pd.DataFrame,
    key: pd.Series,
    describe: Callable[[pd.DataFrame], tuple[str, list[tuple[str, str]]]],
    gallery: Gallery,
    note: Callable[[Any], str] = lambda row: "",
) -> Groups:
    """The groups in the order of their first rows, until the gallery is full.

    Of a large group every label and split is shown before a second picture of any.
    """
    groups: list[Group] = []
    rows = rows[key.isin(key.unique()[: gallery.left])]  # a picture each would fill it
    sides = [column for column in ("label", "split") if column in rows]
    for _, group in rows.groupby(key, sort=False):
        if gallery.full:
            break
        chosen = group.groupby(sides).cumcount().sort_values(kind="stable").index[:MOST_IN_GROUP]
        shown = group[group.index.isin(chosen)].sort_values(sides[::-1], kind="stable")
        if groups and len(shown) > gallery.left:
            break
        title, tags = describe(group)
        groups.append(Group(title, tags, gallery.take(shown, note), len(group)))
    return Groups(groups, key.nunique())


def _thin(points: list[dict[str, float]]) -> list[dict[str, float]]:
    """At most MOST_POINTS of them, the first and the last included."""
    if len(points) <= MOST_POINTS:
        return points
    return [points[index] for index in np.linspace(0, len(points) - 1, MOST_POINTS).astype(int)]
