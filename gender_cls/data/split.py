"""The column `split` of a manifest: groups stay whole, labels in proportion, the same for the same seed."""

from collections.abc import Sequence
from itertools import product

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gender_cls.config.data import CLASSES, SPLITS, UNKNOWN, DataConfig, SplitBy
from gender_cls.errors import first_few, plural, require

MOST_COMPARED = 12  # cameras or sources; of so many, all choices for val are compared (4,094)


def assign_splits(table: pd.DataFrame, data: DataConfig) -> pd.DataFrame:
    """Fill the column `split` with train, val and test; it stays empty for images that are in none.

    Splits that came with the data are kept, and a missing one (often val) is taken from train. Otherwise whole groups
    are assigned: by `data.val_fraction` and `data.test_fraction`, or by `data.folds` (test: fold i, val: fold i + 1,
    train: the rest). With `data.split_by` whole cameras or sources are assigned instead, or one of them,
    `data.leave_out`, is the test split; a group that would then be in several splits keeps its images in one of them.
    With another `data.val_by`, test is chosen first, and then val from what is left.

    Args:
        table: with the columns label, group, split, camera and source. Images whose label is UNKNOWN get no split.

    Raises:
        GenderClsError: a label has fewer groups than there are parts, a split lacks a label, or cameras or sources are
            unknown.
    """
    labelled = (table["label"] != UNKNOWN).to_numpy()
    split = table["split"].where(labelled, "").to_numpy(dtype=object, copy=True)
    given = set(split) - {""}
    if given:
        split = _complete(table.assign(split=split), given, data)
    else:
        split[labelled] = _new_split(table[labelled], data)
    table = table.assign(split=split)
    present = set(table[["split", "label"]].itertuples(index=False, name=None))
    for name, label in product(SPLITS, CLASSES):
        require((name, label) in present, f"The {name} split has no {label} image: add some, or change the split.")
    return table


def split_origin(table: pd.DataFrame, data: DataConfig) -> str:
    """`published` or `given` with the data, else `made` here. Call it before `assign_splits`."""
    if data.published_split is not None:
        return "published"
    return "given" if (table["split"] != "").any() else "made"


def missing_splits(table: pd.DataFrame) -> list[str]:
    """The splits that `assign_splits` takes from train, because the data come with a split that lacks them."""
    given = set(table["split"][table["label"] != UNKNOWN]) - {""}
    return [name for name in SPLITS if given and name not in given]


def missing_splits_sentence(missing: Sequence[str]) -> str:
    """What `missing_splits` means for the scores."""
    names = " and ".join(missing)
    others = ". Scores on this test split cannot be compared with those of others" if "test" in missing else ""
    return (
        f"The data come with a split that has no {names}: taken from train, whole groups of images at a time{others}."
    )


def _shares(data: DataConfig) -> dict[str, float]:
    return {"train": 1 - data.val_fraction - data.test_fraction, "val": data.val_fraction, "test": data.test_fraction}


def _complete(table: pd.DataFrame, given: set[str], data: DataConfig) -> NDArray:
    """The given splits; missing ones are taken from train: test whole groups, val what `data.val_by` says."""
    names = ", ".join(sorted(given))
    require("train" in given, f"The data come split into {names}, without train: add it, or remove the split.")
    split = table["split"].to_numpy(dtype=object, copy=True)
    wanted = {name: share for name, share in _shares(data).items() if name == "train" or name not in given}
    whole_places = "val" in wanted and data.val_by not in (None, SplitBy.identity)
    if whole_places:
        wanted["train"] += wanted.pop("val")
    if len(wanted) > 1:
        rows = np.flatnonzero(table["split"] == "train")
        split[rows] = _parts(table.iloc[rows], "group", wanted, data.split_seed)
    return _validation_places(table.assign(split=split), data) if whole_places else split


def _new_split(table: pd.DataFrame, data: DataConfig) -> NDArray:
    """The split of each row of a table that came without one."""
    by_group = data.split_by is SplitBy.identity
    column = "group" if by_group else data.split_by.value
    val_apart = data.val_by not in (None, data.split_by)
    if not by_group:
        _require_known(table, column, "split_by")
    if data.leave_out is not None:
        return _leave_out(table, data)
    if data.folds is not None:
        parts = group_partition(table, column, np.full(data.folds, 1 / data.folds), data.split_seed)
        names = np.full(data.folds, "train", dtype=object)
        names[(data.fold + 1) % data.folds] = "train" if val_apart else "val"
        names[data.fold] = "test"
        split = names[parts]
    else:
        shares = _shares(data)
        if val_apart:
            shares["train"] += shares.pop("val")
        split = _parts(table, column, shares, data.split_seed)
    split = split if by_group else _whole_groups(table["group"], split)
    return _complete(table.assign(split=split), {"train", "test"}, data) if val_apart else split


def _require_known(table: pd.DataFrame, column: str, key: str) -> None:
    unknown = (table[column] == "").sum()
    require(
        unknown == 0,
        f"data.{key}={column} needs the {column} of each image, and {unknown} of {len(table)} have none: name it "
        "with data.pattern or a column of data.csv.",
    )


def _leave_out(table: pd.DataFrame, data: DataConfig) -> NDArray:
    """One camera or source is the test split; train and val get the others, without the groups that are in test."""
    test = is_left_out(table, data)
    others = np.where(table["group"].isin(table["group"][test]), "", "train")
    return _complete(table.assign(split=np.where(test, "test", others)), {"train", "test"}, data)


def _validation_places(table: pd.DataFrame, data: DataConfig) -> NDArray:
    """The column `split` with whole cameras or sources of train moved to val, as `data.val_by` says.

    A group with images in both keeps those in one of them.
    """
    assert data.val_by is not None
    column, shares = data.val_by.value, _shares(data)
    split = table["split"].to_numpy(dtype=object, copy=True)
    rows = np.flatnonzero(split == "train")
    left = table.iloc[rows]
    _require_known(left, column, "val_by")
    held_out = _nearest_units(left, column, shares["val"] / (shares["val"] + shares["train"]), data.split_seed)
    split[rows] = _whole_groups(left["group"], np.where(held_out, "val", "train").astype(object))
    return split


def _nearest_units(table: pd.DataFrame, column: str, share: float, seed: int) -> NDArray[np.bool]:
    """(rows,) whether a row is in the units whose images of each label come nearest to this share of all.

    Up to MOST_COMPARED units all choices are compared, and the seed decides only between equally near ones; more units
    are assigned by `group_partition`.
    """
    codes, names, counts = _label_counts(table, column)
    if len(names) > MOST_COMPARED:
        return group_partition(table, column, np.array([1 - share, share]), seed) == 1
    order = np.random.default_rng(seed).permutation(len(names))
    choices = np.arange(2 ** len(names))[:, None] >> np.arange(len(names)) & 1  # (choices, units)
    held_out, total = choices @ counts[order], counts.sum(axis=0)
    possible = ((held_out > 0) & (held_out < total)).all(axis=1)
    require(
        bool(possible.any()),
        f"data.val_by={column} cannot be done: {plural(len(names), column)} "
        f"{'is' if len(names) == 1 else 'are'} left for train and val ({first_few(names)}), and each of the two needs "
        f"whole {column}s with both labels.",
    )
    distance = np.where(possible, np.abs(held_out / total - share).sum(axis=1), np.inf)
    return np.isin(codes, order[choices[distance.argmin()] == 1])


def is_left_out(table: pd.DataFrame, data: DataConfig) -> pd.Series:
    """(rows,) whether the image is of the camera or source that `data.leave_out` names; GenderClsError if none is."""
    column = data.split_by.value
    test, names = table[column] == data.leave_out, first_few(sorted(set(table[column]) - {""}), 30) or "none"
    require(bool(test.any()), f"data.leave_out={data.leave_out} is no {column} of the data: there are {names}.")
    return test


def _whole_groups(group: pd.Series, split: NDArray) -> NDArray:
    """Each group only in the split with most of its images (the first of SPLITS in a tie); "" for its other images."""
    counts = pd.crosstab(group.to_numpy(), split).reindex(columns=list(SPLITS), fill_value=0)
    home = np.array(SPLITS, dtype=object)[counts.to_numpy().argmax(axis=1)]
    kept = group.map(dict(zip(counts.index, home, strict=True))).to_numpy() == split
    return np.where(kept, split, "")


def _parts(table: pd.DataFrame, column: str, shares: dict[str, float], seed: int) -> NDArray:
    """The name of the part that each row is assigned to."""
    parts = group_partition(table, column, np.array(list(shares.values())) / sum(shares.values()), seed)
    return np.array(list(shares), dtype=object)[parts]


def group_partition(table: pd.DataFrame, column: str, shares: NDArray[np.floating], seed: int) -> NDArray[np.intp]:
    """Assign whole units to parts so that every label fills each part in proportion to its share.

    Units come in random order. Each goes to the part that would be least full, for the unit's labels, with half a unit
    of mean size added. (With the unit's own size, people with many images would gather in the largest part.) Towards
    the end a unit goes to a part that would otherwise lack its label.

    Args:
        table: with the column label.
        column: group, camera or source: rows with one value there are a unit.
        shares: (parts,), sum 1.
        seed: of the order.

    Returns:
        (rows,) part of each row, from 0.
    """
    codes, names, counts = _label_counts(table, column)
    for label, available in zip(CLASSES, (counts > 0).sum(axis=0), strict=True):
        what = "group of images that belong together (a person)" if column == "group" else column
        many = "groups of images that belong together (people)" if column == "group" else ""
        require(
            available >= len(shares),
            f"{label} has {plural(int(available), what, many)}, fewer than the {len(shares)} parts that need one: add "
            "data, name fewer images as one identity (data.pattern), or use fewer folds.",
        )
    order = np.random.default_rng(seed).permutation(len(names))
    part_of = np.empty(len(names), dtype=np.intp)
    part_of[order] = _assign(counts[order].tolist(), (shares[:, None] * counts.sum(axis=0)).tolist())
    return part_of[codes]


def _label_counts(table: pd.DataFrame, column: str) -> tuple[NDArray[np.intp], pd.Index, NDArray[np.intp]]:
    """The unit of each row, the units' sorted names, and how many images of each label they have: (units, labels)."""
    codes, names = pd.factorize(table[column], sort=True)
    counts = np.zeros((len(names), len(CLASSES)), dtype=int)
    np.add.at(counts, (codes, table["label"].map(CLASSES.index).to_numpy(dtype=int)), 1)
    return codes, pd.Index(names), counts


def _assign(counts: Sequence[Sequence[int]], targets: Sequence[Sequence[float]]) -> list[int]:
    """The part of each unit. Plain numbers, because in this loop they are much faster than arrays.

    Args:
        counts: of each unit, its images of each label.
        targets: of each part, the images of each label that it should get.
    """
    labels, parts = range(len(CLASSES)), range(len(targets))
    filled = [[0] * len(CLASSES) for _ in parts]
    lacking = [len(targets) for _ in labels]  # parts without an image of the label
    units_left = [sum(count[label] > 0 for count in counts) for label in labels]
    half = [sum(count[label] for count in counts) / units_left[label] / 2 for label in labels]
    chosen = []
    for count in counts:
        urgent = [label for label in labels if count[label] and units_left[label] <= lacking[label]]
        candidates = [part for part in parts if any(not filled[part][label] for label in urgent)] or parts
        _, part = min((_fullness(count, filled[part], half, targets[part]), part) for part in candidates)
        for label in labels:
            if count[label]:
                lacking[label] -= not filled[part][label]
                filled[part][label] += count[label]
                units_left[label] -= 1
        chosen.append(part)
    return chosen


def _fullness(count: Sequence[int], filled: Sequence[int], half: Sequence[float], target: Sequence[float]) -> float:
    """How full a part would be for a unit with these counts of each label."""
    return sum(
        new * (have + more) / wanted for new, have, more, wanted in zip(count, filled, half, target, strict=True)
    )
