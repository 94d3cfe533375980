"""The tables of PETA as published, for a few images that nobody opens."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from helpers.importing import cell
from scipy.io import savemat

NAMES = ["personalLess30", "carryingBackpack", "personalMale", "carryingNothing", "personalFemale"]
PEOPLE = 20
IMAGES = 3 * PEOPLE


def peta_mat(root: Path, lines: dict[int, list[int]] | None = None, people: Sequence[int] | None = None) -> Path:
    """Three images each of 20 people, even ones female; 10 of 3DPeS, 10 of TownCentre. `lines` replaces attributes."""
    person = np.repeat(np.arange(1, PEOPLE + 1), 3)
    female = person % 2 == 0
    attributes = np.stack([female, ~female, ~female, female, female], axis=1).astype(int)
    for row, values in (lines or {}).items():
        attributes[row] = values
    columns = [np.arange(1, IMAGES + 1), person if people is None else np.array(people)]
    columns += [np.where(person <= 10, 1, 9), (person - 1) % 10 + 1]
    order = np.random.default_rng(0).permutation(IMAGES) + 1
    parts = {"train": order[:30, None], "val": order[30:36, None], "test": order[36:, None]}
    mat: dict[str, Any] = {
        "data": np.concatenate([np.stack(columns, axis=1), attributes], axis=1).astype(np.uint16),
        "attribute": cell(NAMES),
        "selected_attribute": np.array([[5, 7]]),
        "partion_attribute": cell([{"train": [[1]], "val": [[2]], "test": [[3]]}, *[parts] * 4]),
    }
    for row in range(1, IMAGES + 1):
        (root / "images").mkdir(parents=True, exist_ok=True)
        (root / "images" / f"{row:05d}.png").touch()  # never opened here
    savemat(root / "PETA.mat", {"peta": mat})
    return root
