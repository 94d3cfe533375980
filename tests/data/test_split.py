from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from gender_cls.config.data import DataConfig, SplitBy
from gender_cls.data.split import assign_splits, group_partition, missing_splits, missing_splits_sentence
from gender_cls.errors import GenderClsError


def table_of(identities: Sequence[tuple[str, str, int]], split: str = "", camera: str = "") -> pd.DataFrame:
    """Rows for (identity, label, number of images); each identity is a group."""
    rows = [(f"{name}_{n}.png", label, name, name) for name, label, count in identities for n in range(count)]
    table = pd.DataFrame(rows, columns=["path", "label", "identity", "group"])
    return table.assign(camera=camera, source="", split=split)


def crowd(seed: int = 0) -> pd.DataFrame:
    """300 people with 1 to 20 images each, a third of the people FEMALE."""
    rng = np.random.default_rng(seed)
    return table_of([(f"p{i}", "FEMALE" if i % 3 == 0 else "MALE", int(rng.integers(1, 21))) for i in range(300)])


@pytest.mark.parametrize("seed", range(5))
def test_splits_are_disjoint_by_identity_stratified_and_the_same_for_a_seed(seed: int) -> None:
    data = DataConfig(val_fraction=0.2, test_fraction=0.1, split_seed=seed)
    table = assign_splits(crowd(seed), data)
    assert table.equals(assign_splits(crowd(seed), data))
    assert not table.equals(assign_splits(crowd(seed), replace(data, split_seed=9)))
    assert table.groupby("identity")["split"].nunique().max() == 1
    shares = table.groupby("label")["split"].value_counts(normalize=True).unstack()
    for split, share in {"train": 0.7, "val": 0.2, "test": 0.1}.items():
        assert shares[split].to_numpy() == pytest.approx([share, share], abs=0.015)


def test_people_with_many_images_are_in_every_split_alike() -> None:
    tables = [assign_splits(crowd(seed), DataConfig(split_seed=seed)) for seed in range(5)]
    sizes = [table.groupby(["split", "identity"]).size().groupby("split").mean() for table in tables]
    assert np.mean(sizes, axis=0) == pytest.approx([10.5] * 3, rel=0.1)


@pytest.mark.parametrize(("people", "expected"), [(8, [6, 1, 1]), (3, [1, 1, 1])])
def test_few_people_fill_three_splits(people: int, expected: list[int]) -> None:
    images = [1, 2, 3] if people == 3 else [3] * people
    table = table_of([(f"{label}{i}", label, images[i]) for label in ("FEMALE", "MALE") for i in range(people)])
    for seed in range(10):
        found = assign_splits(table, DataConfig(split_seed=seed)).drop_duplicates("identity")
        counts = found.groupby(["label", "split"]).size().unstack()[["train", "val", "test"]]
        assert counts.to_numpy().tolist() == [expected] * 2


def test_without_identities_images_are_split() -> None:
    table = table_of([("", "FEMALE", 100), ("", "MALE", 100)])
    table["group"] = [str(i) for i in range(200)]
    counts = assign_splits(table, DataConfig(val_fraction=0.2, test_fraction=0.3)).groupby(["label", "split"]).size()
    assert counts["FEMALE"].to_dict() == counts["MALE"].to_dict() == {"train": 50, "val": 20, "test": 30}


def test_folds_test_everybody_once() -> None:
    table = crowd()
    splits = pd.DataFrame({fold: assign_splits(table, DataConfig(folds=5, fold=fold))["split"] for fold in range(5)})
    assert ((splits == "test").sum(axis=1) == 1).all()
    for fold in range(5):
        assert (splits[fold] == "train").mean() == pytest.approx(0.6, abs=0.02)
        assert ((splits[fold] == "val") == (splits[(fold + 1) % 5] == "test")).all()


def test_given_splits_are_kept_and_a_missing_one_comes_from_train() -> None:
    train = table_of([(f"p{i}", "FEMALE" if i % 2 else "MALE", 4) for i in range(40)], "train")
    test = table_of([("q1", "FEMALE", 5), ("q2", "MALE", 5)], "test")
    result = assign_splits(pd.concat([train, test], ignore_index=True), DataConfig(val_fraction=0.2, test_fraction=0.2))
    assert (result["split"][160:] == "test").all()
    assert result["split"][:160].value_counts().to_dict() == {"train": 120, "val": 40}  # 0.2 / (0.6 + 0.2) of train


def test_parts_equal_those_computed_with_arrays() -> None:
    table, shares = crowd(3), np.array([0.6, 0.3, 0.1])
    table.loc[::7, "label"] = "FEMALE"  # some people have both labels
    parts = group_partition(table, "group", shares, 5)
    names = sorted(table["group"].unique())
    counts = pd.crosstab(table["group"], table["label"]).loc[names, ["FEMALE", "MALE"]].to_numpy()
    targets, filled = shares[:, None] * counts.sum(axis=0), np.zeros((3, 2))
    half = counts.sum(axis=0) / (counts > 0).sum(axis=0) / 2
    for unit in np.random.default_rng(5).permutation(len(names)):
        part = int(np.argmin((filled + half) / targets @ counts[unit]))
        filled[part] += counts[unit]
        assert set(parts[table["group"] == names[unit]]) == {part}


def test_what_the_annotators_left_open_is_in_no_split() -> None:
    table = crowd()
    table.loc[::7, "label"] = "unknown"
    split = assign_splits(table, DataConfig())["split"]
    assert (split[::7] == "").all()
    assert (split != "").sum() == len(table) - len(table[::7])
    given = table.assign(split=["train", "val", "test"] * (len(table) // 3) + ["train"] * (len(table) % 3))
    kept = assign_splits(given, DataConfig())["split"]
    assert (kept[::7] == "").all()
    assert (kept == given["split"]).sum() == len(table) - len(table[::7])


def cameras() -> pd.DataFrame:
    """Six cameras with 20 people of two images each; person p0 walks through all of them."""
    tables = []
    for camera in range(6):
        people = [(f"c{camera}p{i}", "FEMALE" if i % 2 else "MALE", 2) for i in range(20)]
        tables.append(table_of([("p0", "MALE", 1 + camera), *people], camera=f"c{camera}"))
    return pd.concat(tables, ignore_index=True)


def test_whole_cameras_are_split_and_a_person_stays_where_most_of_the_images_are() -> None:
    table = cameras()
    result = assign_splits(table, DataConfig(split_by=SplitBy.camera, val_fraction=0.3, test_fraction=0.3))
    used = result[result["split"] != ""]
    assert used.groupby("camera")["split"].nunique().max() == used.groupby("group")["split"].nunique().max() == 1
    assert set(result["group"][result["split"] == ""]) == {"p0"}
    split_of_camera = result["camera"].map(used.groupby("camera")["split"].first())
    assert (used["group"] == "p0").sum() == split_of_camera[result["group"] == "p0"].value_counts().max()


def test_each_camera_can_be_left_out_in_turn() -> None:
    table = cameras()
    for camera in ("c0", "c5"):
        result = assign_splits(table, DataConfig(split_by=SplitBy.camera, leave_out=camera))
        assert ((result["split"] == "test") == (table["camera"] == camera)).all()
        assert set(result["group"][result["split"] == ""]) == {"p0"}  # seen by the camera that is left out
        assert result["split"].value_counts()["val"] == pytest.approx(200 * 0.15 / 0.85, abs=2)


def test_folds_of_cameras_test_each_camera_once() -> None:
    folds = [assign_splits(cameras(), DataConfig(split_by=SplitBy.camera, folds=3, fold=fold)) for fold in range(3)]
    tested = [camera for result in folds for camera in result["camera"][result["split"] == "test"].unique()]
    assert sorted(tested) == [f"c{i}" for i in range(6)]


def sources(**people: int) -> pd.DataFrame:
    """Sources with two cameras and this many people each; every third one is FEMALE, and each has one image."""
    tables = []
    for name, count in people.items():
        rows = table_of([(f"{name}_{i}", "MALE" if i % 3 else "FEMALE", 1) for i in range(count)])
        tables.append(rows.assign(source=name, camera=[f"{name}_{2 * i // count}" for i in range(count)]))
    return pd.concat(tables, ignore_index=True)


FIVE = sources(A=300, B=90, C=150, D=60, E=120)
BY_SOURCE = {"split_by": SplitBy.source, "val_by": SplitBy.source}


@pytest.mark.parametrize(
    ("left_out", "changes", "expected"),
    [
        # By hand: 0.15 / 0.85 of the images that are not in test is what val should have.
        ("A", {}, {"D"}),  # 74 of 420: 60 is nearer than 90
        ("B", {}, {"E"}),  # 111 of 630
        ("C", {}, {"B"}),  # 101 of 570
        ("D", {}, {"E"}),  # 116 of 660
        ("E", {}, {"B"}),  # 106 of 600
        ("A", {"val_fraction": 0.35}, {"D", "E"}),  # 173 of 420: 60 + 120 is nearer than 150
    ],
)
def test_validation_is_the_whole_sources_nearest_to_its_share(
    left_out: str, changes: dict[str, Any], expected: set[str]
) -> None:
    for seed in range(3):
        data = DataConfig(**BY_SOURCE, leave_out=left_out, split_seed=seed, **changes)
        found = assign_splits(FIVE, data).groupby("split")["source"].unique()
        assert {split: set(names) for split, names in found.items()} == {
            "test": {left_out},
            "val": expected,
            "train": set("ABCDE") - {left_out} - expected,
        }


def test_a_source_of_one_label_is_never_validation_alone_and_the_seed_decides_between_equal_ones() -> None:
    one_label = FIVE.assign(label=FIVE["label"].mask(FIVE["source"] == "D", "MALE"))
    result = assign_splits(one_label, DataConfig(**BY_SOURCE, leave_out="A"))
    assert set(result["source"][result["split"] == "val"]) == {"B"}
    chosen = set()
    for seed in range(20):
        result = assign_splits(sources(A=60, B=60, C=60, D=60), DataConfig(**BY_SOURCE, leave_out="A", split_seed=seed))
        chosen.add("".join(sorted(set(result["source"][result["split"] == "val"]))))
    assert chosen == set("BCD")


@pytest.mark.parametrize(
    ("split_by", "val_by", "changes"),
    [
        (SplitBy.identity, SplitBy.source, {}),
        (SplitBy.identity, SplitBy.source, {"folds": 4, "fold": 1}),
        (SplitBy.identity, SplitBy.camera, {}),
        (SplitBy.source, SplitBy.camera, {"leave_out": "C"}),
        (SplitBy.source, SplitBy.camera, {"folds": 3, "fold": 2}),
        (SplitBy.camera, SplitBy.source, {"leave_out": "C_0"}),
        (SplitBy.camera, SplitBy.source, {}),
    ],
)
def test_test_is_chosen_first_and_then_whole_places_for_validation(
    split_by: SplitBy, val_by: SplitBy, changes: dict[str, Any]
) -> None:
    data = DataConfig(split_by=split_by, val_by=val_by, **changes)
    table = assign_splits(FIVE, data)
    learnt = table[table["split"].isin(["train", "val"])]
    assert learnt.groupby(val_by.value)["split"].nunique().max() == 1
    assert table["split"].ne("").all(), "nobody is in two places"
    by = "group" if split_by is SplitBy.identity else split_by.value
    assert table.groupby(by)["split"].agg(lambda splits: len({split == "test" for split in splits})).max() == 1
    without = assign_splits(FIVE, replace(data, val_by=None))
    if "folds" in changes or "leave_out" in changes:
        assert (table["split"] == "test").equals(without["split"] == "test"), "val_by does not change what test is"


def test_validation_by_identity_splits_the_people_of_the_places_that_are_not_in_test() -> None:
    table = assign_splits(FIVE, DataConfig(split_by=SplitBy.source, val_by=SplitBy.identity))
    assert table.groupby("source")["split"].agg(lambda splits: "test" in set(splits)).sum() >= 1
    assert table[table["split"] != "test"].groupby("source")["split"].nunique().eq(2).all()
    left_out = DataConfig(split_by=SplitBy.source, leave_out="B")
    by_person = assign_splits(FIVE, replace(left_out, val_by=SplitBy.identity))
    assert by_person.equals(assign_splits(FIVE, left_out)), "with leave_out, null means the same"


def test_a_person_seen_in_training_and_validation_places_stays_in_one_of_them() -> None:
    walker = table_of([("p0", "MALE", 6)]).assign(source=list("ABBCCC"), camera=[f"{name}_0" for name in "ABBCCC"])
    table = pd.concat([sources(A=60, B=60, C=66, D=300), walker], ignore_index=True)
    result = assign_splits(table, DataConfig(**BY_SOURCE, leave_out="D"))
    used = result[result["split"] != ""]
    assert used.groupby("group")["split"].nunique().max() == used.groupby("source")["split"].nunique().max() == 1
    assert set(result["group"][result["split"] == ""]) == {"p0"}
    in_test = assign_splits(table, DataConfig(**BY_SOURCE, leave_out="C"))
    assert in_test[in_test["group"] == "p0"]["split"].tolist() == [""] * 3 + ["test"] * 3


def test_many_places_are_assigned_in_proportion() -> None:
    table = sources(**{f"s{i}": 30 for i in range(40)})
    chosen = []
    for seed in range(3):
        data = DataConfig(val_by=SplitBy.source, val_fraction=0.2, test_fraction=0.2, split_seed=seed)
        result = assign_splits(table, data)
        used = result[result["split"] != "test"]
        assert used.groupby("source")["split"].nunique().max() == 1
        assert (used["split"] == "val").mean() == pytest.approx(0.25, abs=0.03)
        chosen.append(frozenset(used["source"][used["split"] == "val"]))
    assert len(set(chosen)) == 3


def test_a_missing_validation_split_can_be_whole_sources_of_the_given_train() -> None:
    given = FIVE.assign(split=np.where(FIVE["source"] == "A", "test", "train"))
    result = assign_splits(given, DataConfig(val_by=SplitBy.source))
    assert result.groupby("source")["split"].unique().map(list).to_dict() == {
        "A": ["test"], "B": ["train"], "C": ["train"], "D": ["val"], "E": ["train"],
    }  # fmt: skip
    alone = assign_splits(FIVE.assign(split="train"), DataConfig(val_by=SplitBy.source))
    assert alone[alone["split"] != "test"].groupby("source")["split"].nunique().max() == 1
    assert (alone["split"] == "test").mean() == pytest.approx(0.15, abs=0.01)


FEW = table_of([("a", "FEMALE", 9), ("b", "FEMALE", 9), *((f"m{i}", "MALE", 1) for i in range(9))])
ONE_MIXED = FIVE[:540].assign(label=FIVE["label"][:540].mask(FIVE["source"] != "A", "MALE"))
GIVEN = [table_of([(f"{split}1", "FEMALE", 1), (f"{split}2", "MALE", 1)], split) for split in ("train", "val")]


@pytest.mark.parametrize(
    ("table", "changes", "message"),
    [
        (FEW, {}, r"FEMALE has 2 .*\(people\).* 3 parts"),
        (FEW, {"folds": 5}, "5 parts"),
        (pd.concat([*GIVEN, table_of([("e", "MALE", 1)], "test")]), {}, r"test .*FEMALE"),
        (cameras(), {"split_by": SplitBy.camera, "leave_out": "c9"}, r"data\.leave_out=c9 .* c0, c1, c2"),
        (cameras(), {"split_by": SplitBy.source}, r"data\.split_by=source .*261 of 261"),
        (cameras()[:83], {"split_by": SplitBy.camera}, r"FEMALE has 2 cameras, .*3 parts"),
        (cameras(), {"val_by": SplitBy.source}, r"data\.val_by=source needs the source .*(\d+) of \1 have none"),
        (sources(A=60, B=60), BY_SOURCE | {"leave_out": "A"}, r"data\.val_by=source cannot .*1 source is left .*\(B\)"),
        (ONE_MIXED, {"val_by": SplitBy.source}, r"data\.val_by=source cannot .*3 sources are left .*both labels"),
    ],
)
def test_data_that_cannot_be_split_say_why(table: pd.DataFrame, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(GenderClsError, match=message):
        assign_splits(table.reset_index(drop=True), DataConfig(**changes))


@pytest.mark.parametrize(
    ("given", "missing"),
    [
        (["train", "test"], ["val"]),
        (["train", "val"], ["test"]),
        (["train"], ["val", "test"]),
        (["train", "val", "test"], []),
        ([""], []),
    ],
)
def test_splits_that_do_not_come_with_the_data_are_named(given: list[str], missing: list[str]) -> None:
    table = pd.DataFrame({"split": [*given, ""], "label": [*["MALE"] * len(given), "unknown"]})
    assert missing_splits(table) == missing
    if missing:
        assert f"no {' and '.join(missing)}: " in missing_splits_sentence(missing)
