"""The only reader of the test split: what the chosen checkpoint answers there, and everything that follows from it."""

import contextlib
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from gender_cls.config.data import DataConfig
from gender_cls.config.evaluation import EvaluationConfig
from gender_cls.config.parsing import recorded_config
from gender_cls.data.csv_text import csv_text
from gender_cls.data.run_images import decoded_when_needed, scan_for_answers, with_measurements
from gender_cls.errors import GenderClsError, noting_failure, require
from gender_cls.evaluation.conclusions import with_answers
from gender_cls.evaluation.evaluated import require_fitted
from gender_cls.evaluation.predictions import answers_of, read_table
from gender_cls.evaluation.schema import Cost
from gender_cls.models.cost import measure_cost, measured_on
from gender_cls.reports.answers import answer_images
from gender_cls.reports.elsewhere_conclusions import conclude_again
from gender_cls.reports.kept_answers import keep_answers_of_one_origin
from gender_cls.reports.result_pages import write_pages
from gender_cls.reports.steps import Testing, ask_for_more, conclude, metrics_of, wanted_variants, write_metrics
from gender_cls.runs.files import write_atomically
from gender_cls.runs.run import Run
from gender_cls.system.progress import working
from gender_cls.training.predictor import Predictor

UNKNOWN_COST = {
    "parameters": None, "flops": None, "milliseconds_batch_1": None, "milliseconds_batch_1_spread": None,
    "milliseconds_batch_32": None, "milliseconds_batch_32_spread": None, "disturbed": None, "device": "",
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
    require_fitted(run)
    require(bool(run.data), f"{run.data_file} is missing: an earlier version trained this run; train it again.")
    config = recorded_config(run.config_file)
    root = data_root or run.data_root
    keep_answers_of_one_origin(run, predictor, wanted_variants(settings), settings.explained_images)
    predictions = _predictions(run, predictor, root, cache, config.data)
    rows = predictions[predictions["split"] == "test"].reset_index(drop=True)
    images = decoded_when_needed(rows, root, cache, config.data)
    test = Testing(run, run, config, rows, predictor, images)
    problems: dict[str, str] = {}
    here = measured_on(torch.device(predictor.device), predictor.precision)
    cost = _earlier_cost(run, here)
    if cost is None or (cost["disturbed"] and cost["device"] == here and run.best_checkpoint.is_file()):
        with noting_failure(problems, "cost"), working("Measuring the time per image"):
            measured = {**_cost(test), **_of_training(run)}
            if cost is None or not measured["disturbed"]:
                cost = measured
    cost = cost or {**UNKNOWN_COST, **_of_training(run)}
    ask_for_more(test, settings, problems)
    conclusions = conclude(test, predictions, settings, problems)
    data = run.data
    if data.get("split_origin") == "dealt":  # earlier versions wrote this for `made`
        data["split_origin"] = "made"
    metrics = metrics_of(test, data, {**conclusions, "elsewhere": None, "cost": cost, "problems": problems})
    write_atomically(run.predictions, csv_text(with_answers(predictions, conclusions)))
    write_metrics(run, metrics)
    conclude_again(run, settings, problems)
    write_pages(test, metrics)


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
        answer_images(run, with_measurements(rows, facts), scanned.images, predictor)
    predictions = answers_of(run)
    if not predictions[[*about]].equals(rows[[*about]]):
        raise GenderClsError(f"{run.predictions} is not about the images in {run.manifest.name}: remove it.")
    return predictions


def _earlier_cost(run: Run, here: str) -> dict[str, Any] | None:
    """The cost in `metrics.json`, which is about to be written anew.

    An earlier version did not look what other processes computed: its times count as disturbed.

    Args:
        here: where this process would measure, and in which precision.

    Returns:
        None if there is no such file, it is damaged, or the cost was measured in another precision.
    """
    with contextlib.suppress(GenderClsError):
        cost = run.metrics.get("cost")
        if isinstance(cost, dict) and cost.keys() | {"disturbed"} == Cost.__annotations__.keys():
            same = str(cost["device"]).rpartition(", ")[2] == here.rpartition(", ")[2]
            return {"disturbed": "perhaps other processes computed", **cost} if same else None
    return None


def _cost(test: Testing) -> dict[str, Any]:
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
