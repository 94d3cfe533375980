"""Where the cells of a feature map lie in the image, computed from the layers that made the map smaller.

Cells are not always even parts of the image. With 3x3 kernels, stride 2 and padding 1, as in most CNNs, the centre of
the first cell is the first pixel, not the middle of the first 32 pixels. After Araujo, Norris, Sim, "Computing
Receptive Fields of Convolutional Neural Networks", Distill 2019, doi:10.23915/distill.00021.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

Grid = tuple[int, ...]  # (h, w)


class Step(NamedTuple):
    """A module that ran, and the (h, w) of the map that it got and of the one that it gave; () if it was none."""

    module: nn.Module
    before: Grid
    after: Grid


@dataclass(frozen=True)
class CellCentres:
    """Cell (i, j) has its centre at `first + pitch * (i, j)`, in pixels; (0, 0) is the centre of the first pixel."""

    first: tuple[float, float]  # (y, x)
    pitch: tuple[int, int]

    def enlarge(self, cells: Tensor, image_size: tuple[int, int]) -> Tensor:
        """(B, C, h, w) -> (B, C, H, W): bilinear between the centres, constant beyond the outermost ones."""
        for dim, size in zip((2, 3), image_size, strict=True):
            pixels = torch.arange(size, dtype=cells.dtype, device=cells.device)
            places = ((pixels - self.first[dim - 2]) / self.pitch[dim - 2]).clamp(0, cells.shape[dim] - 1)
            low, high = places.floor().long(), places.ceil().long()
            share = (places - low).view(-1, 1) if dim == 2 else places - low
            cells = torch.lerp(cells.index_select(dim, low), cells.index_select(dim, high), share)
        return cells

    def divide_evenly(self, grid: Grid, image_size: tuple[int, int]) -> bool:
        """Whether the cells are blocks of pixels that fill the image, as those of patches are."""
        return all(
            first == (pitch - 1) / 2 and pitch * cells == pixels
            for first, pitch, cells, pixels in zip(self.first, self.pitch, grid, image_size, strict=True)
        )


def cell_centres(steps: Iterable[Step], image_size: tuple[int, int], grid: Grid) -> CellCentres | None:
    """Centres of the cells of the map with this grid; None if other modules made it smaller too.

    Of the branches from one grid to the next, such as a shortcut, the first counts: nearly always they agree.

    Args:
        steps: in the order in which they ran, up to the module that gives the map.
        image_size: (height, width) in pixels.
    """
    known: dict[Grid, CellCentres] = {image_size: CellCentres((0.0, 0.0), (1, 1))}
    for module, before, after in steps:
        if before in known and isinstance(module, nn.Conv2d | nn.MaxPool2d | nn.AvgPool2d):
            # If the network still works on this grid, coarser ones so far were side branches, as in some attentions.
            known = {size: centres for size, centres in known.items() if size[0] >= after[0] and size[1] >= after[1]}
            known.setdefault(after, _behind(known[before], Step(module, before, after)))
    return known.get(grid)


def _behind(centres: CellCentres, step: Step) -> CellCentres:
    """The centres of the cells that a layer makes of these ones."""
    kernels, strides, paddings, dilations = (
        _pair(getattr(step.module, name, 1)) for name in ("kernel_size", "stride", "padding", "dilation")
    )
    first, pitch = [0.0, 0.0], [1, 1]
    for axis in (0, 1):
        window = (kernels[axis] - 1) * dilations[axis] + 1
        missing = (step.after[axis] - 1) * strides[axis] + window - step.before[axis]
        padding = paddings[axis]
        if missing > 2 * padding and not getattr(step.module, "ceil_mode", False):
            padding = missing // 2  # as TensorFlow's `same`: the layer itself adds what is missing, the odd one behind
        first[axis] = centres.first[axis] + centres.pitch[axis] * ((window - 1) / 2 - padding)
        pitch[axis] = centres.pitch[axis] * strides[axis]
    return CellCentres((first[0], first[1]), (pitch[0], pitch[1]))


def _pair(value: int | str | tuple[int, int]) -> tuple[int, int]:
    """(down, across); padding may be the word `same` or `valid`, and both come out right from 0."""
    if isinstance(value, str):
        return 0, 0
    return (value, value) if isinstance(value, int) else value
