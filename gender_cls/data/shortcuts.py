"""Crops without a part of their content. A model that still scores well on them needs only the remaining part."""

import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms.v2 import functional as F

from gender_cls.data.resizing import MID_GREY
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
    return _EFFECTS[name](image).contiguous()


def _person_masked(image: Tensor) -> Tensor:
    rows, columns = _centre_box(image, PERSON_BOX)
    masked = image.clone()
    masked[:, rows, columns] = image[:, rows, columns].double().mean(dim=(1, 2), keepdim=True).round().byte()
    return masked


def _background_only(image: Tensor) -> Tensor:
    rows, columns = _centre_box(image, PERSON_AND_MARGIN)
    masked = image.clone()
    masked[:, rows, columns] = MID_GREY
    return masked


def _person_only(image: Tensor) -> Tensor:
    rows, columns = _centre_box(image, PERSON_BOX)
    masked = torch.full_like(image, MID_GREY)
    masked[:, rows, columns] = image[:, rows, columns]
    return masked


def _grey(image: Tensor) -> Tensor:
    return F.pil_to_tensor(F.to_pil_image(image).convert("L").convert("RGB"))


def _eight_pixels(image: Tensor) -> Tensor:
    large = F.to_pil_image(image)
    small = large.resize((8, 8), Image.Resampling.BOX)
    return F.pil_to_tensor(small.resize(large.size, Image.Resampling.BILINEAR))


_EFFECTS = dict(zip(SHORTCUTS, (_person_masked, _background_only, _person_only, _grey, _eight_pixels), strict=True))


def _centre_box(image: Tensor, shares: tuple[float, float]) -> tuple[slice, slice]:
    """Rows and columns, at least one of each; an odd pixel more is left at the bottom or the right."""
    box = []
    for side, share in zip(image.shape[-2:], shares, strict=True):
        kept = max(1, round(side * share))
        start = (side - kept) // 2
        box.append(slice(start, start + kept))
    return box[0], box[1]
