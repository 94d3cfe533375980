"""Made-up rows of predict, as its table holds them."""

from typing import Any

import numpy as np
import pandas as pd

WHOLE_NUMBERS = ("frame", "left", "top", "width", "height", "native_height")
TEXTS = ("track", "identity", "camera", "label", "fault", "reason", "known_as")


def rows_of(p_female: Any, **columns: Any) -> pd.DataFrame:
    """One picture each, with this calibrated probability, unless the columns say otherwise."""
    count = len(p_female)
    table = pd.DataFrame({
        "path": np.array([f"/crops/{row}.png" for row in range(count)], dtype=object),
        "calibrated_p_FEMALE": np.asarray(p_female, dtype=float),
    })  # fmt: skip
    for name in WHOLE_NUMBERS:
        table[name] = pd.array([pd.NA] * count, dtype="Int64")
    for name in TEXTS:
        table[name] = np.full(count, "", dtype=object)
    for name, values in columns.items():
        table[name] = pd.array(values, dtype="Int64") if name in WHOLE_NUMBERS else values
    return table
