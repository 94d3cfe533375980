"""A `data.root` that is not quite the right folder: what is said, and where the data are."""

import logging
from pathlib import Path

import pytest
from helpers.crops import write_crops

from gender_cls.config.data import DataConfig
from gender_cls.data.manifest import read_manifest
from gender_cls.data.source import find_source
from gender_cls.errors import GenderClsError

ALIASES = {"FEMALE": ["women"], "MALE": ["m"]}


@pytest.fixture
def crops(tmp_path: Path) -> Path:
    return write_crops(tmp_path / "crops", "women/a.png", "MALE/b.png", "MALE/old/c.png")


def data(root: Path) -> DataConfig:
    return DataConfig(root=str(root), aliases=ALIASES)


@pytest.mark.parametrize("label", ["MALE", "women"])
def test_the_folder_of_one_label_names_its_parent(crops: Path, label: str) -> None:
    with pytest.raises(GenderClsError) as caught:
        find_source(data(crops / label))
    assert str(caught.value).endswith(f"data.root={crops}.")


def test_a_folder_may_be_called_like_a_label_and_hold_both(tmp_path: Path) -> None:
    for names in (("MALE/a.png", "women/b.png"), ("train/m/a.png", "train/women/b.png")):
        root = write_crops(tmp_path / names[0][:2] / "women", *names)
        assert find_source(data(root)) == (root, None)
        assert len(read_manifest(data(root)).table) == 2


def test_the_folder_above_names_the_right_one(crops: Path) -> None:
    with pytest.raises(GenderClsError, match=rf"data\.root={crops},"):
        read_manifest(data(crops.parent))


@pytest.mark.parametrize(
    ("name", "words"), [("crops.ZIP", "Unpack"), ("crops.tar.gz", "Unpack"), ("a.csv", "data.csv=/")]
)
def test_a_file_is_no_root(tmp_path: Path, name: str, words: str) -> None:
    (tmp_path / name).touch()
    with pytest.raises(GenderClsError, match=f"{name}.*{words}"):
        find_source(data(tmp_path / name))


@pytest.mark.parametrize(("part", "other"), [("train", "test"), ("Training", "Validation")])
def test_one_part_of_a_split_warns_of_the_others(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, part: str, other: str
) -> None:
    write_crops(tmp_path, *(f"{split}/{label}/{split}.png" for split in (part, other) for label in ("MALE", "women")))
    with caplog.at_level(logging.WARNING):
        assert len(read_manifest(data(tmp_path / part)).table) == 2
        assert f"data.root={tmp_path} " in caplog.text
        assert other in caplog.text
        caplog.clear()
        read_manifest(data(tmp_path))
    assert not caplog.text
