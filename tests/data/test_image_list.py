"""`data.csv` as users have it: headers, labels, splits and paths in other spellings than the manifest's."""

import unicodedata
from pathlib import Path

import pytest
from helpers.crops import write_crops

from gender_cls.config.data import DataConfig
from gender_cls.data.csv_text import csv_text
from gender_cls.data.manifest import Manifest, read_manifest
from gender_cls.errors import GenderClsError

IMAGES = ["pictures/a.png", "pictures/b.png"]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_crops(tmp_path / "data", *IMAGES)


def read(folder: Path, text: str, file: str = "list.csv", data_root: Path | None = None) -> Manifest:
    (folder / file).write_text(text)
    aliases, root = {"FEMALE": ["Woman"], "MALE": ["m"]}, None if data_root is None else str(data_root)
    return read_manifest(DataConfig(csv=str(folder / file), root=root, aliases=aliases))


@pytest.mark.parametrize(
    "text",
    [
        "Path,Label,Split,Identity\npictures/a.png,m,train,p1\npictures/b.png,woman,val,p2\n",
        "path, label, split , identity\npictures/a.png, M , Training , p1\npictures/b.png,WOMAN,val\u200b,\xa0p2\n",
    ],
)
def test_headers_labels_and_splits_match_in_any_capitals_and_with_blanks(root: Path, text: str) -> None:
    table = read(root, text).table
    assert table[["path", "label", "split", "identity"]].to_numpy().tolist() == [
        [IMAGES[0], "MALE", "train", "p1"],
        [IMAGES[1], "FEMALE", "val", "p2"],
    ]
    assert list(table.columns) == ["path", "label", "identity", "camera", "source", "split"]


def test_trainval_is_train_where_it_is_not_ambiguous(root: Path) -> None:
    text = "path,label,split\npictures/a.png,m,trainval\npictures/b.png,woman,test\n"
    assert read(root, text).table["split"].tolist() == ["train", "test"]
    with pytest.raises(GenderClsError, match="trainval next to train:"):
        read(root, text.replace("test", "train"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("path,label\npictures/a.png,m\npictures/b.png,wo\u200bman\n", r"data\.aliases: wo\\u200bman"),
        ("path,label\npictures/a.png,m\npictures/b.png,\n", r"data\.aliases: ''"),
        ("path,label,split\npictures/a.png,m,tr\xa0ain\npictures/b.png,woman,test\n", r"test: tr\\xa0ain"),
    ],
)
def test_values_that_do_not_match_are_shown_with_what_cannot_be_seen(root: Path, text: str, message: str) -> None:
    with pytest.raises(GenderClsError, match=message):
        read(root, text)


@pytest.mark.parametrize(
    "path",
    [
        *("./pictures/a.png", "pictures//a.png", "pictures/../pictures/a.png", r"pictures\a.png", r".\pictures\a.png"),
        *(" pictures/a.png", "pictures/a.png\u200b", "{root}/pictures/a.png", "{root}/../data/pictures/a.png"),
    ],
)
def test_one_file_has_one_path_however_it_is_written(root: Path, path: str) -> None:
    path = path.format(root=root)
    assert read(root, f"path,label\n{path},m\npictures/b.png,woman\n").table["path"].tolist() == IMAGES
    assert (
        read(root, f"path,label\n{path},m\npictures/a.png,m\npictures/b.png,woman\n").table["path"].tolist() == IMAGES
    )


def test_absolute_paths_elsewhere_have_the_folder_of_all_images_as_root(root: Path, tmp_path: Path) -> None:
    (tmp_path / "tables").mkdir()
    text = f"path,label\n{root}/{IMAGES[0]},m\n{root}/pictures/c/c.png,woman\n"
    write_crops(root, "pictures/c/c.png")
    manifest = read(tmp_path / "tables", text)
    assert (manifest.root, manifest.table["path"].tolist()) == (root / "pictures", ["a.png", "c/c.png"])
    manifest = read(tmp_path / "tables", text, data_root=root / "pictures" / "c")
    assert manifest.table["path"].tolist() == ["../a.png", "c.png"]


def test_names_in_another_unicode_form_and_names_of_our_own_tables_are_found(root: Path) -> None:
    names = [unicodedata.normalize("NFD", "ü.png"), "=x.png", "\\x1b.png", "a\u200bb.png"]
    write_crops(root, *names)
    manifest = read(root, "path,label\nü.png,m\npictures/b.png,woman\n")
    assert manifest.table["path"].tolist() == ["pictures/b.png", names[0]]
    labels = ["MALE", "FEMALE", "MALE", "MALE"]
    written = csv_text(manifest.table.iloc[[0] * 4].assign(path=names, label=labels))
    assert sorted(read(root, written, "again.csv").table["path"]) == sorted(names)


@pytest.mark.parametrize(
    ("path", "hint"),
    [
        (r"C:\x\a.png", "Windows machine"),
        (r"\\server\x\a.png", "Windows machine"),
        ("https://example.org/a.png", "download"),
        ("", "without a path"),
        ("a.png", r"exists under .*/data/pictures, so set data\.root="),
        ("pictures/A.PNG", r"a\.png exists, and capitals count"),
        ("pictures", "a folder"),
        ("pictures/z.png", r"set data\.root to the folder"),
    ],
)
def test_a_file_that_is_not_found_comes_with_the_cause(root: Path, path: str, hint: str) -> None:
    text = f"path,label\n{path},m\npictures/b.png,woman\n"
    with pytest.raises(GenderClsError, match=rf"names 1 file that does not exist under .*; .*{hint}"):
        read(root / "pictures", text, data_root=root)
