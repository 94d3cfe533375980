"""Correction of p-values for the number of questions asked."""

import numpy as np
from numpy.typing import ArrayLike, NDArray


def holm(p_values: ArrayLike) -> NDArray[np.float64]:
    """Holm's step-down correction (Holm 1979), valid however the tests depend on each other.

    Args:
        p_values: (tests,), each from 0 to 1; may be empty.

    Returns:
        (tests,) in the same order: rejecting those below 0.05 makes even one false rejection at most 5 % likely.
    """
    values = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(values, kind="stable")
    stepped = np.maximum.accumulate(values[order] * np.arange(len(values), 0, -1))
    corrected = np.empty_like(values)
    corrected[order] = np.minimum(stepped, 1.0)
    return corrected
