"""Deletion and insertion scores: whether maps are faithful, compared with a random order of regions.

Petsiuk, Das, Saenko, "RISE: Randomized Input Sampling for Explanation of Black-box Models", BMVC 2018,
arXiv:1806.07421. Regions move instead of pixels, as in Samek et al., "Evaluating the Visualization of What a Deep
Neural Network Has Learned", IEEE TNNLS 2017, arXiv:1509.06321. So every order, also the random one, moves pieces of one
shape, and no map gains from how fine or coarse it is.
"""

import hashlib
from collections.abc import Mapping, Sequence
from itertools import product

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from gender_cls.config.explain import Method
from gender_cls.evaluation.explanation_schema import BASELINES, GAMES
from gender_cls.explain.isolation import Forward, isolated
from gender_cls.explain.map_regions import region_grid, region_means, region_of_pixels

CURVE_STEPS = 8
"""Equal steps from no region moved to all regions moved."""

Scores = dict[str, NDArray[np.float64]]
"""By column of `explanations.csv`, (N,): areas under the curves of N images, from 0 to 1."""


def score_faithfulness(
    network: nn.Module, inputs: Tensor, targets: Tensor, maps: Mapping[Method, Tensor], names: Sequence[str]
) -> tuple[dict[Method, Scores], Scores]:
    """How the probability of the target changes while regions are deleted or inserted, the map's most positive first.

    Deletion turns the image into a baseline region by region; insertion turns the baseline into the image. Baselines
    are the image blurred over the height of a region, and its mean colour. A score is the area under the target's
    softmax probability over the share of regions moved, by the trapezoidal rule.

    The control moves the regions in a random order that depends only on the name of the image. Deletion in one order
    shows the same images as insertion in the reverse order, so one control serves both games. It is scattered, while
    maps are in one piece; that moves both curves the same way, and so the two gains in opposite ways: a good map wins
    both games. Regions of equal mean move in the random order too.

    An image costs 3 + 14 + 28 per method forward passes: the ends, then the 7 inner steps of the control on 2 baselines
    and of 2 games on them. One game is one batch, so no other image or method influences its score.

    Args:
        inputs: (N, 3, H, W), normalised, on the network's device.
        targets: (N,), class index.
        maps: (N, H, W) of each method, signed.
        names: of the images, as in the manifest.

    Returns:
        For each method `deletion_<baseline>` (lower is better) and `insertion_<baseline>` (higher is better), and
        `random_<baseline>` of the control. NaN if a map or a probability is not finite.
    """
    means = {method: region_means(values) for method, values in maps.items()}
    games = {f"{game}_{baseline}": (game, baseline) for game, baseline in product(GAMES, BASELINES)}
    scores = {method: {column: np.full(len(names), np.nan) for column in games} for method in maps}
    control = {f"random_{baseline}": np.full(len(names), np.nan) for baseline in BASELINES}
    with isolated(network) as forward, torch.no_grad():
        for index, (name, target) in enumerate(zip(names, targets.tolist(), strict=True)):
            curves = _Curves(forward, inputs[index].float(), target)
            random_order = _random_order(name, curves.regions)
            for baseline in BASELINES:
                control[f"random_{baseline}"][index] = curves.area("deletion", baseline, random_order)
            for method, of_method in scores.items():
                evidence = means[method][index]
                if np.isfinite(evidence).all():
                    order = random_order[np.argsort(-evidence[random_order], kind="stable")]
                    for column, (game, baseline) in games.items():
                        of_method[column][index] = curves.area(game, baseline, order)
    return scores, control


class _Curves:
    """One normalised image (3, H, W), its baselines, and the probability of the target for the images between them."""

    def __init__(self, forward: Forward, image: Tensor, target: int) -> None:
        self._forward, self._target = forward, target
        size = (image.shape[1], image.shape[2])
        self._grid, self._of_pixels = region_grid(size), region_of_pixels(size)
        self.regions = self._grid[0] * self._grid[1]
        blurred = _blurring(image, 1, self._grid[0]) @ image @ _blurring(image, 2, self._grid[0]).T
        mean = image.mean(dim=(1, 2), keepdim=True).expand_as(image)
        self._images = {"image": image, "blurred": blurred, "mean": mean}
        ends = self._probabilities(torch.stack(list(self._images.values())))
        self._ends = dict(zip(self._images, ends, strict=True))

    def area(self, game: str, baseline: str, order: NDArray[np.int64]) -> float:
        """The area under the curve if the regions move in this order."""
        start, end = ("image", baseline) if game == "deletion" else (baseline, "image")
        counts = np.rint(np.linspace(0, len(order), CURVE_STEPS + 1))
        ranks = np.empty_like(order)  # the place of each region in the order
        ranks[order] = np.arange(len(order))
        moved = ranks.reshape(self._grid)[self._of_pixels] < counts[1:-1, None, None, None]
        mask = torch.from_numpy(moved).to(self._images["image"].device)
        inner = self._probabilities(torch.where(mask, self._images[end], self._images[start]))
        return float(np.trapezoid([self._ends[start], *inner, self._ends[end]], counts / len(order)))

    def _probabilities(self, images: Tensor) -> NDArray[np.float64]:
        return self._forward(images).softmax(dim=1)[:, self._target].cpu().double().numpy()


def _blurring(image: Tensor, side: int, rows: int) -> Tensor:
    """A square matrix that blurs along one side: Gaussian, with the height of a region as standard deviation.

    Each row is a weighted mean of existing pixels: nothing is invented outside the image.
    """
    at = torch.arange(image.shape[side], device=image.device)
    weights = torch.exp(-(((at[:, None] - at) / (image.shape[1] / rows)) ** 2) / 2)
    return weights / weights.sum(dim=1, keepdim=True)


def _random_order(name: str, regions: int) -> NDArray[np.int64]:
    """All regions in a random order that depends only on the name of the image."""
    digest = hashlib.blake2b(f"order/{name}".encode(errors="surrogateescape"), digest_size=16).digest()
    return np.random.default_rng(int.from_bytes(digest, "big")).permutation(regions)
