"""A hash of 64 bits that re-encoded, resized and slightly cropped copies of an image nearly share."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SIDE = 32  # pixels of the luma grid
FLAT_DEVIATION = 2.0  # of luma (0 to 255); as small as one step of a JPEG's block means at quality 50
SILENT = 1e-3  # a wave's weight that counts as none; rounding and JPEG noise may give as much


def _lowest_waves() -> NDArray[np.float32]:
    """(64, SIDE * SIDE) the cosines of the lowest frequencies above zero, from low to high.

    A Gaussian window (standard deviation: half a side) reduces the weight of the border, which a crop cuts off. Each
    windowed wave sums to zero, so that the mean of the image has no influence.
    """
    position = (np.arange(SIDE) + 0.5) / SIDE
    cosines = np.cos(np.pi * np.arange(SIDE)[:, None] * position)
    vertical, horizontal = (grid.ravel() for grid in np.indices((SIDE, SIDE)))
    lowest = np.lexsort((vertical, vertical**2 + horizontal**2))[1:65]
    waves = cosines[vertical[lowest], :, None] * cosines[horizontal[lowest], None, :]
    profile = np.exp(-0.5 * (2 * position - 1) ** 2)
    window = np.outer(profile, profile) / profile.sum() ** 2
    waves = (waves - (waves * window).sum(axis=(1, 2), keepdims=True)) * window
    return waves.reshape(64, -1).astype(np.float32)


_WAVES = _lowest_waves()


def perceptual_hash(image: Image.Image) -> int:
    """Signs of the lowest cosine waves of the equalised luma: 64 bits, or 0 ("no hash") for a flat image.

    Follows pHash (Zauner, Implementation and Benchmarking of Perceptual Image Hash Functions, 2010) with three
    changes that find more cropped copies among CCTV crops at equally few false pairs: luma is replaced by its rank
    in the image (exposure and gamma no longer matter), the border weighs less, and the waves fill a quarter circle
    of frequencies instead of a square. Colour is ignored, because infrared cameras see none.
    """
    luma = np.asarray(image.convert("L").resize((SIDE, SIDE), Image.Resampling.LANCZOS))
    if luma.std() < FLAT_DEVIATION:
        return 0
    counts = np.bincount(luma.ravel(), minlength=256)
    rank = ((counts.cumsum() - counts / 2) / luma.size).astype(np.float32)  # equal lumas share their middle rank
    bits = rank[luma].ravel() @ _WAVES.T > SILENT
    return int.from_bytes(np.packbits(bits).tobytes(), "big")
