"""`explanations/maps.npz`: the maps of all explained test images of a run, kept to be compared with other runs."""

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

LARGEST_FLOAT16 = float(np.finfo(np.float16).max)

DAMAGED = (EOFError, ValueError, KeyError, TypeError, RuntimeError, zipfile.BadZipFile, zlib.error)
"""What numpy and zipfile raise if bytes are missing or wrong."""


@dataclass(frozen=True)
class RunMaps:
    """Maps of the same K images by each method."""

    paths: list[str]  # of the images, as in predictions.csv
    explained: list[str]  # the class that each map explains
    # By method (K, H, W), float32, divided by the mean magnitude of the map: a uniform map is 1 everywhere. A map
    # without evidence is all zero; a map of a network that diverged is NaN.
    maps: dict[str, NDArray[np.float32]]
    boxes: NDArray[np.float64]  # (K, 4), where the crop lies in the map: left, top, right, bottom in pixels


def half_precision(maps: NDArray[np.float32]) -> NDArray[np.float16]:
    """The numbers as files hold them: three significant digits, and nothing above the largest float16."""
    return np.clip(maps, -LARGEST_FLOAT16, LARGEST_FLOAT16).astype(np.float16)


def save_run_maps(file: Path, run_maps: RunMaps) -> None:
    """Write the maps, compressed and in half precision."""
    arrays: dict[str, Any] = {
        "paths": np.array(run_maps.paths, dtype=np.str_),
        "explained": np.array(run_maps.explained, dtype=np.str_),
        "boxes": np.asarray(run_maps.boxes, dtype=np.float64),
        "methods": np.array(list(run_maps.maps), dtype=np.str_),
        **{f"map_{method}": half_precision(maps) for method, maps in run_maps.maps.items()},
    }
    content = BytesIO()
    np.savez_compressed(content, **arrays)
    write_atomically(file, content.getvalue())


def load_run_maps(file: Path) -> RunMaps | None:
    """Read the maps; None if the file does not exist.

    Raises:
        GenderClsError: the file is damaged.
    """
    try:
        stored = BytesIO(file.read_bytes())
    except FileNotFoundError:
        return None
    try:
        with np.load(stored, allow_pickle=False) as content:
            return RunMaps(
                paths=content["paths"].tolist(),
                explained=content["explained"].tolist(),
                maps={name: content[f"map_{name}"].astype(np.float32) for name in content["methods"].tolist()},
                boxes=content["boxes"],
            )
    except DAMAGED:
        raise GenderClsError(f"{file} is damaged: remove it and evaluate the run again.") from None
