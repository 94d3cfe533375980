"""Where a model fails: the scores of test by camera, view, size, brightness and every other known column."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gender_cls.config.data import UNKNOWN
from gender_cls.data.columns import CUE_BOX
from gender_cls.evaluation.bootstrap import SEED, Booleans, Numbers, bootstrap_units, count_people, estimate
from gender_cls.evaluation.estimate import Estimate
from gender_cls.evaluation.metrics import absent_labels, count_scores, is_female, known_people, p_female_of
from gender_cls.evaluation.schema import Slice, Slices, WorstSlice

DECIMALS = {"native_height": 0, "brightness": 0, "sharpness": 2}
"""Measured columns, and to how many decimals they are rounded before they are cut into terciles."""
NOT_SLICED = {
    *("path", "label", "original_label", "prediction", "identity", "split", "group", "frame"),
    *("width", "height", "pixels", "perceptual_hash", *CUE_BOX),
}
MOST_VALUES = 30  # most different values of a column of names; the largest pedestrian datasets have 25 cameras
PEOPLE_PER_VALUE = 5  # fewest, on average; with fewer people per value, the values name people, frames or coordinates
ENOUGH_PEOPLE = 50  # a slice with fewer people is marked


def slice_columns(table: pd.DataFrame) -> list[str]:
    """The columns worth a slice, in the order of the table.

    These are the measured ones that vary, and those of names (strings) with 2 to 30 known values and on average five
    people or more per value. Of several that divide the images in the same way only the first is kept, and none that
    divides them as the label does.
    """
    units = bootstrap_units(table)
    partitions = {_partition(table["label"])}
    columns = []
    for column in table.columns.astype(str):
        if column in DECIMALS:
            values = table[column].round(DECIMALS[column])
            if values[np.isfinite(values)].nunique() > 1:
                columns.append(column)
        elif column not in NOT_SLICED and not pd.api.types.is_numeric_dtype(table[column]):
            seen = pd.DataFrame({"value": table[column], "unit": units}).drop_duplicates()
            seen = seen[seen["value"] != ""]
            names = seen["value"].nunique()
            partition = _partition(table[column])
            if 2 <= names <= MOST_VALUES and len(seen) >= PEOPLE_PER_VALUE * names and partition not in partitions:
                columns.append(column)
                partitions.add(partition)
    return columns


def _partition(names: pd.Series) -> bytes:
    """A key that is equal for columns that divide the rows alike."""
    return pd.factorize(names)[0].tobytes()


def slice_scores(test: pd.DataFrame, resamples: int) -> Slices:
    """The scores of each slice of the test predictions, with intervals over the people in it.

    The worst of many slices is partly the unluckiest one; its interval is not corrected for this selection.
    """
    cells = []
    for column in slice_columns(test):
        slices = _terciles(test[column], DECIMALS[column]) if column in DECIMALS else _by_name(test[column])
        if len(slices) > 1:
            cells += [_score_slice(test[rows], column, value, resamples) for value, rows in slices.items()]
    scored = [
        WorstSlice(column=cell["column"], value=cell["value"], balanced_accuracy=cell["balanced_accuracy"]["value"])
        for cell in cells
        if not cell["few"] and cell["balanced_accuracy"]["value"] is not None
    ]
    remark = None
    if not len(test):
        remark = "There are no test images."
    elif not cells:
        remark = "No column cuts the test images into slices."
    elif not scored:
        remark = f"No slice has both labels and {ENOUGH_PEOPLE} people or more."
    return Slices(cells=cells, worst=min(scored, key=lambda one: one["balanced_accuracy"], default=None), remark=remark)


def largest_slices(cells: Sequence[Slice], most: int) -> dict[str, tuple[list[Slice], int]]:
    """By column, its slices with the most images in the order of the table, and how many slices it has."""
    found = {}
    for column in dict.fromkeys(cell["column"] for cell in cells):
        every = [cell for cell in cells if cell["column"] == column]
        largest = sorted(every, key=lambda cell: -cell["images"])[:most]
        found[column] = [cell for cell in every if cell in largest], len(every)
    return found


def _by_name(names: pd.Series) -> dict[str, Booleans]:
    """Name -> (rows,) whether the row has it; in alphabetical order, `unknown` last."""
    names = names.replace("", UNKNOWN)
    in_order = sorted(names.unique(), key=lambda name: (name == UNKNOWN, name))
    return {name: (names == name).to_numpy() for name in in_order}


def _terciles(measured: pd.Series, decimals: int) -> dict[str, Booleans]:
    """Range -> (rows,) whether the value lies in it; rising, values that are not finite last.

    Equal values stay together, so ties make uneven ranges, or fewer than three. Values are rounded first, so that no
    two ranges share a number as it is printed.
    """
    values = measured.to_numpy(np.float64).round(decimals)
    known = np.isfinite(values)
    edges = np.quantile(values[known], [1 / 3, 2 / 3], method="inverted_cdf")
    third = np.searchsorted(edges, values)
    slices = {}
    for number in np.unique(third[known]):
        rows = known & (third == number)
        low, high = (f"{bound:.{decimals}f}" for bound in (values[rows].min(), values[rows].max()))
        slices[low if low == high else f"{low} to {high}"] = rows
    return slices if known.all() else {**slices, UNKNOWN: ~known}


def _score_slice(rows: pd.DataFrame, column: str, value: str, resamples: int) -> Slice:
    units = bootstrap_units(rows)
    female, right = is_female(rows), (rows["label"] == rows["prediction"]).to_numpy()
    images = np.zeros((units.max() + 1, 4), dtype=np.int64)
    np.add.at(images, (units, 2 * ~female + ~right), 1)

    # The scores cannot tell people with the same counts apart, and the sum of the weights of each kind of them follows
    # the gamma distribution. So this is the bootstrap of `bootstrap.py` at a fraction of its cost.
    kinds, people = np.unique(images, axis=0, return_counts=True)
    rng = np.random.default_rng(SEED)  # anew for each slice, so that one more column changes none of the others
    drawn = rng.standard_gamma(people, size=(resamples, len(kinds))) @ kinds
    values, draws = _recalls_of(images.sum(axis=0, keepdims=True)), _recalls_of(drawn)

    remark = next((f"There is no {label} image." for label in absent_labels(female)), None)
    infinite = ~np.isfinite(p_female_of(rows))
    if infinite.any():
        remark = f"{infinite.sum()} of {len(rows)} probabilities are not finite."

    labels = count_people(units, female, ~female)
    shares = {"recall_FEMALE": labels[:1], "recall_MALE": labels[1:], "balanced_accuracy": labels, "recall_gap": labels}

    def found(name: str) -> Estimate:
        value = np.nan if infinite.any() else values[name][0]
        return estimate(value, draws[name], len(images), remark, shares[name])

    return Slice(
        column=column,
        value=value,
        images=len(rows),
        identities=known_people(rows),
        balanced_accuracy=found("balanced_accuracy"),
        recall_FEMALE=found("recall_FEMALE"),
        recall_MALE=found("recall_MALE"),
        recall_gap=_doubled(found("recall_gap")),
        few=len(images) < ENOUGH_PEOPLE,
    )


def _recalls_of(images: NDArray[np.int64]) -> dict[str, Numbers]:
    """Scores of the decisions from counts, see `count_scores`, and the difference of the recalls as a share."""
    scores = count_scores(images.astype(np.float64))
    return {**scores, "recall_gap": (1 + scores["recall_MALE"] - scores["recall_FEMALE"]) / 2}


def _doubled(share: Estimate) -> Estimate:
    """The difference of two shares, from -1 to 1, of which this share is half of what is above -1."""
    value, low, high = (None if end is None else 2 * end - 1 for end in (share["value"], share["low"], share["high"]))
    return Estimate(value=value, low=low, high=high, remark=share["remark"])
