from pathlib import Path

import pandas as pd
import pytest
import torch
from helpers.crops import decode, resize, write_crop

from gender_cls.config.data import DataConfig, ResizeMode
from gender_cls.data.crops import balanced_sample, read_crops
from gender_cls.data.image_files import UnreadableError
from gender_cls.data.image_store import ImageStore


def table_of(*rows: tuple[str, str]) -> pd.DataFrame:
    """Label and group of each row; its path is its number."""
    labels, groups = zip(*rows, strict=True)
    return pd.DataFrame({"path": [str(i) for i in range(len(rows))], "label": labels, "group": groups})


def test_labels_alternate_and_nobody_comes_twice_before_everybody_came_once() -> None:
    table = table_of(*[("FEMALE", "a")] * 5, ("FEMALE", "b"), ("FEMALE", "c"), *[("MALE", "d")] * 4, ("MALE", "e"))
    sample = balanced_sample(table, 6, seed=0)
    assert sample["label"].tolist() == ["FEMALE", "MALE"] * 3
    assert sorted(sample["group"]) == ["a", "b", "c", "d", "d", "e"]
    assert balanced_sample(table, 4, seed=0).equals(sample.head(4)), "a larger sample begins with the smaller one"
    assert balanced_sample(table.sample(frac=1, random_state=1).sort_index(), 6, seed=0).equals(sample)

    few = balanced_sample(table_of(("FEMALE", "a"), *[("MALE", str(i)) for i in range(4)]), 100, seed=3)
    assert sorted(few["path"]) == ["0", "1", "2", "3", "4"], "when a label runs out, the other goes on"


def test_crops_are_resized_and_say_where_the_picture_lies(tmp_path: Path) -> None:
    paths = [tmp_path / "high.png", tmp_path / "wide.png"]
    write_crop(paths[0], 0, size=(10, 40))
    write_crop(paths[1], 1, size=(40, 40))
    data = DataConfig(image_size=[64, 32], resize_mode=ResizeMode.letterbox)
    crops = read_crops(ImageStore(tmp_path).at(["high.png", "wide.png"]), data)
    expected = [resize(decode(path), (64, 32), ResizeMode.letterbox) for path in paths]
    assert torch.equal(crops.images, torch.stack(expected))
    assert crops.boxes.tolist() == [[8, 0, 24, 64], [0, 16, 32, 48]]


def test_a_missing_picture_is_named(tmp_path: Path) -> None:
    with pytest.raises(UnreadableError, match=r"Cannot read .*gone\.png: No such file or directory\."):
        read_crops(ImageStore(tmp_path).at(["gone.png"]), DataConfig(image_size=[64, 32]))
