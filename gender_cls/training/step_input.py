"""What a step of training or validation gets."""

from typing import NamedTuple

from torch import Tensor

PixelBatch = tuple[Tensor, Tensor]
"""Images (B, 3, H, W) uint8 and labels (B,) int64; images at the end without a label only fill up the batch."""


class FeatureBatch(NamedTuple):
    """What a frozen backbone computed from the images of a batch."""

    features: Tensor  # (B, ...) floats, the input of the head
    labels: Tensor  # (B,) int64, or fewer, as in PixelBatch
