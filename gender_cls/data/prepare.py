"""From a configuration to data that can be trained on: read, grouped, split and checked for leaks.

The jobs of a sweep that use the same data share this work: the parent process keeps what it prepared, and each job is
forked from it. A process that finds nothing (a single run, a system without fork) does the work itself.
"""

import contextlib
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from gender_cls.config.data import Balance, DataConfig, OnCorrupt
from gender_cls.data.baselines import trivial_baselines
from gender_cls.data.cue_boxes import refuse_boxes_outside
from gender_cls.data.groups import group_images
from gender_cls.data.image_store import ImageStore
from gender_cls.data.leaks import Leaks, find_leaks
from gender_cls.data.manifest import Manifest, read_manifest
from gender_cls.data.near_duplicates import NearDuplicates, find_near_duplicates, hash_texts
from gender_cls.data.people import mixed_people_sentence
from gender_cls.data.scan import scan
from gender_cls.data.split import assign_splits, missing_splits, split_origin
from gender_cls.errors import plural, require
from gender_cls.system.progress import working

MOST_KEPT_IMAGES = 2_000_000  # of all configurations together; memory grows with it


@dataclass(frozen=True)
class PreparedData:
    """Readable images, and what is known about them."""

    manifest: Manifest  # also with the columns `group` (stays in one split), `width`, `height` and `pixels`
    images: ImageStore
    facts: pd.DataFrame  # of the same rows, see `scan`
    near: NearDuplicates  # among the same rows
    unreadable: pd.DataFrame  # `path` and `reason` of the images that were left out
    leaks: Leaks  # between the splits; none unless `data.allow_leaks`
    split_origin: str  # see `split.split_origin`
    missing_splits: list[str]  # see `split.missing_splits`

    @cached_property
    def baselines(self) -> list[dict[str, Any]]:
        """See `trivial_baselines`."""
        with working("Computing the trivial baselines"):
            return trivial_baselines(self.manifest.table, self.facts, self.near)


_kept: dict[str, PreparedData] = {}  # the last used one comes last


def prepared_data(data: DataConfig, cache: Path) -> PreparedData:
    """The data that `keep_prepared` kept, or else `prepare_data`."""
    return _kept.get(_key(data, cache)) or prepare_data(data, cache)


def keep_prepared(data: DataConfig, cache: Path) -> None:
    """Prepare these data for the jobs that will be forked from this process, unless that is done already.

    Errors are ignored here: the job meets them again, and it has a place to record them.
    """
    key = _key(data, cache)
    with contextlib.suppress(Exception):
        prepared = _kept.pop(key, None) or prepare_data(data, cache)
        _ = prepared.baselines  # compute them now, once for all jobs
        _kept[key] = prepared
        while len(_kept) > 1 and sum(len(kept.facts) for kept in _kept.values()) > MOST_KEPT_IMAGES:
            del _kept[next(iter(_kept))]


def _key(data: DataConfig, cache: Path) -> str:
    """The same for configurations that differ only in settings of the training itself."""
    return f"{cache} {replace(data, batch_size=1, num_workers=0, balance=Balance.none, licence=None)}"


def prepare_data(data: DataConfig, cache: Path) -> PreparedData:
    """Find the images, read the new ones, group, split and check them.

    Args:
        cache: folder for the facts and the pixels of images that were read before.

    Raises:
        GenderClsError: an image cannot be read and `data.on_corrupt` is stop; the data cannot be found or split; people
            or images are in several splits and `data.allow_leaks` is false; identities are no people, and
            `data.allow_doubtful_people` is false.
    """
    with working("Looking for images"):
        manifest = read_manifest(data)
    scanned = scan(manifest.table["path"].tolist(), manifest.root, cache, data)
    facts = scanned.facts
    table, facts, unreadable = only_readable(manifest.table, facts, data)
    doubt = mixed_people_sentence(table, data.pattern)
    require(
        data.allow_doubtful_people or not doubt,
        f"{doubt} data.allow_doubtful_people=true trains with them as they are.",
    )
    with working("Looking for duplicates, and splitting"):
        table, near = with_groups(table, facts, data)
        refuse_boxes_outside(table)
        origin, missing = split_origin(table, data), missing_splits(table)
        table = assign_splits(table, data)
        leaks = find_leaks(table, facts["pixels"], near)
    require(
        data.allow_leaks or not leaks,
        f"{leaks.sentence()} The scores would measure memory: remove the given split, so that a new one keeps "
        "people and copies whole, or keep it with data.allow_leaks=true, which marks the results as leaky.",
    )
    return PreparedData(
        manifest=replace(manifest, table=table),
        images=scanned.images,
        facts=facts,
        near=near,
        unreadable=unreadable,
        leaks=leaks,
        split_origin=origin,
        missing_splits=missing,
    )


def only_readable(
    table: pd.DataFrame, facts: pd.DataFrame, data: DataConfig
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """The rows and the facts of the readable images, and `path` and `reason` of the others.

    Raises:
        GenderClsError: there are others, and `data.on_corrupt` is stop.
    """
    broken = facts["fault"] != ""
    unreadable = pd.DataFrame({"path": table["path"], "reason": facts["reason"]})[broken]
    require(
        data.on_corrupt is OnCorrupt.drop or unreadable.empty,
        f"{len(unreadable)} of {plural(len(facts), 'image')} cannot be read. The first: "
        f"{' '.join(unreadable['reason'][:1])} Repair or remove them, or leave them out with data.on_corrupt=drop.",
    )
    readable, known = (rows[~broken].reset_index(drop=True) for rows in (table, facts))
    return readable, known, unreadable


def with_groups(table: pd.DataFrame, facts: pd.DataFrame, data: DataConfig) -> tuple[pd.DataFrame, NearDuplicates]:
    """The table of readable images with further columns, and their near duplicates.

    The columns are `group`, `width` and `height` (pixels), `pixels` (see `Scan`), by which every command knows that
    an image is still the same, and `perceptual_hash`, by which a copy of it is found in other data.
    """
    near = find_near_duplicates(facts["perceptual_hash"].to_numpy(), data.near_duplicate_distance)
    groups = group_images(table, facts["pixels"], near, data.frame_gap)
    width, height = facts["width"].astype(str), facts["height"].astype(str)
    known = {"pixels": facts["pixels"], "perceptual_hash": hash_texts(facts["perceptual_hash"])}
    return table.assign(group=groups.astype(str), width=width, height=height, **known), near
