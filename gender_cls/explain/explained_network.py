"""A trained network with everything that explaining it takes."""

from collections.abc import Sequence
from functools import cached_property

from torch import Tensor, nn

from gender_cls.config.explain import Method
from gender_cls.explain.attribution import Attribution, attribute
from gender_cls.models.feature_map import FeatureMap
from gender_cls.training.classifier import GenderClassifier
from gender_cls.training.predictor import Predictor


class ExplainedNetwork:
    """The network of a predictor and its layer for Grad-CAM; both are loaded at first use."""

    def __init__(self, predictor: Predictor) -> None:
        self._predictor = predictor

    @cached_property
    def classifier(self) -> GenderClassifier:
        """On its device, in eval mode."""
        return self._predictor.resident()

    @property
    def network(self) -> nn.Module:
        """Normalised images -> logits."""
        return self.classifier.network

    @cached_property
    def feature_map(self) -> FeatureMap:
        """The layer for Grad-CAM."""
        return self.classifier.find_feature_map()

    def inputs(self, images: Tensor) -> Tensor:
        """uint8 (N, 3, H, W) -> the normalised input of the network, on its device."""
        return self.classifier.normalise(images.to(self.classifier.device))

    def attribute(self, inputs: Tensor, methods: Sequence[Method], targets: Tensor | None = None) -> Attribution:
        """Maps of the target class, or of the predicted one; see `attribution.attribute`."""
        return attribute(self.network, inputs, methods, self.feature_map, targets)
