"""Images with the maps of the class or classes that are shown of each, as one picture."""

from collections.abc import Sequence
from dataclasses import replace
from math import isfinite

import torch
from torch import Tensor, nn

from gender_cls.config.data import CLASSES
from gender_cls.config.explain import ExplainConfig, ExplainedClass
from gender_cls.data.crops import Crops
from gender_cls.drawing.canvas import Picture
from gender_cls.drawing.map_grid import Caption, MapColumn, map_grid
from gender_cls.explain.attribution import Attribution, attribute, scaled
from gender_cls.explain.mass_shares import area_shares, mass_shares
from gender_cls.models.feature_map import FeatureMap

SHOWN = {
    ExplainedClass.predicted: "the predicted label",
    ExplainedClass.true: "the true label",
    ExplainedClass.both: "the predicted label, and of the true one where the heading says so,",
}


def explain_classes(
    network: nn.Module,
    inputs: Tensor,
    labels: Sequence[str],
    settings: ExplainConfig,
    feature_map: FeatureMap,
    predicted: Tensor | None = None,
) -> dict[str, Attribution]:
    """Maps of the class or classes that the settings name, by role: `predicted`, `true`.

    Of an image that is right both are the same, and computed once.

    Args:
        inputs: (N, 3, H, W), normalised, on the network's device.
        labels: N true labels.
        predicted: (N,), class index of the answers where they are known.
    """
    methods, shown = settings.methods, settings.explained_class
    true = torch.tensor([CLASSES.index(label) for label in labels])
    if shown is ExplainedClass.true:
        return {"true": attribute(network, inputs, methods, feature_map, true)}
    answered = attribute(network, inputs, methods, feature_map, predicted)
    if shown is ExplainedClass.predicted:
        return {"predicted": answered}
    maps, wrong = answered.maps, (answered.targets != true).nonzero().squeeze(1)
    if len(wrong):
        others = attribute(network, inputs[wrong.to(inputs.device)], methods, feature_map, true[wrong])
        maps = {method: stack.index_copy(0, wrong, others.maps[method]) for method, stack in maps.items()}
    return {"predicted": answered, "true": replace(answered, targets=true, maps=maps)}


def captions_of(labels: Sequence[str], names: Sequence[str], p_female: Sequence[float]) -> list[Caption]:
    """One an image, from its label, its file name and the probability of FEMALE that was answered."""
    return [
        Caption(label, CLASSES[p < 0.5], max(p, 1 - p), name)
        for label, name, p in zip(labels, names, p_female, strict=True)
    ]


def explanation_grid(
    crops: Crops, captions: Sequence[Caption], explained: dict[str, Attribution], title: str, weights: str
) -> Picture:
    """A panel an image: the input, each map with its border share, and a caption.

    Args:
        crops: N images.
        captions: N.
        explained: by role, as `explain_classes` gives it.
        title: heading; how many are right is added.
        weights: whose maps these are, such as "this epoch's weights".
    """
    shown = ExplainedClass.both if len(explained) > 1 else ExplainedClass(next(iter(explained)))
    attributions = list(explained.values())
    columns = [
        MapColumn(
            title=f"{method.title}, {role}" if len(explained) > 1 and role == "true" else method.title,
            maps=scaled(attribution.maps[method]),
            signed=method.signed,
            notes=_border_notes(attribution.maps[method], crops),
        )
        for method in attributions[0].maps
        for role, attribution in explained.items()
    ]
    right = sum(caption.label == caption.predicted for caption in captions)
    even = area_shares((crops.images.shape[2], crops.images.shape[3]), crops.boxes)["border"].mean()
    return map_grid(
        crops.images,
        columns,
        captions,
        title=f"{title}: {right} of {len(captions)} right",
        note=f"Maps of {SHOWN[shown]} with {weights}, each scaled to its own largest magnitude; border: share of the "
        f"mass outside the person's box, {_percent(even)} for an even map.",
    )


def _border_notes(maps: Tensor, crops: Crops) -> list[str]:
    shares = mass_shares(maps, crops.boxes)["border"]
    return [f"border {_percent(share)}" if isfinite(share) else "" for share in shares]


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"
