"""What a run's final test and its tests on other data do alike: ask the network, conclude, write `metrics.json`."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import pandas as pd

from gender_cls.config.evaluation import EvaluationConfig
from gender_cls.config.train import Config
from gender_cls.data.image_files import UnreadableError
from gender_cls.data.image_store import ImageStore
from gender_cls.errors import GenderClsError, noting_failure
from gender_cls.evaluation.conclusions import draw_conclusions
from gender_cls.evaluation.estimate import best_baseline
from gender_cls.evaluation.explanation_schema import Explanations
from gender_cls.evaluation.explanation_summary import read_explanations, read_randomisation, summarise_explanations
from gender_cls.evaluation.schema import SCHEMA_VERSION, Metrics, Standing
from gender_cls.evaluation.standing import standing_of
from gender_cls.evaluation.stress import variants
from gender_cls.evaluation.wording import debugging_sentence
from gender_cls.explain.final_explanations import explain_test_images
from gender_cls.reports.variants import answer_variants, kept_logits
from gender_cls.runs.files import write_atomically
from gender_cls.runs.result_folder import ResultFolder
from gender_cls.runs.run import Run
from gender_cls.system.progress import working
from gender_cls.training.predictor import Predictor


@dataclass(frozen=True)
class Tested:
    """A test whose predictions are there."""

    run: Run
    folder: ResultFolder  # the run itself for its own test
    config: Config  # of the training
    rows: pd.DataFrame  # the predictions for the tested images


@dataclass(frozen=True)
class Testing(Tested):
    """A test that may ask the network for more."""

    predictor: Predictor
    images: ImageStore


def wanted_variants(settings: EvaluationConfig) -> list[str]:
    """The names of the variants that a test asks for."""
    return variants(stress=settings.stress, shortcuts=settings.shortcuts)


def ask_for_more(test: Testing, settings: EvaluationConfig, problems: dict[str, str]) -> None:
    """Ask the network about changed images, and explain images, as far as the folder lacks them."""
    wanted = {
        "shortcuts": variants(stress=False, shortcuts=settings.shortcuts),
        "stress": variants(stress=settings.stress, shortcuts=False),
    }
    for part, names in wanted.items():
        with noting_failure(problems, part):
            answer_variants(test.folder, test.rows, test.images, test.predictor, names)
    if settings.explained_images:
        with noting_failure(problems, "explanations"), working("Explaining and checking the maps"):
            _explain(test, settings.explained_images, problems)


def conclude(
    test: Tested, predictions: pd.DataFrame, settings: EvaluationConfig, problems: dict[str, str]
) -> dict[str, Any]:
    """What follows from the predictions of validation and test, from the variants, and from the maps."""
    with working("Computing the scores and their intervals"):
        conclusions = draw_conclusions(predictions, kept_logits(test.folder, test.rows), settings)
    explanations = None
    with noting_failure(problems, "explanations"), working("Computing the scores of the maps"):
        explanations = _measured_explanations(test, settings.resamples)
    return {**conclusions, "explanations": explanations}


def metrics_of(test: Tested, data: dict[str, Any], conclusions: dict[str, Any]) -> Metrics:
    """The content of `metrics.json`.

    Args:
        data: the content of the test's `data.json`.
        conclusions: what `conclude` returned, `elsewhere`, `cost` and `problems`.
    """
    status = test.run.status
    baselines = data.pop("baselines")
    baseline = best_baseline(baselines)
    content = {
        "schema_version": SCHEMA_VERSION,
        "model": test.config.model.title,
        "monitor": test.config.recipe.monitor,
        "best_validation": status["best_validation"],
        "best_epoch": status["best_epoch"],
        **conclusions,
        "standing": _standing(test, conclusions, baseline),
        "baselines": baselines,
        "data": data,
        "environment": status["environment"],
    }
    return cast(Metrics, {key: content[key] for key in Metrics.__annotations__})


def _standing(test: Tested, conclusions: dict[str, Any], baseline: Mapping[str, Any] | None) -> Standing:
    """What the test score is worth; of a debugging run, nothing."""
    standing = standing_of([test.rows], conclusions["test"]["scores"]["balanced_accuracy"], baseline)
    if test.run.debugging is None:
        return standing
    sentence = f"{debugging_sentence(test.run.debugging)} {standing['sentence']}"
    return Standing(kind=standing["kind"], level="stop", sentence=sentence)


def write_metrics(folder: ResultFolder, metrics: Metrics) -> None:
    """Write `metrics.json`."""
    write_atomically(folder.metrics_file, json.dumps(metrics, indent=2, allow_nan=False) + "\n")


def _explain(test: Testing, number: int, problems: dict[str, str]) -> None:
    """Make maps of test images with the methods of the training's configuration; existing maps are kept."""
    try:
        explain_test_images(
            test.folder, test.rows, test.images, test.predictor,
            settings=test.config.explain, number=number, problems=problems,
        )  # fmt: skip
    except UnreadableError as error:
        raise GenderClsError(
            f"{error} If the images were moved, name the folder with data_root; explained_images=0 makes no maps."
        ) from error


def _measured_explanations(test: Tested, resamples: int) -> Explanations | None:
    """The scores of all test images explained so far; None if there are none."""
    folder = test.folder
    if not folder.explained.exists():
        return None
    methods = [method.value for method in test.config.explain.methods]
    randomisation = read_randomisation(folder.randomisation) if folder.randomisation.exists() else pd.DataFrame()
    return summarise_explanations(read_explanations(folder.explained), randomisation, methods, resamples)
