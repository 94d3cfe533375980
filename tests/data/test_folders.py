"""One walk over folders: what counts as an image, which folders are entered, and what is said about the rest."""

import os
import shutil
import unicodedata
from pathlib import Path

import pytest
from helpers.crops import write_crop, write_crops

from gender_cls.config.data import DataConfig
from gender_cls.data import folders
from gender_cls.data.folders import count_left_out, left_out_sentence
from gender_cls.data.manifest import Manifest, read_manifest
from gender_cls.errors import GenderClsError

IMAGES = {"FEMALE/b.png", "MALE/a.png"}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_crops(tmp_path / "crops", *sorted(IMAGES))


def read(root: Path) -> Manifest:
    return read_manifest(DataConfig(root=str(root), aliases={"FEMALE": ["women"], "MALE": ["m"]}))


def labels_of(root: Path) -> dict[str, str]:
    table = read(root).table
    return dict(zip(table["path"], table["label"], strict=True))


def left_out_of(root: Path) -> dict[str, list[str]]:
    return {kind: list(paths) for kind, paths in read(root).left_out.items() if paths}


@pytest.mark.parametrize("name", ["x.jfif", "x.jpe", "x.jpg ", "x", "x.JPEG", "x.0001", "x.webp~"])
def test_an_image_is_known_by_suffix_or_content(root: Path, name: str) -> None:
    write_crop(root / "x.jpg", 5)
    (root / "x.jpg").rename(root / "FEMALE" / name)
    assert labels_of(root)[f"FEMALE/{name}"] == "FEMALE"


def test_a_picture_of_a_format_that_is_not_read_is_no_silent_loss(root: Path) -> None:
    (root / "FEMALE" / "x.heic").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(50))
    (root / "FEMALE" / "y").write_bytes((root / "FEMALE" / "x.heic").read_bytes())
    assert {"FEMALE/x.heic", "FEMALE/y"} <= set(labels_of(root)), "reading them says what is wrong"


def test_what_is_left_out_is_listed_by_kind(root: Path) -> None:
    write_crops(root, "c.png", "MALE/.ipynb_checkpoints/d.png", "MALE/._a.png", ".git/x/e.png")
    write_crops(root, "MALE/@eaDir/a.png/SYNOPHOTO_THUMB_M.png", "#recycle/f.png", "FEMALE/__MACOSX/g.png")
    for name in ("Thumbs.db", "notes.txt", "labels.dat", ".DS_Store", "@eaDir/info.db"):
        (root / "MALE" / name).write_bytes(b"x")
    os.mkfifo(root / "MALE" / "pipe.png")
    os.link(root / "MALE" / "a.png", root / "MALE" / "z.png")
    manifest = read(root)
    assert set(manifest.table["path"]) == IMAGES
    assert left_out_of(root) == {
        "without_label": ["c.png"],
        "hidden": [".git/x/e.png", "MALE/._a.png", "MALE/.ipynb_checkpoints/d.png"],
        "system": ["#recycle/f.png", "FEMALE/__MACOSX/g.png", "MALE/@eaDir/a.png/SYNOPHOTO_THUMB_M.png"],
        "again": ["MALE/z.png"],
        "special": ["MALE/pipe.png"],
        "other": ["MALE/Thumbs.db", "MALE/labels.dat", "MALE/notes.txt"],
    }
    assert "3 hidden images (.git/x/e.png, " in left_out_sentence(manifest.left_out)
    assert count_left_out(manifest.left_out)["without_label"] == {"files": 1, "examples": ["c.png"]}


def test_loose_images_of_a_split_are_left_out_too(tmp_path: Path) -> None:
    write_crops(tmp_path, *(f"{split}/{path}" for split in ("train", "test") for path in IMAGES), "train/c.png")
    assert left_out_of(tmp_path) == {"without_label": ["train/c.png"]}


@pytest.mark.parametrize("target", ["..", ".", "../..", "/", "../MALE"])
def test_links_to_a_folder_around_them_add_nothing(root: Path, target: str) -> None:
    (root / "MALE" / "first").symlink_to(target)
    (root / "MALE" / "second").symlink_to(target)
    assert set(labels_of(root)) == IMAGES
    assert left_out_of(root) == {"again": ["MALE/first", "MALE/second"]}


def test_links_add_what_no_folder_holds_once(root: Path, tmp_path: Path) -> None:
    pool = write_crops(tmp_path / "pool", "new/c.png", "d.png")
    (root / "MALE" / "link").symlink_to(pool)
    (root / "MALE" / "again").symlink_to(pool / "new")
    (root / "MALE" / "d.png").symlink_to(pool / "d.png")
    (root / "MALE" / "loop").symlink_to("loop")
    (root / "MALE" / "gone.png").symlink_to("nowhere.png")
    found = labels_of(root)
    assert set(found) == {*IMAGES, "MALE/again/c.png", "MALE/link/d.png", "MALE/gone.png"}, "reading says what is gone"
    assert set(found.values()) == {"MALE", "FEMALE"}


@pytest.mark.parametrize("make", [os.link, lambda source, link: os.symlink(source, link)], ids=["hard", "symbolic"])
def test_a_file_with_two_labels_is_refused(root: Path, make) -> None:  # type: ignore[no-untyped-def]
    make(root / "MALE" / "a.png", root / "FEMALE" / "x.png")
    with pytest.raises(GenderClsError, match=r"MALE/a\.png \(MALE\)") as caught:
        read(root)
    assert "FEMALE/x.png (FEMALE)" in str(caught.value)


def test_a_folder_with_two_labels_is_refused(root: Path) -> None:
    (root / "FEMALE" / "link").symlink_to("../MALE")
    with pytest.raises(GenderClsError, match=r"FEMALE/link/a\.png \(FEMALE\) and MALE/a\.png \(MALE\)"):
        read(root)
    (root / "MALE" / "a.png").rename(root / "MALE" / "notes.txt")
    with pytest.raises(GenderClsError, match="one class only"):
        read(root)


def test_a_file_in_two_splits_is_refused(tmp_path: Path) -> None:
    write_crops(tmp_path, *(f"{split}/{path}" for split in ("train", "test") for path in IMAGES))
    os.link(tmp_path / "train/MALE/a.png", tmp_path / "test/MALE/x.png")
    with pytest.raises(GenderClsError, match=r"test/MALE/x\.png \(test\) and train/MALE/a\.png \(train\)"):
        read(tmp_path)


def test_names_that_differ_in_the_form_of_a_letter_are_one_image_if_the_bytes_are_the_same(root: Path) -> None:
    composed, decomposed = (unicodedata.normalize(form, "é.png") for form in ("NFC", "NFD"))
    write_crop(root / "MALE" / composed, 7)
    if (root / "MALE" / decomposed).exists():
        pytest.skip("this file system takes them for one name")
    shutil.copy(root / "MALE" / composed, root / "MALE" / decomposed)
    assert len(labels_of(root)) == 3
    write_crop(root / "MALE" / decomposed, 8)
    assert len(labels_of(root)) == 4


def test_a_folder_that_may_not_be_read_is_an_error(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (root / "MALE" / "locked").mkdir()
    (root / "MALE" / "lost+found").mkdir()
    allowed = os.scandir

    def scandir(path: str | Path) -> object:  # the tests may run as root, who may read everything
        if str(path).endswith(("locked", "lost+found")):
            raise PermissionError(13, "Permission denied", str(path))
        return allowed(path)

    monkeypatch.setattr(folders.os, "scandir", scandir)
    with pytest.raises(GenderClsError, match=r"MALE/locked cannot be read \(Permission denied\)"):
        read(root)


def test_files_of_known_suffixes_are_not_opened(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (root / "MALE" / "a.txt").write_text("a caption")
    monkeypatch.setattr(folders, "is_picture", lambda path: pytest.fail(f"{path} was opened"))
    assert set(labels_of(root)) == IMAGES
