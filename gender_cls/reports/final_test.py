"""The only reader of the test split: what the chosen checkpoint answers there, and everything that follows from it."""

import json
from dataclasses import dataclass
from datetime import datetime
from io import BytesIO
from pathlib import Path
from typing import Any, cast

import pandas as pd
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from gender_cls.config.data import DataConfig
from gender_cls.config.evaluation import EvaluationConfig
from gender_cls.config.parsing import recorded_config, to_plain
from gender_cls.data.corruptions import apply_corruption
from gender_cls.data.image_files import UnreadableError
from gender_cls.data.image_store import ImageStore
from gender_cls.data.scan import decoded_when_needed, scan_for_answers
from gender_cls.data.shortcuts import apply_shortcut
from gender_cls.data.variant_names import SHORTCUTS
from gender_cls.drawing.canvas import webp_bytes
from gender_cls.drawing.chart_style import figure_png
from gender_cls.drawing.events import write_events
from gender_cls.drawing.report_figures import report_figures
from gender_cls.errors import GenderClsError
from gender_cls.evaluation.calibration import logit
from gender_cls.evaluation.conclusions import SEED, draw_conclusions, with_answers
from gender_cls.evaluation.explanations import read_explanations, read_randomisation, summarise_explanations
from gender_cls.evaluation.predictions import predictions_table, read_predictions
from gender_cls.evaluation.schema import SCHEMA_VERSION, Explanations, Metrics
from gender_cls.evaluation.stress import variants
from gender_cls.explain.explained_network import ExplainedNetwork
from gender_cls.explain.final_explanations import PICTURES, explain_test_images
from gender_cls.models.cost import measure_cost
from gender_cls.pages.gallery_page import render_gallery
from gender_cls.pages.model_card import render_model_card
from gender_cls.pages.report_page import render_report
from gender_cls.runs.files import write_atomically
from gender_cls.runs.run import Run
from gender_cls.training.predictor import Predictor

DECIMALS = 4  # of the logits in variants.csv


def evaluate_run(
    run: Run,
    settings: EvaluationConfig,
    predictor: Predictor,
    cache: Path,
    data_root: Path | None = None,
    progress_bar: bool = True,
) -> None:
    """Leave `predictions.csv`, `metrics.json`, plots, `report.html` and `MODEL_CARD.md` in the run's folder.

    What the network has answered once is read from there: `predictions.csv` and `variants.csv`.

    Args:
        cache: folder for what is known of images read before, and for their pixels.
        data_root: where the images lie now; where they lay in training when None.

    Raises:
        GenderClsError: the run has not been trained, or its images are gone and have to be read.
    """
    if not run.status.get("fitted"):
        raise GenderClsError(f"{run.folder} has not been trained to its end: there is nothing to evaluate yet.")
    if not run.data:
        raise GenderClsError(f"{run.data_file} is missing: an earlier version trained this run; train it again.")
    root = data_root or Path(run.data["root"])
    data = recorded_config(run.config_file).data
    predictions = _predictions(run, predictor, root, cache, data)
    test = predictions[predictions["split"] == "test"].reset_index(drop=True)
    images = decoded_when_needed(test["path"].tolist(), root, cache, data)
    wanted = variants(settings.stress, settings.shortcuts)
    logits = _variant_logits(run, predictor, test, images, wanted, progress_bar)
    cost = run.metrics.get("cost") or _cost(run, predictor)
    _explain(run, predictor, test, images, settings.explained_images, progress_bar)
    conclusions = draw_conclusions(predictions, logits, settings)
    explanations = _measured_explanations(run, settings.resamples)
    metrics = _metrics(run, {**conclusions, "explanations": explanations}, cost)
    write_atomically(run.predictions, with_answers(predictions, conclusions).to_csv(index=False))
    write_atomically(run.metrics_file, json.dumps(metrics, indent=2, allow_nan=False) + "\n")
    _write_pages(run, metrics, test)


def _predictions(run: Run, predictor: Predictor, root: Path, cache: Path, data: DataConfig) -> pd.DataFrame:
    """Of validation and test, made once."""
    if not run.predictions.exists():
        manifest = pd.read_csv(run.manifest, dtype=str, keep_default_na=False)
        rows = pd.concat([manifest[manifest["split"] == split] for split in ("val", "test")], ignore_index=True)
        scanned = scan_for_answers(rows["path"].tolist(), root, cache, data)
        facts = scanned.facts
        if (facts["fault"] != "").any():
            first = facts["reason"][facts["fault"] != ""].iloc[0]
            raise GenderClsError(
                f"The images of {run.folder} cannot be read any more. The first: {first} If they were moved, name the "
                "folder with data_root."
            )
        rows = rows.assign(
            native_height=facts["height"],
            brightness=facts["brightness"].round(1),
            sharpness=facts["sharpness"].round(3),
        )
        table = predictions_table(rows, predictor.probabilities(rows, scanned.images))
        write_atomically(run.predictions, table.to_csv(index=False))
    return read_predictions(run.predictions)


def _variant_logits(
    run: Run, predictor: Predictor, test: pd.DataFrame, images: ImageStore, wanted: list[str], progress_bar: bool
) -> pd.DataFrame:
    """Logits of the test images, a column a variant, in `variants.csv`; those that are there are not made again."""
    logits = pd.DataFrame({"path": test["path"]})
    if run.variants.exists():
        try:
            logits = pd.read_csv(run.variants).round(DECIMALS)
        except ValueError as error:  # pandas' parser errors are ValueErrors
            raise GenderClsError(f"{run.variants} cannot be read as CSV ({error}): remove it.") from None
        if "path" not in logits or logits["path"].tolist() != test["path"].tolist():
            raise GenderClsError(f"{run.variants} is not of the images in {run.predictions.name}: remove it.")
    missing = [name for name in wanted if name not in logits]
    for name in tqdm(missing, desc="Test again, changed", disable=not (missing and progress_bar)):
        answers = pd.DataFrame(predictor.probabilities(test, images, Distortion(name)), columns=["p_FEMALE", "p_MALE"])
        logits[name] = logit(answers).round(DECIMALS)
        write_atomically(run.variants, logits.to_csv(index=False))
    return logits


@dataclass(frozen=True)
class Distortion:
    """What a variant does to the native crop of a path; an object, because worker processes may have to be sent it."""

    variant: str

    def __call__(self, image: Tensor, path: str) -> Tensor:
        """The same picture, changed."""
        if self.variant in SHORTCUTS:
            return apply_shortcut(image, self.variant)
        name, _, severity = self.variant.rpartition("_")
        return apply_corruption(image, name, int(severity), path)


def _explain(
    run: Run, predictor: Predictor, test: pd.DataFrame, images: ImageStore, number: int, progress_bar: bool
) -> None:
    """Maps of test images, as the run's own configuration has them; what is there is not made again."""
    if not number:
        return
    settings = recorded_config(run.config_file).explain
    try:
        explain_test_images(run, test, images, ExplainedNetwork(predictor), settings, number, progress_bar)
    except UnreadableError as error:
        raise GenderClsError(
            f"{error} If the images were moved, name the folder with data_root; explained_images=0 does without them."
        ) from error


def _measured_explanations(run: Run, resamples: int) -> Explanations | None:
    """Of all test images that have been explained by now; None where none has."""
    if not run.explained.exists():
        return None
    methods = [method.value for method in recorded_config(run.config_file).explain.methods]
    table = read_explanations(run.explained)
    randomisation = read_randomisation(run.randomisation) if run.randomisation.exists() else pd.DataFrame()
    return summarise_explanations(table, randomisation, methods, resamples, SEED)


def _cost(run: Run, predictor: Predictor) -> dict[str, Any]:
    status, classifier = run.status, predictor.resident()
    measured = measure_cost(
        classifier,
        classifier.network,
        classifier.image_size,
        layout=classifier.layout,
        precision=predictor.precision,
        title=classifier.settings.model.title,
    )
    return {
        **measured,
        "peak_memory_bytes": status.get("peak_memory_bytes"),
        "fit_seconds": status["fit_seconds"],
    }


def _metrics(run: Run, conclusions: dict[str, Any], cost: dict[str, Any]) -> Metrics:
    status, data, config = run.status, run.data, recorded_config(run.config_file)
    content = {
        "schema_version": SCHEMA_VERSION,
        "model": config.model.title,
        "monitor": config.recipe.monitor,
        "best_validation": status["best_validation"],
        "best_epoch": status["best_epoch"],
        "baselines": data.pop("baselines"),
        **conclusions,
        "cost": cost,
        "data": data,
        "environment": status["environment"],
    }
    return cast(Metrics, {key: content[key] for key in Metrics.__annotations__})


def _write_pages(run: Run, metrics: Metrics, test: pd.DataFrame) -> None:
    """For people: figures, TensorBoard, the report, the gallery and the model card."""
    created = datetime.now().astimezone().isoformat(timespec="seconds")
    figures = report_figures(metrics, test)
    plots = {name: figure_png(figure) for name, figure in figures.items()}
    for name, png in plots.items():
        write_atomically(run.plots / f"{name}.png", png)
    maps = {name: file.read_bytes() for name in PICTURES if (file := run.explanation_picture(name)).exists()}
    write_events(run.folder, metrics, test, plots | maps, run.status["best_step"])
    small = {name: webp_bytes(Image.open(BytesIO(png))) for name, png in maps.items()}
    title, folder = run.folder.name, str(run.folder)
    write_atomically(run.report, render_report(metrics, figures, title, folder, created, small))
    config = recorded_config(run.config_file)
    if metrics["explanations"] is not None:
        table, size = read_explanations(run.explained), config.data.image_size
        write_atomically(
            run.gallery,
            render_gallery(table, title=title, folder=folder, created=created, whole=len(test), image_size=size),
        )
    config.trainer.precision = run.status.get("precision", config.trainer.precision)  # rather than `auto`
    write_atomically(run.model_card, render_model_card(metrics, to_plain(config)))
