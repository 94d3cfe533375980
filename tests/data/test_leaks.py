import re

import pandas as pd
import pytest

from gender_cls.data.leaks import find_leaks, in_several


def table_of(*rows: tuple[str, str, str, str]) -> tuple[pd.DataFrame, pd.Series]:
    """Rows of path, identity, split and pixels."""
    table = pd.DataFrame(rows, columns=["path", "identity", "split", "pixels"])
    return table.drop(columns="pixels"), table["pixels"]


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
    assert re.match(r"2 identities and 2 .*\(ann in train and test;.*\b50% of the test images ", leaks.sentence())
    leaks = find_leaks(*table_of(("1", "ann", "train", "p1"), ("2", "ann", "train", "p1"), ("3", "bob", "test", "p3")))
    assert not leaks
    assert leaks.test_share == 0


def test_in_several_ignores_what_is_missing() -> None:
    key = pd.Series(["a", "a", "a", "b", "b", None, None])
    value = pd.Series(["x", "y", None, "x", "x", "x", "y"])
    assert in_several(key, value).tolist() == [True, True, False, False, False, False, False]
