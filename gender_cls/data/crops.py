"""A few crops at once, chosen and read to be explained."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from gender_cls.config.data import CLASSES, DataConfig
from gender_cls.data.image_store import ImageSequence
from gender_cls.data.resizing import place_in_input, resize_into


@dataclass(frozen=True)
class Crops:
    """Crops as the network sees them."""

    images: Tensor  # (N, 3, H, W) uint8
    # (N, 4): left, top, right, bottom of the whole native crop in pixels of `images`; outside of them if it was cut
    boxes: NDArray[np.float64]
    cues: NDArray[np.float64]  # (N, 4): the same for the box of the cue; NaN where none is known


def read_crops(images: ImageSequence, data: DataConfig, cues: NDArray[np.float64] | None = None) -> Crops:
    """The images resized, not augmented, in their order.

    Args:
        cues: (N, 4), from `cue_boxes`; None if no image has one.

    Raises:
        UnreadableError: a file that has to be read is missing or not an image.
    """
    size = (data.image_size[0], data.image_size[1])
    pixels, boxes = torch.empty((len(images), *size, 3), dtype=torch.uint8), np.empty((len(images), 4))
    scales = np.empty((len(images), 2))  # across and down
    for row, into in enumerate(pixels):
        native = images[row]
        resize_into(into, native, data.resize_mode)
        boxes[row] = place_in_input((native.shape[1], native.shape[2]), size, data.resize_mode)
        scales[row] = (boxes[row, 2:] - boxes[row, :2]) / (native.shape[2], native.shape[1])
    native_cues = np.full((len(images), 4), np.nan) if cues is None else cues
    places = np.tile(boxes[:, :2], 2) + native_cues * np.tile(scales, 2)
    return Crops(pixels.permute(0, 3, 1, 2).contiguous(), boxes, places)


def balanced_sample(table: pd.DataFrame, images: int, seed: int) -> pd.DataFrame:
    """Some rows of a table: equally many of each label, different people first, the same for the same seed.

    Args:
        table: with `label` and `group`.
        images: how many; fewer when the table is smaller.
    """
    shuffled = table.iloc[np.random.default_rng(seed).permutation(len(table))]
    repeats = shuffled.groupby("group", sort=False).cumcount().sort_values(kind="stable")
    label = pd.Categorical(table["label"].loc[repeats.index], CLASSES)
    order = pd.DataFrame({"label": label}, index=repeats.index).dropna()
    order["turn"] = order.groupby("label", observed=True).cumcount()
    return table.loc[order.sort_values(["turn", "label"]).index[:images]]
