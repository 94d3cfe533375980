from collections.abc import Sequence

import numpy as np
import pandas as pd
import pytest

from gender_cls.config import DataConfig
from gender_cls.data.split import assign_splits, group_partition
from gender_cls.errors import GenderClsError


def table_of(identities: Sequence[tuple[str, str, int]], split: str = "") -> pd.DataFrame:
    """Rows for (identity, label, number of images)."""
    rows = [(f"{name}_{n}.png", label, name, "", split) for name, label, count in identities for n in range(count)]
    return pd.DataFrame(rows, columns=["path", "label", "identity", "camera", "split"])


def crowd(seed: int = 0) -> pd.DataFrame:
    """300 people with 1 to 20 images each, a third of the people FEMALE."""
    rng = np.random.default_rng(seed)
    return table_of([(f"p{i}", "FEMALE" if i % 3 == 0 else "MALE", int(rng.integers(1, 21))) for i in range(300)])


@pytest.mark.parametrize("seed", range(5))
def test_splits_are_disjoint_by_identity_and_stratified(seed: int) -> None:
    table = assign_splits(crowd(seed), DataConfig(val_fraction=0.2, test_fraction=0.1), seed)
    assert table.groupby("identity")["split"].nunique().max() == 1
    shares = table.groupby("label")["split"].value_counts(normalize=True).unstack()
    for split, share in {"train": 0.7, "val": 0.2, "test": 0.1}.items():
        assert shares[split].to_numpy() == pytest.approx([share, share], abs=0.015)


def test_same_seed_same_split_and_another_seed_another() -> None:
    table, data = crowd(), DataConfig()
    assert assign_splits(table, data, 0).equals(assign_splits(table, data, 0))
    assert not assign_splits(table, data, 0).equals(assign_splits(table, data, 1))


def test_three_identities_a_label_fill_three_splits() -> None:
    table = table_of([(f"{label}{i}", label, i + 1) for label in ("FEMALE", "MALE") for i in range(3)])
    for seed in range(10):
        split = assign_splits(table, DataConfig(), seed)
        assert split.groupby("split")["label"].nunique().to_dict() == {"train": 2, "val": 2, "test": 2}


def test_without_identities_images_are_dealt() -> None:
    table = table_of([("", "FEMALE", 100), ("", "MALE", 100)])
    table["path"] = [f"{i}.png" for i in range(200)]
    counts = assign_splits(table, DataConfig(val_fraction=0.2, test_fraction=0.3), 0).groupby(["label", "split"]).size()
    assert counts["FEMALE"].to_dict() == counts["MALE"].to_dict() == {"train": 50, "val": 20, "test": 30}


def test_folds_test_everybody_once() -> None:
    table = crowd()
    seen = pd.Series(0, index=table.index)
    previous_test = None
    for fold in reversed(range(5)):
        split = assign_splits(table, DataConfig(folds=5, fold=fold), 0)["split"]
        assert split.value_counts(normalize=True)["train"] == pytest.approx(0.6, abs=0.02)
        if previous_test is not None:
            assert (split == "val").equals(previous_test)  # fold i validates on fold i + 1
        previous_test = split == "test"
        seen += previous_test
    assert (seen == 1).all()


def test_given_splits_are_kept_and_a_missing_one_comes_from_train() -> None:
    train = table_of([(f"p{i}", "FEMALE" if i % 2 else "MALE", 4) for i in range(40)], "train")
    test = table_of([("q1", "FEMALE", 5), ("q2", "MALE", 5)], "test")
    result = assign_splits(
        pd.concat([train, test], ignore_index=True), DataConfig(val_fraction=0.2, test_fraction=0.2), 0
    )
    assert (result["split"][160:] == "test").all()
    assert result["split"][:160].value_counts().to_dict() == {"train": 120, "val": 40}  # 0.2 / (0.6 + 0.2) of train


def test_people_on_both_sides_of_a_given_split_are_named() -> None:
    parts = [
        table_of([("ann", "FEMALE", 2), ("bob", "MALE", 1)], "train"),
        table_of([("ann", "FEMALE", 1), ("cid", "MALE", 1)], "val"),
        table_of([("ann", "FEMALE", 1), ("bob", "MALE", 1)], "test"),
    ]
    with pytest.raises(
        GenderClsError, match=r"2 identities .* \(ann in train and val and test; bob in train and test\)"
    ):
        assign_splits(pd.concat(parts, ignore_index=True), DataConfig(), 0)


def test_too_few_identities_are_an_error() -> None:
    table = table_of([("a", "FEMALE", 9), ("b", "FEMALE", 9), *((f"m{i}", "MALE", 1) for i in range(9))])
    with pytest.raises(GenderClsError, match="FEMALE has 2 identities, fewer than the 3 parts"):
        assign_splits(table, DataConfig(), 0)
    with pytest.raises(GenderClsError, match="FEMALE has 2 identities, fewer than the 5 parts"):
        assign_splits(table, DataConfig(folds=5), 0)


def test_a_given_split_without_a_label_is_an_error() -> None:
    train = table_of([("a", "FEMALE", 1), ("b", "MALE", 1)], "train")
    val = table_of([("c", "FEMALE", 1), ("d", "MALE", 1)], "val")
    test = table_of([("e", "MALE", 1)], "test")
    with pytest.raises(GenderClsError, match="The test split has no FEMALE image"):
        assign_splits(pd.concat([train, val, test], ignore_index=True), DataConfig(), 0)


def test_an_identity_with_both_labels_stays_whole() -> None:
    table = table_of([(f"p{i}", label, 2) for i in range(30) for label in ("FEMALE", "MALE")])
    table["path"] = [f"{i}.png" for i in range(len(table))]
    parts = group_partition(table, np.array([0.5, 0.5]), 0)
    assert pd.Series(parts).groupby(table["identity"]).nunique().max() == 1
