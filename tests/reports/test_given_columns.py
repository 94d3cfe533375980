"""A table whose columns are all called like the program's: nothing is overwritten, and nothing else changes."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from helpers.crops import write_crops

from gender_cls.config.audit import AuditConfig, AuditSettings
from gender_cls.config.data import DataConfig
from gender_cls.config.evaluation import EvaluationConfig
from gender_cls.data.columns import MANIFEST_COLUMNS, PROGRAM_COLUMNS, USED_COLUMNS
from gender_cls.data.csv_text import read_csv_text
from gender_cls.data.prepare import prepare_data
from gender_cls.data.variant_names import SHORTCUTS
from gender_cls.evaluation.conclusions import draw_conclusions, with_answers
from gender_cls.evaluation.explanation_schema import SCORE_COLUMNS
from gender_cls.evaluation.predictions import CONCLUDED, read_predictions
from gender_cls.evaluation.stress import variants
from gender_cls.explain.explanations_table import ANSWER
from gender_cls.quality.audit_findings import audit_findings
from gender_cls.reports.audit import audit_data
from gender_cls.reports.final_test import _predictions
from gender_cls.runs.run import Run

OTHERS = {*variants(stress=True, shortcuts=True), *SHORTCUTS, *SCORE_COLUMNS, *ANSWER, "picture", "agreement_saliency"}
"""Columns of variants.csv and explanations.csv, which the user's columns do not get into."""

NAMES = sorted((PROGRAM_COLUMNS | OTHERS) - {"corrected_label"})


class Guessing:
    """Answers FEMALE for every other image."""

    batch_size = 32

    def probabilities(self, rows: pd.DataFrame, images: object) -> np.ndarray:
        female = np.where(np.arange(len(rows)) % 2, 0.25, 0.75)
        return np.stack([female, 1 - female], axis=1)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """What an audit and the final test leave of the same images: listed `plain`, and `named` with NAMES as columns."""
    root = tmp_path_factory.mktemp("crops")
    paths = [f"{label}/{number}.png" for number in range(12) for label in ("FEMALE", "MALE")]
    write_crops(root, *paths)
    people = [path.replace(".png", "") for path in paths]
    split = np.where(np.arange(24) < 16, "train", "val")
    table = pd.DataFrame(
        {"path": paths, "label": [path.split("/")[0] for path in paths], "identity": people, "split": split}
    )
    table.to_csv(root / "plain.csv", index=False)
    table.assign(**dict.fromkeys(NAMES, "mine")).to_csv(root / "named.csv", index=False)
    found = {}
    for name in ("plain", "named"):
        found[name] = folder = root / "out" / name
        (folder / "audit").mkdir(parents=True)
        data = DataConfig(csv=str(root / f"{name}.csv"), num_workers=0)
        audit_data(AuditConfig(data=data, audit=AuditSettings(suspects=False)), folder / "audit", root / "cache")
        prepared, run = prepare_data(data, root / "cache"), Run(folder)
        run.manifest.write_text(prepared.manifest.to_csv())
        table = _predictions(run, Guessing(), root, root / "cache", data)  # type: ignore[arg-type]
        conclusions = draw_conclusions(table, pd.DataFrame({"path": []}), EvaluationConfig(resamples=20))
        with_answers(table, conclusions).to_csv(folder / "answers.csv", index=False)
    return found


@pytest.mark.parametrize("file", ["manifest.csv", "predictions.csv", "answers.csv", "audit/audit.csv"])
def test_the_programs_columns_hold_what_they_hold_without_the_users(folders: dict[str, Path], file: str) -> None:
    plain, named = (read_csv_text(folders[name] / file) for name in ("plain", "named"))
    assert named[plain.columns].equals(plain)
    mine = named.drop(columns=plain.columns)
    assert set(mine.columns) == {f"given_{name}" if name in PROGRAM_COLUMNS else name for name in NAMES}
    assert (mine == "mine").all(axis=None)


def test_every_column_that_the_program_adds_is_listed(folders: dict[str, Path]) -> None:
    tables = [read_csv_text(folders["plain"] / file) for file in ("answers.csv", "audit/audit.csv")]
    added = set(tables[0].columns) | set(tables[1].columns) | set(CONCLUDED)
    assert added - {*MANIFEST_COLUMNS, *USED_COLUMNS} <= PROGRAM_COLUMNS, "add it to PROGRAM_COLUMNS"


def test_an_audit_handed_back_as_a_table_is_one(folders: dict[str, Path]) -> None:
    audit = folders["plain"] / "audit"
    data = DataConfig(csv=str(audit / "audit.csv"), root=str(audit.parents[2]), num_workers=0)
    (audit / "again").mkdir()
    text = audit_data(
        AuditConfig(data=data, audit=AuditSettings(suspects=False)), audit / "again", audit.parents[2] / "cache"
    )
    assert "images" in text
    again = read_csv_text(audit / "again" / "audit.csv")
    assert again[["path", "height", "dark"]].equals(read_csv_text(audit / "audit.csv")[["path", "height", "dark"]])
    assert again["given_dark"].equals(again["dark"])


def test_the_audit_says_that_test_was_made_here(folders: dict[str, Path]) -> None:
    totals = json.loads((folders["plain"] / "audit" / "audit.json").read_text())
    assert totals["data"]["missing_splits"] == ["test"]
    [sentence] = [one["sentence"] for one in totals["verdict"] if "no test" in one["sentence"]]
    assert "taken from train" in sentence
    counts = read_predictions(folders["plain"] / "predictions.csv")["split"].value_counts()
    assert counts.to_dict() == {"val": 8, "test": 2}


@pytest.mark.parametrize(
    ("changes", "level", "part"),
    [
        ({"one_person": "12 of 24 images have the identity x: is that one person?"}, "warn", "is that one person?"),
        ({"leaky": True}, "stop", "0 exact copies and 0 near duplicates are in more than one split"),
    ],
)
def test_findings_about_people_and_leaks(
    folders: dict[str, Path], changes: dict[str, object], level: str, part: str
) -> None:
    totals = json.loads((folders["plain"] / "audit" / "audit.json").read_text())
    assert (totals["data"]["one_person"], totals["data"]["leaky"]) == ("", False)
    assert part not in str(totals["verdict"])
    totals["data"].update(changes)
    assert [one.level for one in audit_findings(totals) if part in one.sentence] == [level]
