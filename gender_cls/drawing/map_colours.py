"""Maps as translucent colours on the image that they explain, so that the person below stays visible."""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image, ImageDraw
from scipy.ndimage import gaussian_filter1d

from gender_cls.drawing.canvas import LIGHT, MAT, SOFT, Picture, write

FOR, AGAINST = (255, 214, 10), (20, 90, 255)
"""Yellow and blue, which colour-blind people tell apart; yellow is also much lighter, for those who see no colour."""

WEAK, STRONG = (255, 70, 20), (255, 240, 120)
"""Of maps without sign: from orange red to light yellow."""

OPACITY = {True: 0.7, False: 0.9}  # of the largest value; the rest is the image. Signed maps cover large parts of it
DIMMED = 0.65  # brightness that is left of the image, so that colours stand out on light parts too
NEUTRAL_GREY = 128
SMOOTHING = 1 / 64  # standard deviation, as a share of a map's longer side


def paint(values: NDArray[np.float32], images: Picture, signed: bool) -> Picture:
    """Values as colours on the dimmed images, without scaling them: the larger a value, the more opaque its colour.

    Args:
        values: (N, H, W), in [-1, 1] if signed, else in [0, 1]; clipped to this range. Values that are not finite
            count as 0.
        images: (N, H, W, 3), what the maps lie on.
        signed: whether values below 0 are evidence against the class.

    Returns:
        (N, H, W, 3).
    """
    values = np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0).clip(-1 if signed else 0, 1)
    strength = np.abs(values)
    opacity = OPACITY[signed] * strength
    painted = np.empty(images.shape, np.uint8)
    ends = zip(AGAINST, FOR, strict=True) if signed else zip(WEAK, STRONG, strict=True)
    for channel, (low, high) in enumerate(ends):
        colour = np.where(values < 0, low, high) if signed else low + (high - low) * strength
        below = DIMMED * images[..., channel]
        painted[..., channel] = np.rint(below + opacity * (colour - below))
    return painted


def coloured(maps: ArrayLike, images: Picture, signed: bool) -> Picture:
    """`paint` for maps that are not compared: each is smoothed and scaled to its own largest magnitude.

    Gradients change from pixel to pixel: without smoothing, grains hide where the map is large.
    """
    return paint(own_scale(_smoothed(np.asarray(maps, np.float32))), images, signed)


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


def write_name(
    draw: ImageDraw.ImageDraw, position: tuple[int, int], name: str, width: int, size: int, signed: bool | None
) -> None:
    """Write the name of a map in the middle of its column; if the map is signed, between - and +.

    Args:
        position: the left end of the line that the letters stand on.
        width: of the column in pixels.
        size: of the letters.
        signed: as in `paint`; None for an image without a map.
    """
    left, base = position
    signs = size if signed else 0
    write(draw, (left + width / 2, base), name, size, bold=True, anchor="ms", width=width - 2 * signs)
    if signed:
        write(draw, (left, base), "−", size, colour=SOFT)
        write(draw, (left + width, base), "+", size, colour=SOFT, anchor="rs")


def paste_bar(canvas: Image.Image, corner: tuple[int, int], size: tuple[int, int], signed: bool) -> None:
    """Paste the colours of a map, from its lowest value to its highest, in a bar of this (width, height)."""
    canvas.paste(Image.fromarray(ramp(size[0], signed).repeat(size[1], axis=0)), corner)


def remark(draw: ImageDraw.ImageDraw, corner: tuple[int, int], size: tuple[int, int], values: NDArray) -> None:
    """Write on a tile of this (width, height) why its map shows nothing, if so."""
    if not np.isfinite(values).all():
        words = "not finite"
    elif not values.any():
        words = "all zero"
    else:
        return
    centre = (corner[0] + size[0] // 2, corner[1] + size[1] // 2)
    draw.rectangle((corner[0], centre[1] - 14, corner[0] + size[0] - 1, centre[1] + 14), fill=MAT)
    write(draw, centre, words, size=14, colour=LIGHT, anchor="mm", width=size[0])
