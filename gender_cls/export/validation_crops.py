"""The validation crops that exported files are compared on."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from gender_cls.config.data import DataConfig
from gender_cls.data.crops import balanced_sample, read_crops
from gender_cls.data.image_store import ImageSequence, ImageStore
from gender_cls.data.input_form import InputForm
from gender_cls.data.resizing import resize_into
from gender_cls.errors import require

NATIVE_SIZES = 8
"""So many crops of different sizes are given to native files as they are, and the extremes of `_extremes`."""


@dataclass(frozen=True)
class ValidationCrops:
    """Crops of both labels, of different people first."""

    names: list[str]  # paths, as the manifest has them
    images: Tensor  # (N, 3, H, W) uint8, resized as in the run
    native: list[tuple[str, Tensor]]  # name and pixels (3, height, width) uint8


def read_validation_crops(report: pd.DataFrame, images: ImageStore, data: DataConfig, most: int) -> ValidationCrops:
    """Read at most so many of the validation images in a run's table, and some at their native size.

    Raises:
        GenderClsError: there are none, or one cannot be read.
    """
    require(bool((report["split"] == "val").any()), "The run has no validation images that a file can be compared on.")
    rows = balanced_sample(report[report["split"] == "val"], most, data.split_seed)
    names = rows["path"].tolist()
    crops = images.at(names)
    return ValidationCrops(names, read_crops(crops, data).images, [*_native(names, crops)])


def _native(names: list[str], crops: ImageSequence) -> Iterator[tuple[str, Tensor]]:
    sizes = [tuple(crops[row].shape[1:]) for row in range(len(crops))]
    first_of = {size: row for row, size in reversed([*enumerate(sizes)])}
    different = sorted(first_of, key=lambda size: (size[0] * size[1], size))
    for index in np.unique(np.linspace(0, len(different) - 1, NATIVE_SIZES).round().astype(int)):
        row = first_of[different[index]]
        yield names[row], crops[row]
    yield from _extremes(names[0], crops[0])


def _extremes(name: str, crop: Tensor) -> Iterator[tuple[str, Tensor]]:
    """Sizes that crops rarely have, made from one of them."""
    yield f"{name}, its first pixel", crop[:, :1, :1]
    yield f"{name}, its first row", crop[:, :1]
    yield f"{name}, its first column", crop[:, :, :1]
    yield f"{name}, four times as large", crop.repeat_interleave(4, dim=1).repeat_interleave(4, dim=2)


def resized(crop: Tensor, form: InputForm) -> NDArray[np.uint8]:
    """A native crop (3, height, width) as the run resizes it, (H, W, 3)."""
    pixels = torch.empty(form.height, form.width, 3, dtype=torch.uint8)
    resize_into(pixels, crop, form.mode)
    return pixels.numpy()
