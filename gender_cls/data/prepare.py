"""From a configuration to images that can be trained on: read once, grouped, split, and looked through for leaks."""

from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from gender_cls.config.data import DataConfig, OnCorrupt
from gender_cls.data.groups import group_images
from gender_cls.data.images import Images
from gender_cls.data.leaks import Leaks, find_leaks, stop_on_leak
from gender_cls.data.manifest import Manifest, read_manifest
from gender_cls.data.near_duplicates import NearDuplicates, find_near_duplicates
from gender_cls.data.scan import scan
from gender_cls.data.split import assign_splits, split_origin
from gender_cls.errors import GenderClsError


@dataclass(frozen=True)
class PreparedData:
    """Images that can be read, and what is known of them.

    Attributes:
        manifest: with the columns `group` (what a split must not tear apart), `width` and `height` (pixels).
        images: whence their pixels come.
        facts: of the same images (`scan`).
        near: near duplicates among them.
        unreadable: path and reason of those that were left out.
        leaks: between the splits; none unless `data.allow_leaks`.
        split_origin: published, given or dealt.
    """

    manifest: Manifest
    images: Images
    facts: pd.DataFrame
    near: NearDuplicates
    unreadable: pd.DataFrame
    leaks: Leaks
    split_origin: str


def prepare_data(data: DataConfig, cache: Path) -> PreparedData:
    """Find the images, read what is new, group, split and check them.

    Args:
        cache: folder for what is known of images read before, and for their pixels.

    Raises:
        GenderClsError: an image cannot be read and `data.on_corrupt` is stop; the data cannot be found or split; people
            or pictures stand in several splits and `data.allow_leaks` is false.
    """
    manifest = read_manifest(data)
    scanned = scan(manifest.table["path"].tolist(), manifest.root, cache, data)
    facts = scanned.facts
    broken = facts["fault"] != ""
    if broken.any() and data.on_corrupt is OnCorrupt.stop:
        raise GenderClsError(
            f"{broken.sum()} of {len(facts)} images cannot be read. The first: {facts['reason'][broken].iloc[0]} "
            "Repair or remove them, or leave them out with data.on_corrupt=drop."
        )
    unreadable = pd.DataFrame({"path": manifest.table["path"], "reason": facts["reason"]})[broken]
    facts = facts[~broken].reset_index(drop=True)
    table = manifest.table[~broken].reset_index(drop=True)
    table, near = with_groups(table, facts, data)
    origin = split_origin(table, data)
    table = assign_splits(table, data)
    leaks = find_leaks(table, facts["pixels"])
    stop_on_leak(leaks, data.allow_leaks)
    return PreparedData(replace(manifest, table=table), scanned.images, facts, near, unreadable, leaks, origin)


def with_groups(table: pd.DataFrame, facts: pd.DataFrame, data: DataConfig) -> tuple[pd.DataFrame, NearDuplicates]:
    """The table of readable images with the columns `group`, `width` and `height`, and their near duplicates."""
    near = find_near_duplicates(facts["perceptual_hash"].to_numpy(), data.near_duplicate_distance)
    groups = group_images(table, facts["pixels"], near, data.frame_gap)
    width, height = facts["width"].astype(str), facts["height"].astype(str)
    return table.assign(group=groups.astype(str), width=width, height=height), near
