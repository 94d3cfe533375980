import json
from typing import Any

import numpy as np
import pandas as pd
import pytest
from helpers.scanning import manifest_rows

from gender_cls.data.baselines import trivial_baselines
from gender_cls.data.near_duplicates import find_near_duplicates

NAMES = ["majority", "camera", "source", "identity", "size", "colour", "near_duplicate"]


def table_of(rows: list[str]) -> pd.DataFrame:
    return manifest_rows("split label identity camera", rows).assign(source="")


def facts_of(table: pd.DataFrame) -> pd.DataFrame:
    """The same for every image."""
    same = {"fault": "", "width": 50, "height": 100, "red": 90.0, "green": 90.0, "blue": 90.0}
    return pd.DataFrame([same] * len(table))


def baselines(
    table: pd.DataFrame, facts: pd.DataFrame | None = None, twins: dict[int, int] | None = None
) -> dict[str, dict[str, Any]]:
    """By name. `twins`: row -> another row; their hashes differ in one bit, those of others in about half."""
    hashes = np.random.default_rng(0).integers(1, 2**64, len(table), dtype=np.uint64)
    for row, twin in (twins or {}).items():
        hashes[row] = hashes[twin] ^ np.uint64(1 << row)
    near = find_near_duplicates(hashes, 4)
    result = trivial_baselines(table, facts_of(table) if facts is None else facts, near)
    assert [baseline["name"] for baseline in result] == NAMES
    assert json.loads(json.dumps(result)) == result
    return {baseline.pop("name"): baseline for baseline in result}


TRAIN = ["F ann c1", "M bob c1", "M bob c1", "F eve c2", "M cid c2", "M cid c2", "M cid c2", "M cid c3"]
TEST = ["F ann c1", "F fay c2", "F gil -", "M bob c1", "M hal c2", "M ivo c9", "M jim c3"]
ROWS = [*(f"train {row}" for row in TRAIN), *(f"test {row}" for row in TEST), "val F ann c9"]


@pytest.mark.parametrize(
    ("name", "score", "answered"),
    [
        ("majority", 0.5, 1),
        # FEMALE images of train: 1 of 2 on c1, 1 on c2. MALE ones: 2 of 6 on c1, 3 on c2, 1 on c3. So c1 answers FEMALE
        # although most of its images are MALE; c2 is even and answers the most frequent label, MALE, as c3 does. Of the
        # FEMALE test images c1 is right, c2 and the unknown one are wrong; of the MALE ones c1 is wrong, c2, c9 (not in
        # train) and c3 are right.
        ("camera", (1 / 3 + 3 / 4) / 2, 5 / 7),
        ("identity", (1 / 3 + 1) / 2, 2 / 7),  # ann and bob right, the others MALE
        # 8 (F) finds ann in train, 9 (F) is like bob, 12 (M) like eve, 13 (M) like a val image, which does not count
        ("near_duplicate", (1 / 3 + 3 / 4) / 2, 3 / 7),
    ],
)
def test_answers_that_are_looked_up_in_train(name: str, score: float, answered: float) -> None:
    found = baselines(table_of(ROWS), twins={8: 0, 9: 1, 12: 3, 13: 15})[name]
    assert (found["balanced_accuracy"], found["answered"]) == pytest.approx((score, answered))
    assert found["remark"] is None


def test_size_and_colour_are_learnt_by_balanced_regression() -> None:
    rng = np.random.default_rng(0)
    labels = np.array(["FEMALE"] * 30 + ["MALE"] * 300)
    table = table_of([f"{split} {label[0]} - -" for split in ("train", "test") for label in labels])
    facts = facts_of(table)
    female = (table["label"] == "FEMALE").to_numpy()
    facts["height"] = 100 + rng.integers(0, 11, len(facts)) - 20 * female
    facts["blue"] = rng.normal(90, 10, len(facts))  # says nothing
    facts["red"] = rng.normal(90, 10, len(facts)) + 20 * female  # 2 sd apart
    result = baselines(table, facts)
    assert result["size"]["balanced_accuracy"] == 1.0
    # Two normals 2 sd apart, cut in the middle: Phi(1) = 0.841. Unbalanced, FEMALE would hardly ever be answered.
    assert result["colour"]["balanced_accuracy"] == pytest.approx(0.841, abs=0.06)


def test_unreadable_and_unlabelled_images_do_not_count() -> None:
    table = table_of([*ROWS, "train F - c3", "test F - c3", "train U - c3", "test U - c3", "- F - c3"])
    facts = facts_of(table)
    facts.loc[[len(ROWS), len(ROWS) + 1]] = ["damaged", 0, 0, np.nan, np.nan, np.nan]
    assert baselines(table, facts) == baselines(table_of(ROWS))


def test_what_cannot_be_computed_says_why() -> None:
    result = baselines(table_of(["train F ann -", "train M bob -", "test F cat -", "test M dan -"]))
    for name, numbers in (("camera", (None, None)), ("source", (None, None)), ("identity", (0.5, 0.0))):
        assert (result[name]["balanced_accuracy"], result[name]["answered"]) == numbers
        assert (name if None in numbers else "It knows nothing") in result[name]["remark"]


@pytest.mark.parametrize(
    ("rows", "remark"),
    [
        (["train M a c", "test F b c", "test M d c"], "FEMALE image in train"),
        (["train F a c", "train M b c", "test F d c"], "MALE image in test"),
        (["train F a c", "train M b c"], "FEMALE image in test"),
    ],
)
def test_a_split_without_a_label_leaves_nothing_to_compare(rows: list[str], remark: str) -> None:
    for baseline in baselines(table_of(rows)).values():
        assert (baseline["balanced_accuracy"], baseline["answered"]) == (None, None)
        assert remark in baseline["remark"]
