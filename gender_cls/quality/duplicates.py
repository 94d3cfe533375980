"""Duplicates of each image, people in several splits or with both labels, and the totals of both."""

from typing import Any

import numpy as np
import pandas as pd

from gender_cls.config.data import UNKNOWN
from gender_cls.data.leaks import Leaks, in_several
from gender_cls.data.near_duplicates import NearDuplicates


def find_duplicates(table: pd.DataFrame, pixels: pd.Series, near: NearDuplicates) -> pd.DataFrame:
    """Exact and near duplicates of each image.

    Args:
        table: readable images with label and split.
        pixels: hash of each image's pixels.
        near: near duplicates of the same rows.

    Returns:
        One row per image: `exact_duplicates` (how many other images have the same pixels), whether one of them has
        another label (`exact_across_labels`) or lies in another split (`exact_across_splits`); the same for
        `near_duplicates`, which look alike and are not exact copies; `duplicate_cluster`, a number shared by images
        that a chain of duplicates connects, -1 for an image without any. The label UNKNOWN and no split count as equal
        to every other.
    """
    label = table["label"].where(table["label"] != UNKNOWN)
    split = table["split"].where(table["split"] != "")
    copies = pixels.groupby(pixels).transform("size").to_numpy() - 1
    alike = near.count() - copies
    return pd.DataFrame(
        {
            "exact_duplicates": copies,
            "exact_across_labels": in_several(pixels, label),
            "exact_across_splits": in_several(pixels, split),
            "near_duplicates": alike,
            "near_across_labels": near.touches_other(label) & (alike > 0),
            "near_across_splits": near.touches_other(split) & (alike > 0),
            "duplicate_cluster": np.where(copies + alike > 0, near.clusters(), -1),
        },
        index=table.index,
    )


def find_identity_conflicts(table: pd.DataFrame) -> pd.DataFrame:
    """Whether the identity of each image lies in several splits, and whether it has both labels."""
    identity = table["identity"].where(table["identity"] != "")
    return pd.DataFrame(
        {
            "identity_across_splits": in_several(identity, table["split"].where(table["split"] != "")),
            "identity_with_both_labels": in_several(identity, table["label"].where(table["label"] != UNKNOWN)),
        }
    )


def duplicate_totals(images: pd.DataFrame, near: NearDuplicates, distance: int) -> dict[str, Any]:
    """Counts for `audit.json`; `by_distance` counts pairs of different hashes, so 0 at distance 0."""
    distances = np.bitwise_count(near.hashes[near.pairs[:, 0]] ^ near.hashes[near.pairs[:, 1]])
    pairs = np.bincount(distances, minlength=distance + 1).tolist()
    exact, alike = images["exact_duplicates"] > 0, images["near_duplicates"] > 0
    clusters = round(float((1 / (1 + images.loc[exact, "exact_duplicates"])).sum()))
    near_clusters = int(images.loc[alike, "duplicate_cluster"].nunique())
    return {
        "exact": {"clusters": clusters, **_across(images, exact, "exact")},
        "near": {"distance": distance, "clusters": near_clusters, **_across(images, alike, "near")},
        "by_distance": [{"distance": step, "pairs": count} for step, count in enumerate(pairs)],
    }


def _across(images: pd.DataFrame, found: pd.Series, kind: str) -> dict[str, int]:
    return {
        "images": int(found.sum()),
        "across_labels": int(images[f"{kind}_across_labels"].sum()),
        "across_splits": int(images[f"{kind}_across_splits"].sum()),
    }


def identity_totals(images: pd.DataFrame, leaks: Leaks) -> dict[str, Any]:
    """Counts for `audit.json`."""
    both = images[images["identity_with_both_labels"]]
    return {
        "known": int(images["identity"][images["identity"] != ""].nunique()),
        "across_splits": {
            "identities": leaks.identities,
            "images": int(images["identity_across_splits"].sum()),
            "test_share": leaks.test_share,
        },
        "both_labels": {
            "identities": int(both["identity"].nunique()),
            "images": len(both),
            "examples": both["identity"].drop_duplicates().head(5).tolist(),
        },
    }
