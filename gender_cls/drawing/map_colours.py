"""The colours of maps. Lightness grows with a map's value, so that they work in grey and for colour-blind readers."""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image, ImageDraw
from scipy.ndimage import gaussian_filter1d

from gender_cls.drawing.canvas import GREY, INK, PAPER, Picture, colour_table, write

FOR, AGAINST = (255, 230, 60), (0, 30, 120)
"""Yellow and dark blue: they differ in lightness, and in a way that most colour-blind people can see."""

OPACITY = 0.9  # of full evidence
CONTRAST = 0.3  # kept of the image below a map, so that no part of it is as light or as dark as evidence
NEUTRAL_GREY = 128
EXPONENT = 0.7  # of maps without sign; below 1 makes low values visible
SMOOTHING = 1 / 64  # standard deviation, as a share of a map's longer side


def paint(values: NDArray[np.float32], images: Picture, signed: bool) -> Picture:
    """Values as colours, without scaling them.

    Maps without sign get matplotlib's inferno. Signed ones lie on the image in grey with little contrast: it turns
    yellow with evidence for the class, and dark blue with evidence against it.

    Args:
        values: (N, H, W), in [-1, 1] if signed, else in [0, 1]; clipped to this range. Values that are not finite
            count as 0.
        images: (N, H, W, 3), what a signed map lies on.
        signed: whether values below 0 are evidence against the class.

    Returns:
        (N, H, W, 3).
    """
    values = np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0).clip(-1 if signed else 0, 1)
    if not signed:
        return colour_table("inferno")[np.rint(values**EXPONENT * 255).astype(np.uint8)]
    luminance = images @ np.array((0.299, 0.587, 0.114), np.float32)
    flat = (NEUTRAL_GREY + CONTRAST * (luminance - NEUTRAL_GREY)) * (1 - OPACITY * np.abs(values))
    strength = OPACITY * values
    colours = [
        flat + strength.clip(min=0) * towards - strength.clip(max=0) * away
        for towards, away in zip(FOR, AGAINST, strict=True)
    ]
    return np.rint(np.stack(colours, axis=-1)).astype(np.uint8)


def coloured(maps: ArrayLike, images: Picture, signed: bool) -> Picture:
    """`paint` for maps that are not compared; signed ones are smoothed and scaled to their own largest magnitude.

    Integrated gradients change sign from pixel to pixel: without smoothing, nothing can be seen in them.
    """
    values = np.asarray(maps, np.float32)
    return paint(own_scale(_smoothed(values)) if signed else values, images, signed)


def ramp(steps: int, signed: bool) -> Picture:
    """The colours of a map from its lowest to its highest value, (1, steps, 3); signed ones as on neutral grey."""
    values = np.linspace(-1 if signed else 0, 1, steps, dtype=np.float32).reshape(1, 1, -1)
    return paint(values, np.full((*values.shape, 3), NEUTRAL_GREY, np.uint8), signed)[0]


def _smoothed(maps: NDArray[np.float32]) -> NDArray[np.float32]:
    sigma = SMOOTHING * max(maps.shape[1:])
    for axis in (1, 2):
        maps = gaussian_filter1d(maps, sigma, axis, mode="nearest", truncate=2.5)
    return maps


def own_scale(maps: NDArray[np.float32]) -> NDArray[np.float32]:
    """Maps (N, H, W), each divided by its own largest magnitude; maps of zeros and not finite ones stay as they are."""
    peak = np.abs(maps).max(axis=(1, 2), keepdims=True)
    with np.errstate(invalid="ignore"):  # infinite maps become NaN
        return np.divide(maps, peak, out=np.zeros_like(maps), where=peak != 0)


def colour_bar(
    draw: ImageDraw.ImageDraw, canvas: Image.Image, corner: tuple[int, int], width: int, signed: bool
) -> None:
    """Draw the colours of a map between the words for its two ends."""
    left, top = corner
    low, high = ("against", "for") if signed else ("low", "high")
    start = left + write(draw, (left, top + 9), low, size=11, colour=GREY) + 4
    end = left + width - write(draw, (left + width, top + 9), high, size=11, colour=GREY, anchor="rs") - 4
    canvas.paste(Image.fromarray(ramp(round(end - start), signed).repeat(5, axis=0)), (round(start), top + 3))


def remark(draw: ImageDraw.ImageDraw, corner: tuple[int, int], size: tuple[int, int], values: NDArray) -> None:
    """Write on a tile of this (width, height) why its map shows nothing, if so."""
    if not np.isfinite(values).all():
        words = "not finite"
    elif not values.any():
        words = "all zero"
    else:
        return
    centre = (corner[0] + size[0] // 2, corner[1] + size[1] // 2)
    draw.rectangle((corner[0], centre[1] - 12, corner[0] + size[0] - 1, centre[1] + 12), fill=PAPER)
    write(draw, centre, words, size=12, colour=INK, anchor="mm", width=size[0])
