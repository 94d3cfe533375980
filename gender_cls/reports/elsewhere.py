"""A run's test on data that it was not trained on: the same steps as the final test, with what home has chosen."""

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import cast

from gender_cls.config.evaluation import Adapt, EvaluationConfig
from gender_cls.config.parsing import recorded_config
from gender_cls.data.csv_text import csv_text
from gender_cls.data.elsewhere import OtherData
from gender_cls.errors import noting_failure, require
from gender_cls.evaluation.evaluated import require_evaluated, usable_elsewhere
from gender_cls.evaluation.predictions import answers_of, predictions_table
from gender_cls.evaluation.schema import Metrics
from gender_cls.reports.answers import PROBABILITIES, answer_images
from gender_cls.reports.elsewhere_conclusions import ADAPTED, adaptations, conclude_elsewhere_of
from gender_cls.reports.kept_answers import forget_answers, forget_what_lacks_predictions, keep_answers_of_one_origin
from gender_cls.reports.result_pages import write_pages
from gender_cls.reports.steps import Tested, Testing, ask_for_more, wanted_variants
from gender_cls.runs.files import write_atomically
from gender_cls.runs.result_folder import ResultFolder
from gender_cls.runs.run import Run
from gender_cls.system.progress import working
from gender_cls.training.batchnorm import adapted_probabilities, has_batchnorm
from gender_cls.training.predictor import Predictor

log = logging.getLogger(__name__)


def evaluate_elsewhere(
    run: Run,
    other: OtherData,
    settings: EvaluationConfig,
    predictor: Predictor,
    *,
    adapt: Sequence[Adapt] = (),
) -> Metrics:
    """Write the test on other data into its folder in the run's folder, and return the content of its `metrics.json`.

    The temperature, the threshold and the abstention band are those that the run's own validation has chosen. Answers
    that are there are read, not asked for again, as in `final_test.evaluate_run`; after a kill the next call goes on.

    Args:
        settings: of what is measured; the rule of the threshold and the target error are those of the run's own test.
        adapt: how to adapt without labels, in addition to how an earlier test did.

    Raises:
        GenderClsError: the run is not evaluated, or in another version or precision; nothing is written then.
    """
    require_evaluated(run)
    folder = run.elsewhere(other.name)
    _refuse_links(run, folder)
    _refuse_other_precision(run, predictor)
    answers_of(run)  # or raise
    adapt = adaptations(folder, adapt)
    _answer(folder, other, predictor, settings, adapt)
    rows = predictions_table(other.rows, answers_of(folder)[PROBABILITIES].to_numpy())
    test = Testing(run, folder, recorded_config(run.config_file), rows, predictor, other.images)
    problems: dict[str, str] = {}
    ask_for_more(test, settings, problems)
    if Adapt.batchnorm in adapt:
        with noting_failure(problems, Adapt.batchnorm.value), working("Testing with adapted BatchNorm"):
            _ask_adapted(test)
    metrics = conclude_elsewhere_of(test, settings, adapt, problems)
    write_pages(test, metrics)
    return metrics


def write_own_pages(run: Run) -> None:
    """Write the run's own report, model card and TensorBoard events anew, with its tests on other data."""
    own = answers_of(run)
    rows = own[own["split"] == "test"].reset_index(drop=True)
    metrics = cast(Metrics, run.metrics)
    for name in usable_elsewhere(run):
        metrics["problems"].pop(f"test on {name}", None)
    write_pages(Tested(run, run, recorded_config(run.config_file), rows), metrics)


def _refuse_links(run: Run, folder: ResultFolder) -> None:
    run.refuse_links_out()
    require(
        folder.folder.is_relative_to(run.folder),
        f"{run.folder / 'elsewhere'} or a folder in it is a link out of the run's folder, and nothing is written "
        "there: replace it by a folder.",
    )
    folder.refuse_links_out()
    for one in (folder.folder.parent, folder.folder):
        require(one.is_dir() or not one.exists(), f"{one} must be a folder, and it is a file: move it away.")


def _refuse_other_precision(run: Run, predictor: Predictor) -> None:
    """What validation has chosen fits answers of the same precision only (`keep_answers_of_one_origin`)."""
    own = run.answers_from["precision"]
    require(
        own in (None, predictor.precision),
        f"The answers in {run.folder} are of precision {own}, and those for other data must be too: leave out "
        f"precision, or evaluate the run first: python -m gender_cls.evaluate run={run.folder} "
        f"precision={predictor.precision}.",
    )


def _answer(
    folder: ResultFolder, other: OtherData, predictor: Predictor, settings: EvaluationConfig, adapt: Sequence[Adapt]
) -> None:
    """Write `data.json`, and `predictions.csv` if it lacks answers for these images."""
    changed = _is_about_others(folder, other)
    if changed:
        _refuse_another_dataset(folder, other)
    if changed or not folder.predictions.exists():
        _ = predictor.classifier  # if it cannot be read, nothing is written
    for new in (folder.folder.parent, folder.folder):
        new.mkdir(exist_ok=True)
    folder.remove_unfinished_files()
    if changed:
        log.info(f"The images or labels of {other.name} have changed since they were tested: all answers are new.")
        forget_answers(folder)
    forget_what_lacks_predictions(folder)
    adapting = Adapt.batchnorm in adapt and folder.status.get("has_batchnorm") is not False
    keep_answers_of_one_origin(
        folder, predictor, wanted_variants(settings), settings.explained_images, adapted=adapting
    )
    if not folder.predictions.exists():
        folder.metrics_file.unlink(missing_ok=True)  # the test is not finished any more
    write_atomically(folder.data_file, json.dumps(other.record, indent=2) + "\n")
    _list_unreadable(folder.unreadable, other)
    if not folder.predictions.exists():
        answer_images(folder, other.rows, other.images, predictor)


def _is_about_others(folder: ResultFolder, other: OtherData) -> bool:
    """Whether the folder has answers for other images, or for the same ones with other labels."""
    if not folder.predictions.exists():
        return False
    kept = answers_of(folder)
    return any(kept[name].tolist() != other.rows[name].tolist() for name in ("path", "label", "pixels"))


def _refuse_another_dataset(folder: ResultFolder, other: OtherData) -> None:
    """Two datasets may have the same name, such as that of their folders."""
    root = folder.data.get("root")
    require(
        root in (None, str(other.root)),
        f"{folder.folder} is a test on other images, those in {root}: choose another name with elsewhere.name, or "
        "remove that folder.",
    )


def _list_unreadable(file: Path, other: OtherData) -> None:
    if len(other.unreadable):
        write_atomically(file, csv_text(other.unreadable))
    else:
        file.unlink(missing_ok=True)


def _ask_adapted(test: Testing) -> None:
    """Write `adapted.csv` unless it is there, or note that the network has no BatchNorm layers."""
    folder = test.folder
    if folder.adapted.exists() or folder.status.get("has_batchnorm") is False:
        return
    folder.note(has_batchnorm=has_batchnorm(test.predictor))
    if folder.status["has_batchnorm"]:
        answers = adapted_probabilities(test.predictor, test.rows, test.images)
        table = test.rows[["path"]].assign(**dict(zip(ADAPTED, answers.T, strict=True)))
        write_atomically(folder.adapted, csv_text(table))
