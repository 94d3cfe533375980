"""The resize of data/resizing.py as part of a network: the same bytes, for crops of any size."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from gender_cls.config.data import ResizeMode
from gender_cls.data.input_form import InputForm
from gender_cls.data.pixel_modes import MID_GREY


class Resize(nn.Module):
    """A crop (H, W, 3) uint8 of any size -> (1, 3, height, width) uint8, as `data.resizing.resize_into` resizes it.

    All that depends on the size of the crop is computed with tensors, so that one graph serves every size.
    """

    def __init__(self, form: InputForm) -> None:
        super().__init__()
        self.form = form
        self.units = nn.Buffer(2 ** torch.arange(23, dtype=torch.float64), persistent=False)

    def forward(self, crop: Tensor) -> Tensor:
        """Return the resized crop as a batch of one."""
        form = self.form
        height, width = (torch.scalar_tensor(size, dtype=torch.float64) for size in crop.shape[:2])
        down, across = _fit(height, width, form)
        # float64, because the sums reach 2 ** 30, and float32 holds whole numbers to 2 ** 24 only.
        rows = crop.permute(2, 0, 1).double()
        weights, unit, inside_row = self._weights(across, crop.shape[1], form.width)
        rows = _to_bytes(rows @ weights.T, unit)
        weights, unit, inside_column = self._weights(down, crop.shape[0], form.height)
        pixels = _to_bytes(weights @ rows, unit)
        if form.mode is ResizeMode.letterbox:
            pixels = torch.where(inside_column[:, None] & inside_row, pixels, MID_GREY)
        return pixels.to(torch.uint8).unsqueeze(0)

    def _weights(self, part: "_Part", source: int, target: int) -> tuple[Tensor, Tensor, Tensor]:
        """How much of each pixel of the crop is in each pixel of the result, along one side.

        As torch's kernel for bytes does, they are rounded to whole numbers, with as many bits as fit into 16.

        Returns:
            The weights (target, source), whole numbers in float64; what they add up to; and which pixels of the
            result are not padding (target,).
        """
        to = torch.arange(target, dtype=torch.float64) - part.padding
        of = torch.arange(source, dtype=torch.float64) - part.begin
        inside = (to >= 0) & (to < part.size)
        scale = part.kept / part.size
        centre = scale * (to + 0.5)
        # A triangle over the pixels that make one pixel of the result; when enlarging, over its two neighbours.
        distance = (of - centre[:, None] + 0.5) * (1 / scale.clamp(min=1))
        weights = (1 - distance.abs()).clamp(min=0)
        weights = torch.where(inside[:, None] & (of >= 0) & (of < part.kept), weights, 0)
        weights = weights / torch.where(inside, weights.sum(dim=1), 1)[:, None]
        unit = torch.where(weights.max() * self.units + 0.5 < 2**15, self.units, 1).max()
        return (weights * unit + 0.5).floor(), unit, inside


class _Part(NamedTuple):
    """Which pixels of one side are kept, and where they come to lie; float64 tensors of whole numbers."""

    kept: Tensor  # how many
    size: Tensor  # how many they become
    begin: Tensor  # the first of them in the crop
    padding: Tensor  # before them in the result


def _fit(height: Tensor, width: Tensor, form: InputForm) -> tuple[_Part, _Part]:
    """`data.resizing._fit` with tensors: along the height and along the width."""
    targets = torch.full_like(height, form.height), torch.full_like(width, form.width)
    scales = targets[0] / height, targets[1] / width  # not number / tensor: torch rounds that twice

    def part(native: Tensor, target: Tensor) -> _Part:
        none = torch.zeros_like(native)
        if form.mode is ResizeMode.letterbox:
            size = (native * torch.minimum(*scales)).round().clamp(min=2)
            return _Part(native, size, begin=none, padding=((target - size) / 2).floor())
        if form.mode is ResizeMode.crop:
            kept = (target / torch.maximum(*scales)).round().clamp(min=1)
            return _Part(kept, target, begin=((native - kept) / 2).floor(), padding=none)
        return _Part(native, target, begin=none, padding=none)

    return part(height, targets[0]), part(width, targets[1])


def _to_bytes(sums: Tensor, unit: Tensor) -> Tensor:
    """Divide sums of weighted bytes by the sum of the weights, rounded half up to bytes; exact in float64."""
    return ((sums + unit / 2) / unit).floor().clamp(0, 255)
