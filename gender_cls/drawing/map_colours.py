"""Maps -> colours that read without colour vision and in grey: lightness grows steadily with a map's value."""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image, ImageDraw
from scipy.ndimage import gaussian_filter1d

from gender_cls.drawing.canvas import GREY, INK, PAPER, Picture, colour_table, write

FOR, AGAINST = (255, 230, 60), (0, 30, 120)
"""Yellow and dark blue: apart in lightness, and on the axis of colour that most colour-blind people see."""

OPACITY = 0.9  # of full evidence
CONTRAST = 0.3  # left of the picture below, so that nothing in it is as light or as dark as evidence
NEUTRAL_GREY = 128
EXPONENT = 0.7  # of maps without sign; below 1 brings out the low values
SMOOTHING = 1 / 64  # standard deviation, of a map's longer side


def paint(values: NDArray[np.float32], pictures: Picture, signed: bool) -> Picture:
    """Values as colours, as they are.

    Without a sign, matplotlib's inferno. With a sign, the picture in flat grey, which turns yellow with evidence for
    the class and dark blue with evidence against it, in proportion.

    Args:
        values: (N, H, W), in [-1, 1] if signed, else in [0, 1]; clipped to it. What is not finite counts as 0.
        pictures: (N, H, W, 3), what a signed map lies on.
        signed: whether below 0 is evidence against the class.

    Returns:
        (N, H, W, 3).
    """
    values = np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0).clip(-1 if signed else 0, 1)
    if not signed:
        return colour_table("inferno")[np.rint(values**EXPONENT * 255).astype(np.uint8)]
    luminance = pictures @ np.array((0.299, 0.587, 0.114), np.float32)
    flat = (NEUTRAL_GREY + CONTRAST * (luminance - NEUTRAL_GREY)) * (1 - OPACITY * np.abs(values))
    strength = OPACITY * values
    colours = [
        flat + strength.clip(min=0) * towards - strength.clip(max=0) * away
        for towards, away in zip(FOR, AGAINST, strict=True)
    ]
    return np.rint(np.stack(colours, axis=-1)).astype(np.uint8)


def coloured(maps: ArrayLike, pictures: Picture, signed: bool) -> Picture:
    """`paint` for single maps; signed ones are smoothed and then scaled to their own largest magnitude.

    Integrated gradients change sign from pixel to pixel: unsmoothed they look like nothing at all.
    """
    values = np.asarray(maps, np.float32)
    return paint(own_scale(_smoothed(values)) if signed else values, pictures, signed)


def _smoothed(maps: NDArray[np.float32]) -> NDArray[np.float32]:
    """Maps (N, H, W) blurred a little, for the eye."""
    sigma = SMOOTHING * max(maps.shape[1:])
    for axis in (1, 2):
        maps = gaussian_filter1d(maps, sigma, axis, mode="nearest", truncate=2.5)
    return maps


def own_scale(maps: NDArray[np.float32]) -> NDArray[np.float32]:
    """Each of the maps (N, H, W) divided by its own largest magnitude; all zero and not finite stay so."""
    peak = np.abs(maps).max(axis=(1, 2), keepdims=True)
    with np.errstate(invalid="ignore"):  # infinite maps become not a number
        return np.divide(maps, peak, out=np.zeros_like(maps), where=peak != 0)


def colour_bar(
    draw: ImageDraw.ImageDraw, canvas: Image.Image, corner: tuple[int, int], width: int, signed: bool
) -> None:
    """The colours of a map from one end to the other, of a signed one as on mid-grey, between two words."""
    left, top = corner
    low, high = ("against", "for") if signed else ("low", "high")
    start = left + write(draw, (left, top + 9), low, size=11, colour=GREY) + 4
    end = left + width - write(draw, (left + width, top + 9), high, size=11, colour=GREY, anchor="rs") - 4
    values = np.linspace(-1 if signed else 0, 1, round(end - start), dtype=np.float32).reshape(1, 1, -1)
    bar = paint(values, np.full((*values.shape, 3), NEUTRAL_GREY, np.uint8), signed)[0].repeat(5, axis=0)
    canvas.paste(Image.fromarray(bar), (round(start), top + 3))


def remark(draw: ImageDraw.ImageDraw, corner: tuple[int, int], size: tuple[int, int], values: NDArray) -> None:
    """Says on a tile of this (width, height) why its map shows nothing, if it does not."""
    if not np.isfinite(values).all():
        words = "not finite"
    elif not values.any():
        words = "all zero"
    else:
        return
    centre = (corner[0] + size[0] // 2, corner[1] + size[1] // 2)
    draw.rectangle((corner[0], centre[1] - 12, corner[0] + size[0] - 1, centre[1] + 12), fill=PAPER)
    write(draw, centre, words, size=12, colour=INK, anchor="mm", width=size[0])
