"""How convolutions compute: the memory layout of images and weights, and the precision of depthwise ones.

Both change the speed, and the results only by rounding.
"""

import logging
from functools import cache

import torch
from torch import Tensor, nn

from gender_cls.errors import one_line

log = logging.getLogger(__name__)


def set_layout(network: nn.Module, layout: torch.memory_format) -> None:
    """Store the weights of all convolutions in this layout, in place.

    A convolution returns channels_last if its input or its weight is channels_last. Other tensors of four dimensions,
    such as position embeddings, stay as they are.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            module.to(memory_format=layout)


def run_in_layout(
    network: nn.Module, images: Tensor, title: str, *, channels_last: bool
) -> tuple[object, torch.memory_format]:
    """Run the network once; return its output and the layout in which its weights are now.

    With `channels_last`, a network that only runs with contiguous images is left contiguous, and the log says so.

    Args:
        images: (B, 3, H, W), contiguous.
        title: the model, for the log.
    """
    if channels_last:
        set_layout(network, torch.channels_last)
        try:
            return network(images.contiguous(memory_format=torch.channels_last)), torch.channels_last
        except RuntimeError as error:  # for example a `view` that needs contiguous memory
            reason = one_line(error)
            set_layout(network, torch.contiguous_format)
    output = network(images)
    if channels_last:
        log.info(f"{title} does not support channels_last memory and runs without it: {reason}")
    return output, torch.contiguous_format


def normalise(images: Tensor, mean: Tensor, std: Tensor, layout: torch.memory_format) -> Tensor:
    """Return `(images / 255 - mean) / std`, at most 1e-6 off, in two passes over the floats.

    Args:
        images: (B, 3, H, W) uint8, in any layout.
        mean, std: (3, 1, 1), of images in [0, 1].
        layout: of the result.

    Returns:
        (B, 3, H, W), of the dtype of `mean`.
    """
    precise = torch.promote_types(mean.dtype, torch.float32)
    scale = 1 / (255 * std.to(precise))
    shift = -mean.to(precise) / std.to(precise)
    images = images.contiguous(memory_format=layout)
    if layout is not torch.channels_last:
        return torch.addcmul(shift, images.to(precise), scale).to(mean.dtype)
    # As rows R G B R G B ...: torch is slow when its innermost loop runs over three channels only.
    width = images.shape[3]
    rows = images.permute(0, 2, 3, 1).flatten(2).to(precise)
    rows = torch.addcmul(shift.flatten().repeat(width), rows, scale.flatten().repeat(width)).to(mean.dtype)
    return rows.unflatten(2, (width, len(scale))).permute(0, 3, 1, 2)


def widen_depthwise(network: nn.Module) -> None:
    """Let depthwise convolutions compute in float32 under bfloat16 autocast on a CPU, in place.

    oneDNN has no fast bfloat16 backward pass for them. Weights and their names stay; nothing changes without autocast
    or on a GPU.
    """
    for module in network.modules():
        depthwise = isinstance(module, nn.Conv2d) and module.groups == module.in_channels > 1
        if depthwise and not isinstance(module, _Widened):
            # A class, because a copied network keeps its classes and a replaced `forward` would point to the original.
            module.__class__ = _widened(type(module))  # type: ignore[arg-type]  # a class can be hashed


class _Widened(nn.Conv2d):
    def forward(self, features: Tensor) -> Tensor:
        half = torch.get_autocast_dtype("cpu")
        if not (features.device.type == "cpu" and torch.is_autocast_enabled("cpu") and half is torch.bfloat16):
            return super().forward(features)
        with torch.autocast("cpu", enabled=False):
            return super().forward(features.float()).to(half)


@cache
def _widened(kind: type[nn.Conv2d]) -> type[nn.Conv2d]:
    """Return the subclass of a kind of convolution (timm has several) that computes as `_Widened` does."""
    return type(kind.__name__, (_Widened, kind), {})
