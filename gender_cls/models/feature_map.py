"""Find the last spatial feature map of any backbone, where Grad-CAM looks, and read it as (B, C, h, w).

Nothing here knows an architecture by name. One forward and one backward pass of a random image show what every module
outputs and whether the logits depend on it; the last module that outputs a map of the image is chosen. A layer that the
user names must pass the same tests, because Captum accepts any layer and returns a wrong map without an error.
"""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from difflib import get_close_matches
from functools import partial
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from gender_cls.errors import GenderClsError
from gender_cls.models.cell_centres import CellCentres, Step, cell_centres

Layout = Literal["NCHW", "NHWC", "tokens"]

# A projection is not the feature map itself; a pass-through only repeats the output of the module before it.
_PASSED_OVER = (nn.Linear, nn.Dropout, nn.Identity)


@dataclass(frozen=True)
class FeatureMap:
    """Which module of a network outputs a spatial feature map, and in which layout."""

    layer: str  # name of the module, as in `named_modules`
    layout: Layout  # NCHW (B, C, h, w), NHWC (B, h, w, C) or tokens (B, prefix_tokens + h * w, C), row by row
    grid: tuple[int, int]  # (h, w) in cells
    prefix_tokens: int = 0  # class, distillation and register tokens in front of the patch tokens
    centres: CellCentres | None = None  # of the cells in the image; None where they divide it evenly, or it is unknown

    def to_nchw(self, activation: Tensor) -> Tensor:
        """Return the layer's output as (B, C, h, w), without prefix tokens; differentiable."""
        if self.layout == "NCHW":
            return activation
        if self.layout == "NHWC":
            return activation.permute(0, 3, 1, 2)
        return activation[:, self.prefix_tokens :].transpose(1, 2).unflatten(2, self.grid)

    def from_nchw(self, feature_map: Tensor, activation: Tensor) -> Tensor:
        """Return (B, C, h, w) in the layer's own layout, with the prefix tokens of `activation`; differentiable.

        The result is a copy, so that an in-place ReLU after the layer cannot write into `feature_map`.
        """
        if self.layout == "NCHW":
            return feature_map.clone()
        if self.layout == "NHWC":
            return feature_map.permute(0, 2, 3, 1).clone(memory_format=torch.contiguous_format)
        return torch.cat([activation[:, : self.prefix_tokens], feature_map.flatten(2).transpose(1, 2)], dim=1)

    def over_image(self, cells: Tensor, image_size: tuple[int, int]) -> Tensor:
        """(B, C, h, w) -> (B, C, H, W): each cell at its place in the image, bilinear between them."""
        if self.centres is None:
            return interpolate(cells, image_size, mode="bilinear", align_corners=False)
        return self.centres.enlarge(cells, image_size)


def find_feature_map(
    network: nn.Module, image_size: tuple[int, int], heads: Sequence[str], layer: str | None = None
) -> FeatureMap:
    """Find the last spatial feature map that the logits depend on, or the one that `layer` outputs.

    For a CNN it is the map before pooling. For a ViT that pools its class token it is the input of the last attention
    (`norm1`), because the patch tokens have no influence after it. Parameters, gradients, training flags, hooks and
    random state stay unchanged.

    Args:
        image_size: (height, width) in pixels.
        heads: names of the modules that make the logits.
        layer: the layer that the user wants (`model.cam_layer`).

    Raises:
        GenderClsError: `layer` outputs no map of the image, or no layer was named and none can be found.
    """
    modules = {name: module for name, module in network.named_modules(remove_duplicate=False) if name}
    if layer is not None and layer not in modules:
        close = get_close_matches(layer, modules, n=3, cutoff=0.4) or list(modules)[-3:]
        raise GenderClsError(f"model.cam_layer={layer} is not a layer of this model; it has {', '.join(close)}.")
    with _trace(network, image_size, heads) as trace:
        return trace.search() if layer is None else trace.check(layer, modules[layer])


class _Output(NamedTuple):
    module: nn.Module
    layer: str
    value: Any  # a tensor mostly, but any type is possible
    given: torch.Size  # shape of the first argument, () if it is no tensor


class _Map(NamedTuple):
    """An output read as a map of the image."""

    where: FeatureMap
    tensor: Tensor

    @property
    def channels(self) -> int:
        return self.where.to_nchw(self.tensor).shape[1]


class _Trace:
    """The output of every module in one pass of one image, in the order in which the modules finished."""

    def __init__(self, network: nn.Module, image_size: tuple[int, int]) -> None:
        self.image_size = image_size
        self._size = f"{image_size[0]}x{image_size[1]} pixels"
        self.outputs: list[_Output] = []
        self.head_inputs: list[Tensor] = []
        self.before_head: int | None = None
        self.features: Any = None
        prefix_tokens = getattr(network, "num_prefix_tokens", None)
        self.prefix_tokens = (0, 1, 2) if prefix_tokens is None else (prefix_tokens, 0)

    def search(self) -> FeatureMap:
        """The last map of the image before the head."""
        maps = self._used_maps()
        if isinstance(self.features, Tensor):  # timm's own features, or else maps with as many channels
            where, shape = self.features.data_ptr(), self.features.shape
            same = [used for used in maps if used.tensor.data_ptr() == where and used.tensor.numel() == shape.numel()]
            maps = same or [used for used in maps if used.channels in (shape[1], shape[-1])]
        elif self.features is not None:
            maps = []
        if not maps:
            raise GenderClsError(
                f"Grad-CAM finds no last feature map in this model for images of {self._size}: {self._way_out()}."
            )
        return self._placed(maps[0].where)

    def check(self, layer: str, module: nn.Module) -> FeatureMap:
        """The map that the named layer outputs."""
        outputs = [output for output in self.outputs if output.module is module]
        if len(outputs) != 1:
            runs = f"runs {len(outputs)} times" if outputs else "does not run"
            raise GenderClsError(f"model.cam_layer={layer} {runs} in a forward pass: {self._way_out()}.")
        candidate = self._read(outputs[0])
        if candidate is None:
            value = outputs[0].value
            given = f"shape {tuple(value.shape)}" if isinstance(value, Tensor) else f"a {type(value).__name__}"
            raise GenderClsError(
                f"model.cam_layer={layer} gives {given}, which is not a map of images of {self._size}: "
                f"{self._way_out()}."
            )
        if not self._used([candidate]):
            raise GenderClsError(f"model.cam_layer={layer} gives a map on which no logit depends: {self._way_out()}.")
        return replace(self._placed(candidate.where), layer=layer)

    def _placed(self, where: FeatureMap) -> FeatureMap:
        """With the centres of its cells, unless they divide the image evenly."""
        until = [output.layer for output in self.outputs].index(where.layer)
        steps = [
            Step(output.module, output.given[2:], output.value.shape[2:])
            for output in self.outputs[: until + 1]
            if isinstance(output.value, Tensor)
        ]
        centres = cell_centres(steps, self.image_size, where.grid)
        evenly = centres is None or centres.divide_evenly(where.grid, self.image_size)
        return where if evenly else replace(where, centres=centres)

    def _used_maps(self) -> list[_Map]:
        """Maps before the head on which the logits depend, last first."""
        runs = Counter(id(output.module) for output in self.outputs)
        candidates = (
            self._read(output)
            for output in reversed(self.outputs[: self.before_head])
            if runs[id(output.module)] == 1 and not isinstance(output.module, _PASSED_OVER)
        )
        return self._used([candidate for candidate in candidates if candidate is not None])

    def _read(self, output: _Output) -> _Map | None:
        """Read the output as a map of the image, the more likely one of two readings; None if it cannot be one."""
        tensor = output.value
        if not isinstance(tensor, Tensor) or tensor.ndim not in (3, 4) or len(tensor) != 1 or _is_attention(tensor):
            return None
        if tensor.ndim == 3:
            readings = self._read_tokens(output.layer, tensor.shape[1])
        else:
            _, first, second, third = tensor.shape
            readings = [
                FeatureMap(output.layer, "NCHW", (second, third)),
                FeatureMap(output.layer, "NHWC", (first, second)),
            ]
        finest = self._grid_of_convolution_before(output)
        maps = [
            _Map(reading, tensor)
            for reading in readings
            if _covers_image(reading.grid, self.image_size)
            and reading.grid[0] <= finest[0]
            and reading.grid[1] <= finest[1]
        ]
        return max(maps, key=lambda one: (one.where.grid == finest, one.channels), default=None)

    def _read_tokens(self, layer: str, count: int) -> list[FeatureMap]:
        """Readings with as many cells as there are patch tokens; fewer than 2x2 tokens are class tokens."""
        grids = {
            (rounded(self.image_size[0] / stride), rounded(self.image_size[1] / stride))
            for stride in range(1, max(self.image_size) + 1)
            for rounded in (math.floor, math.ceil)
        }
        return [
            FeatureMap(layer, "tokens", grid, prefix_tokens)
            for prefix_tokens in self.prefix_tokens
            for grid in sorted(grids)
            if min(grid) > 1 and grid[0] * grid[1] == count - prefix_tokens
        ]

    def _grid_of_convolution_before(self, output: _Output) -> tuple[int, int]:
        """The grid of the last convolution so far: no later map is finer.

        Tensors (B, heads, tokens, d) and attention weights would mostly be finer, if they were read as maps.
        """
        for earlier in reversed(self.outputs[: self.outputs.index(output) + 1]):
            if isinstance(earlier.module, nn.Conv2d) and earlier.value.ndim == 4:
                height, width = earlier.value.shape[2:]
                if _covers_image((height, width), self.image_size):
                    return height, width
        return self.image_size

    def _used(self, maps: list[_Map]) -> list[_Map]:
        """The maps on which the head's inputs depend; of tokens, only the patch tokens count."""
        targets = [tensor for tensor in self.head_inputs if tensor.requires_grad]
        maps = [candidate for candidate in maps if candidate.tensor.requires_grad]
        if not targets or not maps:
            return []
        # With random weights, because the sum of a normalised vector is constant and the head may start at zero.
        weights = [_random(tensor.shape).to(tensor) for tensor in targets]
        tensors = [candidate.tensor for candidate in maps]
        gradients = torch.autograd.grad(targets, tensors, weights, retain_graph=True, allow_unused=True)
        return [
            candidate
            for candidate, gradient in zip(maps, gradients, strict=True)
            if gradient is not None and candidate.where.to_nchw(gradient).any()
        ]

    def _way_out(self) -> str:
        names = [used.where.layer for used in self._used_maps()[:3]]
        layer = f"set model.cam_layer to a layer such as {', '.join(names)}" if names else "choose another model"
        return f"leave grad_cam out of explain.methods, or {layer}"


@contextmanager
def _trace(network: Any, image_size: tuple[int, int], heads: Sequence[str]) -> Iterator[_Trace]:
    trace = _Trace(network, image_size)

    def note_output(module: nn.Module, inputs: tuple[Any, ...], output: Any, *, layer: str) -> None:
        given = inputs[0].shape if inputs and isinstance(inputs[0], Tensor) else torch.Size()
        trace.outputs.append(_Output(module, layer, output, given))

    def note_head(_: nn.Module, inputs: tuple[Any, ...]) -> None:
        trace.before_head = len(trace.outputs) if trace.before_head is None else trace.before_head
        trace.head_inputs += [value for value in inputs if isinstance(value, Tensor)]

    training = {module: module.training for module in network.modules()}
    hooks = [
        module.register_forward_hook(partial(note_output, layer=layer))
        for layer, module in network.named_modules()
        if layer
    ]
    for head in heads:
        hooks += [module.register_forward_pre_hook(note_head) for module in network.get_submodule(head).modules()]
    network.eval()
    try:
        with torch.inference_mode(False), torch.enable_grad():
            image = _random((1, 3, *image_size)).to(next(network.parameters())).requires_grad_().clone()
            if hasattr(network, "forward_features"):
                trace.features = network.forward_features(image)
                trace.before_head = len(trace.outputs)
                network.forward_head(trace.features)
            else:
                network(image)
            yield trace
    finally:
        for hook in hooks:
            hook.remove()
        for module, flag in training.items():
            module.training = flag


def _random(shape: Sequence[int]) -> Tensor:
    return torch.randn(tuple(shape), generator=torch.Generator().manual_seed(0), device="cpu")


def _covers_image(grid: tuple[int, int], image_size: tuple[int, int]) -> bool:
    """Whether one whole-number stride makes this grid of the image, within one cell, and it has more than one cell."""
    cell_height, cell_width = image_size[0] / grid[0], image_size[1] / grid[1]
    if grid == (1, 1) or max(cell_height, cell_width) > 1.5 * min(cell_height, cell_width):
        return False
    return any(
        abs(grid[0] - image_size[0] / stride) <= 1 and abs(grid[1] - image_size[1] / stride) <= 1
        for stride in range(1, max(image_size) + 1)
    )


def _is_attention(tensor: Tensor) -> bool:
    """Whether the rows sum to one, as attention weights do and features do not."""
    rows = tensor.detach().float().sum(dim=-1)
    return bool((tensor >= 0).all()) and torch.allclose(rows, torch.ones_like(rows), atol=1e-2)
