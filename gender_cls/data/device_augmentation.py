"""The random changes of `transforms.build_augmentation` for a whole batch at once, on the device that it lies on.

Each picture has its own random parameters. They are drawn on the CPU, so that which pictures change is known without
asking the device, and no operation here waits for it.
"""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample

from gender_cls.config.train import AugmentConfig
from gender_cls.data.augmentation import BLUR_RADIUS, BLUR_SIGMA, ERASED_ASPECT, ERASED_SHARE, FARTHER
from gender_cls.data.measure import LUMA
from gender_cls.data.transforms import MID_GREY

ATTEMPTS = 10  # torchvision's, at a rectangle that fits into the picture

Operation = Callable[[Tensor, Tensor], Tensor]
"""Floats (k, 3, H, W) with whole values from 0 to 255 and the parameters (k, P) of each picture -> the same shape."""


def divide(config: AugmentConfig) -> tuple[AugmentConfig, AugmentConfig]:
    """What the data loader does to each picture, and what the device does afterwards to the batch.

    RandAugment and JPEG (through Pillow) have no batched form; where they are on, they come first.
    """
    in_loader = AugmentConfig(rand_augment=config.rand_augment, jpeg=config.jpeg)
    return in_loader, replace(config, rand_augment=0, jpeg=0.0)


class Change(NamedTuple):
    """One operation on some pictures of a batch.

    Attributes:
        operation: what is done.
        rows: (k,) int64, which pictures.
        parameters: (k, P) float32, those of each of them.
    """

    operation: Operation
    rows: Tensor
    parameters: Tensor


class DeviceAugmentation:
    """Augments batches, uint8 (B, 3, H, W), with the probabilities and ranges of `config`.

    In the order of `build_augmentation`. All chance comes from torch's global CPU generator. For the same parameters a
    picture equals torchvision's to one grey level.

    Args:
        config: as `divide` leaves it for the device; its `mixup` and `cutmix` are not applied here.
    """

    def __init__(self, config: AugmentConfig) -> None:
        self.config = config

    def __call__(self, images: Tensor) -> Tensor:
        """A new batch in the layout of the old one."""
        changes = self.draw(len(images), (images.shape[2], images.shape[3]))
        return apply(changes, images) if changes else images

    def draw(self, count: int, size: tuple[int, int]) -> list[Change]:
        """Random changes for `count` pictures of `size` = (height, width), on the CPU; those of no picture are left
        out."""
        config = self.config
        changes: list[Change] = []

        def change(probability: float, operation: Operation, parameters: Tensor) -> None:
            rows = (torch.rand(count) < probability).nonzero().flatten()
            if len(rows):
                changes.append(Change(operation, rows, parameters[rows]))

        none = torch.empty(count, 0)
        if config.flip:
            change(config.flip, flip, none)
        if config.affine:
            change(config.affine, affine, _random_affine(config, count, size))
        if config.brightness or config.contrast or config.saturation:
            ranges = torch.tensor([config.brightness, config.contrast, config.saturation])
            factors = 1 + ranges * (2 * torch.rand(count, 3) - 1)
            change(1.0, jitter, torch.cat([torch.rand(count, 3).argsort(dim=1), factors], dim=1))
        if config.grey:
            change(config.grey, grey, none)
        if config.low_resolution:
            factor = _uniform(count, *FARTHER)[:, None]
            change(config.low_resolution, lower_resolution, (torch.tensor(size) / factor).round())
        if config.blur:
            change(config.blur, blur, _uniform(count, *BLUR_SIGMA)[:, None])
        if config.erase:
            change(config.erase, erase, _random_rectangles(count, size))
        return changes


def apply(changes: list[Change], images: Tensor) -> Tensor:
    """The changes one after the other, computed in float32 whatever autocast says, on uint8 (B, 3, H, W)."""
    with torch.autocast(images.device.type, enabled=False):
        pixels = images.float()
        for operation, rows, parameters in _moved(changes, images.device):
            if len(rows) == len(images):
                pixels = operation(pixels, parameters)
            else:
                pixels.index_copy_(0, rows, operation(pixels.index_select(0, rows), parameters))
        return torch.empty_like(images).copy_(pixels)


def _moved(changes: list[Change], device: torch.device) -> list[Change]:
    """Rows and parameters on the device, sent in two pieces from pinned memory, so that nobody waits."""
    if device.type == "cpu":
        return changes
    rows = torch.cat([change.rows for change in changes])
    parameters = torch.cat([change.parameters.flatten() for change in changes])
    if device.type == "cuda":
        rows, parameters = rows.pin_memory(), parameters.pin_memory()
    pinned = device.type == "cuda"  # elsewhere it may be read too early
    rows, parameters = rows.to(device, non_blocking=pinned), parameters.to(device, non_blocking=pinned)
    of_rows = rows.split([len(change.rows) for change in changes])
    of_parameters = parameters.split([change.parameters.numel() for change in changes])
    return [
        Change(change.operation, some_rows, some.view(change.parameters.shape))
        for change, some_rows, some in zip(changes, of_rows, of_parameters, strict=True)
    ]


def flip(images: Tensor, _: Tensor) -> Tensor:
    """Left and right exchanged."""
    return images.flip(-1)


def affine(images: Tensor, parameters: Tensor) -> Tensor:
    """Rotated clockwise about the centre and scaled, then shifted; bilinear, mid-grey where no pixel is.

    Args:
        parameters: (k, 4): angle in radians, scale, shift to the right and down in pixels.
    """
    height, width = images.shape[2:]
    angle, scale, right, down = parameters.unbind(1)
    cosine, sine = angle.cos() / scale, angle.sin() / scale
    # From the result back to the source, in units of half the picture.
    across = torch.stack([cosine, sine * (height / width), -(cosine * right + sine * down) * (2 / width)], dim=1)
    along = torch.stack([-sine * (width / height), cosine, (sine * right - cosine * down) * (2 / height)], dim=1)
    grid = affine_grid(torch.stack([across, along], dim=1), list(images.shape), align_corners=False)
    moved = grid_sample(images - MID_GREY, grid, align_corners=False)  # so that the zeros of beyond are mid-grey
    return (moved + MID_GREY).round()


def jitter(images: Tensor, parameters: Tensor) -> Tensor:
    """Brightness, contrast and saturation changed in the order of each picture.

    All three blend the picture with something: with black, with its mean grey, with its own grey.

    Args:
        parameters: (k, 6): three places of a permutation of 0 (brightness), 1 (contrast) and 2 (saturation), then the
            factors of these three; 1 changes nothing.
    """
    order, factors = parameters[:, :3].long(), parameters[:, 3:]
    factors = factors.gather(1, order)
    for place in range(3):
        kind, factor = order[:, place, None, None, None], factors[:, place, None, None, None]
        own_grey = _grey(images)
        other = torch.where(kind == 1, own_grey.mean(dim=(1, 2, 3), keepdim=True), own_grey)
        other = torch.where(kind == 0, 0.0, other)
        images = (images * factor + other * (1 - factor)).clamp(0, 255)
    return images.round()


def grey(images: Tensor, _: Tensor) -> Tensor:
    """The brightness in all three channels."""
    return _grey(images).round().repeat(1, 3, 1, 1)


def lower_resolution(images: Tensor, parameters: Tensor) -> Tensor:
    """Reduced and enlarged again by antialiased bilinear interpolation, along each axis by a matrix.

    Args:
        parameters: (k, 2): height and width in between, in pixels, at most what the smallest factor leaves.
    """
    height, width = images.shape[2:]
    rows, columns = parameters.unbind(1)
    most_rows, most_columns = math.ceil(height / FARTHER[0]), math.ceil(width / FARTHER[0])
    for matrix_of_rows, matrix_of_columns in (
        (
            _interpolation(torch.full_like(rows, height), rows, height, most_rows),
            _interpolation(torch.full_like(columns, width), columns, width, most_columns),
        ),
        (
            _interpolation(rows, torch.full_like(rows, height), most_rows, height),
            _interpolation(columns, torch.full_like(columns, width), most_columns, width),
        ),
    ):
        # A half goes up, as in torch's kernel for uint8: enlarging twofold makes many.
        images = (images @ matrix_of_columns.mT[:, None] + 0.5).floor()
        images = (matrix_of_rows[:, None] @ images + 0.5).floor()
    return images


def blur(images: Tensor, parameters: Tensor) -> Tensor:
    """Weighted means of each pixel's surroundings, mirrored at the border.

    Args:
        parameters: (k, 1): sigma of the Gaussian weights in pixels.
    """
    reach = BLUR_RADIUS
    distances = torch.arange(-reach, reach + 1, device=images.device)
    weights = (-((distances / parameters) ** 2) / 2).softmax(dim=1)
    along, across = (_mirrored_band(weights, side) for side in images.shape[2:])
    return (along[:, None] @ (images @ across.mT[:, None])).round()


def erase(images: Tensor, parameters: Tensor) -> Tensor:
    """A rectangle filled with mid-grey.

    Args:
        parameters: (k, 4): its top, left, height and width in pixels.
    """
    top, left, height, width = parameters[:, :, None].unbind(1)
    rows = torch.arange(images.shape[2], device=images.device)
    columns = torch.arange(images.shape[3], device=images.device)
    inside_rows = (rows >= top) & (rows < top + height)
    inside_columns = (columns >= left) & (columns < left + width)
    inside = inside_rows[:, None, :, None] & inside_columns[:, None, None, :]
    return images.masked_fill(inside, MID_GREY)


def _grey(images: Tensor) -> Tensor:
    """(k, 1, H, W)."""
    return images[:, :1] * LUMA[0] + images[:, 1:2] * LUMA[1] + images[:, 2:] * LUMA[2]


def _interpolation(before: Tensor, after: Tensor, most_before: int, most_after: int) -> Tensor:
    """Matrices (k, most_after, most_before) that resize a row of pixels, antialiased, bilinear.

    Args:
        before: (k,) pixels before; what lies beyond them has no weight.
        after: (k,) pixels after; the rows of the matrix beyond them mean nothing.
    """
    scale = (before / after)[:, None, None]
    places = torch.arange(most_after, device=before.device)[:, None] + 0.5
    sources = torch.arange(most_before, device=before.device) + 0.5
    distances = (sources - places * scale).abs() / scale.clamp(min=1)
    weights = (1 - distances).clamp(min=0) * (sources < before[:, None, None])
    return weights / weights.sum(dim=2, keepdim=True).clamp(min=1e-6)


def _mirrored_band(weights: Tensor, side: int) -> Tensor:
    """Matrices (k, side, side) that convolve a row with `weights` (k, an odd number), mirroring it at its ends."""
    reach = weights.shape[1] // 2
    places = torch.arange(side, device=weights.device)
    matrix = weights.new_zeros(len(weights), side, side)
    for tap in range(-reach, reach + 1):
        source = (places + tap).abs()
        source = side - 1 - (side - 1 - source).abs()
        matrix += weights[:, tap + reach, None, None] * (source[:, None] == places)
    return matrix


def _uniform(count: int, least: float, most: float) -> Tensor:
    return least + (most - least) * torch.rand(count)


def _random_affine(config: AugmentConfig, count: int, size: tuple[int, int]) -> Tensor:
    """As v2.RandomAffine draws them; shifts are whole pixels."""
    angle = torch.deg2rad(_uniform(count, -config.rotate_degrees, config.rotate_degrees))
    scale = _uniform(count, 1 - config.zoom, 1 + config.zoom)
    down, right = (_uniform(count, -side * config.translate, side * config.translate).round() for side in size)
    return torch.stack([angle, scale, right, down], dim=1)


def _random_rectangles(count: int, size: tuple[int, int]) -> Tensor:
    """As v2.RandomErasing draws them: the first of some attempts that fits, else none."""
    height, width = size
    area = height * width * _uniform(count * ATTEMPTS, *ERASED_SHARE)
    aspect = _uniform(count * ATTEMPTS, *(math.log(limit) for limit in ERASED_ASPECT)).exp()
    sides = torch.stack([(area * aspect).sqrt(), (area / aspect).sqrt()], dim=1).round().view(count, ATTEMPTS, 2)
    limits = torch.tensor(size)
    fits = (sides < limits).all(dim=2)
    sides = sides[torch.arange(count), fits.int().argmax(dim=1)] * fits.any(dim=1, keepdim=True)
    corners = (torch.rand(count, 2) * (limits - sides + 1)).floor()
    return torch.cat([corners, sides], dim=1)
