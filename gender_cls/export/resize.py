"""The resize of data/resizing.py in operations that exported files have: the same bytes, for crops of any size."""

from typing import NamedTuple

import torch
from torch import Tensor

from gender_cls.config.data import ResizeMode
from gender_cls.data.input_form import InputForm
from gender_cls.data.pixel_modes import MID_GREY

_UNITS = [2.0**bits for bits in range(23)]
"""What the weights of a pixel may add up to."""


def resize(crop: Tensor, form: InputForm) -> Tensor:
    """A crop (H, W, 3) uint8 of any size -> (1, 3, height, width) uint8, with the bytes of `resize_into`.

    All that depends on the size of the crop is computed with tensors, so that one graph serves every size.
    """
    height, width = (torch.scalar_tensor(size, dtype=torch.float64) for size in crop.shape[:2])
    down, across = _fit(height, width, form)
    columns, filled_columns = _resize_lines(crop.flatten(1).T.reshape(crop.shape[1], -1), across, form.width)
    lines, filled_lines = _resize_lines(columns.reshape(form.width * 3, -1).T, down, form.height)
    pixels = lines.unflatten(1, (form.width, 3)).permute(2, 0, 1)
    if form.mode is ResizeMode.letterbox:
        pixels = torch.where(filled_lines[:, None] & filled_columns, pixels, MID_GREY)
    return pixels.unsqueeze(0)


class _Part(NamedTuple):
    """The part of one side that is kept, and where it comes to lie: float64 tensors of whole pixels."""

    kept: Tensor  # its length
    size: Tensor  # its length after resizing
    begin: Tensor  # where it begins in the crop
    padding: Tensor  # where it begins in the result


def _fit(height: Tensor, width: Tensor, form: InputForm) -> tuple[_Part, _Part]:
    """What `data.resizing._fit` computes, along the height and along the width."""
    targets = torch.full_like(height, form.height), torch.full_like(width, form.width)
    scales = targets[0] / height, targets[1] / width  # of tensors, because torch rounds a number / a tensor twice

    def part(native: Tensor, target: Tensor) -> _Part:
        zero = torch.zeros_like(native)
        if form.mode is ResizeMode.letterbox:
            size = (native * torch.minimum(*scales)).round().clamp(min=2)
            return _Part(native, size, begin=zero, padding=((target - size) / 2).floor())
        if form.mode is ResizeMode.crop:
            kept = (target / torch.maximum(*scales)).round().clamp(min=1)
            return _Part(kept, target, begin=((native - kept) / 2).floor(), padding=zero)
        return _Part(native, target, begin=zero, padding=zero)

    return part(height, targets[0]), part(width, targets[1])


def _resize_lines(lines: Tensor, part: _Part, target: int) -> tuple[Tensor, Tensor]:
    """Resize along the first dimension, as torch's kernel for bytes does (UpSampleKernelAVXAntialias.h).

    The weights are rounded to whole numbers of at most 15 bits, and the result to bytes.

    Args:
        lines: (source, N) uint8.

    Returns:
        (target, N) uint8, and which lines of it are not padding: (target,) bool.
    """
    to = torch.arange(target, dtype=torch.float64) - part.padding
    filled = (to >= 0) & (to < part.size)
    # Each line is made of those in a triangle around its centre; when enlarging, of the two nearest.
    scale = part.kept / part.size
    radius, centre = scale.clamp(min=1), scale * (to + 0.5)
    taps = (2 * radius.ceil() + 1).to(torch.int64).item()
    near = (centre - radius + 0.5).floor()[:, None] + torch.arange(taps, dtype=torch.float64)
    weights = (1 - ((near - centre[:, None] + 0.5) * (1 / radius)).abs()).clamp(min=0)
    weights = torch.where(filled[:, None] & (near >= 0) & (near < part.kept), weights, 0)
    weights = weights / torch.where(filled, weights.sum(dim=1), 1)[:, None]
    units = torch.tensor(_UNITS, dtype=torch.float64)
    unit = torch.where(weights.max() * units + 0.5 < 2**15, units, 1).max()
    weights = (weights * unit + 0.5).floor().to(torch.int32)

    index = part.begin + near.clamp(min=0).minimum(part.kept - 1)
    taken = lines.index_select(0, index.flatten().to(torch.int64)).unflatten(0, (target, -1)).to(torch.int32)
    sums = (weights[:, None, :] @ taken).squeeze(1).double()
    return ((sums + unit / 2) / unit).floor().clamp(max=255).to(torch.uint8), filled
