"""`explanations/pictures/`: the maps of one image and class in two files, a strip to look at and the numbers."""

import contextlib
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

SUBFOLDER = "explanations/pictures"
STRIP_HEIGHT = 192  # pixels
KEPT_HEIGHT = 64  # pixels of the maps as numbers; no page shows more


def write_image_maps(folder: Path, paths: Sequence[str], images: Tensor, attribution: Attribution) -> list[str]:
    """Write a strip (.webp) and the `densities` (.npz) of each image.

    Args:
        folder: of `explanations.csv`.
        paths: N, of the images.
        images: (N, 3, H, W), uint8.

    Returns:
        The names of the strips relative to `folder`.
    """
    with contextlib.suppress(FileNotFoundError):  # writing says that `folder` is gone
        (folder / SUBFOLDER).parent.mkdir(exist_ok=True)
    shown = [(scaled(values), method.signed) for method, values in attribution.maps.items()]
    kept = {method.value: half_precision(densities(values)) for method, values in attribution.maps.items()}
    strips = []
    for index, path in enumerate(paths):
        columns = [(values[index].numpy(), signed) for values, signed in shown]
        strip = webp_bytes(Image.fromarray(map_strip(images[index].numpy(), columns, STRIP_HEIGHT)))
        numbers = BytesIO()
        np.savez_compressed(numbers, **{method: maps[index] for method, maps in kept.items()})
        target = CLASSES[int(attribution.targets[index])]
        name = f"{SUBFOLDER}/{hashlib.sha256(path.encode()).hexdigest()[:16]}_{target}"
        write_atomically(folder / f"{name}.npz", numbers.getvalue())
        write_atomically(folder / f"{name}.webp", strip)
        strips.append(f"{name}.webp")
    return strips


def read_image_maps(folder: Path, strip: str) -> dict[str, NDArray[np.float32]]:
    """The `densities` that belong to a strip, by method, (h, w) each.

    Args:
        folder: of `explanations.csv`.
        strip: its name in the column `picture`.

    Raises:
        GenderClsError: the file is missing or damaged.
    """
    file = (folder / strip).with_suffix(".npz")
    try:
        with np.load(file, allow_pickle=False) as content:
            return {method: content[method].astype(np.float32) for method in content}
    except (OSError, *DAMAGED):
        raise GenderClsError(
            f"{file} is missing or damaged: remove {folder / 'explanations.csv'} and evaluate the run again."
        ) from None


def densities(maps: Tensor) -> NDArray[np.float32]:
    """Maps (N, H, W) shrunk to at most KEPT_HEIGHT and divided by their mean magnitude; all zero stays so."""
    shrink = max(1.0, maps.shape[1] / KEPT_HEIGHT)
    small = adaptive_avg_pool2d(maps, (round(maps.shape[1] / shrink), max(1, round(maps.shape[2] / shrink))))
    even = small.abs().mean(dim=(1, 2), keepdim=True)
    return (small / torch.where(even > 0, even, 1)).numpy()
