"""The maps of one image in memory, for Python: `gender_cls.load(run).explain(images)`."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from gender_cls.config.data import CLASSES
from gender_cls.config.explain import Method
from gender_cls.drawing.map_colours import coloured
from gender_cls.drawing.map_overviews import map_strip
from gender_cls.errors import GenderClsError, require
from gender_cls.explain.attribution import attribute, feature_map_for
from gender_cls.explain.image_maps import STRIP_HEIGHT
from gender_cls.training.classifier import GenderClassifier


@dataclass(frozen=True, eq=False)
class Explanation:
    """The maps of one image: where the network looks when it answers `explained`."""

    image: NDArray[np.uint8]  # (H, W, 3), RGB: what the network got, resized
    explained: str  # FEMALE or MALE, the label that the maps explain
    probability: float  # of that label, not calibrated, computed in float32 as the maps are
    # By method, (H, W) float32, not scaled. Those of grad_cam, integrated_gradients and occlusion are above 0 where the
    # image speaks for the label and below 0 where it speaks against it; the others are at least 0.
    maps: dict[str, NDArray[np.float32]]

    def overlay(self, method: str) -> Image.Image:
        """A map as translucent colours on the image (H, W), scaled to its own largest magnitude."""
        require(method in self.maps, f"There is no map of {method} here, only of {', '.join(self.maps)}.")
        signed = Method(method).signed
        return Image.fromarray(coloured(self.maps[method][np.newaxis], self.image[np.newaxis], signed)[0])

    def picture(self, height: int = STRIP_HEIGHT) -> Image.Image:
        """The image and all of its maps side by side, `height` pixels high."""
        maps = [(values, Method(method).signed) for method, values in self.maps.items()]
        return Image.fromarray(map_strip(self.image.transpose(2, 0, 1), maps, height))


def methods_of(names: Sequence[str] | str) -> list[Method]:
    """The methods with these names, or this one; GenderClsError if there are none, or one is unknown."""
    names = [names] if isinstance(names, str) else names
    known = [method.value for method in Method]
    for name in names:
        require(name in known, f"methods names {name}; there is {', '.join(known)}.")
    require(len(names) > 0, f"methods is empty: name at least one of {', '.join(known)}.")
    return [Method(name) for name in dict.fromkeys(names)]


def explain_batch(
    classifier: GenderClassifier, images: Tensor, methods: Sequence[Method], label: str | None
) -> list[Explanation]:
    """Explain images by every method; see `attribution.attribute`.

    Args:
        classifier: on the device that computes.
        images: (N, 3, H, W) uint8.
        label: the label to explain; None: the predicted one of each image.

    Raises:
        GenderClsError: `label` is no label, or the network has no feature map for Grad-CAM.
    """
    if label is not None and label not in CLASSES:
        raise GenderClsError(f"label must be {' or '.join(CLASSES)}, or None for the predicted one, not {label}.")
    targets = None if label is None else torch.full((len(images),), CLASSES.index(label))
    inputs = classifier.normalise(images)
    found = attribute(classifier.network, inputs, methods, feature_map_for(methods, classifier), targets)
    pixels = images.permute(0, 2, 3, 1).contiguous().numpy()
    return [
        Explanation(
            image=pixels[row],
            explained=CLASSES[target],
            probability=float(found.probabilities[row, target]),
            maps={method.value: values[row].numpy() for method, values in found.maps.items()},
        )
        for row, target in enumerate(found.targets.tolist())
    ]
