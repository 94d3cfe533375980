"""Maps averaged over a coarse grid of regions, so that methods with fine and coarse maps can be compared.

Uses only numpy and scipy; a tensor on the CPU works like an array.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import rankdata

ROWS = 16


def region_grid(image_size: tuple[int, int]) -> tuple[int, int]:
    """(rows, columns) of nearly square regions: 16 rows, or fewer if the image has fewer pixels; at least 2 columns.

    Args:
        image_size: (height, width) in pixels, each at least 2.
    """
    height, width = image_size
    rows = min(ROWS, height)
    return rows, max(2, round(width * rows / height))


def region_means(maps: ArrayLike) -> NDArray[np.float64]:
    """Mean of each region of `region_grid`.

    Each pixel belongs to exactly one region: pixel row y to region row floor(y * rows / H), as in nearest-neighbour
    enlargement. If the grid does not divide the image evenly, some regions are one pixel higher or wider.

    Args:
        maps: (N, H, W).

    Returns:
        (N, rows * columns), row by row; NaN or infinite where a pixel is.
    """
    values = np.asarray(maps)
    size = values.shape[1], values.shape[2]
    rows, columns = region_grid(size)
    (top, height), (left, width) = _starts_and_lengths(size[0], rows), _starts_and_lengths(size[1], columns)
    with np.errstate(invalid="ignore"):  # a region may hold infinities of both signs
        sums = np.add.reduceat(np.add.reduceat(values, top, axis=1, dtype=np.float64), left, axis=2)
    return (sums / np.outer(height, width)).reshape(len(values), rows * columns)


def rank_correlation(a: ArrayLike, b: ArrayLike) -> NDArray[np.float64]:
    """Spearman's rank correlation of the region means of two maps (N, H, W) each, pair by pair.

    Returns:
        (N,), from -1 to 1; ties have their average rank. NaN if all regions of a map are equal or one is not finite.
    """
    means = np.stack([region_means(a), region_means(b)])
    means[:, ~np.isfinite(means).all(axis=(0, 2))] = 0
    x, y = (_centred_ranks(one) for one in means)
    spread = np.sqrt((x**2).sum(axis=1) * (y**2).sum(axis=1))
    covariance = (x * y).sum(axis=1)
    # Rounding may give slightly more than 1.
    return np.divide(covariance, spread, out=np.full(len(x), np.nan), where=spread > 0).clip(-1, 1)


def _starts_and_lengths(pixels: int, parts: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The first pixel of each part, and its number of pixels."""
    edges = -(-np.arange(parts + 1) * pixels // parts)
    return edges[:-1], np.diff(edges)


def _centred_ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Ranks within each row, minus their mean."""
    return np.asarray(rankdata(values, axis=1) - (values.shape[1] + 1) / 2)
