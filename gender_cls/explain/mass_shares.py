"""Which share of a map's mass lies on the head, the upper body and the lower body, and outside the person.

The mass of a map is its positive part: the evidence for the class. Uses only numpy; a tensor on the CPU works like an
array.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gender_cls.data.shortcuts import PERSON_BOX
from gender_cls.evaluation.explanation_schema import BANDS


def mass_shares(maps: ArrayLike, boxes: ArrayLike) -> dict[str, NDArray[np.float64]]:
    """Share of each map's mass in each place.

    A band is a part of the crop's height, as wide as the crop; padding of a letterbox belongs to no band. Outside is
    everything outside the person's box, the centre of the crop; padding belongs to it.

    Args:
        maps: as for `mass_inside`.
        boxes: as for `mass_inside`; where the whole crop lies.

    Returns:
        For each of PLACES the result of `mass_inside`.
    """
    crops = np.asarray(boxes, dtype=np.float64)
    shares = {band: mass_inside(maps, _part(crops, (0, 1), rows)) for band, rows in BANDS.items()}
    height, width = (((1 - share) / 2, (1 + share) / 2) for share in PERSON_BOX)
    return shares | {"outside": (1 - mass_inside(maps, _part(crops, width, height))).clip(0, 1)}


def area_shares(image_size: tuple[int, int], boxes: ArrayLike) -> dict[str, NDArray[np.float64]]:
    """`mass_shares` of maps of this (height, width) that are 1 everywhere."""
    return mass_shares(np.ones((1, *image_size)), boxes)


def cue_scores(maps: ArrayLike, cues: ArrayLike) -> dict[str, NDArray[np.float64]]:
    """Whether each map points at the cue of its image.

    The pointing game of Zhang et al., "Top-Down Neural Attention by Excitation Backprop", IJCV 2018, arXiv:1608.00507,
    and the same by mass (`mass_inside`). By chance both are the share of the area that the box covers.

    Args:
        maps: (N, H, W), signed.
        cues: as for `mass_inside`; NaN where no cue is known.

    Returns:
        `cue_hit` and `cue_mass`, (N,) each, from 0 to 1: the share of the map's highest pixels (nearly always one)
        whose centre is in the box, and the share of its mass. NaN without a cue in the input, and as in `mass_inside`.
    """
    values, boxes = np.asarray(maps), np.asarray(cues, dtype=np.float64)
    left, top, right, bottom = boxes.T[:, :, None]
    down, across = (np.arange(size) + 0.5 for size in values.shape[1:])
    inside = ((top <= down) & (down < bottom))[:, :, None] & ((left <= across) & (across < right))[:, None]
    peaks = values == values.max(axis=(1, 2), keepdims=True)
    hit = (peaks & inside).sum(axis=(1, 2)) / np.maximum(peaks.sum(axis=(1, 2)), 1)
    mass = mass_inside(values, boxes)
    seen = np.isfinite(mass) & inside.any(axis=(1, 2))
    return {"cue_hit": np.where(seen, hit, np.nan), "cue_mass": np.where(seen, mass, np.nan)}


def mass_inside(maps: ArrayLike, boxes: ArrayLike) -> NDArray[np.float64]:
    """Share of each map's mass inside its box; a pixel on an edge counts in proportion.

    The energy-based pointing game of Wang et al., "Score-CAM: Score-Weighted Visual Explanations for Convolutional
    Neural Networks", CVPR Workshops 2020, arXiv:1910.01279.

    Args:
        maps: (N, H, W), signed; or (1, H, W), the same for all boxes.
        boxes: (N, 4): left, top, right, bottom in pixels of the maps, perhaps outside them.

    Returns:
        (N,), from 0 to 1; NaN if a map has no positive value, or one that is not finite.
    """
    mass = _mass(maps)
    left, top, right, bottom = np.asarray(boxes, dtype=np.float64).T
    rows, columns = _covered(mass.shape[1], top, bottom), _covered(mass.shape[2], left, right)
    return np.asarray((rows[:, None] @ mass @ columns[:, :, None])[:, 0, 0].clip(0, 1))


def _mass(maps: ArrayLike) -> NDArray[np.float64]:
    """The positive part of each map, with sum 1; all NaN if there is none or a value is not finite."""
    mass = np.asarray(maps).astype(np.float64)  # a copy
    finite = np.isfinite(mass).all(axis=(1, 2), keepdims=True)
    np.maximum(mass, 0, out=mass)
    total = mass.sum(axis=(1, 2), keepdims=True)
    mass /= np.where(finite & (total > 0), total, np.nan)
    return mass


def _covered(pixels: int, start: NDArray[np.float64], end: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N, pixels): how much of each pixel, from 0 to 1, lies between `start` and `end`, (N,) each."""
    edges = np.arange(pixels + 1).clip(start[:, None], end[:, None])
    return np.diff(edges, axis=1)


def _part(boxes: NDArray[np.float64], across: tuple[float, float], down: tuple[float, float]) -> NDArray[np.float64]:
    """The part of each box between two shares of its width and two of its height."""
    left, top, right, bottom = boxes.T
    columns = [left + share * (right - left) for share in across]
    rows = [top + share * (bottom - top) for share in down]
    return np.stack([columns[0], rows[0], columns[1], rows[1]], axis=1)
