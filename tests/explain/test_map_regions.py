import numpy as np
import pytest
import torch
from scipy import stats
from torch.nn.functional import avg_pool2d, interpolate

from gender_cls.explain.map_regions import rank_correlation, region_grid, region_means

NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("image_size", "grid"),
    [
        ((256, 128), (16, 8)),
        ((224, 224), (16, 16)),
        ((384, 128), (16, 5)),
        ((64, 32), (16, 8)),
        ((100, 250), (16, 40)),
        ((16, 16), (16, 16)),
        ((512, 20), (16, 2)),
        ((6, 3), (6, 3)),
        ((2, 2), (2, 2)),
    ],
)
def test_regions_are_sixteen_rows_of_squares(image_size: tuple[int, int], grid: tuple[int, int]) -> None:
    assert region_grid(image_size) == grid


def test_means_of_a_grid_that_divides_the_image_are_average_pooling() -> None:
    maps = torch.randn(3, 64, 32, generator=torch.Generator().manual_seed(0))
    expected = avg_pool2d(maps.double()[:, None], 4).flatten(1).numpy()
    assert expected.shape == (3, 16 * 8)
    means = region_means(maps)
    assert means.dtype == np.float64
    np.testing.assert_allclose(means, expected, rtol=1e-12)
    np.testing.assert_array_equal(region_means(maps.numpy()), means)


@pytest.mark.parametrize("size", [(50, 23), (17, 31), (231, 97)])
def test_every_pixel_counts_in_one_region_as_in_nearest_enlargement(size: tuple[int, int]) -> None:
    rows, columns = region_grid(size)
    numbers = torch.arange(rows * columns, dtype=torch.float32).reshape(1, 1, rows, columns)
    enlarged = interpolate(numbers, size=size, mode="nearest")[:, 0]
    np.testing.assert_array_equal(region_means(enlarged), numbers.flatten(1).numpy())


def random_maps(count: int, size: tuple[int, int], seed: int) -> np.ndarray:
    """Half of each map is zero, so that regions tie."""
    maps = np.random.default_rng(seed).normal(size=(count, *size)).astype(np.float32)
    maps[:, : size[0] // 2] = 0
    return maps


@pytest.mark.parametrize("size", [(64, 32), (50, 23)])
def test_rank_correlation_is_that_of_scipy_ties_included(size: tuple[int, int]) -> None:
    a = random_maps(6, size, 0)
    b = a * [[[1]], [[-1]], [[0.5]], [[0]], [[0]], [[2]]] + random_maps(6, size, 1)[:, ::-1] * 0.7
    expected = [stats.spearmanr(x, y).statistic for x, y in zip(region_means(a), region_means(b), strict=True)]
    assert len(np.unique(region_means(a)[0])) < region_means(a).shape[1], "there are ties"
    np.testing.assert_allclose(rank_correlation(a, b), expected, rtol=1e-12)
    np.testing.assert_allclose(rank_correlation(torch.tensor(a), torch.tensor(b)), expected, rtol=1e-12)


def test_correlation_stays_within_its_range() -> None:
    maps = random_maps(200, (48, 17), 2)
    assert rank_correlation(maps, maps).max() <= 1
    assert rank_correlation(maps, -maps).min() >= -1


@pytest.mark.parametrize("value", [0.0, 0.1, NAN, INF, -INF])
def test_maps_that_are_constant_or_not_finite_have_no_correlation(value: float) -> None:
    maps = random_maps(2, (50, 23), 3)
    other = maps.copy()
    other[0] = value
    for result in (rank_correlation(maps, other), rank_correlation(other, maps)):
        assert result.tolist() == pytest.approx([NAN, 1], nan_ok=True)


def test_one_pixel_that_is_not_finite_spoils_its_map_alone() -> None:
    maps = random_maps(3, (50, 23), 4)
    other = maps.copy()
    other[0, 30, 5], other[1, 30, 5], other[1, 30, 6] = NAN, INF, -INF
    assert np.isnan(rank_correlation(maps, other)).tolist() == [True, True, False]


def test_no_maps_give_no_numbers() -> None:
    nothing = np.zeros((0, 64, 32))
    assert region_means(nothing).shape == (0, 128)
    assert rank_correlation(nothing, nothing).shape == (0,)
