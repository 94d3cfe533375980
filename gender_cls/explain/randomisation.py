"""Sanity check: whether maps depend on what the network has learned, by randomising its parameters.

Adebayo, Gilmer, Muelly, Goodfellow, Hardt, Kim, "Sanity Checks for Saliency Maps", NeurIPS 2018, arXiv:1810.03292. The
check finds maps that show the image instead of the network. It does not rank the others: noise would pass best, and
random layers behind a learned one still follow its strong channels (Binder et al., "Shortcomings of Top-Down
Randomization-Based Sanity Checks", CVPR 2023, arXiv:2211.12486).

What similarity would be too much depends on the architecture and the images: even random networks react to edges, so
their maps are alike. So there is a control: how similar the maps of independent random networks are to each other.
"""

from collections.abc import Iterable, Sequence
from copy import deepcopy
from dataclasses import dataclass
from itertools import combinations

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
RANDOM_NETWORKS = 4  # independent ones at the last stage; two would often be alike or unlike by chance
NORM_BATCH = 32  # images, mirrored ones included, in one pass when the statistics of BatchNorm are measured
_BATCH_NORM = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


@dataclass(frozen=True)
class Stage:
    """How similar the maps still are, now that some layers of the network are random."""

    layers: str  # name of the first random layer, counted from the input
    share: float  # of the parameters that are random, above 0 to 1
    # By method (N,): rank correlation with the maps of the trained network, the mean over the random ones; NaN if not
    # defined. For a method with signs it is the magnitude: a random head gives the evidence to either class.
    similarity: dict[Method, NDArray[np.float64]]
    # The same between the random networks, the mean over all pairs; without values before the last stage.
    control: dict[Method, NDArray[np.float64]]


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
    shuffling is the same in every run. It costs `STAGES` + `RANDOM_NETWORKS` times `attribute`, and a second network in
    memory.

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

    def randomised(shuffled: Sequence[str]) -> dict[Method, Tensor]:
        """The maps after the weights of these layers were shuffled once more."""
        with torch.no_grad():
            for weight in _weights(changing, shuffled):
                order = torch.randperm(weight.numel(), generator=generator).to(weight.device)
                weight.copy_(weight.flatten()[order].view_as(weight))
        _measure_batch_norm(changing, random, inputs)
        return attribute(changing, inputs, methods, feature_map, targets).maps

    random: list[str] = []
    stages = []
    parts = _parts(changing, heads)
    for number, part in enumerate(parts, 1):
        random = [*part, *random]
        maps = [randomised(part)]
        if number == len(parts):
            maps += [randomised(random) for _ in range(RANDOM_NETWORKS - 1)]
        share = sum(weight.numel() for weight in _weights(changing, random)) / total
        similarity = {method: _similarity(method, [(trained, one) for one in maps]) for method in methods}
        pairs = list(combinations(maps, 2))
        control = {method: _similarity(method, pairs) if pairs else np.full(len(inputs), np.nan) for method in methods}
        stages.append(Stage(next(filter(None, random), ""), share, similarity, control))
    return stages


def _similarity(method: Method, pairs: Sequence[tuple[dict[Method, Tensor], ...]]) -> NDArray[np.float64]:
    """(N,) mean over the pairs of the rank correlation of their maps, of its magnitude if the method has signs."""
    each = np.array([rank_correlation(a[method], b[method]) for a, b in pairs])
    return (abs(each) if method.signed else each).mean(axis=0)


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
