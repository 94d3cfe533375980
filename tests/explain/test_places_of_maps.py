"""A network that responds to one bright pixel: the maps must be highest there, wherever it lies."""

import pytest
import torch
from timm.layers.conv2d_same import Conv2dSame
from torch import Tensor, nn

from gender_cls.config.explain import Method
from gender_cls.explain.attribution import attribute
from gender_cls.models.feature_map import find_feature_map

SIZE = (64, 32)


def weighted(convolution: nn.Conv2d) -> nn.Conv2d:
    """Its kernel is highest in the middle, and so the cell whose centre is nearest responds most."""
    side = torch.hann_window(convolution.kernel_size[0] + 2, periodic=False)[1:-1]
    convolution.weight.data[:] = torch.outer(side, side)
    return convolution


def network_of(*reducing: nn.Module) -> nn.Sequential:
    head = nn.Linear(1, 2, bias=False)
    head.weight.data = torch.tensor([[1.0], [-1.0]])
    return nn.Sequential(
        weighted(nn.Conv2d(3, 1, 1, bias=False)), nn.Sequential(*reducing), nn.AdaptiveAvgPool2d(1), nn.Flatten(), head
    ).eval()


def halving(kind: type[nn.Conv2d], **options: int) -> nn.Module:
    return nn.Sequential(weighted(kind(1, 1, 3, stride=2, bias=False, **options)), nn.ReLU())


NETWORKS: dict[str, tuple[list[nn.Module], float]] = {
    "padded": ([halving(nn.Conv2d, padding=1) for _ in range(3)], 0),
    "valid": ([halving(nn.Conv2d) for _ in range(3)], 7),
    "same": ([halving(Conv2dSame) for _ in range(3)], 7),
    "pools": ([nn.AvgPool2d(2) for _ in range(3)], 3.5),
    "patches": ([weighted(nn.Conv2d(1, 1, 8, stride=8, bias=False))], 3.5),
}
"""And the centre of the first cell of 8 pixels."""


def images_with(pixels: list[tuple[int, int]]) -> Tensor:
    """Black images, each with one white pixel (y, x)."""
    images = torch.zeros(len(pixels), 3, *SIZE)
    for image, (y, x) in zip(images, pixels, strict=True):
        image[:, y, x] = 1
    return images


def highest(values: Tensor) -> tuple[float, ...]:
    """(y, x) of the highest point of a map; of several, their middle."""
    return tuple((values > values.max() * (1 - 1e-6)).nonzero().double().mean(dim=0).tolist())


@pytest.mark.parametrize("name", NETWORKS)
def test_grad_cam_is_highest_at_the_pixel_that_counts(name) -> None:
    layers, first = NETWORKS[name]
    network = network_of(*layers)
    feature_map = find_feature_map(network, SIZE, ["4"])
    assert feature_map.layer.startswith("1")
    rows, columns = feature_map.grid
    cells = [(row, column) for row in range(rows) for column in range(columns)]
    bright = [(first + 8 * row, first + 8 * column) for row, column in cells]
    pixels = [(round(y), round(x)) for y, x in bright]
    maps = attribute(network, images_with(pixels), [Method.grad_cam], feature_map).maps[Method.grad_cam]
    inner = 0
    for values, (row, column), (y, x), pixel in zip(maps, cells, bright, pixels, strict=True):
        assert values[pixel] > 0.8 * values.max()
        # Beyond the outermost cells the map is constant, so their highest points are a plateau.
        if 0 < row < rows - 1 and 0 < column < columns - 1:
            assert highest(values) == (y, x)
            inner += 1
    assert inner == (rows - 2) * (columns - 2) > 0


@pytest.mark.parametrize("method", [Method.integrated_gradients, Method.occlusion])
def test_maps_without_cells_are_highest_at_the_pixel_that_counts(method) -> None:
    network = network_of(*NETWORKS["padded"][0])
    bright = [(0, 0), (0, 31), (63, 31), (17, 4), (32, 16), (40, 29)]
    maps = attribute(network, images_with(bright), [method], None).maps[method]
    for values, (y, x) in zip(maps, bright, strict=True):
        assert values[y, x] == values.max()
        assert highest(values) == pytest.approx((y, x), abs=2)  # Occlusion has regions of 4x4 pixels
