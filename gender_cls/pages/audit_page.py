"""The audit's findings -> `audit.html`: one page that fetches nothing and runs nothing."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pandas as pd

from gender_cls.data.folders import LEFT_OUT
from gender_cls.data.image_files import Fault
from gender_cls.drawing.thumbnails import Gallery, Thumbnail
from gender_cls.errors import count
from gender_cls.evaluation.wording import words
from gender_cls.pages.page import page_environment

MOST_IN_GROUP = 4  # pictures shown of one person or of one set of duplicates
MOST_UNREADABLE = 50  # unreadable files named per fault; audit.csv has all of them
MOST_CURVE_POINTS = 100  # most points drawn of a curve

UNREADABLE = get_args(Fault)  # faults that are counted among `unreadable`

EXTREMES: dict[str, tuple[str, bool, str]] = {
    "low": ("height", True, "{width:.0f} × {height:.0f} px"),
    "dark": ("brightness", True, "brightness {brightness:.0f}"),
    "bright": ("brightness", False, "brightness {brightness:.0f}"),
    "blurred": ("sharpness", True, "sharpness {sharpness:.2f}"),
    "odd_aspect": ("path", True, "{width:.0f} × {height:.0f} px"),
}
"""Fault -> the column to sort by, whether low values are the worst, and the text below a picture."""


@dataclass(frozen=True)
class Group:
    """One person, or one set of duplicates."""

    title: str
    tags: list[tuple[str, str]]  # a few words, and how serious they are: `warn` or `stop`
    pictures: list[Thumbnail]  # of some of its images
    size: int  # number of its images


Groups = tuple[list[Group], int]  # those that are shown, and how many there are


@dataclass(frozen=True)
class FaultTile:
    """One kind of fault of files and images."""

    name: str
    count: int
    description: str
    pictures: list[Thumbnail]
    unreadable: list[tuple[str, str]]  # (path, reason)


def render_audit(
    totals: dict[str, Any], images: pd.DataFrame, suspects: pd.DataFrame | None, root: Path, thumbnails: int
) -> str:
    """The page, as HTML.

    Args:
        totals: the content of `audit.json`. The page says which parts are null or empty because they were not computed.
        images: the rows of `audit.csv`, one per image.
        suspects: the rows of `suspects.csv`, most suspect first; None when they were not computed.
        root: the folder that the paths are relative to.
        thumbnails: most pictures shown per finding.
    """
    environment = page_environment()
    environment.filters["thinned"] = _thinned
    faults = totals["faults"] or {}
    kinds = [name for name in faults if name not in UNREADABLE]

    def people(flag: str) -> Groups:
        rows = images[images[flag]]
        return _groups(rows, rows["identity"], Gallery(root, thumbnails))

    return environment.get_template("audit.html.jinja").render(
        totals=totals,
        tiles=[
            _fault_tile(name, faults, images, Gallery(root, thumbnails)) for name in kinds if faults[name]["images"]
        ],
        clean=[words(name) for name in kinds if not faults[name]["images"]],
        faulty=int(images[kinds].any(axis=1).sum()),
        copies=int((images["duplicate_cluster"] >= 0).sum()),
        duplicates=_duplicates(images, Gallery(root, thumbnails)),
        across_splits=people("identity_across_splits"),
        both_labels=people("identity_with_both_labels"),
        suspects=None if suspects is None else _suspects(suspects, Gallery(root, thumbnails)),
        flagged=0 if suspects is None else int(suspects["flagged"].sum()),
        thumbnails=thumbnails,
        kinds_left_out=LEFT_OUT,
    )


def _fault_tile(name: str, faults: dict[str, Any], images: pd.DataFrame, gallery: Gallery) -> FaultTile:
    rows = images[images[name]]
    broken = rows["reason"].fillna("") != ""
    column, ascending, note = EXTREMES.get(name, ("path", True, ""))
    worst = rows[~broken].sort_values(column, ascending=ascending, kind="stable").head(gallery.left)
    named = rows[broken].head(MOST_UNREADABLE)
    kinds = [f"{count(faults[kind]['images'])} {words(kind)}" for kind in UNREADABLE if faults[kind]["images"]]
    return FaultTile(
        name=name,
        count=faults[name]["images"],
        description=", ".join(kinds) if name == "unreadable" else faults[name]["description"],
        pictures=gallery.take(worst, lambda row: note.format(**row)),
        unreadable=[
            (path, reason.removeprefix(f"Cannot read {gallery.root / path}: "))
            for path, reason in zip(named["path"], named["reason"], strict=True)
        ],
    )


def _duplicates(images: pd.DataFrame, gallery: Gallery) -> Groups:
    """Sets of duplicates: across splits first, then with both labels, then the largest."""
    rows = images[images["duplicate_cluster"] >= 0]
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
        people = group["identity"][group["identity"] != ""].nunique()
        tags = [("across splits", "stop", first["crosses"]), ("both labels", "stop", first["disagrees"])]
        tags.append((f"{people} people", "warn", people > 1))
        title = "the same pixels" if first["same"] else "nearly the same"
        return title, [(text, level) for text, level, holds in tags if holds]

    return _groups(rows, rows["duplicate_cluster"], gallery, describe)


def _suspects(suspects: pd.DataFrame, gallery: Gallery) -> Groups:
    """Suspect labels by person, most suspect first; an image of an unknown person is a group of its own."""
    rows = suspects[suspects["flagged"]]
    rows = rows.assign(identity=rows["identity"].fillna(""))
    person = rows["identity"].where(rows["identity"] != "", rows["path"])
    return _groups(rows, person, gallery, note=lambda row: f"→ {row['suggested_label']} {1 - row['score']:.2f}")


def _groups(
    rows: pd.DataFrame,
    key: pd.Series,
    gallery: Gallery,
    describe: Callable[[pd.DataFrame], tuple[str, list[tuple[str, str]]]] | None = None,
    note: Callable[[Any], str] = lambda row: "",
) -> Groups:
    """As many groups as fit in the gallery, in the order of their first rows.

    A large group shows each label and split once before it shows a second image of any.

    Args:
        key: the group of each row.
        describe: the rows of a group -> its title and tags; without it, the title is the person.
        note: a row as a mapping -> the text below its picture.
    """
    groups: list[Group] = []
    rows = rows[key.isin(key.unique()[: gallery.left])]  # each group takes at least one picture
    sides = [column for column in ("label", "split") if column in rows]
    for _, group in rows.groupby(key, sort=False):
        if gallery.full:
            break
        chosen = group.groupby(sides).cumcount().sort_values(kind="stable").index[:MOST_IN_GROUP]
        shown = group[group.index.isin(chosen)].sort_values(sides[::-1], kind="stable")
        if groups and len(shown) > gallery.left:
            break
        title, tags = describe(group) if describe else (group["identity"].iloc[0], [])
        groups.append(Group(title, tags, gallery.take(shown, note), len(group)))
    return groups, key.nunique()


def _thinned(points: list[dict[str, float]]) -> list[dict[str, float]]:
    """At most MOST_CURVE_POINTS of the points, with the first and the last."""
    kept = np.linspace(0, len(points) - 1, min(len(points), MOST_CURVE_POINTS)).astype(int)
    return [points[index] for index in kept]
