"""From a file to the pixels that the network sees: decode, resize, augment (training only).

Everything here is uint8, (3, height, width), RGB, one picture at a time; the batch is normalised later, on the device.
"""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor
from torchvision.transforms import InterpolationMode, v2
from torchvision.transforms.v2 import functional as F

from gender_cls.config import AugmentConfig
from gender_cls.data.pictures import read_picture
from gender_cls.data_config import ResizeMode

MID_GREY = 114
"""Fills what no pixel covers: the padding of a letterbox, the corners of a rotation, an erased rectangle."""

FARTHER = 1.5, 4.0
"""How many times farther away than the real one a camera of low resolution sees the person, from and to."""

BLUR_TAPS, BLUR_SIGMA = 7, (0.3, 1.5)
"""Pixels that a blurred one is made of, along each axis, and the sigma of their weights in pixels, from and to."""

ERASED_SHARE, ERASED_ASPECT = (0.02, 0.2), (0.3, 3.3)
"""Share of the picture's area that is erased, and height by width of the rectangle, from and to."""


def decode(path: Path) -> Tensor:
    """A picture as uint8 (3, H, W), as `read_picture` gives it; torchvision's own decoders are deprecated.

    Raises:
        GenderClsError: the file is missing, empty, truncated or no picture: `Cannot read PATH: REASON.`
    """
    return F.pil_to_tensor(read_picture(path).image)


def resize(image: Tensor, size: tuple[int, int], mode: ResizeMode) -> Tensor:
    """A picture of any size, uint8 (3, H, W), at `size` = (height, width), by antialiased bilinear interpolation.

    `stretch` changes the aspect ratio. `letterbox` keeps it and pads both sides alike with mid-grey, an odd pixel going
    to the right or the bottom. `crop` keeps it and cuts off both sides alike, to the nearest pixel of the source.
    """
    fit = _fit((image.shape[1], image.shape[2]), size, mode)
    # Cutting before resizing: a picture 1 pixel wide must not grow to 128 times its height first.
    image = image[:, fit.top : fit.top + fit.height, fit.left : fit.left + fit.width]
    image = F.resize(image, list(fit.size), interpolation=InterpolationMode.BILINEAR, antialias=True)
    return F.pad(image, list(fit.padding), fill=MID_GREY).contiguous()


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


def build_augmentation(config: AugmentConfig) -> Callable[[Tensor], Tensor] | None:
    """The random changes of one training picture, uint8 (3, H, W) to the same shape; None when all are off.

    In the order of a camera: geometry, colour, then what a far or cheap camera loses, then what stands in front of the
    person. All chance comes from torch's global CPU generator. `mixup` and `cutmix` act on batches, not here.
    `device_augmentation` has the same changes for a batch on a GPU.
    """
    steps: list[v2.Transform] = []
    if config.flip:
        steps.append(v2.RandomHorizontalFlip(config.flip))
    if config.affine and (config.rotate_degrees or config.translate or config.zoom):
        affine = v2.RandomAffine(
            config.rotate_degrees,
            translate=(config.translate, config.translate),
            scale=(1 - config.zoom, 1 + config.zoom),
            interpolation=InterpolationMode.BILINEAR,
            fill=MID_GREY,
        )
        steps.append(v2.RandomApply([affine], config.affine))
    if config.rand_augment:
        steps.append(v2.RandAugment(config.rand_augment, magnitude=7, fill=MID_GREY))
    if config.brightness or config.contrast or config.saturation:  # no hue: it costs more than all the rest
        steps.append(v2.ColorJitter(config.brightness, config.contrast, config.saturation))
    if config.grey:
        steps.append(v2.RandomGrayscale(config.grey))
    if config.low_resolution:
        steps.append(v2.RandomApply([v2.Lambda(_lower_resolution)], config.low_resolution))
    if config.blur:
        steps.append(v2.RandomApply([v2.GaussianBlur(BLUR_TAPS, sigma=BLUR_SIGMA)], config.blur))
    if config.jpeg:  # through Pillow: on tensors v2.JPEG uses the deprecated codecs, which warn
        steps.append(v2.RandomApply([v2.ToPILImage(), v2.JPEG((30, 90)), v2.PILToTensor()], config.jpeg))
    if config.erase:
        steps.append(v2.RandomErasing(config.erase, scale=ERASED_SHARE, ratio=ERASED_ASPECT, value=MID_GREY))
    return v2.Compose(steps) if steps else None


def _lower_resolution(image: Tensor) -> Tensor:
    """As a camera 1.5 to 4 times farther away sees the person."""
    factor = torch.empty(()).uniform_(*FARTHER).item()
    height, width = image.shape[-2:]
    small = F.resize(image, [round(height / factor), round(width / factor)], antialias=True)
    return F.resize(small, [height, width], antialias=True)
