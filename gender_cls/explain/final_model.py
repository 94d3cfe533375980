"""The chosen checkpoint explained on test images, once training is over: measured, checked, and in pictures."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, interpolate

from gender_cls.data.crops import balanced_sample, read_crops
from gender_cls.data_config import CLASSES, DataConfig
from gender_cls.explain.grids import explain_classes, explanation_grid
from gender_cls.explain.measured_images import Question, codes, explain_images
from gender_cls.explain.network import ExplainedNetwork
from gender_cls.explain.randomisation import randomisation_check
from gender_cls.explain.untouched import CHUNK
from gender_cls.explain_config import ExplainConfig, Method
from gender_cls.pages.drawing import Picture, png_bytes
from gender_cls.pages.kept_maps import KeptMaps, load_kept_maps, save_kept_maps
from gender_cls.pages.map_grid import MapColumn
from gender_cls.pages.map_overviews import MeanMaps, mean_map_grid
from gender_cls.run import Run, write_atomically

PICTURES = ("most_confident_mistakes", "least_certain", "mean_maps_by_answer", "mean_maps_by_camera")
"""Names of the grids; one is missing where there is nothing to show."""

SHOWN = 12
"""Most confident mistakes, and as many of the least certain images."""

CHECKED = 16
"""Images of the sanity check, which explains each five times."""

KEPT_HEIGHT = 64
"""Pixels; more than any page shows of a map that is compared with others."""

FEWEST, MOST_GROUPS = 5, 8
"""Images that make a mean map, and groups that have one."""

SEED = 0
"""Runs on the same split explain the same images."""


def explain_test(
    run: Run,
    test: pd.DataFrame,
    root: Path,
    network: ExplainedNetwork,
    settings: ExplainConfig,
    images: int,
    progress_bar: bool = True,
) -> None:
    """Leave `explanations.csv` and what belongs to it in the run's folder; what is there is not made again.

    Args:
        test: the predictions on test.
        root: the folder that their paths are relative to.
        images: how many to measure.
    """
    sample = balanced_sample(test, images, SEED)
    question = Question(tuple(settings.methods), settings.explained_class.roles)
    explain_images(sample, root, network, question, run.folder, progress_bar)
    if not run.randomisation.exists():
        _check_sanity(run, sample.head(CHECKED), root, network, settings.methods)
    kept = load_kept_maps(run.maps)
    if kept is None or not set(sample["path"]) <= set(kept.paths):
        kept = _kept_maps(sample, root, network, settings)
        _draw_means(run, sample, root, kept, network.classifier.settings.data)
        save_kept_maps(run.maps, kept)  # last: with it, all this is done
    least_certain = test.sort_values("p_FEMALE", key=lambda p_female: (p_female - 0.5).abs(), kind="stable")
    wrong = least_certain[least_certain["label"] != least_certain["prediction"]]
    for name, title, ranked in (
        ("most_confident_mistakes", "The most confident mistakes on test", wrong.iloc[::-1]),
        ("least_certain", "The least certain images of test", least_certain),
    ):
        shown = ranked.drop_duplicates("group").head(SHOWN)  # else the frames of one person fill the page
        if len(shown) and not run.explanation_picture(name).exists():
            _draw_images(run, name, title, shown, root, network, settings)


def _check_sanity(
    run: Run, rows: pd.DataFrame, root: Path, network: ExplainedNetwork, methods: Sequence[Method]
) -> None:
    """Leave `randomisation.csv`: a row a picture, method and stage."""
    classifier = network.classifier
    crops = read_crops([root / path for path in rows["path"]], classifier.settings.data)
    stages = randomisation_check(
        classifier.network,
        network.inputs(crops.images),
        codes(rows["prediction"]),
        classifier.heads,
        methods,
        network.feature_map,
    )
    table = [
        rows[["path", "identity", "group"]].assign(
            method=method.value, stage=number, layers=stage.layers, share=stage.share, similarity=similarity
        )
        for number, stage in enumerate(stages)
        for method, similarity in stage.similarity.items()
    ]
    write_atomically(run.randomisation, pd.concat(table).to_csv(index=False))


def _kept_maps(rows: pd.DataFrame, root: Path, network: ExplainedNetwork, settings: ExplainConfig) -> KeptMaps:
    """Of the first class that is shown, small."""
    targets = codes(rows["prediction" if "predicted" in settings.explained_class.roles else "label"])
    parts, boxes, probabilities = [], [], []
    for at in torch.arange(len(rows)).split(CHUNK):
        crops = read_crops([root / path for path in rows["path"].iloc[at.tolist()]], network.classifier.settings.data)
        attribution = network.attribute(network.inputs(crops.images), settings.methods, targets[at])
        maps = torch.stack([attribution.maps[method] for method in settings.methods])
        small = adaptive_avg_pool2d(maps, _kept_size(maps.shape[2], maps.shape[3]))
        parts.append(small / small.abs().mean(dim=(2, 3), keepdim=True).clamp(min=torch.finfo(torch.float32).tiny))
        boxes.append(crops.boxes * np.tile([small.shape[3] / maps.shape[3], small.shape[2] / maps.shape[2]], 2))
        probabilities += attribution.probabilities.gather(1, targets[at, None]).squeeze(1).tolist()
    stacked = torch.cat(parts, dim=1).numpy()
    return KeptMaps(
        paths=rows["path"].tolist(),
        explained=[CLASSES[target] for target in targets],
        probabilities=probabilities,
        signed={method.value: method.signed for method in settings.methods},
        maps={method.value: maps for method, maps in zip(settings.methods, stacked, strict=True)},
        boxes=np.concatenate(boxes),
    )


def _kept_size(height: int, width: int) -> tuple[int, int]:
    shrink = max(1.0, height / KEPT_HEIGHT)
    return round(height / shrink), max(1, round(width / shrink))


def _draw_images(
    run: Run, name: str, title: str, rows: pd.DataFrame, root: Path, network: ExplainedNetwork, settings: ExplainConfig
) -> None:
    """A grid of some test images with their maps."""
    classifier = network.classifier
    crops = read_crops([root / path for path in rows["path"]], classifier.settings.data)
    inputs, labels = network.inputs(crops.images), rows["label"].tolist()
    explained = explain_classes(classifier.network, inputs, labels, settings, network.feature_map)
    names = rows["path"].tolist()
    _save(run, name, explanation_grid(crops, labels, names, explained, title, "the weights that were tested"))


def _draw_means(run: Run, rows: pd.DataFrame, root: Path, kept: KeptMaps, data: DataConfig) -> None:
    """Mean pictures and maps of what was answered, and of the cameras with the most images."""
    images = read_crops([root / path for path in rows["path"]], data).images
    size = (images.shape[2], images.shape[3])
    maps = {
        Method(method): interpolate(torch.from_numpy(stack).unsqueeze(1), size, mode="bilinear").squeeze(1)
        for method, stack in kept.maps.items()
    }
    for kind, column in (("answer", "prediction"), ("camera", "camera")):
        names = rows[column].to_numpy(str)
        known, counts = np.unique(names[names != ""], return_counts=True)
        largest = [(known[at], counts[at]) for at in np.argsort(-counts, kind="stable")[:MOST_GROUPS]]
        groups = [
            _means(str(name), images[chosen], {method: stack[chosen] for method, stack in maps.items()})
            for name, chosen in ((name, torch.tensor(names == name)) for name, count in largest if count >= FEWEST)
        ]
        if groups:
            grid = mean_map_grid(groups, f"Mean maps by {kind}", "Every image counts alike.")
            _save(run, f"mean_maps_by_{kind}", grid)


def _means(name: str, images: Tensor, maps: Mapping[Method, Tensor]) -> MeanMaps:
    columns = [
        MapColumn(method.title, stack.mean(dim=0, keepdim=True).numpy(), method.signed)
        for method, stack in maps.items()
    ]
    return MeanMaps(name, len(images), images.float().mean(dim=0).numpy(), columns)


def _save(run: Run, name: str, picture: Picture) -> None:
    write_atomically(run.explanation_picture(name), png_bytes(picture))
