"""What a run's folder records about its data before training: `manifest.csv`, `data.json`, `unreadable.csv`."""

import json
import logging
from dataclasses import asdict
from typing import Any

from gender_cls.config.data import SPLITS
from gender_cls.config.train import Config
from gender_cls.data.corrections import count_corrections
from gender_cls.data.csv_text import csv_text
from gender_cls.data.prepare import PreparedData
from gender_cls.errors import GenderClsError
from gender_cls.runs.files import write_atomically
from gender_cls.runs.run import Run

log = logging.getLogger(__name__)


def record_data(config: Config, run: Run, prepared: PreparedData) -> None:
    """Save the manifest, or refuse to resume on other data; warn about what makes the scores less reliable."""
    manifest, unreadable = prepared.manifest, prepared.unreadable
    if len(unreadable):
        write_atomically(run.unreadable, csv_text(unreadable))
        log.warning(f"Left out {len(unreadable)} unreadable images, listed in {run.unreadable}.")
    if not (manifest.table["identity"] != "").any():
        log.warning(
            "No identities are known: near duplicates and consecutive frames stay in one split, but other images of "
            "one person may not, and the scores may be too good. data.pattern or an identity column prevents that."
        )
    if prepared.leaks:
        log.warning(f"data.allow_leaks: {prepared.leaks.sentence()} The results are marked as leaky.")
    text = manifest.to_csv()
    if run.manifest.exists() and run.manifest.read_bytes() != text.encode():
        raise GenderClsError(f"The data have changed since {run.folder}/manifest.csv was written: start a new run.")
    write_atomically(run.manifest, text)
    write_atomically(run.data_file, json.dumps(_data_record(config, prepared), indent=2) + "\n")


def _data_record(config: Config, prepared: PreparedData) -> dict[str, Any]:
    """The content of `data.json`."""
    manifest = prepared.manifest
    return {
        "root": str(manifest.root),
        "manifest_sha256": manifest.fingerprint,
        "licence": config.data.licence,
        "sources": sorted(set(manifest.table["source"]) - {""}),
        "cameras": sorted(set(manifest.table["camera"]) - {""}),
        "split_origin": prepared.split_origin,
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
