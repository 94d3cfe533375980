"""A network that is small enough to try every explanation method in a second."""

import torch
from torch import Tensor, nn

from gender_cls.models.feature_map import FeatureMap


class Layers(nn.Sequential):
    """One layer after another, with a `forward` of its own: torch 2.9 does not compile that of `nn.Sequential`."""

    def forward(self, values: Tensor) -> Tensor:
        return super().forward(values)


def little() -> nn.Sequential:
    """A small network without symmetries or dead units."""
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(inplace=True), nn.Conv2d(6, 6, 3, padding=1), nn.Softplus()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 2)).eval()


LITTLE_MAP = FeatureMap("2", "NCHW", (8, 8))


def with_differences(network: nn.Module) -> nn.Module:
    """The network with, instead of its two logits, how far each is above the other."""
    differences = nn.Linear(2, 2, bias=False)
    differences.weight.data = torch.tensor([[1.0, -1.0], [-1.0, 1.0]])
    return nn.Sequential(network, differences).eval()


def little_batch(count: int = 4) -> Tensor:
    return torch.randn(count, 3, 8, 8, generator=torch.Generator().manual_seed(1))


def smooth_images(count: int, size: tuple[int, int], seed: int = 0) -> Tensor:
    """Smooth random colours, so that places differ in more than noise."""
    coarse = torch.randn(count, 3, 8, 4, generator=torch.Generator().manual_seed(seed))
    return nn.functional.interpolate(coarse, size=size, mode="bicubic")
