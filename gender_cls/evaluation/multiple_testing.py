"""Correction of p-values for the number of questions asked."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

SIGNIFICANT = 0.05  # a corrected p-value below it is significant


def holm(p_values: ArrayLike) -> NDArray[np.float64]:
    """(tests,) p-values after Holm's step-down correction (1979), valid even if the tests depend on each other.

    If those below 0.05 are rejected, the chance of any false rejection is at most 5 %.
    """
    values = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(values, kind="stable")
    stepped = np.maximum.accumulate(values[order] * np.arange(len(values), 0, -1))
    corrected = np.empty_like(values)
    corrected[order] = np.minimum(stepped, 1.0)
    return corrected
