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


def region_of_pixels(image_size: tuple[int, int]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The row (H, 1) and column (W,) of each pixel's region: an index that enlarges (..., rows, columns) to the image.

    Pixel row y belongs to region row floor(y * rows / H), as in nearest-neighbour enlargement. If the grid does not
    divide the image evenly, some regions are one pixel higher or wider.
    """
    (height, width), (rows, columns) = image_size, region_grid(image_size)
    return (np.arange(height) * rows // height)[:, None], np.arange(width) * columns // width


def region_means(maps: ArrayLike) -> NDArray[np.float64]:
    """Mean of each region of `region_grid`.

    Args:
        maps: (N, H, W).

    Returns:
        (N, rows * columns), row by row; NaN or infinite if a pixel of the region is.
    """
    values = np.asarray(maps)
    rows, columns = region_of_pixels((values.shape[1], values.shape[2]))
    _, top, height = np.unique(rows, return_index=True, return_counts=True)
    _, left, width = np.unique(columns, return_index=True, return_counts=True)
    with np.errstate(invalid="ignore"):  # a region may hold infinities of both signs
        sums = np.add.reduceat(np.add.reduceat(values, top, axis=1, dtype=np.float64), left, axis=2)
    return (sums / np.outer(height, width)).reshape(len(values), len(top) * len(left))


def rank_correlation(a: ArrayLike, b: ArrayLike) -> NDArray[np.float64]:
    """Spearman's rank correlation of the region means of two maps (N, H, W) each, pair by pair.

    Returns:
        (N,), from -1 to 1; ties have their average rank. NaN if all regions of a map are equal or one is not finite.
    """
    means = np.stack([region_means(a), region_means(b)])
    means[:, ~np.isfinite(means).all(axis=(0, 2))] = 0
    x, y = (np.asarray(rankdata(one, axis=1) - (one.shape[1] + 1) / 2) for one in means)  # minus their mean
    spread = np.sqrt((x**2).sum(axis=1) * (y**2).sum(axis=1))
    covariance = (x * y).sum(axis=1)
    # Rounding may give slightly more than 1.
    return np.divide(covariance, spread, out=np.full(len(x), np.nan), where=spread > 0).clip(-1, 1)
