"""Sanity check: whether maps depend on what the network has learned, by randomising its parameters.

Adebayo, Gilmer, Muelly, Goodfellow, Hardt, Kim, "Sanity Checks for Saliency Maps", NeurIPS 2018, arXiv:1810.03292. The
check finds maps that show the image instead of the network. It does not rank the others: noise would pass best, and
random layers behind a learned one still follow its strong channels (Binder et al., "Shortcomings of Top-Down
Randomization-Based Sanity Checks", CVPR 2023, arXiv:2211.12486).
"""

from collections.abc import Iterable, Sequence
from copy import deepcopy
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from gender_cls.config.explain import Method
from gender_cls.explain.attribution import attribute
from gender_cls.explain.isolation import isolated
from gender_cls.explain.map_regions import rank_correlation
from gender_cls.models.feature_map import FeatureMap

STAGES = 4  # the heads, then the other layers in three parts of nearly equal numbers of layers
NORM_BATCH = 32  # images, mirrored ones included, in one pass when the statistics of BatchNorm are measured
_BATCH_NORM = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


@dataclass(frozen=True)
class Stage:
    """How similar the maps still are, now that some layers of the network are random."""

    layers: str  # name of the first random layer, counted from the input
    share: float  # of the parameters that are random, above 0 to 1
    # By method (N,): rank correlation with the maps of the trained network, signs included; NaN if not defined.
    similarity: dict[Method, NDArray[np.float64]]


def randomisation_check(
    network: nn.Module,
    inputs: Tensor,
    targets: Tensor,
    heads: Sequence[str],
    methods: Sequence[Method],
    feature_map: FeatureMap | None,
) -> list[Stage]:
    """How similar maps stay while the layers of a copy become random, from the heads to the input.

    In a random layer the values of each tensor are shuffled, so they stay as large and as spread as before. Signals
    then stay in range, whatever the architecture and its initialisation. The statistics of random BatchNorm layers are
    measured again on the inputs, as training would do; without that, signals in a deep network vanish or explode. The
    shuffling is the same in every run. It costs five times `attribute`, and a second network in memory.

    Args:
        inputs: (N, 3, H, W), normalised, on the network's device.
        targets: (N,), class index; the same at all stages.
        heads: names of the modules that make the logits.

    Returns:
        `STAGES` stages, fewer if there are fewer layers. In the last one everything is random.
    """
    trained = attribute(network, inputs, methods, feature_map, targets).maps
    with torch.inference_mode(False), torch.no_grad():
        changing = deepcopy(network).float()
    total = sum(weight.numel() for weight in changing.parameters())
    generator = torch.Generator().manual_seed(0)
    random: list[str] = []
    stages = []
    for part in _parts(changing, heads):
        random = [*part, *random]
        with torch.no_grad():
            for weight in _weights(changing, part):
                order = torch.randperm(weight.numel(), generator=generator).to(weight.device)
                weight.copy_(weight.flatten()[order].view_as(weight))
        _measure_batch_norm(changing, random, inputs)
        maps = attribute(changing, inputs, methods, feature_map, targets).maps
        similarity = {method: rank_correlation(trained[method], maps[method]) for method in methods}
        share = sum(weight.numel() for weight in _weights(changing, random)) / total
        stages.append(Stage(next(filter(None, random), ""), share, similarity))
    return stages


def _parts(network: nn.Module, heads: Sequence[str]) -> list[list[str]]:
    """Names of the layers that become random at each stage, from input to output within a stage.

    A layer is a module with parameters or statistics of its own. The network itself is the first one, so its position
    and class embeddings become random last.
    """
    layers = [
        name
        for name, module in network.named_modules()
        if any(True for _ in module.parameters(recurse=False)) or isinstance(module, _BATCH_NORM)
    ]
    of_heads = [layer for layer in layers if any(f"{layer}.".startswith(f"{head}.") for head in heads)]
    others = [layer for layer in reversed(layers) if layer not in of_heads]
    parts = [part.tolist()[::-1] for part in np.array_split(np.array(others, dtype=object), STAGES - 1)]
    return [part for part in (of_heads, *parts) if part]


def _measure_batch_norm(network: nn.Module, layers: Iterable[str], inputs: Tensor) -> None:
    """Set the running statistics of these layers to those of the inputs; all other layers stay in evaluation mode.

    Mirrored images are added, because one image alone has no variance behind global pooling.
    """
    norms = [module for module in map(network.get_submodule, layers) if isinstance(module, _BATCH_NORM)]
    if not norms:
        return
    with isolated(network), torch.no_grad():
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # a plain mean over batches
            norm.training = True
        for images in inputs.float().split(NORM_BATCH // 2):
            network(torch.cat([images, images.flip(3)]))


def _weights(network: nn.Module, layers: Iterable[str]) -> Iterable[nn.Parameter]:
    """The layers' own parameters, each once."""
    return dict.fromkeys(
        weight for layer in layers for weight in network.get_submodule(layer).parameters(recurse=False)
    )
