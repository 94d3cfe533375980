import numpy as np
import pandas as pd

from gender_cls.data.leaks import find_leaks
from gender_cls.data.near_duplicates import find_near_duplicates
from gender_cls.quality.duplicates import duplicate_totals, find_duplicates, find_identity_conflicts, identity_totals

# a and b are copies with other labels, in train and test; c looks like d, e like nothing; f is like c, of unknown label
ROWS = pd.DataFrame(
    [
        ("a", "MALE", "ann", "train", "P", 0x00),
        ("b", "FEMALE", "bob", "test", "P", 0x00),
        ("c", "MALE", "ann", "train", "Q", 0xF0F0F0),
        ("d", "MALE", "cid", "val", "R", 0xF0F0F1),
        ("e", "FEMALE", "ann", "train", "S", 0xAAAAAAAAAAAA),
        ("f", "unknown", "", "", "T", 0xF0F0F2),
    ],
    columns=["path", "label", "identity", "split", "pixels", "hash"],
)


def near(distance: int = 2):
    hashes = ROWS["hash"].to_numpy(dtype=np.uint64) + np.uint64(1 << 60)
    return find_near_duplicates(hashes, distance)


def test_duplicates_of_each_image() -> None:
    found = find_duplicates(ROWS, ROWS["pixels"], near())
    assert found["exact_duplicates"].tolist() == [1, 1, 0, 0, 0, 0]
    assert found["exact_across_labels"].tolist() == [True, True, False, False, False, False]
    assert found["exact_across_splits"].tolist() == [True, True, False, False, False, False]
    assert found["near_duplicates"].tolist() == [0, 0, 2, 2, 0, 2]
    assert not found["near_across_labels"].any()
    assert found["near_across_splits"].tolist() == [False, False, True, True, False, False]
    clusters = found["duplicate_cluster"]
    assert clusters[0] == clusters[1] != clusters[2] == clusters[3] == clusters[5]
    assert clusters[4] == -1


def test_identities_of_each_image() -> None:
    found = find_identity_conflicts(ROWS)
    assert not found["identity_across_splits"].any()
    assert found["identity_with_both_labels"].tolist() == [True, False, True, False, True, False]
    moved = find_identity_conflicts(ROWS.assign(split=["train", "test", "val", "val", "train", ""]))
    assert moved["identity_across_splits"].tolist() == [True, False, True, False, True, False]


def test_totals_count_images_clusters_and_pairs() -> None:
    images = ROWS.join(find_duplicates(ROWS, ROWS["pixels"], near())).join(find_identity_conflicts(ROWS))
    assert duplicate_totals(images, near(), 2) == {
        "exact": {"clusters": 1, "images": 2, "across_labels": 2, "across_splits": 2},
        "near": {"distance": 2, "clusters": 1, "images": 3, "across_labels": 0, "across_splits": 2},
        "by_distance": [{"distance": 0, "pairs": 0}, {"distance": 1, "pairs": 2}, {"distance": 2, "pairs": 1}],
    }
    assert identity_totals(images, find_leaks(ROWS, ROWS["pixels"], near())) == {
        "known": 3,
        "across_splits": {"identities": 0, "images": 0, "test_share": 1.0},
        "both_labels": {"identities": 1, "images": 3, "examples": ["ann"]},
    }
