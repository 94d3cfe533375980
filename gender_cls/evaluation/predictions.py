"""`predictions.csv`: what the network answered for every validation and test image."""

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gender_cls.config.data import CLASSES
from gender_cls.data.csv_text import read_csv_text
from gender_cls.errors import GenderClsError, require, visible
from gender_cls.runs.result_folder import ResultFolder

NUMBERS = ("p_FEMALE", "p_MALE", "native_height", "brightness", "sharpness")
CONCLUDED = ("calibrated_p_FEMALE", "answer")  # they follow from the others; each evaluation writes them anew


def predictions_table(rows: pd.DataFrame, probabilities: NDArray[np.float64]) -> pd.DataFrame:
    """All columns of the rows, then `p_FEMALE`, `p_MALE` and `prediction`, the more probable label.

    Args:
        rows: of the manifest.
        probabilities: (rows, 2) in the order of CLASSES.
    """
    table = rows.reset_index(drop=True)
    for index, name in enumerate(CLASSES):
        table[f"p_{name}"] = probabilities[:, index]
    table["prediction"] = np.array(CLASSES, dtype=object)[probabilities.argmax(axis=1)]
    return table


def answers_hash(predictions: pd.DataFrame) -> str:
    """A hash of the images and their probabilities, by which answers of another network are noticed."""
    digest = hashlib.blake2b("\n".join(predictions["path"]).encode(), digest_size=16)
    digest.update(predictions[[f"p_{name}" for name in CLASSES]].to_numpy(np.float32).tobytes())
    return digest.hexdigest()


def answers_of(folder: ResultFolder) -> pd.DataFrame:
    """The table in the `predictions.csv` of a test; see `read_predictions`.

    Raises:
        GenderClsError: the file is missing or damaged, or holds answers of another network.
    """
    predictions = read_predictions(folder.predictions)
    require(
        folder.status.get("answers_hash") in (None, answers_hash(predictions)),  # earlier versions did not note it
        f"{folder.predictions} holds other answers than the network of this run gave: remove it and evaluate the run "
        "again.",
    )
    return predictions


def read_predictions(file: Path) -> pd.DataFrame:
    """The table as `predictions_table` made it: probabilities to the last bit, names as text, without CONCLUDED.

    Raises:
        GenderClsError: the file is missing or damaged.
    """
    table = read_table(
        file,
        required=("path", "label", "identity", "split", "p_FEMALE", "p_MALE", "prediction"),
        is_number=NUMBERS.__contains__,
        written_by=f"python -m gender_cls.evaluate run={file.parent}",
        again="evaluate the run again",
    )
    for column, allowed in (("label", CLASSES), ("split", ("val", "test")), ("prediction", CLASSES)):
        for line in np.flatnonzero(~table[column].isin(allowed)) + 2:
            raise GenderClsError(
                f"{file} is damaged or of other data: in line {line} {column} is {visible(table[column][line - 2])}, "
                f"not {' or '.join(allowed)}. Remove it and evaluate the run again."
            )
    return table.drop(columns=[name for name in CONCLUDED if name in table])


def read_table(
    file: Path, *, required: Sequence[str], is_number: Callable[[str], bool], written_by: str, again: str
) -> pd.DataFrame:
    """A CSV file with names as text and numbers to the last bit; an empty number is NaN.

    Args:
        required: columns that must be there.
        is_number: whether the column of that name holds numbers.
        written_by: the command that writes the file, for the message if it is missing.
        again: what to do after a damaged file was removed, for the message.

    Raises:
        GenderClsError: the file is missing or damaged.
    """
    try:
        table = read_csv_text(file)
    except FileNotFoundError:
        raise GenderClsError(f"{file} is missing: {written_by} makes it.") from None
    except (ValueError, OSError) as error:  # pandas' parser errors are ValueErrors
        raise GenderClsError(f"{file} cannot be read as CSV ({error}): remove it and {again}.") from None
    for column in required:
        if column not in table:
            raise GenderClsError(f"{file} has no column '{column}': remove it and {again}.")
    try:
        for name in filter(is_number, table.columns.astype(str)):
            table[name] = [float(text or "nan") for text in table[name].to_numpy(object)]
    except ValueError as error:
        raise GenderClsError(f"{file} is damaged ({error}): remove it and {again}.") from None
    return table
