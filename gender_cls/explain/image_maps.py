"""The maps of an image and class as two files: a strip to look at, and numbers."""

import hashlib
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from gender_cls.config.data import CLASSES
from gender_cls.drawing.canvas import webp_bytes
from gender_cls.drawing.map_overviews import map_strip
from gender_cls.errors import GenderClsError
from gender_cls.explain.attribution import Attribution, scaled
from gender_cls.explain.run_maps import DAMAGED, half_precision
from gender_cls.runs.files import write_atomically

PICTURES = "explanations/pictures"
STRIP_HEIGHT = 192  # pixels
KEPT_HEIGHT = 64  # pixels of the maps as numbers: more than any page shows of them


def write_maps(folder: Path, paths: Sequence[str], images: Tensor, attribution: Attribution) -> list[str]:
    """Leave a strip (.webp) and the `densities` (.npz) of each image in PICTURES.

    Args:
        folder: of `explanations.csv`.
        paths: N, of the images.
        images: (N, 3, H, W), uint8.

    Returns:
        The strips' names relative to the folder.
    """
    shown = [(scaled(values), method.signed) for method, values in attribution.maps.items()]
    kept = {method.value: half_precision(densities(values)) for method, values in attribution.maps.items()}
    files = []
    for index, path in enumerate(paths):
        columns = [(values[index].numpy(), signed) for values, signed in shown]
        strip = webp_bytes(Image.fromarray(map_strip(images[index].numpy(), columns, STRIP_HEIGHT)))
        numbers = BytesIO()
        np.savez_compressed(numbers, **{method: maps[index] for method, maps in kept.items()})
        name = f"{hashlib.sha256(path.encode()).hexdigest()[:16]}_{CLASSES[int(attribution.targets[index])]}"
        write_atomically(folder / PICTURES / f"{name}.npz", numbers.getvalue())
        write_atomically(folder / PICTURES / f"{name}.webp", strip)
        files.append(f"{PICTURES}/{name}.webp")
    return files


def read_maps(folder: Path, picture: str) -> dict[str, NDArray[np.float32]]:
    """The `densities` that belong to a strip, by method, (h, w) each.

    Args:
        folder: of `explanations.csv`.
        picture: as it stands there.

    Raises:
        GenderClsError: they are gone or damaged.
    """
    file = (folder / picture).with_suffix(".npz")
    try:
        with np.load(file, allow_pickle=False) as content:
            return {method: content[method].astype(np.float32) for method in content}
    except (OSError, *DAMAGED):
        way_out = f"remove {folder / 'explanations.csv'} and evaluate the run again"
        raise GenderClsError(f"{file} is missing or damaged: {way_out}.") from None


def densities(maps: Tensor) -> NDArray[np.float32]:
    """Maps (N, H, W), at most KEPT_HEIGHT high and in units of an even map: divided by the mean of their magnitude.

    All zero stays so.
    """
    shrink = max(1.0, maps.shape[1] / KEPT_HEIGHT)
    small = adaptive_avg_pool2d(maps, (round(maps.shape[1] / shrink), max(1, round(maps.shape[2] / shrink))))
    even = small.abs().mean(dim=(1, 2), keepdim=True)
    return (small / torch.where(even > 0, even, 1)).numpy()
