import re

import numpy as np
import pandas as pd
import pytest

from gender_cls.data.leaks import find_leaks, in_several
from gender_cls.data.near_duplicates import NearDuplicates, find_near_duplicates


def table_of(
    *rows: tuple[str, str, str, str], hashes: list[int] | None = None
) -> tuple[pd.DataFrame, pd.Series, NearDuplicates]:
    """Rows of path, identity, split and pixels; without hashes, no two look alike."""
    table = pd.DataFrame(rows, columns=["path", "identity", "split", "pixels"])
    near = find_near_duplicates(np.array(hashes or [0] * len(rows), dtype=np.uint64), 2)  # 0 is no hash
    return table.drop(columns="pixels"), table["pixels"], near


LEAKY = table_of(
    ("1", "ann", "train", "p1"),
    ("2", "ann", "test", "p2"),  # a person from train
    ("3", "bob", "test", "p1"),  # an image from train
    ("4", "cid", "val", "p4"),
    ("5", "cid", "test", "p5"),  # seen in val only
    ("6", "", "test", "p6"),
    ("7", "", "train", "p7"),  # nobody is not a person
    ("8", "ann", "", "p6"),  # in no split
)


def test_people_and_copies_in_several_splits_are_counted() -> None:
    leaks = find_leaks(*LEAKY)
    assert (leaks.identities, leaks.duplicates) == (2, 2)
    assert leaks.test_share == pytest.approx(2 / 4)
    assert leaks.examples == "ann in train and test; cid in val and test; 1 = 3"
    assert leaks
    assert re.match(r"2 identities, 2 .*\(ann in train and test;.*\b50\.0% of the test images ", leaks.sentence())
    leaks = find_leaks(*table_of(("1", "ann", "train", "p1"), ("2", "ann", "train", "p1"), ("3", "bob", "test", "p3")))
    assert not leaks
    assert leaks.test_share == 0


def alike(test_images: int, first: str = "test") -> tuple[pd.DataFrame, pd.Series, NearDuplicates]:
    """Unknown people: an image of train has two near duplicates there, and one that is in `first`."""
    splits = [*["train"] * 3, first, *["test"] * (test_images - 1), "val"]
    rows = [(f"{row}.png", "", split, f"pixels {row}") for row, split in enumerate(splits)]
    far = [(row + 1) * 0x0101_0101_0101_0101 for row in range(len(rows) - 4)]
    return table_of(*rows, hashes=[0xFF00, 0xFF01, 0xFF00, 0xFF02, *far])


def test_near_duplicates_leak_too_unless_they_are_so_few_that_chance_makes_them() -> None:
    leaks = find_leaks(*alike(10))
    assert (leaks.identities, leaks.duplicates, leaks.near_duplicates) == (0, 0, 4)
    assert (leaks.near_share, leaks.test_share) == (pytest.approx(0.1), pytest.approx(0.1))
    assert leaks
    assert leaks.examples == "0.png looks like 3.png"
    assert not find_leaks(*alike(10, first="train")).near_duplicates
    assert not find_leaks(*alike(10, first="")).near_duplicates, "in no split"
    assert find_leaks(*alike(100))
    few = find_leaks(*alike(101))
    assert not few
    assert few.near_duplicates == 4
    in_val = find_leaks(*alike(10, first="val"))
    assert (in_val.near_share, in_val.test_share) == (0.5, 0.0)
    assert in_val


def test_in_several_ignores_what_is_missing() -> None:
    key = pd.Series(["a", "a", "a", "b", "b", None, None])
    value = pd.Series(["x", "y", None, "x", "x", "x", "y"])
    assert in_several(key, value).tolist() == [True, True, False, False, False, False, False]
