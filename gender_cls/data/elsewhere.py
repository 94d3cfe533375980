"""Data that a run was not trained on: what of them is tested, and what the run has seen of them already."""

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from gender_cls.config.data import CLASSES, UNKNOWN, DataConfig
from gender_cls.config.parsing import recorded_config, to_plain
from gender_cls.data.baselines import cross_validated_baselines
from gender_cls.data.corrections import count_corrections
from gender_cls.data.csv_text import csv_text
from gender_cls.data.cue_boxes import refuse_boxes_outside
from gender_cls.data.folders import count_left_out, left_out_sentence
from gender_cls.data.image_store import ImageStore
from gender_cls.data.manifest import limited, read_manifest
from gender_cls.data.prepare import only_readable, with_groups
from gender_cls.data.run_images import recorded_rows, scan_for_answers, with_measurements
from gender_cls.data.seen import Seen, find_seen, share_names
from gender_cls.data.split import is_left_out, split_origin
from gender_cls.errors import GenderClsError, count, first_few, of_people, plural, require
from gender_cls.runs.run import Run
from gender_cls.system.progress import working

log = logging.getLogger(__name__)

Part = Literal["all", "test"]


class NothingLeftError(GenderClsError):
    """After what the run has seen is left out, there are no images of both labels."""


@dataclass(frozen=True)
class TestedPart:
    """Images of other data that can be tested, whatever the run; the same object serves all runs."""

    part: Part  # all labelled images, or the test part of a split
    data: DataConfig
    table: pd.DataFrame  # as `prepare.with_groups` makes it; `split` is test
    facts: pd.DataFrame  # of the same rows, see `scan`
    images: ImageStore
    root: Path
    unreadable: pd.DataFrame  # `path` and `reason` of the images that were left out
    about: dict[str, Any]  # for `data.json`

    @cached_property
    def hash(self) -> str:
        """SHA-256 of the paths and labels."""
        return hashlib.sha256(csv_text(self.table[["path", "label"]]).encode()).hexdigest()


@dataclass(frozen=True)
class OtherData:
    """What one run is tested on."""

    name: str
    rows: pd.DataFrame  # as in `manifest.csv`, then `native_height`, `brightness` and `sharpness`; `split` is test
    images: ImageStore
    root: Path
    unreadable: pd.DataFrame
    record: dict[str, Any]  # the content of `data.json`; `seen` counts what was left out


def given_part(data: DataConfig, cache: Path) -> TestedPart:
    """Read the images that a configuration of data says are to be tested.

    All labelled images; or the test part of a split that comes with the data; or the camera or source that
    `data.leave_out` names. Other images are not opened.

    Args:
        cache: folder for the facts and the pixels of images that were read before.

    Raises:
        GenderClsError: the data cannot be found; a setting asks for a new split; a label has no image; an image cannot
            be read and `data.on_corrupt` is stop.
    """
    _refuse_folds(data)
    with working("Looking for images"):
        manifest = read_manifest(replace(data, limit=None))  # the limit is of the tested images
    labelled = manifest.table["label"] != UNKNOWN
    part: Part = "all"
    tested = labelled
    if data.leave_out is not None:
        part, tested = "test", labelled & is_left_out(manifest.table, data)
    elif (manifest.table["split"] == "test").any():
        part, tested = "test", labelled & (manifest.table["split"] == "test")
    elif (manifest.table["split"] != "").any():
        log.warning(f"The split of {data.csv or manifest.root} has no test part: all labelled images are tested.")
    table = limited(manifest.table[tested].reset_index(drop=True), data.limit, data.split_seed)
    where = f"{data.csv or manifest.root}{' in its test part' if part == 'test' else ''}"
    _require_both_labels(table, f"There is nothing to measure in {where}")
    scanned = scan_for_answers(table, manifest.root, cache, data)
    table, facts, unreadable = only_readable(table, scanned.facts, data)
    _require_both_labels(table, f"There is nothing to measure in {where} among the readable images")
    with working("Looking for duplicates"):
        table, _ = with_groups(table.assign(split="test"), facts, data)
    refuse_boxes_outside(table)
    if sentence := left_out_sentence(manifest.left_out):
        log.warning(sentence)
    if unused := _unused_settings(data):
        log.info(
            f"{', '.join(unused)}: settings of training, which have no effect here. Images are resized as in training."
        )
    if unknown := int((~labelled).sum()):
        log.info(f"{plural(unknown, 'image')} of unknown label {'is' if unknown == 1 else 'are'} not tested.")
    about = {
        "licence": data.licence,
        "left_out": count_left_out(manifest.left_out),
        "unknown_label": unknown,
        "split_origin": None if part == "all" else split_origin(manifest.table, data),
    }
    return TestedPart(part, data, table, facts, scanned.images, manifest.root, unreadable, about)


def recorded_part(runs: Sequence[Run], cache: Path) -> TestedPart:
    """The images that these runs of one dataset were tested on, with the pixels that they had then.

    Runs with other folds or seeds of the split have other test images: all of them count. Nothing is split anew.

    Raises:
        GenderClsError: images are gone or have changed; the runs have other folders or other labels.
    """
    first = runs[0]
    roots = sorted({str(run.data_root) for run in runs})
    way_out = "test on it with data=... and data.root=... instead of elsewhere=all"
    require(
        len(roots) == 1,
        f"The images of {first.dataset} lie in several folders ({first_few(roots)}), so it is not one dataset: "
        f"{way_out}.",
    )
    root = Path(roots[0])
    recorded = pd.concat([recorded_rows(run) for run in runs]).fillna("")
    table = recorded[recorded["split"] == "test"].drop_duplicates("path").sort_values("path", ignore_index=True)
    agreed = table.set_index("path")["label"].reindex(recorded["path"])
    other = (agreed.notna() & (agreed != recorded["label"].to_numpy())).to_numpy()
    named = first_few(recorded["path"][other].unique())
    require(
        not other.any(), f"The runs of {first.dataset} have different labels for the same images ({named}): {way_out}."
    )
    _require_both_labels(table, f"There is nothing to measure in the test part of {first.dataset}")
    data = recorded_config(first.config_file).data
    scanned = scan_for_answers(table, root, cache, data)
    gone = scanned.facts["reason"][scanned.facts["fault"] != ""]
    require(
        gone.empty,
        f"{len(gone)} of the {plural(len(table), 'test image')} of {first.dataset} cannot be read any more. The first: "
        f"{' '.join(gone[:1])} Restore them; if they were moved, {way_out}.",
    )
    with working("Looking for duplicates"):
        table, _ = with_groups(table, scanned.facts, data)
    kept = ("licence", "left_out", "split_origin")
    about = {"unknown_label": 0, **{key: first.data.get(key) for key in kept}}
    unreadable = pd.DataFrame({"path": [], "reason": []})
    return TestedPart("test", data, table, scanned.facts, scanned.images, root, unreadable, about)


def unseen(part: TestedPart, name: str, run: Run, cache: Path, data_root: Path | None = None) -> OtherData:
    """These images without those that the run has seen.

    Args:
        name: of the data.
        data_root: where the run's own images are now; None: where they were in training.

    Raises:
        NothingLeftError: no image of one label is left.
        GenderClsError: the run's own data have the same name and are others.
    """
    home = data_root or run.data_root
    require(
        name != run.dataset
        or share_names(part.data, part.root, recorded_config(run.config_file).data, [home, run.data_root]),
        f"{part.root} is called {name}, and so are the data that {run.folder.name} was trained on, {home}: give it "
        "another name with elsewhere.name=...",
    )
    with working("Looking for images that the run has seen"):
        seen = find_seen(part.table, part.root, part.data, run, cache, data_root)
    table, facts = (one[~seen.any].reset_index(drop=True) for one in (part.table, part.facts))
    _require_left(table, len(part.table), seen, name, run)
    with working("Computing the trivial baselines"):
        baselines = cross_validated_baselines(table, facts, part.data.split_seed)
    rows = with_measurements(table, facts)
    identities = table["identity"][table["identity"] != ""].nunique()
    known = f"Left out: {seen.sentence()}." if seen.any.any() else "The run has seen none of them."
    log.info(f"{name}: {of_people(len(table), 'image', identities)} are tested. {known}")
    if seen.remark:
        log.warning(seen.remark)
    record = {
        "name": name,
        "part": part.part,
        "root": str(part.root),
        **part.about,
        "images_sha256": part.hash,
        "sources": sorted(set(table["source"]) - {""}),
        "cameras": sorted(set(table["camera"]) - {""}),
        "leaky": False,
        "corrected_labels": count_corrections(table),
        "unreadable": len(part.unreadable),
        "seen": seen.counts(),
        "test": {
            "images": len(table),
            "identities": int(identities),
            **table["label"].value_counts().sort_index().to_dict(),
        },
        "baselines": baselines,
        "config": to_plain(part.data),
    }
    return OtherData(name, rows, part.images, part.root, part.unreadable, record)


def _refuse_folds(data: DataConfig) -> None:
    require(
        data.folds is None,
        f"data.folds={data.folds} makes a split for training, and other data are tested as a whole: leave it out. A "
        "split that comes with the data is tested on its test part; data.split_by and data.leave_out name a part.",
    )


def _unused_settings(data: DataConfig) -> list[str]:
    """`data.image_size=[128, 64]` and others that were set and have no effect on a test."""
    keys = [
        *("image_size", "resize_mode", "batch_size", "balance"),
        *("val_by", "val_fraction", "test_fraction", "allow_leaks"),
        *(["split_by"] if data.leave_out is None else []),
    ]
    given, default = to_plain(data), to_plain(DataConfig())
    return [f"data.{key}={given[key]}" for key in keys if given[key] != default[key]]


def _require_both_labels(table: pd.DataFrame, what: str) -> None:
    counts = [int((table["label"] == label).sum()) for label in CLASSES]
    found = ", ".join(f"{count(number)} {label}" for number, label in zip(counts, CLASSES, strict=True))
    require(min(counts) > 0, f"{what}: both labels are needed, and there are {found}.")


def _require_left(table: pd.DataFrame, images: int, seen: Seen, name: str, run: Run) -> None:
    left = [label for label in CLASSES if (table["label"] == label).any()]
    if len(left) < len(CLASSES):
        what = f"only {left[0]} images are left" if left else "none is left"
        raise NothingLeftError(
            f"{run.folder.name} cannot be tested on {name}: of its {plural(images, 'labelled image')} {what}, without "
            f"what the run was trained on ({seen.sentence()})."
        )
