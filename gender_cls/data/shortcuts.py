"""Crops without a part of their content. A model that still scores well on them needs only the remaining part."""

import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms.v2 import functional as F

from gender_cls.data.pixel_modes import MID_GREY
from gender_cls.data.variant_names import SHORTCUTS

PERSON_BOX = (0.8, 0.6)
"""Height and width of the centre box where the person stands, as shares of the crop's height and width."""

PERSON_AND_MARGIN = (0.9, 0.7)


def apply_shortcut(image: Tensor, name: str) -> Tensor:
    """The same image with less in it. Nothing is random.

    Args:
        image: uint8 (3, H, W), a native crop of any size; it is not changed.
        name: a key of SHORTCUTS. `person_masked` gives the centre box its own mean colour: surroundings and mean colour
            remain. `background_only` makes that box and a margin mid-grey: the surroundings remain. `person_only` makes
            everything outside the box mid-grey. `grey` has luma (ITU-R BT.601) in all channels. `eight_pixels` is
            shrunk to 8x8 pixels by area and enlarged bilinearly: a layout of colours remains.

    Returns:
        uint8, contiguous, of the same size.
    """
    return _REMOVALS[name](image).contiguous()


def _person_masked(image: Tensor) -> Tensor:
    masked = image.clone()
    person = _centre_box(masked, PERSON_BOX)
    person[:] = person.double().mean(dim=(1, 2), keepdim=True).round().byte()
    return masked


def _background_only(image: Tensor) -> Tensor:
    masked = image.clone()
    _centre_box(masked, PERSON_AND_MARGIN).fill_(MID_GREY)
    return masked


def _person_only(image: Tensor) -> Tensor:
    masked = torch.full_like(image, MID_GREY)
    _centre_box(masked, PERSON_BOX).copy_(_centre_box(image, PERSON_BOX))
    return masked


def _grey(image: Tensor) -> Tensor:
    return F.pil_to_tensor(F.to_pil_image(image).convert("L").convert("RGB"))


def _eight_pixels(image: Tensor) -> Tensor:
    large = F.to_pil_image(image)
    small = large.resize((8, 8), Image.Resampling.BOX)
    return F.pil_to_tensor(small.resize(large.size, Image.Resampling.BILINEAR))


_REMOVALS = dict(zip(SHORTCUTS, (_person_masked, _background_only, _person_only, _grey, _eight_pixels), strict=True))


def _centre_box(image: Tensor, shares: tuple[float, float]) -> Tensor:
    """A view of at least one row and column; an odd pixel more is left at the bottom or the right."""
    for axis, share in zip((1, 2), shares, strict=True):
        kept = max(1, round(image.shape[axis] * share))
        image = image.narrow(axis, (image.shape[axis] - kept) // 2, kept)
    return image
