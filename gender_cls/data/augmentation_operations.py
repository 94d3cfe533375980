"""The operations of augmentation, each on a batch of images, on the CPU or a GPU.

They are written out instead of taken from torchvision, whose transforms use one set of parameters for a whole batch,
and whose conversions and checks cost more than half of the time at the size of a crop.
"""

from collections.abc import Callable
from functools import cache
from io import BytesIO

import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import grid_sample, pad
from torchvision.transforms import v2

from gender_cls.config.data import ResizeMode
from gender_cls.data.measure import LUMA
from gender_cls.data.pixel_modes import MID_GREY
from gender_cls.data.resizing import resize_into

_rand_augment = cache(v2.RandAugment)

BLUR_RADIUS = 3  # pixels from the centre of the kernel to its edge

Operation = Callable[[Tensor, Tensor], Tensor]
"""Pixels (k, 3, H, W) and the parameters (k, P) float32 of each image -> changed pixels of the same shape.

Pixels are uint8, or float32 with whole numbers from 0 to 255. An operation may overwrite those that it is given.
"""


def flip(images: Tensor, _: Tensor) -> Tensor:
    """Left and right exchanged."""
    return images.flip(-1)


def affine(images: Tensor, parameters: Tensor) -> Tensor:
    """Rotated clockwise about the centre and scaled, then shifted; bilinear, mid-grey where no pixel is.

    Args:
        parameters: (k, 4): cosine and sine of the angle, both over the scale; shift to the right and down in pixels.
    """
    height, width = images.shape[2:]
    cosine, sine, right, down = parameters[:, :, None].unbind(1)
    # Where each pixel comes from, at first in pixels from the centre, then in halves of a side for grid_sample.
    x = torch.arange(width, device=images.device) - (width - 1) / 2 - right
    y = torch.arange(height, device=images.device) - (height - 1) / 2 - down
    grid = parameters.new_empty(len(images), height, width, 2)
    grid[..., 0] = (cosine * x).mul_(2 / width)[:, None] + (sine * y).mul_(2 / width)[:, :, None]
    grid[..., 1] = (cosine * y).mul_(2 / height)[:, :, None] - (sine * x).mul_(2 / height)[:, None]
    pixels = _to_float(images).sub_(MID_GREY)  # because grid_sample fills with zeros
    return grid_sample(pixels, grid, align_corners=False).add_(MID_GREY).round_()


def rand_augment(images: Tensor, parameters: Tensor) -> Tensor:
    """RandAugment of magnitude 7 of 30, one image after the other; chance comes from torch's global generator.

    Args:
        parameters: (k, 1): number of operations.
    """
    images = images.byte()
    for image, operations in zip(images, parameters[:, 0].tolist(), strict=True):
        image.copy_(_rand_augment(int(operations), magnitude=7, fill=MID_GREY)(image))
    return images


def jitter(images: Tensor, parameters: Tensor) -> Tensor:
    """Saturation, contrast and brightness, as torchvision's ColorJitter, but clipped only once, at the end.

    Without clipping in between, the order of the three does not matter.

    Args:
        parameters: (k, 3): factors of brightness, contrast and saturation; 1 changes nothing.
    """
    brightness, contrast, saturation = parameters[:, :, None, None, None].unbind(1)
    pixels = _to_float(images)
    luma = _luma(pixels)
    # brightness * (contrast * (saturation * pixels + (1 - saturation) * luma) + (1 - contrast) * mean luma)
    rest = luma.mean(dim=(2, 3), keepdim=True) * (brightness * (1 - contrast))
    rest = torch.addcmul(rest, luma, brightness * contrast * (1 - saturation))
    return pixels.mul_(brightness * contrast * saturation).add_(rest).clamp_(0, 255).round_()


def grey(images: Tensor, _: Tensor) -> Tensor:
    """The luma in all three channels."""
    return _luma(_to_float(images)).round_().repeat(1, 3, 1, 1)


def lower_resolution(images: Tensor, parameters: Tensor) -> Tensor:
    """Reduced and enlarged again by antialiased bilinear interpolation, as a more distant camera sees the person.

    Args:
        parameters: (k, 2): height and width of the small image in pixels.
    """
    if images.device.type != "cpu":
        return lower_resolution_by_matrices(images, parameters)
    result = _channels_last_bytes(images)
    for image, (height, width) in zip(result, parameters.int().tolist(), strict=True):
        small = torch.empty((height, width, 3), dtype=torch.uint8)
        resize_into(small, image.permute(2, 0, 1), ResizeMode.stretch)
        resize_into(image, small.permute(2, 0, 1), ResizeMode.stretch)
    return result.permute(0, 3, 1, 2)


def lower_resolution_by_matrices(images: Tensor, parameters: Tensor) -> Tensor:
    """The same to one grey level, for the whole batch at once: each image has its own small size."""
    height, width = images.shape[2:]
    rows, columns = parameters.unbind(1)
    all_rows, all_columns = torch.full_like(rows, height), torch.full_like(columns, width)
    reduce_rows, enlarge_rows = _interpolation(all_rows, rows, height), _interpolation(rows, all_rows, height)
    reduce_columns = _interpolation(all_columns, columns, width)
    enlarge_columns = _interpolation(columns, all_columns, width)
    pixels = images.float()
    with torch.autocast(images.device.type, enabled=False):
        for of_columns, of_rows in ((reduce_columns, reduce_rows), (enlarge_columns, enlarge_rows)):
            # A half goes up, as in torch's kernel for uint8: enlarging twofold gives many halves.
            pixels = (pixels @ of_columns.mT[:, None] + 0.5).floor()
            pixels = (of_rows[:, None] @ pixels + 0.5).floor()
    return pixels


def _interpolation(before: Tensor, after: Tensor, side: int) -> Tensor:
    """Matrices (k, side, side) that resize a line of pixels, antialiased, bilinear.

    Args:
        before: (k,) pixels before, at most `side`; what lies beyond them gets no weight.
        after: (k,) pixels after, at most `side`; rows of the matrix beyond them have no meaning.
    """
    scale = (before / after)[:, None, None]
    pixels = torch.arange(side, device=before.device) + 0.5
    sources, targets = pixels, pixels[:, None]
    distances = (sources - targets * scale).abs() / scale.clamp(min=1)
    weights = (1 - distances).clamp(min=0) * (sources < before[:, None, None])
    return weights / weights.sum(dim=2, keepdim=True).clamp(min=1e-6)


def blur(images: Tensor, parameters: Tensor) -> Tensor:
    """Convolved with a Gaussian, down and then across; the border is mirrored.

    Args:
        parameters: (k, 1): sigma in pixels.
    """
    distances = torch.arange(-BLUR_RADIUS, BLUR_RADIUS + 1, device=images.device)
    weights = (-((distances / parameters) ** 2) / 2).softmax(dim=1)[:, :, None, None, None].unbind(1)
    pixels = pad(_to_float(images), [BLUR_RADIUS] * 4, mode="reflect")
    for axis in (2, 3):
        length = pixels.shape[axis] - 2 * BLUR_RADIUS
        blurred = pixels.narrow(axis, 0, length) * weights[0]
        for offset, weight in enumerate(weights[1:], 1):
            blurred.addcmul_(pixels.narrow(axis, offset, length), weight)
        pixels = blurred
    return pixels.round_()


def compress(images: Tensor, parameters: Tensor) -> Tensor:
    """Through JPEG by Pillow, one image after the other; torchvision's codecs are deprecated.

    Args:
        parameters: (k, 1): quality.
    """
    result = _channels_last_bytes(images)
    for image, quality in zip(result.numpy(), parameters[:, 0].tolist(), strict=True):
        file = BytesIO()
        Image.fromarray(image).save(file, "JPEG", quality=int(quality))
        image[:] = Image.open(file, formats=("JPEG",))
    return result.permute(0, 3, 1, 2)


def erase(images: Tensor, parameters: Tensor) -> Tensor:
    """A rectangle filled with mid-grey.

    Args:
        parameters: (k, 4): its top, left, height and width in pixels.
    """
    if images.device.type != "cpu":
        return erase_by_mask(images, parameters)
    for image, (top, left, height, width) in zip(images, parameters.int().tolist(), strict=True):
        image[:, top : top + height, left : left + width] = MID_GREY
    return images


def erase_by_mask(images: Tensor, parameters: Tensor) -> Tensor:
    """The same for the whole batch at once."""
    top, left, height, width = parameters[:, :, None].unbind(1)
    rows = torch.arange(images.shape[2], device=images.device)
    columns = torch.arange(images.shape[3], device=images.device)
    inside_rows = ((rows >= top) & (rows < top + height))[:, None, :, None]
    inside_columns = ((columns >= left) & (columns < left + width))[:, None, None, :]
    return images.masked_fill(inside_rows & inside_columns, MID_GREY)


def _luma(pixels: Tensor) -> Tensor:
    """Brightness (k, 1, H, W) of float pixels."""
    red, green, blue = pixels[:, :1], pixels[:, 1:2], pixels[:, 2:]
    return (red * LUMA[0]).add_(green, alpha=LUMA[1]).add_(blue, alpha=LUMA[2])


def _to_float(images: Tensor) -> Tensor:
    """Float32, one channel after the other in memory; a tensor that is so already is not copied."""
    return images.float().contiguous()


def _channels_last_bytes(images: Tensor) -> Tensor:
    """(k, H, W, 3) uint8 in the CPU's memory; a tensor that is so already is not copied."""
    if images.dtype == torch.uint8:
        return images.permute(0, 2, 3, 1).contiguous()
    result = torch.empty((len(images), *images.shape[2:], 3), dtype=torch.uint8)
    copy_pixels(images, result.permute(0, 3, 1, 2))
    return result


def copy_pixels(pixels: Tensor, images: Tensor) -> Tensor:
    """Copies pixels into the uint8 tensor `images` of the same shape, and returns that."""
    if pixels.device.type != "cpu" or pixels.dtype == torch.uint8:
        return images.copy_(pixels)
    for channel in range(3):  # several times faster than torch from one layout to the other
        images.numpy()[:, channel] = pixels.numpy()[:, channel]
    return images
