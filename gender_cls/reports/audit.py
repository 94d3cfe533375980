"""One audit, from the images to `audit.html`, `audit.csv`, `audit.json`, `manifest.csv` and `suspects.csv`."""

import json
import shlex
import sys
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from gender_cls.config.audit import AuditConfig
from gender_cls.config.data import SPLITS
from gender_cls.data.baselines import trivial_baselines
from gender_cls.data.corrections import count_corrections
from gender_cls.data.csv_text import csv_text
from gender_cls.data.folders import count_left_out
from gender_cls.data.groups import one_person_sentence
from gender_cls.data.image_store import ImageStore
from gender_cls.data.leaks import Leaks, find_leaks
from gender_cls.data.manifest import Manifest, read_manifest
from gender_cls.data.near_duplicates import NearDuplicates
from gender_cls.data.prepare import with_groups
from gender_cls.data.scan import scan
from gender_cls.data.split import assign_splits, missing_splits, split_origin
from gender_cls.errors import GenderClsError, plural
from gender_cls.pages.audit_page import render_audit
from gender_cls.quality.audit_findings import audit_findings, short_table
from gender_cls.quality.balance import balance
from gender_cls.quality.duplicates import duplicate_totals, find_duplicates, find_identity_conflicts, identity_totals
from gender_cls.quality.faults import describe_faults, find_faults
from gender_cls.quality.suspects import Suspects, find_suspects
from gender_cls.runs.files import timestamp, write_atomically

MEASURED = ["width", "height", "brightness", "sharpness"]


@dataclass(frozen=True)
class Examined:
    """A dataset that has been read; `facts` and `near` have the rows of the manifest."""

    manifest: Manifest  # the readable images, each with its group and its split
    store: ImageStore  # of their pixels
    facts: pd.DataFrame
    near: NearDuplicates
    leaks: Leaks  # between the splits
    images: pd.DataFrame  # one row per image found, readable or not, one column per finding
    split_problem: str | None  # why there is no split
    split_origin: str
    missing_splits: list[str]  # taken from train


def audit_data(config: AuditConfig, folder: Path, cache: Path) -> str:
    """Write the audit's files into `folder` and return a short table of its findings.

    Args:
        cache: folder for facts and features of images that were read before.

    Raises:
        GenderClsError: there are no images, or the configuration does not fit them.
    """
    began = time.monotonic()
    examined = _examine(config, cache)
    table, root = examined.manifest.table, examined.manifest.root
    write_atomically(folder / "manifest.csv", examined.manifest.to_csv())
    suspects = find_suspects(table, examined.store, config, cache)
    images = _with_suspects(examined.images, suspects)
    totals: dict[str, Any] = {
        "title": folder.name,
        "created": timestamp(),
        "command": shlex.join(["python", "-m", "gender_cls.audit", *sys.argv[1:-1]]),  # the last is the claimed name
        "data": _data_totals(config, examined),
        "faults": {
            name: {"images": int(images[name].sum()), "description": description}
            for name, description in describe_faults(config.audit).items()
        },
        "left_out": count_left_out(examined.manifest.left_out),
        "duplicates": duplicate_totals(images, examined.near, config.data.near_duplicate_distance),
        "identities": identity_totals(images, examined.leaks),
        "balance": balance(table),
        "baselines": trivial_baselines(table, examined.facts, examined.near),
        "suspects": suspects.totals,
    }
    totals["verdict"] = [asdict(finding) for finding in audit_findings(totals)]
    totals["seconds"] = round(time.monotonic() - began, 1)
    if suspects.ranked is not None:
        write_atomically(folder / "suspects.csv", csv_text(suspects.ranked))
    write_atomically(folder / "audit.csv", csv_text(images))
    write_atomically(folder / "audit.json", json.dumps(totals, indent=2) + "\n")
    page = render_audit(totals, images, suspects.ranked, root, config.audit.thumbnails)
    write_atomically(folder / "audit.html", page)
    return short_table(totals)


def _examine(config: AuditConfig, cache: Path) -> Examined:
    """Read all images, group and split the readable ones, and find faults, duplicates and leaks."""
    data = config.data
    manifest = read_manifest(data)
    scanned = scan(manifest.table["path"].tolist(), manifest.root, cache, data)
    facts = scanned.facts
    faults = find_faults(manifest.table, facts, config.audit)
    readable = ~faults["unreadable"]
    if not readable.any():
        raise GenderClsError(
            f"None of the {plural(len(facts), 'image')} can be read. The first: {facts['reason'].iloc[0]}"
        )
    known = facts[readable].reset_index(drop=True)
    table, near = with_groups(manifest.table[readable].reset_index(drop=True), known, data)
    split_problem, origin, missing = None, split_origin(table, data), missing_splits(table)
    try:
        table = assign_splits(table, data)
    except GenderClsError as error:
        split_problem = str(error)
    findings = pd.concat([find_duplicates(table, known["pixels"], near), find_identity_conflicts(table)], axis=1)
    stated, measured = manifest.table.drop(columns=["width", "height"], errors="ignore"), facts[MEASURED].round(3)
    images = pd.concat([stated, measured, faults, facts["reason"]], axis=1)
    rows = np.flatnonzero(readable)
    images.loc[rows, "split"] = table["split"].to_numpy()
    for name, values in findings.items():
        column = np.full(len(images), -1 if name == "duplicate_cluster" else 0)
        column[rows] = values
        images[name] = column.astype(values.to_numpy().dtype)
    return Examined(
        manifest=replace(manifest, table=table),
        store=scanned.images,
        facts=known,
        near=near,
        leaks=find_leaks(table, known["pixels"], near),
        images=images,
        split_problem=split_problem,
        split_origin=origin,
        missing_splits=missing,
    )


def _with_suspects(images: pd.DataFrame, suspects: Suspects) -> pd.DataFrame:
    if suspects.ranked is None:
        return images.assign(suspect=False, suggested_label="", suspect_score=np.nan)
    ranked = suspects.ranked.set_index("path").reindex(images["path"])
    return images.assign(
        suspect=ranked["flagged"].eq(True).to_numpy(),  # False for images that were not ranked
        suggested_label=ranked["suggested_label"].fillna("").to_numpy(),
        suspect_score=ranked["score"].to_numpy(),
    )


def _data_totals(config: AuditConfig, examined: Examined) -> dict[str, Any]:
    manifest, images = examined.manifest, examined.images
    corrections = count_corrections(images)
    return {
        "root": str(manifest.root),
        "images": len(images),
        "identities": _count_known(images["identity"]),
        "cameras": _count_known(images["camera"]),
        "sources": _count_known(images["source"]),
        "labels": images["label"].value_counts().to_dict(),
        "splits": {name or "none": int((images["split"] == name).sum()) for name in (*SPLITS, "")},
        "split_origin": examined.split_origin,
        "missing_splits": examined.missing_splits,
        "leaky": bool(examined.leaks),
        "one_person": one_person_sentence(images),
        "split_by": config.data.split_by.value,
        "split_problem": examined.split_problem,
        "groups": int(manifest.table["group"].nunique()),
        "manifest_sha256": manifest.fingerprint,
        "corrections": {"file": config.data.corrections, "changed": corrections} if corrections else None,
    }


def _count_known(values: pd.Series) -> int:
    return int(values[values != ""].nunique())
