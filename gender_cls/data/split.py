"""A table of images -> the same with `split`: nobody on both sides, labels in proportion, seeded."""

import numpy as np
import pandas as pd

from gender_cls.config import CLASSES, SPLITS, DataConfig
from gender_cls.errors import GenderClsError


def assign_splits(table: pd.DataFrame, data: DataConfig, seed: int) -> pd.DataFrame:
    """Fill the column `split` with train, val and test.

    Splits that came with the data are kept, and one that is missing (often val) is taken from train. Otherwise the
    rows are split by `data.val_fraction` and `data.test_fraction`, or by `data.folds` (test: fold i, val: fold i + 1,
    train: the rest).

    Raises:
        GenderClsError: an identity stands in two of the given splits, or a label has fewer identities than there are
            splits.
    """
    shares = {"train": 1 - data.val_fraction - data.test_fraction, "val": data.val_fraction, "test": data.test_fraction}
    given = set(table["split"]) - {""}
    if given and "train" not in given:
        raise GenderClsError(
            f"The data come split into {', '.join(sorted(given))}, without train: add it, or remove the split."
        )
    if given:
        table = _fill_missing(table, shares, given, seed)
    elif data.folds is not None:
        parts = group_partition(table, np.full(data.folds, 1 / data.folds), seed)
        names = np.full(data.folds, "train", dtype=object)
        names[data.fold], names[(data.fold + 1) % data.folds] = "test", "val"
        table = table.assign(split=names[parts])
    else:
        parts = group_partition(table, np.array(list(shares.values())), seed)
        table = table.assign(split=np.array(list(shares), dtype=object)[parts])
    check_splits(table)
    return table


def _fill_missing(table: pd.DataFrame, shares: dict[str, float], given: set[str], seed: int) -> pd.DataFrame:
    wanted = {name: share for name, share in shares.items() if name == "train" or name not in given}
    if len(wanted) == 1:
        return table
    rows = np.flatnonzero(table["split"] == "train")
    parts = group_partition(table.iloc[rows], np.array(list(wanted.values())) / sum(wanted.values()), seed)
    split = table["split"].to_numpy(dtype=object, copy=True)
    split[rows] = np.array(list(wanted), dtype=object)[parts]
    return table.assign(split=split)


def identity_or_path(table: pd.DataFrame) -> pd.Series:
    """What must not be torn apart: the identity, or the image itself where no identity is known."""
    return table["identity"].where(table["identity"] != "", "image:" + table["path"])


def group_partition(table: pd.DataFrame, shares: np.ndarray, seed: int) -> np.ndarray:
    """Deal whole identities to parts so that every label fills each part in proportion to its share.

    Identities come in random order; each goes where it adds least to the sum over parts and labels of
    filled^2 / target, which is smallest when all parts are filled in proportion. Towards the end an identity goes to
    a part that would otherwise lack its label.

    Args:
        table: with the columns path, label and identity.
        shares: (parts,), sum 1.
        seed: of the order.

    Returns:
        (rows,) part of each row, from 0.
    """
    groups, names = pd.factorize(identity_or_path(table), sort=True)
    counts = np.zeros((len(names), len(CLASSES)))
    np.add.at(counts, (groups, table["label"].map(CLASSES.index).to_numpy(dtype=int)), 1)
    identities_left = (counts > 0).sum(axis=0)
    for label, available in zip(CLASSES, identities_left, strict=True):
        if available < len(shares):
            raise GenderClsError(
                f"{label} has {available} identities, fewer than the {len(shares)} parts they must be dealt to: "
                "add data, name fewer images as one identity (data.pattern), or use fewer data.folds."
            )
    targets = shares[:, None] * counts.sum(axis=0)
    filled = np.zeros_like(targets)
    part_of = np.empty(len(names), dtype=int)
    for group in np.random.default_rng(seed).permutation(len(names)):
        count = counts[group]
        cost = ((2 * filled + count) * count / targets).sum(axis=1)
        lacking = (filled == 0) & (count > 0)
        urgent = (count > 0) & (identities_left <= lacking.sum(axis=0))
        if urgent.any():
            cost[~lacking[:, urgent].any(axis=1)] = np.inf
        part = int(np.argmin(cost))
        part_of[group] = part
        filled[part] += count
        identities_left -= count > 0
    return part_of[groups]


def check_splits(table: pd.DataFrame) -> None:
    """Refuse a split that would make the numbers worthless.

    Raises:
        GenderClsError: an identity stands in more than one split, or a split lacks a label.
    """
    pairs = table.loc[table["identity"] != "", ["identity", "split"]].drop_duplicates()
    torn = pairs[pairs["identity"].duplicated(keep=False)].groupby("identity")["split"].agg(" and ".join)
    if len(torn):
        examples = "; ".join(f"{identity} in {splits}" for identity, splits in torn.head(3).items())
        raise GenderClsError(
            f"{len(torn)} identities stand in more than one split ({examples}): the test would measure how well "
            "people already seen are recognised; move them, or remove the given split and let the identities be dealt."
        )
    for split in SPLITS:
        present = set(table["label"][table["split"] == split])
        for label in CLASSES:
            if label not in present:
                raise GenderClsError(f"The {split} split has no {label} image: add some, or change the split.")
