import hashlib
import os
import re
import sys
from pathlib import Path

import pandas as pd
import pytest
from helpers.crops import PATTERN, write_crops

from gender_cls.config.data import SPLITS, DataConfig, SplitBy
from gender_cls.data.manifest import Manifest, read_manifest
from gender_cls.errors import GenderClsError

ALIASES = {"FEMALE": ["f", "women"], "MALE": ["m"]}


def read(root: Path | None = None, **changes: object) -> Manifest:
    settings = {"root": None if root is None else str(root), "aliases": ALIASES, **changes}
    return read_manifest(DataConfig(**settings))


def test_folders_become_a_sorted_table_with_identity_and_camera(folders: Path) -> None:
    table = read(folders, pattern=PATTERN).table
    assert list(table.columns) == ["path", "label", "identity", "camera", "source", "split"]
    assert tuple(table.iloc[0]) == ("FEMALE/person00_camera0_0.png", "FEMALE", "person00", "camera0", "", "")
    assert (len(table), table["identity"].nunique(), table["path"].is_monotonic_increasing) == (48, 16, True)


def test_names_match_in_any_case_and_depth_and_hidden_ones_are_ignored(tmp_path: Path) -> None:
    hidden = ["m/.hidden.png", "m/.thumbs/c.png", ".ipynb_checkpoints/d.png"]
    write_crops(tmp_path, "Women/cam1/night/a.PNG", "m/b.bmp", *hidden)
    (tmp_path / "m" / "Thumbs.db").write_bytes(b"x")
    table = read(tmp_path).table
    assert table[["path", "label"]].to_numpy().tolist() == [["Women/cam1/night/a.PNG", "FEMALE"], ["m/b.bmp", "MALE"]]


def test_given_splits_are_read_from_folders(tmp_path: Path) -> None:
    names = {"Train": "train", "test": "test", "valid": "val"}
    paths = [f"{folder}/{label}/x.png" for folder in names for label in ("FEMALE", "male")]
    table = read(write_crops(tmp_path, *paths)).table
    assert table["path"].tolist() == paths
    assert table["split"].tolist() == [split for split in names.values() for _ in range(2)]


def test_splits_may_lie_below_the_labels(tmp_path: Path) -> None:
    paths = [f"{label}/{split}/x.png" for label in ("FEMALE", "male") for split in ("Train", "test", "valid")]
    table = read(write_crops(tmp_path, *paths, "male/valid/women_shoes/y.png")).table
    assert table["split"].tolist() == ["train", "test", "val"] * 2 + ["val"]


def test_csv_keeps_further_columns_as_they_stand(tmp_path: Path) -> None:
    csv = write_crops(tmp_path, "pictures/a.png", "pictures/b.png") / "list.csv"
    csv.write_text("path,label,view,identity\npictures/b.png,m,007,Na\npictures/a.png,Female,NA,p1\n")
    table = read(csv=str(csv)).table
    unknown = {"camera": "", "source": "", "split": ""}
    assert table.to_dict("records") == [
        {"path": "pictures/a.png", "label": "FEMALE", "identity": "p1", **unknown, "view": "NA"},
        {"path": "pictures/b.png", "label": "MALE", "identity": "Na", **unknown, "view": "007"},
    ]


def test_fingerprint_is_the_sha256_of_the_file_and_follows_the_content(folders: Path, tmp_path: Path) -> None:
    manifest = read(folders)
    file = tmp_path / "manifest.csv"
    file.write_text(manifest.to_csv())
    assert manifest.fingerprint == hashlib.sha256(file.read_bytes()).hexdigest() == read(folders).fingerprint
    (folders / "MALE" / "person08_camera0_0.png").unlink()
    assert read(folders).fingerprint != manifest.fingerprint
    assert pd.read_csv(file, dtype=str, keep_default_na=False).equals(manifest.table)


def test_limit_keeps_the_shares_of_the_labels(folders: Path) -> None:
    write_crops(folders, *(f"MALE/person99_camera0_{number}.png" for number in range(48)))
    table = read(folders, limit=16).table  # 24 FEMALE and 72 MALE: one in four
    assert table["label"].value_counts().to_dict() == {"MALE": 12, "FEMALE": 4}
    assert read(folders, limit=16).table.equals(table)
    assert len(read(folders, limit=1000).table) == 96


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"root": "/nowhere"}, r"data\.root .*/nowhere"),
        ({"root": "/nowhere/demo_data"}, r"python -m gender_cls\.demo"),
        ({"csv": "/nowhere.csv"}, r"data\.csv .*/nowhere\.csv"),
        ({"pattern": "(?P<identity>nobody)"}, r"data\.pattern .*48 of 48 .*FEMALE/person00_camera0_0\.png"),
        ({"pattern": "(?P<label>person)"}, r"data\.pattern .*'label'"),
    ],
)
def test_errors_name_the_key(folders: Path, changes: dict[str, str], message: str) -> None:
    with pytest.raises(GenderClsError, match=message):
        read(**{"root": folders, **changes})


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (["MALE/a.png"], r"among 1 image none is FEMALE .*: FEMALE, f, women\)"),
        ([], "FEMALE and MALE"),
        (["MALE/a.png", "FEMALE/a.png", "unsure/a.png"], "unsure"),
        (["train/MALE/a.png", "FEMALE/a.png"], "/FEMALE .*train, val and test"),
        (["MALE/a.png", "MALE/night/women/b.png"], "MALE/night/women .*labels, MALE and FEMALE"),
        (["train/MALE/a.png", "train/MALE/val/b.png"], "train/MALE/val .*splits, train and val"),
        (["MALE/train/a.png", "FEMALE/b.png"], "gives a split for some images .*FEMALE/b.png"),
        (["crops/MALE/a.png"], "/crops .* not a label"),
    ],
    ids=["one class", "empty", "no label", "next to splits", "two labels", "two splits", "half a split", "too high"],
)
def test_wrong_folders_are_refused(tmp_path: Path, images: list[str], message: str) -> None:
    with pytest.raises(GenderClsError, match=message):
        read(write_crops(tmp_path, *images))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,label\na.png,MALE\n", "has no column 'path'"),
        ("path,label\na.png,child\n", r"data\.aliases: child"),
        ("path,label\na.png,MALE\nzz.png,FEMALE\n", r" 1 file .*: zz\.png"),
        ("path,label\na.png,MALE\na.png,FEMALE\n", r"a\.png \(MALE\) and a\.png \(FEMALE\) .*list\.csv"),
        ("path,label,split\na.png,MALE,holdout\n", "train, val and test: holdout"),
        ("path,label,split\na.png,MALE,train\nb.png,FEMALE,\n", r"split for some .* b\.png"),
        ("path,label\n", "There are no images in"),
        ('path,label\n"a.png,MALE\n', "cannot be read as CSV"),
    ],
)
def test_wrong_csv_files_are_refused(tmp_path: Path, text: str, message: str) -> None:
    csv = write_crops(tmp_path, "a.png", "b.png") / "list.csv"
    csv.write_text(text)
    with pytest.raises(GenderClsError, match=message):
        read(csv=str(csv))


def test_what_the_annotators_left_open_stays_in_the_table(tmp_path: Path) -> None:
    root = write_crops(tmp_path, "FEMALE/a.png", "MALE/b.png", "Unknown/c.png")
    assert read(root).table["label"].tolist() == ["FEMALE", "MALE", "unknown"]
    csv = root / "list.csv"
    csv.write_text("path,label,split\nFEMALE/a.png,f,train\nMALE/b.png,m,test\nUnknown/c.png,UNKNOWN,\n")
    assert read(csv=str(csv)).table["label"].tolist() == ["FEMALE", "MALE", "unknown"]


def test_corrections_reach_the_table(tmp_path: Path) -> None:
    root, file = write_crops(tmp_path, "FEMALE/a.png", "FEMALE/b.png", "MALE/c.png"), tmp_path / "suspects.csv"
    file.write_text("path,label,corrected_label\nFEMALE/b.png,FEMALE,MALE\n")
    table = read(root, corrections=str(file)).table
    assert table["label"].tolist() == ["FEMALE", "MALE", "MALE"]
    assert table["original_label"].tolist() == ["", "FEMALE", ""]


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"folds": 3}, "data.folds"),
        ({"split_by": SplitBy.camera}, "data.split_by=camera"),
        ({"split_by": SplitBy.camera, "leave_out": "c1"}, "data.leave_out"),
        ({"val_by": SplitBy.source}, "data.val_by=source"),
    ],
)
def test_a_given_split_leaves_no_room_for_another(tmp_path: Path, changes: dict[str, object], key: str) -> None:
    write_crops(tmp_path, *(f"{split}/{label}/a.png" for split in SPLITS for label in ("FEMALE", "MALE")))
    with pytest.raises(GenderClsError, match=key):
        read(tmp_path, **changes)


NOT_UTF8 = pytest.param(b"caf\xe9.png", marks=pytest.mark.skipif(sys.platform == "darwin", reason="cannot be made"))


@pytest.mark.parametrize("name", [b"a\rb.png", b"a\nb.png", b"a\x1b[2Jb.png", NOT_UTF8])
def test_a_name_that_tables_cannot_keep_is_refused_and_shown(tmp_path: Path, name: bytes) -> None:
    write_crops(tmp_path, "MALE/a.png", "FEMALE/b.png")
    (tmp_path / "MALE" / "a.png").rename(tmp_path / "MALE" / os.fsdecode(name))
    shown = name.decode("latin-1").encode("unicode_escape").decode()
    with pytest.raises(GenderClsError, match=re.escape(f"MALE/{shown}")):
        read(tmp_path)


def test_rows_of_one_file_become_one_row(tmp_path: Path) -> None:
    csv = write_crops(tmp_path, "a.png", "b.png") / "list.csv"
    os.link(tmp_path / "a.png", tmp_path / "c.png")
    csv.write_text("path,label\na.png,m\nb.png,f\nc.png,m\na.png,m\n")
    manifest = read(csv=str(csv))
    assert manifest.table["path"].tolist() == ["a.png", "b.png"]
    assert manifest.left_out["again"] == ["a.png", "c.png"]
    csv.write_text("path,label,identity\na.png,m,p1\nb.png,f,p2\nc.png,m,p3\n")
    with pytest.raises(GenderClsError, match=r"a\.png \(p1\) and c\.png \(p3\) .* identity"):
        read(csv=str(csv))
