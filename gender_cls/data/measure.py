"""Colours, brightness and sharpness of an image."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

LUMA = (0.299, 0.587, 0.114)  # weights of red, green and blue in ITU-R BT.601

HEIGHT = 96  # pixels at which sharpness is measured; most crops are about as high or higher
ROUNDING = 0.3  # grey levels; without it, the rounding errors of an image of one colour would look sharp


class Measures(NamedTuple):
    """The measures of one image."""

    brightness: float  # mean luma, 0 to 255
    sharpness: float  # from 0, smooth or of one colour, to 2
    red: float  # mean, 0 to 255, as are green and blue
    green: float
    blue: float


def measure(image: Image.Image, pixels: NDArray[np.uint8] | None = None) -> Measures:
    """Measures of an RGB image; `pixels` are the same as an array (H, W, 3), which a caller may have.

    Sharpness is the mean absolute second difference of luma over the mean absolute first difference, which depends
    little on contrast. It is computed along the columns and along the rows, and the smaller value counts, because
    motion blurs in one direction only. A higher image is first shrunk to 96 pixels, so that blur is measured in
    relation to the person and not to the pixel. White noise has sqrt(3).
    """
    pixels = np.asarray(image) if pixels is None else pixels
    of_columns = pixels.reshape(image.height, -1).sum(axis=0, dtype=np.uint32)  # along memory, which is fast
    red, green, blue = (of_columns.reshape(-1, 3).sum(axis=0) / (image.width * image.height)).tolist()
    brightness = LUMA[0] * red + LUMA[1] * green + LUMA[2] * blue
    return Measures(brightness, _sharpness(image), red, green, blue)


def _sharpness(image: Image.Image) -> float:
    if image.height > HEIGHT:
        width = max(round(image.width * HEIGHT / image.height), 1)
        image = image.resize((width, HEIGHT), Image.Resampling.BOX)  # the filter that itself blurs least
    luma = np.asarray(image.convert("L"), dtype=np.float32)
    return min(_change_of_slope(luma), _change_of_slope(luma.T))


def _change_of_slope(luma: np.ndarray) -> float:
    """Along the columns, from 0 (a ramp) to 2 (every step undoes the step before)."""
    slope = luma[1:] - luma[:-1]  # np.diff and mean are slow on so few pixels
    if len(slope) < 2:
        return 0.0
    change = slope[1:] - slope[:-1]
    return float(np.abs(change).sum() / change.size / (np.abs(slope).sum() / slope.size + ROUNDING))
