"""Whether maps depend on what the network has learned: the sanity check by randomised parameters.

Adebayo, Gilmer, Muelly, Goodfellow, Hardt, Kim, "Sanity Checks for Saliency Maps", NeurIPS 2018, arXiv:1810.03292. It
tells maps that show the picture instead of the network. It does not rank the others: noise would pass best, and random
layers behind a learned one still lean on its strong channels (Binder et al., "Shortcomings of Top-Down
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

STAGES = 4
"""The heads, then the other layers in parts of about as many layers each."""

BATCH = 32
"""Images at once while the statistics of BatchNorm are measured."""

_BATCH_NORM = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


@dataclass(frozen=True)
class Stage:
    """Maps of a network some of whose layers are random.

    Args:
        layers: name of the first layer, counted from the input, that is random.
        share: of the network's parameters that are random, above 0 to 1.
        similarity: of each method (N,), the rank correlation with the maps of the trained network, signs included,
            -1 to 1. NaN where it is not defined.
    """

    layers: str
    share: float
    similarity: dict[Method, NDArray[np.float64]]


def randomisation_check(
    network: nn.Module,
    inputs: Tensor,
    targets: Tensor,
    heads: Sequence[str],
    methods: Sequence[Method],
    feature_map: FeatureMap,
) -> list[Stage]:
    """How far maps stay alike while the layers of a copy become random, from the heads to the input.

    A random layer has its own values dealt anew, tensor by tensor: as large and as spread as before, in no order. So
    signals stay in range without knowing how the architecture is initialised. BatchNorm among the random layers
    measures its statistics anew on the inputs, as training would have: else a deep network dies or explodes. The deal
    is the same in every run. The cost is that of five times `attribute`, and a second network in memory.

    Args:
        inputs: (N, 3, H, W), normalised, on the network's device.
        targets: (N,), class index; the same at all stages.
        heads: names of the modules that make the logits.

    Returns:
        `STAGES` stages, fewer where there are fewer layers. In the last one everything is random.
    """
    trained = attribute(network, inputs, methods, feature_map, targets).maps
    with torch.inference_mode(False), torch.no_grad():
        changing = deepcopy(network).float()
    generator = torch.Generator().manual_seed(0)
    random: list[str] = []
    stages = []
    for part in _parts(changing, heads):
        random = [*part, *random]
        _deal(changing, part, generator)
        _measure_batch_norm(changing, random, inputs)
        maps = attribute(changing, inputs, methods, feature_map, targets).maps
        similarity = {method: rank_correlation(trained[method], maps[method]) for method in methods}
        stages.append(Stage(next(filter(None, random), ""), _share(changing, random), similarity))
    return stages


def _parts(network: nn.Module, heads: Sequence[str]) -> list[list[str]]:
    """Names of the layers that become random at each stage; of each stage from input to output.

    A layer is a module with parameters or statistics of its own. The network itself comes first: its embeddings of
    position and class become random last.
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


def _deal(network: nn.Module, layers: Iterable[str], generator: torch.Generator) -> None:
    """Each tensor's values in another order."""
    with torch.no_grad():
        for weight in _weights(network, layers):
            order = torch.randperm(weight.numel(), generator=generator).to(weight.device)
            weight.copy_(weight.flatten()[order].view_as(weight))


def _measure_batch_norm(network: nn.Module, layers: Iterable[str], inputs: Tensor) -> None:
    """Running statistics of these layers alone, as training on the inputs would have them; all else as in testing.

    Mirrored images join in, so that there are two at least: of one, behind global pooling, there is no variance.
    """
    norms = [module for module in map(network.get_submodule, layers) if isinstance(module, _BATCH_NORM)]
    if not norms:
        return
    with isolated(network), torch.no_grad():
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # a plain mean over batches
            norm.training = True
        for images in inputs.float().split(BATCH // 2):
            network(torch.cat([images, images.flip(3)]))


def _weights(network: nn.Module, layers: Iterable[str]) -> Iterable[nn.Parameter]:
    """Parameters of these layers' own, each once."""
    return dict.fromkeys(
        weight for layer in layers for weight in network.get_submodule(layer).parameters(recurse=False)
    )


def _share(network: nn.Module, layers: Iterable[str]) -> float:
    random = sum(weight.numel() for weight in _weights(network, layers))
    return random / sum(weight.numel() for weight in network.parameters())
