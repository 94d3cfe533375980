"""Mixup (Zhang et al. 2018, arXiv:1710.09412) and CutMix (Yun et al. 2019, arXiv:1905.04899)."""

import torch
from torch import Tensor
from torchvision.transforms import v2

from gender_cls.config.data import CLASSES
from gender_cls.config.train import AugmentConfig


class Mixing:
    """Mixes the images of a normalised batch in pairs; if there are several kinds, by a random one of them.

    The pairs come from one batch, so they differ with the number of devices and with the batch size.
    """

    def __init__(self, kinds: list[v2.Transform], layout: torch.memory_format) -> None:
        self._mix, self._layout = v2.RandomChoice(kinds), layout

    def __call__(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Return the images, in the same order, and targets (B, classes); an image without a label is not mixed."""
        count = len(labels)
        if count == 0:
            return images, labels
        mixed, targets = self._mix(images[:count], labels)
        whole = torch.cat([mixed, images[count:]]) if count < len(images) else mixed
        return whole.contiguous(memory_format=self._layout), targets


def build_mixing(augment: AugmentConfig, layout: torch.memory_format) -> Mixing | None:
    """Return what the settings ask for; None if they mix nothing."""
    kinds = ((v2.MixUp, augment.mixup), (v2.CutMix, augment.cutmix))
    choices = [kind(alpha=alpha, num_classes=len(CLASSES)) for kind, alpha in kinds if alpha > 0]
    return Mixing(choices, layout) if choices else None
