"""How labels, cameras, sources and people are distributed over a dataset, as plain values for JSON."""

from typing import Any

import numpy as np
import pandas as pd

from gender_cls.config.data import CLASSES, SPLITS, UNKNOWN

LABELS = (*CLASSES, UNKNOWN)

# Name of each bin of the histogram -> smallest number of images of a person
BINS = {"1": 1, "2": 2, "3": 3, "4": 4, "5-9": 5, "10-19": 10, "20-49": 20, "50+": 50}


def balance(table: pd.DataFrame) -> dict[str, Any]:
    """Counts of images and people.

    Args:
        table: one row per image, with label, identity, camera, source and split; empty strings where unknown.

    Returns:
        `label_by_split`, `label_by_camera`, `label_by_source`: one record each with the name under `split`, `camera` or
        `source`, and the number of images with each label. Splits come in their usual order (images in no split last,
        under ""), cameras and sources with the most images first; images without one are not counted there.
        `single_label_groups`: cameras and sources with at least two labelled images, all of one label: `column`,
        `value`, `label`, `images` (the labelled ones).
        `identities_by_label`: people of each label; a person with several labels counts for each.
        `images_per_identity`: `identities`, `images`, `mean`, `median`, `max`, `effective_sample_size` of known people;
        None if nobody is known. The last is Kish's (Survey Sampling, 1965), (sum n)^2 / sum n^2 over the images n of
        each person: the number of people with equally many images that would give the same precision.
        `images_per_identity_by_split`: the same for each split.
        `histogram`: records of `bin` (images of a person) and `identities`.
    """
    by_camera, by_source = _labels_by(table, "camera"), _labels_by(table, "source")
    known = table.loc[table["identity"] != "", ["identity", "label", "split"]]
    per_identity = known["identity"].value_counts(sort=False).to_numpy()
    bins = zip(BINS, np.histogram(per_identity, bins=[*BINS.values(), np.inf])[0], strict=True)
    per_split = known.groupby("split", sort=False)["identity"]
    pairs = known[["identity", "label"]].drop_duplicates()
    return {
        "label_by_split": _in_order_of_splits(_labels_by(table, "split")),
        "label_by_camera": by_camera,
        "label_by_source": by_source,
        "single_label_groups": [*_single_label(by_camera, "camera"), *_single_label(by_source, "source")],
        "identities_by_label": {label: int((pairs["label"] == label).sum()) for label in LABELS},
        "images_per_identity": _statistics(per_identity) if len(known) else None,
        "images_per_identity_by_split": _in_order_of_splits(
            [{"split": split, **_statistics(people.value_counts(sort=False).to_numpy())} for split, people in per_split]
        ),
        "histogram": [{"bin": name, "identities": int(count)} for name, count in bins if len(known)],
    }


def _labels_by(table: pd.DataFrame, column: str) -> list[dict[str, Any]]:
    """Largest first; equally large ones by name."""
    known = table if column == "split" else table[table[column] != ""]
    counts = known.groupby([column, "label"]).size().unstack(fill_value=0).reindex(columns=list(LABELS), fill_value=0)
    order = np.argsort(-counts.sum(axis=1).to_numpy(), kind="stable")
    names, images = counts.index[order].tolist(), counts.to_numpy()[order].tolist()
    return [{column: name, **dict(zip(LABELS, row, strict=True))} for name, row in zip(names, images, strict=True)]


def _in_order_of_splits(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(rows, key=lambda row: (*SPLITS, "").index(row["split"]))


def _single_label(rows: list[dict[str, Any]], column: str) -> list[dict[str, Any]]:
    return [
        {"column": column, "value": row[column], "label": label, "images": row[label]}
        for row in rows
        for label in CLASSES
        if row[label] >= 2 and row[label] == sum(row[each] for each in CLASSES)
    ]


def _statistics(images: np.ndarray) -> dict[str, Any]:
    """Of the number of images of each person, (people,)."""
    return {
        "identities": len(images),
        "images": int(images.sum()),
        "mean": float(images.mean()),
        "median": float(np.median(images)),
        "max": int(images.max()),
        "effective_sample_size": float(images.sum()) ** 2 / float((images.astype(float) ** 2).sum()),
    }
