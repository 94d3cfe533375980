"""Where the cue of an image lies, if its table says so: the columns `cue_left`, `cue_top`, `cue_right`, `cue_bottom`.

A cue is what tells the label, such as the panel of the drawn demo. Where it is known, maps can be tested: they must
point at it. Units are pixels of the upright image, from its left and upper edge; right and bottom are exclusive.
"""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gender_cls.data.columns import CUE_BOX
from gender_cls.errors import GenderClsError, visible


def cue_boxes(table: pd.DataFrame) -> NDArray[np.float64]:
    """(N, 4): left, top, right, bottom in pixels of each image, all NaN where the table does not know the cue.

    Args:
        table: with `path`, and all or none of the four columns, as text or numbers.

    Raises:
        GenderClsError: a column is missing, a value is no finite number, or a box is incomplete or empty.
    """
    given = [column for column in CUE_BOX if column in table]
    if not given:
        return np.full((len(table), 4), np.nan)
    if len(given) < len(CUE_BOX):
        lacking = next(column for column in CUE_BOX if column not in table)
        raise GenderClsError(f"The table has the column {given[0]} but no column {lacking}: a cue needs all four.")
    boxes = np.stack([_numbers(table, column) for column in CUE_BOX], axis=1)
    known = ~np.isnan(boxes)
    wrong = known.any(axis=1) & ~(known.all(axis=1) & (boxes[:, :2] < boxes[:, 2:]).all(axis=1))
    for row in np.flatnonzero(wrong):
        raise GenderClsError(
            f"The box of the cue of {table['path'].iloc[row]} has no area or is incomplete ({_written(boxes[row])}): "
            "give left < right and top < bottom, or leave all four cells empty."
        )
    return boxes


def refuse_boxes_outside(table: pd.DataFrame) -> None:
    """Raise GenderClsError if a box is not within its image: it was measured on a picture of another size.

    Args:
        table: with `path`, `width` and `height` in pixels, and all or none of the four columns.
    """
    boxes, sizes = cue_boxes(table), table[["width", "height"]].to_numpy().astype(np.float64)
    for row in np.flatnonzero((boxes[:, :2] < 0).any(axis=1) | (boxes[:, 2:] > sizes).any(axis=1)):
        width, height = sizes[row]
        raise GenderClsError(
            f"The box of the cue of {table['path'].iloc[row]} is not within its image of {width:g}x{height:g} pixels "
            f"(width x height; {_written(boxes[row])}): give pixels of this image, or leave all four cells empty."
        )


def _written(box: NDArray[np.float64]) -> str:
    return ", ".join(
        f"{name} empty" if np.isnan(value) else f"{name}={value:g}" for name, value in zip(CUE_BOX, box, strict=True)
    )


def _numbers(table: pd.DataFrame, column: str) -> NDArray[np.float64]:
    """(N,), NaN where the cell is empty."""
    texts = table[column].astype(str).str.strip()
    empty = table[column].isna() | (texts == "")
    numbers = pd.to_numeric(texts.mask(empty), errors="coerce").to_numpy(np.float64)
    for row in np.flatnonzero(~np.isfinite(numbers) & ~empty.to_numpy()):
        raise GenderClsError(
            f"{column} of {table['path'].iloc[row]} is {visible(texts.iloc[row])}, not a number of pixels: correct it, "
            "or leave it empty."
        )
    return numbers
