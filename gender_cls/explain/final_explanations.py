"""Explanations of the final test: test images explained by the chosen checkpoint, scored, checked and drawn."""

import logging
from dataclasses import replace

import numpy as np
import pandas as pd
import torch
from torch.nn.functional import interpolate

from gender_cls.config.explain import ExplainConfig, Method
from gender_cls.data.crops import Crops, balanced_sample, read_crops
from gender_cls.data.csv_text import csv_text
from gender_cls.data.image_store import ImageStore
from gender_cls.drawing.canvas import png_bytes
from gender_cls.drawing.map_grid import MapColumn
from gender_cls.drawing.map_overviews import MeanMaps, mean_map_grid
from gender_cls.errors import noting_failure
from gender_cls.evaluation.explanation_summary import is_of_earlier_version, read_explanations
from gender_cls.explain.attribution import feature_map_for
from gender_cls.explain.explanation_grid import explain_classes, explanation_grid, make_captions, map_columns
from gender_cls.explain.explanations_table import Question, codes, explain_images
from gender_cls.explain.image_maps import read_image_maps
from gender_cls.explain.randomisation import randomisation_check
from gender_cls.explain.run_maps import RunMaps, load_run_maps, save_run_maps
from gender_cls.explain.sheets import sheet_file, write_sheet
from gender_cls.runs.files import write_atomically
from gender_cls.runs.result_folder import ResultFolder
from gender_cls.training.classifier import GenderClassifier
from gender_cls.training.predictor import Predictor

log = logging.getLogger(__name__)

MEAN_MAPS = ("mean_maps_by_answer", "mean_maps_by_camera")
PICTURES = ("most_confident_mistakes", "least_certain", *MEAN_MAPS)
"""Names of the grids; a grid is missing if there is nothing to show."""

IMAGES_IN_GRID = 12
CHECKED = 16  # images of the sanity check, which explains each of them eight times
FEWEST, MOST_GROUPS = 5, 8  # images that a mean map needs, and groups that have one
SAMPLE_SEED = 0  # runs with the same split explain the same images


def explain_test_images(
    folder: ResultFolder,
    test: pd.DataFrame,
    images: ImageStore,
    predictor: Predictor,
    *,
    settings: ExplainConfig,
    number: int,
    problems: dict[str, str],
) -> None:
    """Write `explanations.csv`, the maps, the sanity check and the grids; make only what the run's folder lacks.

    Args:
        test: the predictions for the test split.
        number: how many images to score.
        problems: gets the reason for each part that failed, other than `explanations.csv` itself.
    """

    def read(rows: pd.DataFrame) -> Crops:
        return read_crops(images.at(rows["path"].tolist()), predictor.classifier.settings.data)

    forget_maps_of_an_earlier_version(folder)
    sample = balanced_sample(test, number, SAMPLE_SEED)
    question = Question(tuple(settings.methods), settings.explained_class.roles)
    explain_images(sample, images, predictor, question, folder=folder.folder)
    if not folder.randomisation.exists():
        checked = sample.head(CHECKED)
        with noting_failure(problems, "randomisation"):
            _check_sanity(folder, checked, read(checked), predictor.device_classifier(), settings)
    with noting_failure(problems, "mean maps"):
        run_maps = load_run_maps(folder.maps)
        drawn = run_maps is not None and set(sample["path"]) <= set(run_maps.paths)
        lost = folder.explanation_picture(MEAN_MAPS[0]).exists() and not sheet_file(folder, MEAN_MAPS[0]).exists()
        if not drawn or lost:  # earlier versions wrote no sheets
            crops = read(sample)
            run_maps = _collect_maps(folder, sample, crops, settings)
            _draw_mean_maps(folder, sample, crops, run_maps)
            save_run_maps(folder.maps, run_maps)  # last: this file says that the mean maps are done too
    least_certain = test.sort_values("p_FEMALE", key=lambda p_female: (p_female - 0.5).abs(), kind="stable")
    wrong = least_certain[least_certain["label"] != least_certain["prediction"]]
    for name, title, ranked in (
        ("most_confident_mistakes", "The most confident mistakes on test", wrong.iloc[::-1]),
        ("least_certain", "The least certain images of test", least_certain),
    ):
        shown = ranked.drop_duplicates("group").head(IMAGES_IN_GRID)  # else the frames of one person fill the grid
        if not len(shown) or (folder.explanation_picture(name).exists() and sheet_file(folder, name).exists()):
            continue
        with noting_failure(problems, name.replace("_", " ")):
            crops, labels, predicted = read(shown), shown["label"].tolist(), codes(shown["prediction"])
            explained = explain_classes(predictor.device_classifier(), crops.images, labels, settings, predicted)
            captions = make_captions(labels, shown["path"].tolist(), shown["p_FEMALE"].tolist())
            grid = explanation_grid(crops, captions, explained, title, "the weights that were tested")
            write_atomically(folder.explanation_picture(name), png_bytes(grid))
            below = shown[["path", "label", "prediction", "p_FEMALE"]].to_dict("records")
            write_sheet(folder, name, crops.images, map_columns(explained), below)


def forget_maps_of_an_earlier_version(folder: ResultFolder) -> None:
    """Remove maps that explained one logit instead of the difference of both, with all that was made from them."""
    if is_of_earlier_version(folder.explained):
        log.info(f"The maps in {folder.folder} are of an earlier version and are made anew.")
        pictures = map(folder.explanation_picture, PICTURES)
        for file in (folder.maps, folder.randomisation, *pictures, folder.explained):
            file.unlink(missing_ok=True)


def _check_sanity(
    folder: ResultFolder, rows: pd.DataFrame, crops: Crops, classifier: GenderClassifier, settings: ExplainConfig
) -> None:
    """Write `randomisation.csv`: one row per image, method and stage."""
    stages = randomisation_check(
        classifier.network,
        classifier.normalise(crops.images),
        codes(rows["prediction"]),
        heads=classifier.heads,
        methods=settings.methods,
        feature_map=feature_map_for(settings.methods, classifier),
    )
    table = [
        rows[["path", "identity", "group"]].assign(
            method=method.value,
            stage=number,
            layers=stage.layers,
            share=stage.share,
            similarity=stage.similarity[method],
            control=stage.control[method],
        )
        for number, stage in enumerate(stages)
        for method in settings.methods
    ]
    write_atomically(folder.randomisation, csv_text(pd.concat(table)))


def _collect_maps(folder: ResultFolder, rows: pd.DataFrame, crops: Crops, settings: ExplainConfig) -> RunMaps:
    """The maps of the first explained class, from the files of each image."""
    table = read_explanations(folder.explained)
    table = table[table["role"] == settings.explained_class.roles[0]].drop_duplicates("path").set_index("path")
    answers = table.loc[rows["path"]]
    each = [read_image_maps(folder.folder, strip) for strip in answers["picture"]]
    maps = {method.value: np.stack([one[method.value] for one in each]) for method in settings.methods}
    (height, width), (small_height, small_width) = crops.images.shape[2:], next(iter(maps.values())).shape[1:]
    return RunMaps(
        paths=rows["path"].tolist(),
        explained=answers["explained"].tolist(),
        maps=maps,
        boxes=crops.boxes * np.tile([small_width / width, small_height / height], 2),
    )


def _draw_mean_maps(folder: ResultFolder, rows: pd.DataFrame, crops: Crops, run_maps: RunMaps) -> None:
    """Mean images and mean maps of each answer, and of the cameras with the most images."""
    size = (crops.images.shape[2], crops.images.shape[3])
    maps = {
        Method(method): interpolate(torch.from_numpy(stack).unsqueeze(1), size, mode="bilinear").squeeze(1)
        for method, stack in run_maps.maps.items()
    }
    for kind, column in (("answer", "prediction"), ("camera", "camera")):
        names = rows[column].to_numpy(str)
        known, counts = np.unique(names[names != ""], return_counts=True)
        groups = []
        for at in np.argsort(-counts, kind="stable")[:MOST_GROUPS]:
            if counts[at] >= FEWEST:
                chosen = torch.tensor(names == known[at])
                columns = [
                    MapColumn(method.title, stack[chosen].mean(dim=0, keepdim=True).numpy(), method.signed)
                    for method, stack in maps.items()
                ]
                mean = crops.images[chosen].float().mean(dim=0).numpy()
                groups.append(MeanMaps(str(known[at]), int(counts[at]), mean, columns))
        if groups:
            pictures = [np.rint(np.asarray(group.picture)).astype(np.uint8) for group in groups]
            maps_of_all = [
                replace(column, maps=np.concatenate([np.asarray(group.columns[place].maps) for group in groups]))
                for place, column in enumerate(groups[0].columns)
            ]
            counted = [{"group": group.name, "images": group.images} for group in groups]
            write_sheet(folder, f"mean_maps_by_{kind}", pictures, maps_of_all, counted)
            grid = mean_map_grid(groups, f"Mean maps by {kind}", "Every image counts alike.")
            write_atomically(folder.explanation_picture(f"mean_maps_by_{kind}"), png_bytes(grid))
