"""What a run's folder records about its data before training: `manifest.csv`, `data.json`, `unreadable.csv`."""

import json
import logging
from dataclasses import asdict, replace
from typing import Any

import pandas as pd

from gender_cls import __version__
from gender_cls.config.data import CLASSES, SPLITS, SplitBy
from gender_cls.config.train import Config
from gender_cls.data.corrections import count_corrections
from gender_cls.data.csv_text import csv_text, read_csv_text
from gender_cls.data.folders import count_left_out, left_out_sentence
from gender_cls.data.groups import one_person_sentence
from gender_cls.data.manifest import Manifest
from gender_cls.data.people import few_images_sentence, many_images_sentence
from gender_cls.data.prepare import PreparedData
from gender_cls.data.run_images import require_same_pixels
from gender_cls.data.split import missing_splits_sentence
from gender_cls.errors import GenderClsError, count, first_few, of_people, one_line, plural, visible
from gender_cls.runs.files import write_atomically
from gender_cls.runs.run import Run

log = logging.getLogger(__name__)


def record_data(config: Config, run: Run, prepared: PreparedData) -> None:
    """Save the manifest, or refuse to resume on other data; warn about what makes the scores less reliable."""
    manifest, unreadable = prepared.manifest, prepared.unreadable
    for line in data_lines(manifest):
        log.info(line)
    if config.data.val_by in (SplitBy.camera, SplitBy.source):
        column = config.data.val_by.value
        names = sorted(set(manifest.table[column][manifest.table["split"] == "val"]))
        log.info(f"Validation is {plural(len(names), column)} of which no image is trained on: {first_few(names, 12)}.")
    if sentence := left_out_sentence(manifest.left_out):
        log.warning(sentence)
    if len(unreadable):
        write_atomically(run.unreadable, csv_text(unreadable))
        log.warning(f"Left out {plural(len(unreadable), 'unreadable image')}, listed in {run.unreadable}.")
    if not (manifest.table["identity"] != "").any():
        log.warning(
            "No identities are known: near duplicates and consecutive frames stay in one split, but other images of "
            "one person may not, and the scores may be too good. data.pattern or an identity column prevents that."
        )
    if prepared.missing_splits:
        log.warning(missing_splits_sentence(prepared.missing_splits))
    for doubt in (one_person_sentence, many_images_sentence, few_images_sentence):
        if words := doubt(manifest.table):
            log.warning(words)
    if prepared.leaks:
        log.warning(f"data.allow_leaks: {prepared.leaks.sentence()} The results are marked as leaky.")
    elif prepared.leaks.near_duplicates:
        log.warning(f"{prepared.leaks.sentence()} They may be alike by chance; look at them with gender_cls.audit.")
    if run.manifest.exists() and run.has_weights:
        _require_same(run, manifest)
    write_atomically(run.manifest, manifest.to_csv())
    write_atomically(run.data_file, json.dumps(_data_record(config, prepared), indent=2) + "\n")


def data_lines(manifest: Manifest) -> list[str]:
    """What was found, in plain words: where, and how many images, people and labels are in each split."""
    table = manifest.table
    lines = [f"Data: {_counted(table)} in {manifest.root}"]
    for split in SPLITS:
        rows = table[table["split"] == split]
        labels = ", ".join(f"{count((rows['label'] == label).sum())} {label}" for label in CLASSES)
        lines.append(f"  {split:5}  {_counted(rows)}: {labels}")
    return lines


def _counted(table: pd.DataFrame) -> str:
    return of_people(len(table), "image", table["identity"][table["identity"] != ""].nunique())


def _require_same(run: Run, manifest: Manifest) -> None:
    """Raise GenderClsError, which says what differs, if this is not the run's manifest.

    Earlier versions wrote it without the last columns. Settings are the same: see `refuse_other_settings`.
    """
    then, table = run.manifest.read_bytes(), manifest.table
    for lacking in ([], ["perceptual_hash"], ["perceptual_hash", "pixels"]):
        without = table.drop(columns=lacking, errors="ignore")
        if then == replace(manifest, table=without).to_csv().encode():
            return
    try:
        before = read_csv_text(run.manifest)
    except ValueError as error:  # pandas' parser errors are ValueErrors
        raise GenderClsError(f"{run.manifest} cannot be read ({one_line(error)}): start a new run.") from None
    if "path" in before and before["path"].equals(table["path"]):
        require_same_pixels(before, table["pixels"], "", "Restore them, or start a new run.")
    if changes := _changes(before, table):
        raise GenderClsError(
            f"The data have changed since {run.manifest} was written: {changes}. Restore them, or start a new run."
        )
    version = run.status.get("environment", {}).get("gender_cls", "an earlier version")
    raise GenderClsError(
        f"The images and labels are those of {run.manifest}, but gender_cls {__version__} groups and splits them in "
        f"another way than the run began with ({version}): go on with that version, or start a new run."
    )


COMPUTED = ("split", "group", "width", "height", "pixels", "perceptual_hash")
"""Columns of a manifest that follow from the others, from the files and from how this version works."""


def _changes(before: pd.DataFrame, now: pd.DataFrame) -> str:
    """In which images, and in which of the columns that come with the data, two manifests differ; empty if in none."""
    if "path" not in before:
        return "it has no paths"
    then, today = (table.set_index("path") for table in (before, now))
    parts = []
    for names, what in ((today.index.difference(then.index), "new"), (then.index.difference(today.index), "gone")):
        if len(names):
            parts.append(f"{plural(len(names), 'image is', 'images are')} {what} ({first_few(names)})")
    both = then.index.intersection(today.index)
    for column in [one for one in today.columns.union(then.columns, sort=False) if one not in COMPUTED]:
        old, new = (table[column] if column in table else pd.Series("", table.index) for table in (then, today))
        other = both[(old.reindex(both) != new.reindex(both)).to_numpy()]
        if len(other):
            first = f"{visible(other[0])}: {visible(old[other[0]])}, now {visible(new[other[0]])}"
            parts.append(f"the {column} of {plural(len(other), 'image')} differs ({first})")
    return "; ".join(parts)


def _data_record(config: Config, prepared: PreparedData) -> dict[str, Any]:
    """The content of `data.json`."""
    manifest = prepared.manifest
    return {
        "root": str(manifest.root),
        "manifest_sha256": manifest.fingerprint,
        "licence": config.data.licence,
        "left_out": count_left_out(manifest.left_out),
        "sources": sorted(set(manifest.table["source"]) - {""}),
        "cameras": sorted(set(manifest.table["camera"]) - {""}),
        "split_origin": prepared.split_origin,
        "missing_splits": prepared.missing_splits,  # taken from train
        "leaky": bool(prepared.leaks),
        "leaks": asdict(prepared.leaks),
        "corrected_labels": count_corrections(manifest.table),
        **{
            split: {
                "images": len(table),
                "identities": int(table["identity"][table["identity"] != ""].nunique()),
                **table["label"].value_counts().sort_index().to_dict(),
            }
            for split, table in ((split, manifest.table[manifest.table["split"] == split]) for split in SPLITS)
        },
        "baselines": prepared.baselines,
    }
