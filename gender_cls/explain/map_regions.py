"""Maps read region by region: coarse enough to compare methods whose maps differ in grain.

Numpy and scipy alone; a tensor on the CPU is as good as an array.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import rankdata

ROWS = 16


def region_grid(image_size: tuple[int, int]) -> tuple[int, int]:
    """Rows and columns of regions that are about square: 16 rows, fewer only where the image has fewer pixels.

    Args:
        image_size: (height, width) in pixels, each at least 2.

    Returns:
        (rows, columns); at least 2 columns, and never more than pixels.
    """
    height, width = image_size
    rows = min(ROWS, height)
    return rows, max(2, round(width * rows / height))


def region_means(maps: ArrayLike) -> NDArray[np.float64]:
    """Mean of each region of `region_grid`.

    Every pixel belongs to one region whole, row y to region row floor(y * rows / H), as in enlarging a grid of regions
    to the nearest neighbour. Where the grid does not divide the image, some regions are one pixel higher or wider.

    Args:
        maps: (N, H, W).

    Returns:
        (N, rows * columns), row by row; NaN or infinite where a pixel is.
    """
    values = np.asarray(maps)
    size = values.shape[1], values.shape[2]
    rows, columns = region_grid(size)
    (top, height), (left, width) = _edges(size[0], rows), _edges(size[1], columns)
    with np.errstate(invalid="ignore"):  # infinities of both signs in one region
        sums = np.add.reduceat(np.add.reduceat(values, top, axis=1, dtype=np.float64), left, axis=2)
    return (sums / np.outer(height, width)).reshape(len(values), rows * columns)


def rank_correlation(a: ArrayLike, b: ArrayLike) -> NDArray[np.float64]:
    """Spearman's rank correlation of two maps' region means, pair by pair; ties have their average rank.

    Args:
        a: (N, H, W).
        b: (N, H, W).

    Returns:
        (N,), from -1 to 1. NaN where the regions of one of them are all alike, or one is not finite.
    """
    means = np.stack([region_means(a), region_means(b)])
    means[:, ~np.isfinite(means).all(axis=(0, 2))] = 0
    x, y = (_centred_ranks(one) for one in means)
    spread = np.sqrt((x**2).sum(axis=1) * (y**2).sum(axis=1))
    covariance = (x * y).sum(axis=1)
    # Rounding may lead a hair beyond 1.
    return np.divide(covariance, spread, out=np.full(len(x), np.nan), where=spread > 0).clip(-1, 1)


def _edges(pixels: int, parts: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The first pixel of each part, and how many it has."""
    edges = -(-np.arange(parts + 1) * pixels // parts)
    return edges[:-1], np.diff(edges)


def _centred_ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Ranks within each row, their mean subtracted."""
    return np.asarray(rankdata(values, axis=1) - (values.shape[1] + 1) / 2)
