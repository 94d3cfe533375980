"""Whether test looks like validation, column by column."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gender_cls.evaluation.bootstrap import SEED, Numbers, Units, bootstrap_units, count_units
from gender_cls.evaluation.metrics import p_female_of
from gender_cls.evaluation.multiple_testing import SIGNIFICANT, holm
from gender_cls.evaluation.schema import Shift, ShiftedColumn
from gender_cls.evaluation.slices import DECIMALS, slice_columns

PERMUTATIONS = 2000
IMAGES_AT_ONCE = 2**17  # limit on permutations times images in memory, small enough for the processor's cache


class SortedColumn(NamedTuple):
    """A column of both splits, in rising order of its values; for names any order would do."""

    statistic: str  # ks (Kolmogorov-Smirnov distance) or tv (total variation distance)
    owners: Units  # (images,) the person on each
    upto: NDArray[np.intp]  # (distinct values,) how many images have that value or a lower one


def split_shift(validation: pd.DataFrame, test: pd.DataFrame) -> Shift:
    """How far label, probability and the columns of the slices differ, and whether by more than chance.

    Chance is a random exchange of people between the splits: images of one person are similar, so a test that takes
    images as independent would find shift everywhere. Each split keeps its number of people; a person in both splits
    counts as two. Stratified splits are more similar than chance makes them; their p-values are too large.
    """
    units = bootstrap_units(validation), bootstrap_units(test)
    if problem := why_not_compared(*units, "test"):
        return Shift(columns=[], shifted=[], remark=problem)

    rows = pd.concat([validation, test], ignore_index=True)
    wanted = slice_columns(rows)
    unknown = [
        column
        for column in wanted
        if column not in DECIMALS and any((split[column] == "").all() for split in (validation, test))
    ]
    compared = {column: rows[column].to_numpy() for column in ("label", *wanted) if column not in unknown}
    compared["probability"] = p_female_of(rows)
    shift = compare_columns(compared, *units)
    if unknown:
        shift["remark"] = " ".join(filter(None, [shift["remark"], _left_out("one of the two has no values", unknown)]))
    return shift


def why_not_compared(validation: Units, here: Units, name: str) -> str | None:
    """Why two splits cannot be compared, or None."""
    for split, units in (("validation", validation), (name, here)):
        if count_units(units) < 2:
            held = "one person only" if len(units) else "no image that could be read"
            return f"Nothing could be compared: {split} has {held}."
    return None


def compare_columns(compared: Mapping[str, NDArray], validation: Units, here: Units) -> Shift:
    """How far columns differ between validation and other images; see `split_shift`.

    Args:
        compared: (images,) values by the name of the column, those of validation first.
        validation: (images of validation,) the person on each; there are at least two.
        here: (other images,) the same.
    """
    measured = [name for name in compared if name in DECIMALS or name == "probability"]
    infinite = [name for name in measured if not np.isfinite(compared[name]).all()]
    compared = {name: values for name, values in compared.items() if name not in infinite}
    people = count_units(validation), count_units(here)
    owners = np.concatenate([validation, people[0] + here])
    in_order = [sort_column(values, owners, name in measured) for name, values in compared.items()]
    values, p_values = _exchange(in_order, *people)
    numbers = np.stack([values, p_values, holm(p_values)], axis=1).tolist()
    columns = [
        ShiftedColumn(column=name, statistic=column.statistic, value=value, p_value=p_value, p_holm=p_holm)
        for name, column, (value, p_value, p_holm) in zip(compared, in_order, numbers, strict=True)
    ]
    columns.sort(key=lambda column: column["p_value"])
    shifted = [column["column"] for column in columns if column["p_holm"] < SIGNIFICANT]
    remark = _left_out("some values are not finite", infinite) if infinite else None
    return Shift(columns=columns, shifted=shifted, remark=remark)


def _left_out(why: str, names: Sequence[str]) -> str:
    return f"Not compared, because {why}: {', '.join(names)}."


def sort_column(values: NDArray, owners: Units, measured: bool) -> SortedColumn:
    """The (images,) values in rising order; `measured` are numbers, others are names, whose order means nothing."""
    _, images = np.unique(values, return_counts=True)
    return SortedColumn("ks" if measured else "tv", owners[np.argsort(values, kind="stable")], images.cumsum())


def _exchange(columns: list[SortedColumn], validation: int, test: int) -> tuple[Numbers, Numbers]:
    """(columns,) distances and (columns,) p-values, the share of random exchanges that make them as large.

    The splits as they are count as one exchange. `validation` and `test` are numbers of people.
    """
    as_is = np.repeat(np.array([[1, 0]], dtype=np.int8), [validation, test], axis=1)
    distances = np.concatenate([distance(column, as_is) for column in columns])
    rng = np.random.default_rng(SEED)
    reached = np.ones(len(columns))
    images = max(len(column.owners) for column in columns)
    at_once = min(PERMUTATIONS, max(1, IMAGES_AT_ONCE // images))
    for start in range(0, PERMUTATIONS, at_once):
        exchanged = rng.permuted(np.repeat(as_is, min(at_once, PERMUTATIONS - start), axis=0), axis=1)
        for index, column in enumerate(columns):
            reached[index] += (distance(column, exchanged) > distances[index] - 1e-9).sum()  # equal but for rounding
    return distances, reached / (PERMUTATIONS + 1)


def distance(column: SortedColumn, in_validation: NDArray[np.int8]) -> Numbers:
    """The distance between the distributions of a column in the two splits.

    Whole numbers until the end: with V of all N images in validation, T in test, and v of the u up to a value, the
    distribution functions differ there by v / V - (u - v) / T = (v N - u V) / (V T).

    Args:
        in_validation: (permutations, people) 1 or 0. The distances are (permutations,) from 0 to 1.
    """
    images = in_validation.take(column.owners, axis=1)
    if len(column.upto) < len(column.owners):
        images = np.add.reduceat(images, np.append(0, column.upto[:-1]), axis=1, dtype=np.int64)
    difference = images.cumsum(axis=1, dtype=np.int64)
    validation = difference[:, -1:].copy()
    difference *= len(column.owners)
    difference -= column.upto * validation
    scale = (validation * (len(column.owners) - validation))[:, 0]
    if column.statistic == "tv":
        return np.abs(np.diff(difference, axis=1, prepend=0)).sum(axis=1) / scale / 2
    return np.maximum(difference.max(axis=1), -difference.min(axis=1)) / scale
