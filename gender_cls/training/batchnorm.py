"""Answers of a network whose BatchNorm layers are adapted to other images, without their labels.

A BatchNorm layer normalises with the mean and variance that its inputs had in training. AdaBN (Li et al. 2016,
arXiv:1603.04779) takes those on the new images instead. Schneider et al. 2020 (arXiv:2006.16971) mix both, with weight
N / (N + n) for training's after n new images. Here N is 0: all images are at hand at once, where n is large the mix
changes little, and without labels nothing could choose N.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import batch_norm
from torch.nn.modules.batchnorm import _BatchNorm

from gender_cls.data.image_store import ImageStore
from gender_cls.errors import require
from gender_cls.training.batch import LARGEST_AUTO_BATCH
from gender_cls.training.predictor import Predictor

SEED = 0  # of the order of the images


def has_batchnorm(predictor: Predictor) -> bool:
    """Whether the network normalises with statistics from its training."""
    return bool(_adaptable(predictor.classifier.network))


def adapted_probabilities(predictor: Predictor, rows: pd.DataFrame, images: ImageStore) -> NDArray[np.float64]:
    """Return what `predictor.probabilities` would be if the network had the BatchNorm statistics of these images.

    Each image passes through the network twice. Afterwards, also after an error, the network is as it was.
    """
    with adapted(predictor, rows, images):
        return predictor.probabilities(rows, images)


@contextmanager
def adapted(predictor: Predictor, rows: pd.DataFrame, images: ImageStore) -> Iterator[None]:
    """Give all BatchNorm layers of the predictor's network the statistics of these images; afterwards their own again.

    One pass measures all layers. While it lasts, each layer normalises with the statistics of the batch, as in
    training. The images come in random order, because a batch from a sorted folder would hold one label only.

    Raises:
        GenderClsError: the network has no such layer.
    """
    classifier = predictor.device_classifier()
    layers = _adaptable(classifier.network)
    require(bool(layers), f"{classifier.settings.model.title} has no BatchNorm layer that could be adapted.")
    changed: list[_Layer] = []
    try:
        changed += map(_Layer, layers)
        predictor.pass_through(rows, images, _batches(len(rows), predictor.batch_size))
        for layer in changed:
            layer.take_all()
        yield
    finally:
        for layer in changed:
            layer.restore()


def _adaptable(network: nn.Module) -> list[_BatchNorm]:
    """BatchNorm layers with running statistics. `FrozenBatchNorm2d` is none of them: it is made never to change."""
    return [layer for layer in network.modules() if isinstance(layer, _BatchNorm) and layer.running_mean is not None]


def _batches(images: int, size: int) -> list[list[int]]:
    """All images in an order that is random and always the same, in batches of nearly equal size.

    Equal, because a layer behind global pooling has no variance in a last batch of one image. At least
    LARGEST_AUTO_BATCH images, because the layers that follow get noise where a batch is small.
    """
    order = np.random.default_rng(SEED).permutation(images)
    parts = -(-images // max(size, LARGEST_AUTO_BATCH))
    return [part.tolist() for part in np.array_split(order, parts)]


class _Layer:
    """One layer while it is adapted: first its statistics are those of each batch, then those of all batches.

    It stays in evaluation mode. Mean and variance of all batches are kept in float32 (float64 if the layer is), also of
    a layer in half precision; that layer itself rounds them as it rounds those of training.
    """

    def __init__(self, layer: _BatchNorm) -> None:
        self.layer = layer
        self.own = self._statistics
        self.running_mean, self.running_var = (kept.clone() for kept in self.own)
        layer.running_mean, layer.running_var = self.running_mean, self.running_var
        self.count = 0  # values per channel
        self.mean, self.variance = self._zeros(), self._zeros()
        self.hook = layer.register_forward_pre_hook(self._measure)

    @property
    def _statistics(self) -> tuple[Tensor, Tensor]:
        mean, variance = self.layer.running_mean, self.layer.running_var
        assert mean is not None
        assert variance is not None
        return mean, variance

    def _zeros(self) -> Tensor:
        return torch.zeros_like(self.running_mean, dtype=torch.promote_types(self.running_mean.dtype, torch.float32))

    def _measure(self, _: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        """Let the layer normalise this batch with its own statistics, and add them to those of all batches."""
        [values] = inputs
        mean, variance = self._zeros(), self._zeros()
        # Much faster than `torch.var_mean`; values in half precision are added up in float32.
        batch_norm(values, mean, variance, training=True, momentum=1.0)
        count = values.numel() // len(mean)
        variance *= (count - 1) / count  # torch returns the estimate for a population; a layer takes the batch's own
        self.running_mean.copy_(mean)
        self.running_var.copy_(variance)
        # The sums of two samples from theirs (Chan et al. 1979): means that differ between batches are variance too.
        difference, share = mean - self.mean, count / (self.count + count)
        self.mean += share * difference
        self.variance += share * (variance - self.variance + (1 - share) * difference**2)
        self.count += count

    def take_all(self) -> None:
        """Let the layer normalise with the statistics of all batches; a layer that was never reached keeps its own."""
        self.hook.remove()
        if self.count > 1:
            self.running_mean.copy_(self.mean)
            self.running_var.copy_(self.variance * (self.count / (self.count - 1)))

    def restore(self) -> None:
        """Give the layer its own statistics, wherever it is: Lightning takes a network off the GPU after predicting."""
        self.hook.remove()
        device = self._statistics[0].device
        self.layer.running_mean, self.layer.running_var = (kept.to(device) for kept in self.own)
