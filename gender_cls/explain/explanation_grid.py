"""One picture of several images with their maps: of the predicted class, of the true class, or of both."""

from collections.abc import Sequence
from dataclasses import replace
from math import isfinite

import torch
from torch import Tensor

from gender_cls.config.data import CLASSES
from gender_cls.config.explain import ExplainConfig, ExplainedClass
from gender_cls.data.crops import Crops
from gender_cls.drawing.canvas import Picture
from gender_cls.drawing.map_grid import Caption, MapColumn, map_grid
from gender_cls.explain.attribution import Attribution, attribute, feature_map_for, scaled
from gender_cls.explain.mass_shares import area_shares, mass_shares
from gender_cls.training.classifier import GenderClassifier

EXPLAINED_LABEL = {
    ExplainedClass.predicted: "the predicted label",
    ExplainedClass.true: "the true label",
    ExplainedClass.both: "the predicted label, and of the true one where the heading says so,",
}


def explain_classes(
    classifier: GenderClassifier,
    images: Tensor,
    labels: Sequence[str],
    settings: ExplainConfig,
    predicted: Tensor | None = None,
) -> dict[str, Attribution]:
    """Maps of the class or classes that the settings name, by role: `predicted`, `true`.

    If the answer for an image is right, both roles share one computation.

    Args:
        images: (N, 3, H, W), uint8.
        labels: N true labels.
        predicted: (N,), class index of the answers, if they are known.
    """
    methods, explained_class = settings.methods, settings.explained_class
    network, inputs, feature_map = (
        classifier.network,
        classifier.normalise(images),
        feature_map_for(methods, classifier),
    )
    true = torch.tensor([CLASSES.index(label) for label in labels])
    if explained_class is ExplainedClass.true:
        return {"true": attribute(network, inputs, methods, feature_map, true)}
    answered = attribute(network, inputs, methods, feature_map, predicted)
    if explained_class is ExplainedClass.predicted:
        return {"predicted": answered}
    maps, wrong = answered.maps, (answered.targets != true).nonzero().squeeze(1)
    if len(wrong):
        others = attribute(network, inputs[wrong.to(inputs.device)], methods, feature_map, true[wrong])
        maps = {method: stack.index_copy(0, wrong, others.maps[method]) for method, stack in maps.items()}
    return {"predicted": answered, "true": replace(answered, targets=true, maps=maps)}


def make_captions(labels: Sequence[str], names: Sequence[str], p_female: Sequence[float]) -> list[Caption]:
    """One caption per image, from its label, its file name and the predicted probability of FEMALE."""
    return [Caption(label, CLASSES[p < 0.5], p, name) for label, name, p in zip(labels, names, p_female, strict=True)]


def map_columns(explained: dict[str, Attribution], crops: Crops | None = None) -> list[MapColumn]:
    """Each method's maps: of the answer, and of the true label if both were asked for.

    Args:
        explained: from `explain_classes`.
        crops: what the maps explain, to note below each how much of it lies outside the person; None notes nothing.
    """
    return [
        MapColumn(
            title=f"{method.title}, {role}" if len(explained) > 1 and role == "true" else method.title,
            maps=scaled(attribution.maps[method]),
            signed=method.signed,
            notes=() if crops is None else _outside_notes(attribution.maps[method], crops),
        )
        for method in next(iter(explained.values())).maps
        for role, attribution in explained.items()
    ]


def explanation_grid(
    crops: Crops, captions: Sequence[Caption], explained: dict[str, Attribution], title: str, weights: str
) -> Picture:
    """One panel per image: the input, each map with its share outside the person, and a caption.

    Args:
        explained: from `explain_classes`.
        title: heading; the number of right answers is added.
        weights: whose maps these are, such as "this epoch's weights".
    """
    columns = map_columns(explained, crops)
    right = sum(caption.label == caption.predicted for caption in captions)
    even = area_shares((crops.images.shape[2], crops.images.shape[3]), crops.boxes)["outside"].mean()
    signs = "; yellow speaks for the label, blue against it" if any(column.signed for column in columns) else ""
    return map_grid(
        crops.images,
        columns,
        captions,
        title=f"{title}: {right} of {len(captions)} right",
        note=f"Maps of {explained_label(explained)} with {weights}, each scaled to its own largest magnitude{signs}. "
        f"Outside: share of the mass outside the person's box, {100 * even:.0f} % for a uniform map.",
    )


def explained_label(explained: dict[str, Attribution]) -> str:
    """Whose maps these are, in words."""
    return EXPLAINED_LABEL[ExplainedClass.both if len(explained) > 1 else ExplainedClass(next(iter(explained)))]


def _outside_notes(maps: Tensor, crops: Crops) -> list[str]:
    shares = mass_shares(maps, crops.boxes)["outside"]
    return [f"outside {100 * share:.0f} %" if isfinite(share) else "" for share in shares]
