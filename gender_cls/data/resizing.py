"""From a decoded image to the size that the network takes, as RGB uint8, one image at a time."""

from typing import NamedTuple

import torch
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as F

from gender_cls.config.data import ResizeMode
from gender_cls.data.pixel_modes import MID_GREY


def resize_into(pixels: Tensor, image: Tensor, mode: ResizeMode) -> None:
    """Write an image of any size, uint8 (3, H, W), into `pixels`, by antialiased bilinear interpolation.

    `stretch` changes the aspect ratio. `letterbox` keeps it and pads both sides equally with mid-grey; an odd pixel
    goes to the right or the bottom. `crop` keeps it and cuts both sides equally, to the nearest pixel of the source.

    Args:
        pixels: (height, width, 3) uint8 and contiguous, such as one image of a batch.
    """
    fit = _fit((image.shape[1], image.shape[2]), (pixels.shape[0], pixels.shape[1]), mode)
    # Cut before resizing, because an image 1 pixel wide would first grow to 128 times its height.
    kept = image.permute(1, 2, 0)[fit.top : fit.top + fit.height, fit.left : fit.left + fit.width]
    left, top, _, _ = fit.padding
    if any(fit.padding):
        pixels.fill_(MID_GREY)
        pixels = pixels[top : top + fit.size[0], left : left + fit.size[1]]
    if fit.size == (fit.height, fit.width):
        pixels.copy_(kept)
    elif _RESIZES_BYTES and pixels.is_contiguous():
        # The kernel that torchvision's `resize` calls, without a second copy of the result. The batch dimension comes
        # before the permutation, so that its stride shows the kernel that channels are last.
        source, target = (tensor.unsqueeze(0).permute(0, 3, 1, 2) for tensor in (kept.contiguous(), pixels))
        torch.ops.aten._upsample_bilinear2d_aa.out(source, fit.size, False, None, None, out=target)
    else:
        resized = F.resize(kept.permute(2, 0, 1), list(fit.size), InterpolationMode.BILINEAR, antialias=True)
        pixels.copy_(resized.permute(1, 2, 0))


_RESIZES_BYTES = torch.backends.cpu.get_cpu_capability() in ("AVX2", "AVX512")
"""On other processors some versions of torchvision resize in float32, and give other pixels."""


def place_in_input(native: tuple[int, int], size: tuple[int, int], mode: ResizeMode) -> tuple[float, ...]:
    """Where `resize_into` puts a whole image of `native` (height, width): left, top, right, bottom in pixels.

    This box lies inside the input for `letterbox`, beyond it for `crop`, and is the input itself for `stretch`.
    """
    fit = _fit(native, size, mode)
    across, down = fit.size[1] / fit.width, fit.size[0] / fit.height
    left, top = fit.padding[0] - fit.left * across, fit.padding[1] - fit.top * down
    return left, top, left + native[1] * across, top + native[0] * down


class _Fit(NamedTuple):
    """How an image is fitted into the input."""

    height: int  # of the part of the image that is kept
    width: int
    size: tuple[int, int]  # (height, width) of that part after resizing
    top: int = 0  # where it begins in the image
    left: int = 0
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)  # left, top, right, bottom


def _fit(native: tuple[int, int], target: tuple[int, int], mode: ResizeMode) -> _Fit:
    height, width = native
    if mode is ResizeMode.letterbox:
        scale = min(target[0] / height, target[1] / width)
        # Never 1: torch's uint8 kernel returns wrong pixels when its output is 1 wide (seen in torch 2.15).
        size = max(2, round(height * scale)), max(2, round(width * scale))
        rows, columns = target[0] - size[0], target[1] - size[1]
        padding = columns // 2, rows // 2, columns - columns // 2, rows - rows // 2
        return _Fit(height, width, size, padding=padding)
    if mode is ResizeMode.crop:
        scale = max(target[0] / height, target[1] / width)
        kept = max(1, round(target[0] / scale)), max(1, round(target[1] / scale))
        return _Fit(*kept, target, top=(height - kept[0]) // 2, left=(width - kept[1]) // 2)
    return _Fit(height, width, target)
