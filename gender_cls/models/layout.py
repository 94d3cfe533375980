"""How pixels and weights lie in memory, which changes the speed of convolutions and nothing else."""

import logging

import torch
from torch import Tensor, nn

from gender_cls.models.pretrained import one_line

log = logging.getLogger(__name__)


def lay_out(network: nn.Module, layout: torch.memory_format) -> None:
    """Put the weights of the convolutions into a layout, in place; torch's convolutions answer in that of either side.

    Other tensors of four dimensions, such as position embeddings, stay as their authors look at them.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            module.to(memory_format=layout)


def show(network: nn.Module, images: Tensor, title: str, *, channels_last: bool) -> tuple[object, torch.memory_format]:
    """What the network answers, and the layout that it was left in.

    With `channels_last`, it is the contiguous one only where the network cannot run otherwise, which is said.

    Args:
        images: (B, 3, H, W), contiguous.
        title: of the network.
    """
    if channels_last:
        lay_out(network, torch.channels_last)
        try:
            return network(images.contiguous(memory_format=torch.channels_last)), torch.channels_last
        except RuntimeError as error:  # such as that of a `view` across what is no longer adjacent
            reason = one_line(error)
            lay_out(network, torch.contiguous_format)
    answer = network(images)
    if channels_last:
        log.info(f"{title} does not run with trainer.channels_last, and goes without: {reason}")
    return answer, torch.contiguous_format


def normalise(images: Tensor, mean: Tensor, std: Tensor, layout: torch.memory_format) -> Tensor:
    """`(images / 255 - mean) / std` in two passes over the floats, at most 1e-6 off.

    Args:
        images: (B, 3, H, W) uint8, in any layout.
        mean: (3, 1, 1), of images in [0, 1].
        std: likewise.
        layout: of the result.

    Returns:
        (B, 3, H, W), of the type of `mean`.
    """
    precise = torch.promote_types(mean.dtype, torch.float32)
    scale = 1 / (255 * std.to(precise))
    shift = -mean.to(precise) / std.to(precise)
    images = images.contiguous(memory_format=layout)
    if layout is not torch.channels_last:
        return torch.addcmul(shift, images.to(precise), scale).to(mean.dtype)
    # As rows of R G B R G B ...: over so short a dimension as three channels, torch's loops would be 3 times as slow.
    width = images.shape[3]
    rows = images.permute(0, 2, 3, 1).flatten(2).to(precise)
    rows = torch.addcmul(shift.flatten().repeat(width), rows, scale.flatten().repeat(width)).to(mean.dtype)
    return rows.unflatten(2, (width, len(scale))).permute(0, 3, 1, 2)
