"""Maps of a run's test images, kept for comparisons with other runs: `explanations/maps.npz`."""

import zipfile
import zlib
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gender_cls.errors import GenderClsError
from gender_cls.runs.files import write_atomically

LARGEST = float(np.finfo(np.float16).max)

DAMAGED = (EOFError, ValueError, KeyError, TypeError, RuntimeError, zipfile.BadZipFile, zlib.error)
"""What numpy and zipfile raise at bytes that are cut or overwritten."""


@dataclass(frozen=True)
class RunMaps:
    """Maps of the same K images by each method.

    Attributes:
        paths: of the images, as in predictions.csv.
        explained: the class whose logit each map explains.
        maps: by method, (K, H, W), float32, in units of an even map: divided by the mean of its magnitude, so that 1 is
            what an even map has everywhere. All zero where there is no evidence, NaN where the network diverged.
        boxes: (K, 4), where the crop lies in the map: left, top, right, bottom in pixels.
    """

    paths: list[str]
    explained: list[str]
    maps: dict[str, NDArray[np.float32]]
    boxes: NDArray[np.float64]


def half_precision(maps: NDArray[np.float32]) -> NDArray[np.float16]:
    """As they lie in files: three significant digits, and what is too large cut to the largest number there is."""
    return np.clip(maps, -LARGEST, LARGEST).astype(np.float16)


def save_run_maps(file: Path, kept: RunMaps) -> None:
    """Write them, compressed and in half precision."""
    arrays: dict[str, Any] = {
        "paths": np.array(kept.paths, dtype=np.str_),
        "explained": np.array(kept.explained, dtype=np.str_),
        "boxes": np.asarray(kept.boxes, dtype=np.float64),
        "methods": np.array(list(kept.maps), dtype=np.str_),
        **{f"map_{method}": half_precision(maps) for method, maps in kept.maps.items()},
    }
    content = BytesIO()
    np.savez_compressed(content, **arrays)
    write_atomically(file, content.getvalue())


def load_run_maps(file: Path) -> RunMaps | None:
    """Read them; None where the run kept none.

    Raises:
        GenderClsError: the file is damaged.
    """
    try:
        stored = BytesIO(file.read_bytes())
    except FileNotFoundError:
        return None
    try:
        with np.load(stored, allow_pickle=False) as content:
            methods = content["methods"].tolist()
            return RunMaps(
                paths=content["paths"].tolist(),
                explained=content["explained"].tolist(),
                maps={method: content[f"map_{method}"].astype(np.float32) for method in methods},
                boxes=content["boxes"],
            )
    except DAMAGED:
        raise GenderClsError(f"{file} is damaged: remove it and evaluate the run again.") from None
