"""Small tables of predictions, made up for a test."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

NAMES = {"F": "FEMALE", "M": "MALE"}


def table_of(
    labels: str, answers: Any, identities: Sequence[str] | None = None, *, images_each: int = 1, **columns: Any
) -> pd.DataFrame:
    """One row per letter of the labels, F or M.

    Args:
        answers: probabilities of FEMALE, or letters, which stand for 0.9 and 0.2.
        identities: names of the people; without them `images_each` neighbouring rows are one person.
        columns: more of the table.
    """
    if isinstance(answers, str):
        answers = [0.9 if letter == "F" else 0.2 for letter in answers]
    rows = range(len(labels))
    table = pd.DataFrame(
        {
            "path": [f"{row:03d}.png" for row in rows],
            "label": [NAMES[letter] for letter in labels],
            "identity": identities or [f"person {row // images_each}" for row in rows],
        },
        dtype=str,
    )
    return answered(table.assign(**columns), np.asarray(answers, dtype=float))


def answered(table: pd.DataFrame, p_female: NDArray[np.float64]) -> pd.DataFrame:
    """The table with these probabilities."""
    prediction = np.where(p_female >= 0.5, "FEMALE", "MALE")
    return table.assign(p_FEMALE=p_female, p_MALE=1 - p_female, prediction=prediction)


def letters(female: NDArray[np.bool_]) -> str:
    """Labels or answers as letters."""
    return "".join(np.where(female, "F", "M"))
