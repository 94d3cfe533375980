"""Colours, brightness and sharpness of an image."""

from typing import NamedTuple

import numpy as np
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


def measure(image: Image.Image) -> Measures:
    """Measures of an RGB image.

    Sharpness is the mean absolute second difference of luma over the mean absolute first difference, which depends
    little on contrast. It is computed along the columns and along the rows, and the smaller value counts, because
    motion blurs in one direction only. A higher image is first shrunk to 96 pixels, so that blur is measured in
    relation to the person and not to the pixel. White noise has sqrt(3).
    """
    counts = np.array(image.histogram(), dtype=np.int64).reshape(3, 256)
    red, green, blue = (counts @ np.arange(256) / (image.width * image.height)).tolist()
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
    slope = np.diff(luma, axis=0)
    if len(slope) < 2:
        return 0.0
    return float(np.abs(np.diff(slope, axis=0)).mean() / (np.abs(slope).mean() + ROUNDING))
