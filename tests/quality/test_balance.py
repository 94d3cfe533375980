import json
from typing import Any

import pytest
from helpers.scanning import manifest_rows

from gender_cls.quality.balance import balance


def balance_of(rows: list[str]) -> dict[str, Any]:
    result = balance(manifest_rows("label identity camera source split", rows))
    assert json.loads(json.dumps(result)) == result
    return result


ROWS = [
    "F ann c1 s1 train",
    "F ann c1 s1 train",
    "F ann c2 s1 test",
    "M bob c2 s1 train",
    "M bob c2 s1 train",
    "U bob c3 s1 -",
    "M cid c3 s2 val",
    "M dan c3 - test",
    "F dan c4 - test",
    "M -   -  - train",
]


def test_labels_by_split_camera_and_source() -> None:
    result = balance_of(ROWS)
    assert result["label_by_split"] == [
        {"split": "train", "FEMALE": 2, "MALE": 3, "unknown": 0},
        {"split": "val", "FEMALE": 0, "MALE": 1, "unknown": 0},
        {"split": "test", "FEMALE": 2, "MALE": 1, "unknown": 0},
        {"split": "", "FEMALE": 0, "MALE": 0, "unknown": 1},
    ]
    assert result["label_by_camera"] == [  # most images first, then by name; without the image of no camera
        {"camera": "c2", "FEMALE": 1, "MALE": 2, "unknown": 0},
        {"camera": "c3", "FEMALE": 0, "MALE": 2, "unknown": 1},
        {"camera": "c1", "FEMALE": 2, "MALE": 0, "unknown": 0},
        {"camera": "c4", "FEMALE": 1, "MALE": 0, "unknown": 0},
    ]
    assert result["label_by_source"] == [
        {"source": "s1", "FEMALE": 3, "MALE": 2, "unknown": 1},
        {"source": "s2", "FEMALE": 0, "MALE": 1, "unknown": 0},
    ]


def test_cameras_that_hold_one_label() -> None:
    groups = balance_of(ROWS)["single_label_groups"]
    assert groups == [  # c4 and s2 have one image each; the unknown one of c3 does not count
        {"column": "camera", "value": "c3", "label": "MALE", "images": 2},
        {"column": "camera", "value": "c1", "label": "FEMALE", "images": 2},
    ]


def test_people_and_their_images() -> None:
    result = balance_of(ROWS)
    assert result["identities_by_label"] == {"FEMALE": 2, "MALE": 3, "unknown": 1}  # dan and bob carry two each
    expected = {"identities": 4, "images": 9, "mean": 2.25, "median": 2.5, "max": 3}  # ann 3, bob 3, cid 1, dan 2
    expected["effective_sample_size"] = pytest.approx(81 / (9 + 9 + 1 + 4))
    assert result["images_per_identity"] == expected
    by_split = {row.pop("split"): row for row in result["images_per_identity_by_split"]}
    assert list(by_split) == ["train", "val", "test", ""]
    assert list(by_split["train"].values()) == [2, 4, 2.0, 2.0, 2, 2.0]  # ann and bob, equally often
    assert by_split["test"]["effective_sample_size"] == pytest.approx(9 / (1 + 4))


def test_histogram_of_images_per_person() -> None:
    counts = {"a": 1, "b": 1, "c": 4, "d": 5, "e": 9, "f": 10, "g": 49, "h": 50, "i": 120}
    rows = [f"F {name} - - -" for name, count in counts.items() for _ in range(count)]
    histogram = {row["bin"]: row["identities"] for row in balance_of(rows)["histogram"]}
    assert histogram == {"1": 2, "2": 0, "3": 0, "4": 1, "5-9": 2, "10-19": 1, "20-49": 1, "50+": 2}


def test_what_is_not_known_is_empty() -> None:
    result = balance_of(["F - - - train", "M - - - test"])
    assert result["label_by_camera"] == result["label_by_source"] == result["single_label_groups"] == []
    assert result["images_per_identity"] is None
    assert result["images_per_identity_by_split"] == result["histogram"] == []
