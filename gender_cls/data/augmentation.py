"""Random changes of one training picture, uint8 (3, H, W) to the same shape.

Written out instead of put together from torchvision's transforms, whose conversions and checks cost more than half of
the time at the size of a crop. tests/test_augmentation.py says how far the pixels are from theirs.
"""

import math
from dataclasses import dataclass
from functools import cached_property
from io import BytesIO

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import grid_sample, pad
from torchvision.transforms import v2

from gender_cls.config.data import ResizeMode
from gender_cls.config.train import AugmentConfig
from gender_cls.data.measure import LUMA
from gender_cls.data.transforms import MID_GREY, resize_into

FARTHER = 1.5, 4.0
"""How many times farther away than the real one a camera of low resolution sees the person, from and to."""

BLUR_RADIUS, BLUR_SIGMA = 3, (0.3, 1.5)
"""Pixels on each side of one that a blurred one is made of, and the sigma of their weights in pixels, from and to."""

ERASED_SHARE, ERASED_ASPECT = (0.02, 0.2), (0.3, 3.3)
"""Share of the picture's area that is erased, and height by width of the rectangle, from and to."""

JPEG_QUALITY = (30, 90)


@dataclass(frozen=True)
class Augmentation:
    """What a configuration asks for; `device_augmentation` has the same for a batch on a GPU.

    In the order of a camera: geometry, colour, then what a far or cheap camera loses, then what stands in front of the
    person. All chance comes from torch's global CPU generator. `mixup` and `cutmix` act on batches, not here.
    """

    config: AugmentConfig

    def __call__(self, image: Tensor) -> Tensor:
        """A changed copy, or the picture itself where chance leaves it alone."""
        config = self.config
        if _happens(config.flip):
            image = image.flip(2)
        if (config.rotate_degrees or config.translate or config.zoom) and _happens(config.affine):
            image = _moved(image, config)
        if config.rand_augment:
            image = self._rand_augment(image)
        if config.brightness or config.contrast or config.saturation:  # no hue: it costs more than all the rest
            image = _jittered(image, config)
        if _happens(config.grey):
            image = _luma(image.contiguous().float()).round_().byte().expand(3, -1, -1)
        if _happens(config.low_resolution):
            image = _lower_resolution(image)
        if _happens(config.blur):
            image = _blurred(image, _drawn(*BLUR_SIGMA))
        if _happens(config.jpeg):
            image = _compressed(image, int(torch.randint(JPEG_QUALITY[0], JPEG_QUALITY[1] + 1, ())))
        return self._erase(image) if config.erase else image

    @cached_property
    def _rand_augment(self) -> v2.RandAugment:
        return v2.RandAugment(self.config.rand_augment, magnitude=7, fill=MID_GREY)

    @cached_property
    def _erase(self) -> v2.RandomErasing:
        return v2.RandomErasing(self.config.erase, scale=ERASED_SHARE, ratio=ERASED_ASPECT, value=MID_GREY)


def build_augmentation(config: AugmentConfig) -> Augmentation | None:
    """What changes one training picture; None when all is off."""
    moves = config.affine and (config.rotate_degrees or config.translate or config.zoom)
    colours = config.brightness or config.contrast or config.saturation or config.grey
    loses = config.low_resolution or config.blur or config.jpeg or config.erase
    return Augmentation(config) if config.flip or moves or config.rand_augment or colours or loses else None


def _happens(probability: float) -> bool:
    return probability > 0 and torch.rand(()).item() < probability


def _drawn(low: float, high: float) -> float:
    return torch.empty(()).uniform_(low, high).item()


def _moved(image: Tensor, config: AugmentConfig) -> Tensor:
    """Turned, enlarged and shifted by whole pixels; mid-grey where nothing was."""
    height, width = image.shape[1:]
    turn = math.radians(_drawn(-config.rotate_degrees, config.rotate_degrees))
    down, across = (round(_drawn(-config.translate * side, config.translate * side)) for side in (height, width))
    scale = _drawn(1 - config.zoom, 1 + config.zoom)
    cosine, sine = math.cos(turn) / scale, math.sin(turn) / scale
    # From where each pixel comes, in pixels from the centre: back by the shift, then turned and scaled.
    x, y = (torch.arange(side) - (side - 1) / 2 - shift for side, shift in ((width, across), (height, down)))
    grid = torch.empty((1, height, width, 2))  # in halves of a side, as torch has it
    grid[0, :, :, 0] = 2 / width * (cosine * x) + (2 / width * sine * y).unsqueeze(1)
    grid[0, :, :, 1] = (2 / height * cosine * y).unsqueeze(1) - 2 / height * sine * x
    pixels = image.contiguous().float().sub_(MID_GREY).unsqueeze(0)  # so that the zeros of beyond are mid-grey
    moved = grid_sample(pixels, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    return moved.squeeze(0).add_(MID_GREY).round_().byte()


def _jittered(image: Tensor, config: AugmentConfig) -> Tensor:
    """Brightness, contrast and saturation in random order, each times something around 1."""
    pixels = image.contiguous().float()
    for which in torch.randperm(3).tolist():
        most = (config.brightness, config.contrast, config.saturation)[which]
        if most:
            factor = _drawn(max(0.0, 1 - most), 1 + most)
            luma = _luma(pixels) if which else None
            pixels.mul_(factor)
            if luma is not None:  # contrast is the distance from the mean luma, saturation from each pixel's own
                pixels.add_(luma.mean() if which == 1 else luma, alpha=1 - factor)
            pixels.clamp_(0, 255)
    return pixels.round_().byte()


def _luma(pixels: Tensor) -> Tensor:
    """(H, W) of (3, H, W) float."""
    red, green, blue = pixels
    return (red * LUMA[0]).add_(green, alpha=LUMA[1]).add_(blue, alpha=LUMA[2])


def _lower_resolution(image: Tensor) -> Tensor:
    """As a camera farther away sees the person."""
    height, width = image.shape[1:]
    factor = _drawn(*FARTHER)
    small = torch.empty((round(height / factor), round(width / factor), 3), dtype=torch.uint8)
    resize_into(small, image, ResizeMode.stretch)
    large = torch.empty((height, width, 3), dtype=torch.uint8)
    resize_into(large, small.permute(2, 0, 1), ResizeMode.stretch)
    return large.permute(2, 0, 1)


def _blurred(image: Tensor, sigma: float) -> Tensor:
    """By a Gaussian, down and across one after the other; the border is mirrored."""
    weights = [math.exp(-0.5 * (offset / sigma) ** 2) for offset in range(-BLUR_RADIUS, BLUR_RADIUS + 1)]
    pixels = pad(image.contiguous().float(), [BLUR_RADIUS] * 4, mode="reflect")
    for axis in (1, 2):
        length = pixels.shape[axis] - 2 * BLUR_RADIUS
        blurred = pixels.narrow(axis, 0, length) * (weights[0] / sum(weights))
        for offset, weight in enumerate(weights[1:], 1):
            blurred.add_(pixels.narrow(axis, offset, length), alpha=weight / sum(weights))
        pixels = blurred
    return pixels.round_().byte()


def _compressed(image: Tensor, quality: int) -> Tensor:
    """Through JPEG by Pillow; torchvision's codecs are deprecated and warn."""
    file = BytesIO()
    Image.fromarray(image.permute(1, 2, 0).numpy()).save(file, "JPEG", quality=quality)
    return torch.from_numpy(np.array(Image.open(file, formats=("JPEG",)))).permute(2, 0, 1)
