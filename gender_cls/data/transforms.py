"""From a file to the pixels that the network sees: decode and resize; augmentation.py changes them in training.

Everything here is uint8, (3, height, width), RGB, one picture at a time; the batch is normalised later, on the device.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as F

from gender_cls.config.data import ResizeMode

MID_GREY = 114
"""Fills what no pixel covers: the padding of a letterbox, the corners of a rotation, an erased rectangle."""


def resize(image: Tensor, size: tuple[int, int], mode: ResizeMode) -> Tensor:
    """A picture of any size, uint8 (3, H, W), at `size` = (height, width), by antialiased bilinear interpolation.

    `stretch` changes the aspect ratio. `letterbox` keeps it and pads both sides alike with mid-grey, an odd pixel going
    to the right or the bottom. `crop` keeps it and cuts off both sides alike, to the nearest pixel of the source.
    """
    pixels = torch.empty((*size, 3), dtype=torch.uint8)
    resize_into(pixels, image, mode)
    return pixels.permute(2, 0, 1).contiguous()


def resize_into(pixels: Tensor, image: Tensor, mode: ResizeMode) -> None:
    """Write what `resize` gives into `pixels`, (H, W, 3) uint8 and contiguous: a picture's place in a batch."""
    fit = _fit((image.shape[1], image.shape[2]), (pixels.shape[0], pixels.shape[1]), mode)
    # Cutting before resizing: a picture 1 pixel wide must not grow to 128 times its height first.
    kept = image.permute(1, 2, 0)[fit.top : fit.top + fit.height, fit.left : fit.left + fit.width]
    left, top, _, _ = fit.padding
    if any(fit.padding):
        pixels.fill_(MID_GREY)
        pixels = pixels[top : top + fit.size[0], left : left + fit.size[1]]
    if fit.size == (fit.height, fit.width):
        pixels.copy_(kept)
    elif _RESIZES_BYTES and pixels.is_contiguous():
        # The kernel behind torchvision's `resize`, without a second copy of what it gives. With the batch dimension
        # first, its stride says beyond doubt that channels come last.
        source, target = (tensor.unsqueeze(0).permute(0, 3, 1, 2) for tensor in (kept.contiguous(), pixels))
        torch.ops.aten._upsample_bilinear2d_aa.out(source, fit.size, False, None, None, out=target)
    else:
        picture = F.resize(kept.permute(2, 0, 1), list(fit.size), InterpolationMode.BILINEAR, antialias=True)
        pixels.copy_(picture.permute(1, 2, 0))


_RESIZES_BYTES = torch.backends.cpu.get_cpu_capability() in ("AVX2", "AVX512")
"""Elsewhere torchvision resizes in float32, in some versions, and gives other pixels."""


def place_in_input(native: tuple[int, int], size: tuple[int, int], mode: ResizeMode) -> tuple[float, ...]:
    """Where `resize` puts the whole of a picture of `native` (height, width): left, top, right, bottom in pixels.

    Inside the input for `letterbox`, beyond it for `crop`, the input itself for `stretch`.
    """
    fit = _fit(native, size, mode)
    across, down = fit.size[1] / fit.width, fit.size[0] / fit.height
    left, top = fit.padding[0] - fit.left * across, fit.padding[1] - fit.top * down
    return left, top, left + native[1] * across, top + native[0] * down


class _Fit(NamedTuple):
    """Which part of a picture is kept, at which (height, width), and what is padded: left, top, right, bottom."""

    top: int
    left: int
    height: int
    width: int
    size: tuple[int, int]
    padding: tuple[int, int, int, int]


def _fit(native: tuple[int, int], target: tuple[int, int], mode: ResizeMode) -> _Fit:
    height, width = native
    if mode is ResizeMode.letterbox:
        scale = min(target[0] / height, target[1] / width)
        # Never 1: torch's uint8 kernel returns wrong pixels when its output is 1 wide (seen in torch 2.15).
        size = max(2, round(height * scale)), max(2, round(width * scale))
        below, beside = target[0] - size[0], target[1] - size[1]
        return _Fit(0, 0, height, width, size, (beside // 2, below // 2, beside - beside // 2, below - below // 2))
    if mode is ResizeMode.crop:
        scale = max(target[0] / height, target[1] / width)
        kept = max(1, round(target[0] / scale)), max(1, round(target[1] / scale))
        return _Fit((height - kept[0]) // 2, (width - kept[1]) // 2, *kept, target, (0, 0, 0, 0))
    return _Fit(0, 0, height, width, target, (0, 0, 0, 0))
