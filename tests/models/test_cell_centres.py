from typing import Any

import pytest
import torch
from timm.layers import SqueezeExcite
from timm.layers.conv2d_same import Conv2dSame
from timm.layers.pool2d_same import AvgPool2dSame, MaxPool2dSame
from torch import Tensor, nn
from torch.nn.functional import interpolate

from gender_cls.config.model import Library, ModelConfig
from gender_cls.models.backbones import build_backbone
from gender_cls.models.cell_centres import CellCentres, Step, cell_centres
from gender_cls.models.feature_map import FeatureMap, find_feature_map


def centres_of(network: nn.Sequential, size: tuple[int, int]) -> CellCentres | None:
    values, steps = torch.zeros(1, 3, *size), []
    for module in network:
        result = module(values)
        steps.append(Step(module, values.shape[2:], result.shape[2:]))
        values = result
    return cell_centres(steps, size, tuple(values.shape[2:]))


def halving(channels: int = 3) -> nn.Conv2d:
    return nn.Conv2d(channels, 3, 3, stride=2, padding=1)


@pytest.mark.parametrize(
    ("network", "size", "first", "pitch"),
    [
        ([halving(), halving()], (32, 16), (0, 0), (4, 4)),
        ([halving(), nn.ReLU(), nn.Conv2d(3, 3, 5, padding=2), halving()], (33, 18), (0, 0), (4, 4)),
        ([nn.MaxPool2d(2)], (8, 8), (0.5, 0.5), (2, 2)),
        ([nn.AvgPool2d(2), nn.MaxPool2d(2), nn.AvgPool2d(2)], (16, 8), (3.5, 3.5), (8, 8)),
        ([nn.MaxPool2d(2, ceil_mode=True)], (7, 7), (0.5, 0.5), (2, 2)),  # the last window is cut off, no other moves
        ([nn.Conv2d(3, 3, 16, stride=16)], (64, 32), (7.5, 7.5), (16, 16)),
        ([nn.Conv2d(3, 3, 7, stride=2, padding=3), nn.MaxPool2d(3, 2, 1)], (64, 32), (0, 0), (4, 4)),
        ([nn.Conv2d(3, 3, 3), nn.Conv2d(3, 3, 3, padding="valid")], (9, 9), (2, 2), (1, 1)),
        ([nn.Conv2d(3, 3, 3, stride=2, padding=2, dilation=2)], (9, 9), (0, 0), (2, 2)),
        ([nn.Conv2d(3, 3, (3, 2), stride=(2, 1), padding=(1, 0))], (8, 8), (0, 0.5), (2, 1)),
        # `same`: 8 pixels lack 1, which comes last, so the first window is whole; 9 lack 2, one on either side.
        ([Conv2dSame(3, 3, 3, stride=2)], (8, 9), (1, 0), (2, 2)),
        ([Conv2dSame(3, 3, 3, stride=2), Conv2dSame(3, 3, 3, stride=2)], (8, 12), (3, 3), (4, 4)),
        ([Conv2dSame(3, 3, 5, stride=2)], (8, 9), (1, 0), (2, 2)),
        ([MaxPool2dSame(3, 2), AvgPool2dSame(2, 2)], (8, 8), (2, 2), (4, 4)),
        ([nn.Conv2d(3, 3, 3, padding="same"), nn.MaxPool2d(2)], (8, 8), (0.5, 0.5), (2, 2)),
    ],
    ids=lambda value: "-".join(type(module).__name__ for module in value) if isinstance(value, list) else None,
)
def test_centres_by_hand(network, size, first, pitch) -> None:
    assert centres_of(nn.Sequential(*network), size) == CellCentres(first, pitch)


def test_shortcuts_count_once_and_side_branches_not_at_all() -> None:
    size, half, quarter = (8, 8), (4, 4), (2, 2)
    shortcut, reduced = nn.Conv2d(3, 3, 1, stride=2), nn.Conv2d(3, 3, 2, stride=2)
    block = [Step(halving(), size, half), Step(nn.Conv2d(3, 3, 3, padding=1), half, half), Step(shortcut, size, half)]
    assert cell_centres(block, size, half) == CellCentres((0, 0), (2, 2))
    # Keys and values of an attention on fewer cells; then the map itself becomes smaller.
    attention = [Step(reduced, half, quarter), Step(nn.Conv2d(3, 3, 3, padding=1), half, half)]
    assert cell_centres([*block, *attention, Step(halving(), half, quarter)], size, quarter) == CellCentres(
        (0, 0), (4, 4)
    )


def test_what_other_modules_make_smaller_is_not_known() -> None:
    assert centres_of(nn.Sequential(halving(), nn.AdaptiveAvgPool2d(2), nn.Conv2d(3, 3, 1)), (8, 8)) is None


@pytest.mark.parametrize("size", [(32, 16), (9, 31)])
def test_cells_that_divide_the_image_are_enlarged_as_ever(size) -> None:
    cells = torch.randn(2, 1, size[0] // 2, size[1] // 2, generator=torch.Generator().manual_seed(0))
    even = (2 * cells.shape[2], 2 * cells.shape[3])
    expected = interpolate(cells, even, mode="bilinear", align_corners=False)
    torch.testing.assert_close(CellCentres((0.5, 0.5), (2, 2)).enlarge(cells, even), expected)


def test_enlarging_by_hand() -> None:
    cells = torch.tensor([[[[0.0, 4.0], [8.0, 0.0]]]])
    across = CellCentres((0, 1), (2, 2)).enlarge(cells, (3, 5))[0, 0]  # centres in rows 0 and 2, columns 1 and 3
    assert across.tolist() == [[0, 0, 2, 4, 4], [4, 4, 3, 2, 2], [8, 8, 4, 0, 0]]


def found(name: str, size: tuple[int, int]) -> tuple[Any, FeatureMap]:
    torch.manual_seed(0)
    library = Library.custom if name == "custom_cnn" else Library.timm
    backbone = build_backbone(ModelConfig(library, name, pretrained=False), size)
    return backbone.network.eval(), find_feature_map(backbone.network, size, backbone.heads)


def make_linear(module: nn.Module) -> None:
    """Keep convolutions, pools and the sums of branches, with the same positive weight everywhere in a kernel."""
    for name, child in module.named_children():
        if isinstance(child, nn.Conv2d | nn.Linear):
            nn.init.constant_(child.weight, 1 / child.weight[0].numel())
        elif isinstance(child, SqueezeExcite) or not (list(child.children()) or isinstance(child, nn.MaxPool2d)):
            setattr(module, name, nn.Identity())
        make_linear(child)


@pytest.mark.parametrize(
    ("name", "first"),
    [
        ("custom_cnn", 0),
        ("mobilenetv2_035", 0),
        ("resnet18", 0),
        ("efficientnet_lite0", 0),
        ("tf_efficientnet_lite0", 31),  # `same` padding: each of five layers starts a pixel of its input later
        ("convnext_atto", None),  # patches
        ("vit_tiny_patch16_224", None),
    ],
)
def test_centres_of_real_networks(name, first) -> None:
    """Against the centroid of the pixels on which the cell in the middle of the image depends."""
    size = (320, 320)
    network, feature_map = found(name, size)
    assert (feature_map.centres is None) == (first is None)
    if feature_map.layout == "tokens":
        return  # every token depends on every pixel
    if feature_map.centres is None:
        pitch = size[0] // feature_map.grid[0]
        centres = CellCentres(((pitch - 1) / 2,) * 2, (pitch,) * 2)
    else:
        centres = feature_map.centres
        assert centres.first == (first, first)
    kept: list[Tensor] = []
    network.get_submodule(feature_map.layer).register_forward_hook(lambda *given: kept.append(given[2]))
    make_linear(network)
    pixels = torch.rand(1, 3, *size, requires_grad=True)
    network.forward_features(pixels)
    middle = round((size[0] / 2 - centres.first[0]) / centres.pitch[0])  # the edges cut its pixels on all sides alike
    (gradient,) = torch.autograd.grad(kept[0][0, :, middle, middle].sum(), pixels)
    assert gradient.min() >= 0
    weights = gradient[0].sum(dim=0).double()
    places = torch.arange(320, dtype=torch.float64)
    for axis in (0, 1):
        centroid = (weights.sum(dim=1 - axis) * places).sum() / weights.sum()
        assert centroid == pytest.approx(centres.first[axis] + middle * centres.pitch[axis], abs=2)
