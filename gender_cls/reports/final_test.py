"""The only reader of the test split: what the chosen checkpoint answers there, and everything that follows from it."""

import contextlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pandas as pd

from gender_cls.config.data import DataConfig
from gender_cls.config.evaluation import EvaluationConfig
from gender_cls.config.parsing import recorded_config, to_plain
from gender_cls.config.train import Config
from gender_cls.data.csv_text import csv_text, read_csv_text
from gender_cls.data.image_files import UnreadableError
from gender_cls.data.image_store import ImageStore
from gender_cls.data.run_images import decoded_when_needed, scan_for_answers
from gender_cls.drawing.chart_style import figure_png
from gender_cls.drawing.events import write_events
from gender_cls.drawing.learning_curves import learning_figures
from gender_cls.drawing.report_figures import report_figures
from gender_cls.errors import GenderClsError, noting_failure
from gender_cls.evaluation.conclusions import draw_conclusions, with_answers
from gender_cls.evaluation.estimate import best_baseline
from gender_cls.evaluation.explanation_schema import Explanations
from gender_cls.evaluation.explanation_summary import read_explanations, read_randomisation, summarise_explanations
from gender_cls.evaluation.predictions import answers_hash, answers_of, predictions_table, read_table
from gender_cls.evaluation.schema import SCHEMA_VERSION, Cost, Metrics
from gender_cls.evaluation.standing import standing_of
from gender_cls.evaluation.stress import variants
from gender_cls.explain.final_explanations import PICTURES, explain_test_images
from gender_cls.explain.sheets import Sheet, read_sheet
from gender_cls.models.cost import measure_cost
from gender_cls.pages.experiment import experiment_facts
from gender_cls.pages.gallery_page import render_gallery
from gender_cls.pages.links import links_around, links_to_tables, tensorboard_of
from gender_cls.pages.model_card import render_model_card
from gender_cls.pages.report_page import render_report
from gender_cls.reports.kept_answers import keep_answers_of_one_origin
from gender_cls.reports.variants import answer_variants, kept_logits
from gender_cls.runs.files import timestamp, write_atomically
from gender_cls.runs.run import Run
from gender_cls.system.progress import working
from gender_cls.training.predictor import Predictor

UNKNOWN_COST = {
    "parameters": None, "flops": None, "milliseconds_batch_1": None, "milliseconds_batch_1_spread": None,
    "milliseconds_batch_32": None, "milliseconds_batch_32_spread": None, "device": "",
}  # fmt: skip


def evaluate_run(
    run: Run,
    settings: EvaluationConfig,
    predictor: Predictor,
    *,
    cache: Path,
    data_root: Path | None = None,
) -> None:
    """Write `predictions.csv`, `metrics.json`, plots, `report.html` and `MODEL_CARD.md` into the run's folder.

    Answers of the network that are already in `predictions.csv` and `variants.csv` are read from there, unless new
    ones must not be mixed with them (`keep_answers_of_one_origin`). Each part that comes after the predictions may fail
    alone: the reason is logged and stands in `problems` of `metrics.json` and on the pages. The next evaluation tries
    it again.

    Args:
        cache: folder that keeps facts and pixels of images read before.
        data_root: where the images are now; None: where they were in training.

    Raises:
        GenderClsError: the run has not been trained, or images that must be read are gone.
    """
    run.refuse_links_out()
    if not run.status.get("fitted"):
        raise GenderClsError(f"{run.folder} has not been trained to its end: there is nothing to evaluate yet.")
    if not run.data:
        raise GenderClsError(f"{run.data_file} is missing: an earlier version trained this run; train it again.")
    config = recorded_config(run.config_file)
    root = data_root or run.data_root
    shortcuts = variants(stress=False, shortcuts=settings.shortcuts)
    stress = variants(stress=settings.stress, shortcuts=False)
    keep_answers_of_one_origin(run, predictor, [*shortcuts, *stress], settings.explained_images)
    with working("Testing"):
        predictions = _predictions(run, predictor, root, cache, config.data)
    rows = predictions[predictions["split"] == "test"].reset_index(drop=True)
    images = decoded_when_needed(rows, root, cache, config.data)
    test = FinalTest(run, config, predictor, rows=rows, images=images)
    problems: dict[str, str] = {}
    for part, wanted in (("shortcuts", shortcuts), ("stress", stress)):
        with noting_failure(problems, part):
            answer_variants(run, rows, images, predictor, wanted)
    cost = _earlier_cost(run, predictor.precision)
    if cost is None:
        cost = {**UNKNOWN_COST, **_of_training(run)}
        with noting_failure(problems, "cost"), working("Measuring the time per image"):
            cost = {**_cost(test), **_of_training(run)}
    if settings.explained_images:
        with noting_failure(problems, "explanations"), working("Explaining and checking the maps"):
            _explain(test, settings.explained_images, problems)
    with working("Computing the scores and their intervals"):
        conclusions = draw_conclusions(predictions, kept_logits(run, rows), settings)
    explanations = None
    with noting_failure(problems, "explanations"), working("Computing the scores of the maps"):
        explanations = _measured_explanations(test, settings.resamples)
    metrics = _metrics(
        test, {**conclusions, "explanations": explanations, "elsewhere": None, "cost": cost, "problems": problems}
    )
    write_atomically(run.predictions, csv_text(with_answers(predictions, conclusions)))
    _write_metrics(run, metrics)
    known = dict(problems)
    with working("Drawing the figures and writing the report"):
        _write_pages(test, metrics)
    if problems != known:
        _write_metrics(run, metrics)


def _write_metrics(run: Run, metrics: Metrics) -> None:
    write_atomically(run.metrics_file, json.dumps(metrics, indent=2, allow_nan=False) + "\n")


@dataclass(frozen=True)
class FinalTest:
    """What the steps of a test share."""

    run: Run
    config: Config  # of the training
    predictor: Predictor
    rows: pd.DataFrame  # the predictions on test
    images: ImageStore


def _predictions(run: Run, predictor: Predictor, root: Path, cache: Path, data: DataConfig) -> pd.DataFrame:
    """The answers for validation and test, from `predictions.csv` if they are there."""
    about = ("path", "label", "identity", "split")
    manifest = read_table(
        run.manifest, required=about, is_number=lambda _: False, written_by="Training", again="train the run again"
    )
    rows = pd.concat([manifest[manifest["split"] == split] for split in ("val", "test")], ignore_index=True)
    if not run.predictions.exists():
        scanned = scan_for_answers(rows, root, cache, data)
        facts = scanned.facts
        if (facts["fault"] != "").any():
            first = facts["reason"][facts["fault"] != ""].iloc[0]
            raise GenderClsError(
                f"The images of {run.folder} cannot be read any more. The first: {first} If they were moved, name the "
                "folder with data_root."
            )
        brightness, sharpness = facts["brightness"].round(1), facts["sharpness"].round(3)
        rows = rows.assign(native_height=facts["height"], brightness=brightness, sharpness=sharpness)
        table = predictions_table(rows, predictor.probabilities(rows, scanned.images))
        run.note(answers_hash=answers_hash(table))
        write_atomically(run.predictions, csv_text(table))
    predictions = answers_of(run)
    if not predictions[[*about]].equals(rows[[*about]]):
        raise GenderClsError(f"{run.predictions} is not about the images in {run.manifest.name}: remove it.")
    return predictions


def _earlier_cost(run: Run, precision: str) -> dict[str, Any] | None:
    """The cost in `metrics.json`, which is about to be written anew.

    None if there is no such file, it is damaged, or the cost was measured in another precision.
    """
    with contextlib.suppress(GenderClsError):
        cost = run.metrics.get("cost")
        if isinstance(cost, dict) and cost.keys() == Cost.__annotations__.keys():
            return cost if str(cost["device"]).endswith(f", {precision}") else None
    return None


def _cost(test: FinalTest) -> dict[str, Any]:
    classifier = test.predictor.device_classifier()
    return measure_cost(
        classifier,
        classifier.network,
        classifier.image_size,
        layout=classifier.layout,
        precision=test.predictor.precision,
        title=test.config.model.title,
    )


def _of_training(run: Run) -> dict[str, Any]:
    status = run.status
    return {"peak_memory_bytes": status.get("peak_memory_bytes"), "fit_seconds": status["fit_seconds"]}


def _explain(test: FinalTest, number: int, problems: dict[str, str]) -> None:
    """Make maps of test images with the methods of the training's configuration; existing maps are kept."""
    try:
        explain_test_images(
            test.run, test.rows, test.images, test.predictor,
            settings=test.config.explain, number=number, problems=problems,
        )  # fmt: skip
    except UnreadableError as error:
        raise GenderClsError(
            f"{error} If the images were moved, name the folder with data_root; explained_images=0 makes no maps."
        ) from error


def _measured_explanations(test: FinalTest, resamples: int) -> Explanations | None:
    """The scores of all test images explained so far; None if there are none."""
    run = test.run
    if not run.explained.exists():
        return None
    methods = [method.value for method in test.config.explain.methods]
    randomisation = read_randomisation(run.randomisation) if run.randomisation.exists() else pd.DataFrame()
    return summarise_explanations(read_explanations(run.explained), randomisation, methods, resamples)


def _metrics(test: FinalTest, conclusions: dict[str, Any]) -> Metrics:
    status, data = test.run.status, test.run.data
    if data.get("split_origin") == "dealt":  # the word of an earlier version
        data["split_origin"] = "made"
    baselines = data.pop("baselines")
    baseline = best_baseline(baselines)
    content = {
        "schema_version": SCHEMA_VERSION,
        "model": test.config.model.title,
        "monitor": test.config.recipe.monitor,
        "best_validation": status["best_validation"],
        "best_epoch": status["best_epoch"],
        **conclusions,
        "standing": standing_of([test.rows], conclusions["test"]["scores"]["balanced_accuracy"], baseline),
        "baselines": baselines,
        "data": data,
        "environment": status["environment"],
    }
    return cast(Metrics, {key: content[key] for key in Metrics.__annotations__})


def _write_pages(test: FinalTest, metrics: Metrics) -> None:
    """Figures, TensorBoard events, gallery, model card and report; what fails is added to `problems`."""
    run, status, problems = test.run, test.run.status, metrics["problems"]
    created, title, folder = timestamp(), test.run.folder.name, str(test.run.folder)
    figures = report_figures(metrics, test.rows, problems)
    plots: dict[str, bytes] = {}
    maps: dict[str, bytes] = {}
    sheets: dict[str, Sheet] = {}
    for name, figure in figures.items():
        with noting_failure(problems, f"figure of {name}"):
            plots[name] = figure_png(figure)
            write_atomically(run.plots / f"{name}.png", plots[name])
    with noting_failure(problems, "pictures of maps"):
        maps = {name: file.read_bytes() for name in PICTURES if (file := run.explanation_picture(name)).exists()}
        found = {name: read_sheet(run, name) for name in PICTURES}
        sheets = {name: sheet for name, sheet in found.items() if sheet is not None}
    with noting_failure(problems, "TensorBoard"):
        write_events(run.folder, metrics, test.rows, plots | maps, status["best_step"])
    with noting_failure(problems, "figures of learning"):  # TensorBoard has these curves already
        if run.epochs.exists():
            figures |= learning_figures(read_csv_text(run.epochs).apply(pd.to_numeric), metrics["best_epoch"])
    about: dict[str, Any] = {"title": title, "folder": folder, "created": created}
    if metrics["explanations"] is not None:
        with noting_failure(problems, run.gallery.name):
            table, size = read_explanations(run.explained), test.config.data.image_size
            links = links_around(run.gallery, run, coming=[run.report, run.model_card])
            page = render_gallery(table, chosen_from=len(test.rows), image_size=size, links=links, **about)
            write_atomically(run.gallery, page)
    with noting_failure(problems, run.model_card.name):
        config = to_plain(test.config)
        config["trainer"]["precision"] = status.get("precision", config["trainer"]["precision"])  # not `auto`
        links, facts = links_around(run.model_card, run, coming=[run.report]), experiment_facts(run)
        write_atomically(run.model_card, render_model_card(metrics, config, facts, links))
    with noting_failure(problems, run.report.name):  # last, so that it says what else is missing
        links = links_around(run.report, run) + links_to_tables(run)
        about |= {"facts": experiment_facts(run), "links": links, "watch": tensorboard_of(run.folder, [run])}
        write_atomically(run.report, render_report(metrics, figures, sheets=sheets, **about))
