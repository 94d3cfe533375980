"""Random changes of training images: the same code for one image in the data loader and for a batch on a GPU."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gender_cls.config.train import AugmentConfig
from gender_cls.data import augmentation_operations as operations

REDUCTION = 1.5, 4.0  # how many times smaller an image of low resolution was
BLUR_SIGMA = 0.3, 1.5  # pixels
JPEG_QUALITY = 30, 91  # the last one excluded
ERASED_SHARE = 0.02, 0.2  # of the image's area
ERASED_ASPECT = 0.3, 3.3  # height / width of the rectangle
ERASE_ATTEMPTS = 10  # to draw a rectangle that fits into the image, as in torchvision

Size = tuple[int, int]
"""Height and width in pixels."""

Floats = NDArray[np.float32]


class Step(NamedTuple):
    """An operation that each image undergoes with the same probability."""

    probability: float
    operation: operations.Operation
    numbers: int  # how many random numbers the parameters of one image are made of
    parameters: Callable[[Floats, Size], Floats]  # from (k, numbers) in [0, 1) and the size of the images to (k, P)


class Change(NamedTuple):
    """An operation on some images of a batch."""

    operation: operations.Operation
    rows: Tensor  # (k,) int64, which images
    parameters: Tensor  # (k, P) float32, of each of them


class Augmentation:
    """Changes images, uint8 (B, 3, H, W), in place, with the probabilities and ranges of a configuration.

    The order is that of a camera: geometry, colour, then what a distant or cheap camera loses, then what stands in
    front of the person. Each image has its own random parameters. They come from torch's global CPU generator, so that
    no operation on a GPU has to wait for a value.

    Args:
        config: what to change; its `mixup` and `cutmix` are not applied here.
    """

    def __init__(self, config: AugmentConfig) -> None:
        self.config = config
        angle = math.radians(config.rotate_degrees)
        moves = np.array([angle, config.zoom, config.translate, config.translate], np.float32)
        colours = np.array([config.brightness, config.contrast, config.saturation], np.float32)

        def affine(u: Floats, size: Size) -> Floats:
            angle, zoom, right, down = (moves * (2 * u - 1)).T
            shift = np.rint(size[1] * right), np.rint(size[0] * down)
            return np.array([np.cos(angle) / (1 + zoom), np.sin(angle) / (1 + zoom), *shift]).T

        steps = [
            Step(config.flip, operations.flip, 0, lambda u, _: u),
            Step(config.affine if moves.any() else 0, operations.affine, 4, affine),
            Step(config.rand_augment > 0, operations.rand_augment, 1, lambda u, _: 0 * u + config.rand_augment),
            Step(float(colours.any()), operations.jitter, 3, lambda u, _: 1 + colours * (2 * u - 1)),
            Step(config.grey, operations.grey, 0, lambda u, _: u),
            Step(config.low_resolution, operations.lower_resolution, 1, _small_sizes),
            Step(config.blur, operations.blur, 1, lambda u, _: _scale(u, BLUR_SIGMA)),
            Step(config.jpeg, operations.compress, 1, lambda u, _: np.floor(_scale(u, JPEG_QUALITY))),
            Step(config.erase, operations.erase, 2 * ERASE_ATTEMPTS + 2, _rectangles),
        ]
        self.steps = [step for step in steps if step.probability > 0]
        self._numbers = sum(1 + step.numbers for step in self.steps)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled for spawned loader processes, as the configuration alone: `steps` holds local functions."""
        return Augmentation, (self.config,)

    def __call__(self, images: Tensor) -> Tensor:
        """The same tensor, changed."""
        pixels = images
        changes = self.draw(len(images), (images.shape[2], images.shape[3]))
        for operation, rows, parameters in move_to(images.device, changes):
            if len(rows) == len(images):
                pixels = operation(pixels, parameters)
            else:
                changed = operation(pixels.index_select(0, rows), parameters)
                pixels.index_copy_(0, rows, changed.to(pixels.dtype))
        return operations.copy_pixels(pixels, images)

    def draw(self, count: int, size: Size) -> list[Change]:
        """Random changes of `count` images of this size, on the CPU; without steps that no image undergoes."""
        changes, numbers = [], torch.rand(count, self._numbers).numpy()
        for step in self.steps:
            chances, own, numbers = numbers[:, 0], numbers[:, 1 : 1 + step.numbers], numbers[:, 1 + step.numbers :]
            rows = (chances < step.probability).nonzero()[0]
            if len(rows):
                parameters = step.parameters(own[rows], size).astype(np.float32, copy=False)
                changes.append(Change(step.operation, torch.from_numpy(rows), torch.from_numpy(parameters)))
        return changes


def build_augmentation(config: AugmentConfig) -> Augmentation | None:
    """The augmentation that a configuration asks for; None if it asks for none."""
    augmentation = Augmentation(config)
    return augmentation if augmentation.steps else None


def split_by_device(config: AugmentConfig) -> tuple[AugmentConfig, AugmentConfig]:
    """What the data loader does to each image, and what a GPU then does to the batch.

    RandAugment and JPEG (by Pillow) work on single images on the CPU; where they are on, they come first.
    """
    in_loader = AugmentConfig(rand_augment=config.rand_augment, jpeg=config.jpeg)
    return in_loader, replace(config, rand_augment=0, jpeg=0.0)


def move_to(device: torch.device, changes: list[Change]) -> list[Change]:
    """The changes with their tensors on the device, sent in one piece from pinned memory, so that nothing waits."""
    if device.type == "cpu" or not changes:
        return changes
    tables = [torch.column_stack([change.rows, change.parameters]) for change in changes]
    values = torch.cat([table.flatten() for table in tables])
    pinned = device.type == "cuda"  # elsewhere a copy that does not block may be read too early
    values = (values.pin_memory() if pinned else values).to(device, non_blocking=pinned)
    parts = values.split([table.numel() for table in tables])
    moved = [part.view(table.shape) for part, table in zip(parts, tables, strict=True)]
    return [
        Change(change.operation, rows[:, 0].long(), rows[:, 1:]) for change, rows in zip(changes, moved, strict=True)
    ]


def _scale(u: Floats, limits: tuple[float, float]) -> Floats:
    """Numbers from 0 to 1 -> numbers between the limits."""
    return limits[0] + (limits[1] - limits[0]) * u


def _small_sizes(u: Floats, size: Size) -> Floats:
    """Height and width (k, 2) of images of low resolution."""
    return np.rint(np.array(size, np.float32) / _scale(u, REDUCTION))


def _rectangles(u: Floats, size: Size) -> Floats:
    """Top, left, height and width (k, 4), as v2.RandomErasing draws them: the first attempt that fits, or nothing."""
    area = size[0] * size[1] * _scale(u[:, :ERASE_ATTEMPTS], ERASED_SHARE)
    low, high = ERASED_ASPECT
    aspect = low * (high / low) ** u[:, ERASE_ATTEMPTS:-2]
    sides = np.rint(np.sqrt(np.stack([area * aspect, area / aspect], axis=2)))
    fits = (sides < size).all(axis=2)
    sides = sides[np.arange(len(u)), fits.argmax(axis=1)] * fits.any(axis=1, keepdims=True)
    corners = np.floor(u[:, -2:] * (np.array(size) - sides + 1))
    return np.concatenate([corners, sides], axis=1)
