"""The chosen checkpoint explained on test images, once training is over: measured, checked, and in pictures."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from gender_cls.config.data import DataConfig
from gender_cls.config.explain import ExplainConfig, Method
from gender_cls.data.crops import balanced_sample, read_crops
from gender_cls.data.image_store import ImageStore
from gender_cls.drawing.canvas import Picture, png_bytes
from gender_cls.drawing.map_grid import MapColumn
from gender_cls.drawing.map_overviews import MeanMaps, mean_map_grid
from gender_cls.evaluation.explanations import read_explanations
from gender_cls.explain.explained_network import ExplainedNetwork
from gender_cls.explain.explanation_grid import captions_of, explain_classes, explanation_grid
from gender_cls.explain.explanations_table import Question, codes, explain_images
from gender_cls.explain.image_maps import read_maps
from gender_cls.explain.randomisation import randomisation_check
from gender_cls.explain.run_maps import RunMaps, load_run_maps, save_run_maps
from gender_cls.runs.files import write_atomically
from gender_cls.runs.run import Run

PICTURES = ("most_confident_mistakes", "least_certain", "mean_maps_by_answer", "mean_maps_by_camera")
"""Names of the grids; one is missing where there is nothing to show."""

SHOWN = 12
"""Most confident mistakes, and as many of the least certain images."""

CHECKED = 16
"""Images of the sanity check, which explains each five times."""

FEWEST, MOST_GROUPS = 5, 8
"""Images that make a mean map, and groups that have one."""

SAMPLE_SEED = 0
"""Runs on the same split explain the same images."""


def explain_test_images(
    run: Run,
    test: pd.DataFrame,
    images: ImageStore,
    network: ExplainedNetwork,
    settings: ExplainConfig,
    number: int,
    progress_bar: bool = True,
) -> None:
    """Leave `explanations.csv` and what belongs to it in the run's folder; what is there is not made again.

    Args:
        test: the predictions on test.
        images: whence they come.
        number: how many to measure.
    """
    sample = balanced_sample(test, number, SAMPLE_SEED)
    question = Question(tuple(settings.methods), settings.explained_class.roles)
    explain_images(sample, images, network, question, run.folder, progress_bar)
    if not run.randomisation.exists():
        _check_sanity(run, sample.head(CHECKED), images, network, settings.methods)
    kept = load_run_maps(run.maps)
    if kept is None or not set(sample["path"]) <= set(kept.paths):
        data = network.classifier.settings.data
        kept = _kept_maps(run, sample, images, settings, data)
        _draw_means(run, sample, images, kept, data)
        save_run_maps(run.maps, kept)  # last: with it, all this is done
    least_certain = test.sort_values("p_FEMALE", key=lambda p_female: (p_female - 0.5).abs(), kind="stable")
    wrong = least_certain[least_certain["label"] != least_certain["prediction"]]
    for name, title, ranked in (
        ("most_confident_mistakes", "The most confident mistakes on test", wrong.iloc[::-1]),
        ("least_certain", "The least certain images of test", least_certain),
    ):
        shown = ranked.drop_duplicates("group").head(SHOWN)  # else the frames of one person fill the page
        if len(shown) and not run.explanation_picture(name).exists():
            _draw_images(run, name, title, shown, images, network, settings)


def _check_sanity(
    run: Run, rows: pd.DataFrame, images: ImageStore, network: ExplainedNetwork, methods: Sequence[Method]
) -> None:
    """Leave `randomisation.csv`: a row a picture, method and stage."""
    classifier = network.classifier
    crops = read_crops(images.at(rows["path"].tolist()), classifier.settings.data)
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


def _kept_maps(run: Run, rows: pd.DataFrame, images: ImageStore, settings: ExplainConfig, data: DataConfig) -> RunMaps:
    """Of the first class that is shown, from the maps that each picture has left."""
    table = read_explanations(run.explained)
    table = table[table["role"] == settings.explained_class.roles[0]].drop_duplicates("path").set_index("path")
    answers = table.loc[rows["path"]]
    each = [read_maps(run.folder, picture) for picture in answers["picture"]]
    crops = read_crops(images.at(rows["path"].tolist()), data)
    maps = {method.value: np.stack([one[method.value] for one in each]) for method in settings.methods}
    (height, width), (small_height, small_width) = crops.images.shape[2:], next(iter(maps.values())).shape[1:]
    return RunMaps(
        paths=rows["path"].tolist(),
        explained=answers["explained"].tolist(),
        maps=maps,
        boxes=crops.boxes * np.tile([small_width / width, small_height / height], 2),
    )


def _draw_images(
    run: Run,
    name: str,
    title: str,
    rows: pd.DataFrame,
    images: ImageStore,
    network: ExplainedNetwork,
    settings: ExplainConfig,
) -> None:
    """A grid of some test images with their maps."""
    classifier = network.classifier
    crops = read_crops(images.at(rows["path"].tolist()), classifier.settings.data)
    inputs, labels, predicted = network.inputs(crops.images), rows["label"].tolist(), codes(rows["prediction"])
    explained = explain_classes(classifier.network, inputs, labels, settings, network.feature_map, predicted)
    captions = captions_of(labels, rows["path"].tolist(), rows["p_FEMALE"].tolist())
    _save(run, name, explanation_grid(crops, captions, explained, title, "the weights that were tested"))


def _draw_means(run: Run, rows: pd.DataFrame, images: ImageStore, kept: RunMaps, data: DataConfig) -> None:
    """Mean pictures and maps of what was answered, and of the cameras with the most images."""
    crops = read_crops(images.at(rows["path"].tolist()), data).images
    size = (crops.shape[2], crops.shape[3])
    maps = {
        Method(method): interpolate(torch.from_numpy(stack).unsqueeze(1), size, mode="bilinear").squeeze(1)
        for method, stack in kept.maps.items()
    }
    for kind, column in (("answer", "prediction"), ("camera", "camera")):
        names = rows[column].to_numpy(str)
        known, counts = np.unique(names[names != ""], return_counts=True)
        largest = [(known[at], counts[at]) for at in np.argsort(-counts, kind="stable")[:MOST_GROUPS]]
        groups = [
            _means(str(name), crops[chosen], {method: stack[chosen] for method, stack in maps.items()})
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
