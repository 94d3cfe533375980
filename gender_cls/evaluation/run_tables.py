"""What run folders hold, as tables and values for Python: `gender_cls.read_scores` and the like. Imports no torch."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias, cast

import numpy as np
import pandas as pd

from gender_cls.errors import GenderClsError, require
from gender_cls.evaluation.comparison.settings import describe
from gender_cls.evaluation.evaluated import is_evaluated, require_evaluated
from gender_cls.evaluation.predictions import CONCLUDED, read_table
from gender_cls.evaluation.schema import Metrics
from gender_cls.evaluation.untested import validation_score
from gender_cls.runs.run import Run, find_runs

Folder: TypeAlias = str | os.PathLike[str]

SCORE_COLUMNS = {
    "run": "str", "state": "str", "model": "str", "recipe": "str", "augment": "str", "data": "str",
    "seed": "Int64", "fold": "Int64",
    "validation_balanced_accuracy": "float64", "validation_low": "float64", "validation_high": "float64",
    "test_balanced_accuracy": "float64", "test_low": "float64", "test_high": "float64",
    "test_auroc": "float64", "test_images": "Int64",
    "parameters": "Int64", "flops": "Int64", "milliseconds": "float64", "fit_seconds": "float64", "path": "str",
}  # fmt: skip
"""Columns of `read_scores`, and their types. A missing text is empty, a missing number NA or NaN."""


def read_scores(folder: Folder | Sequence[Folder]) -> pd.DataFrame:
    """The scores of a run, of the runs of a sweep, or of all runs at any depth in a folder: one row per run.

    Args:
        folder: one, or several.

    Returns:
        The columns SCORE_COLUMNS, sorted by path: `run` is the folder's name; `state` finished, running, interrupted,
        failed or killed; scores from 0 to 1, `_low` and `_high` the ends of the 95 % interval of the balanced accuracy
        over people; `flops` and `milliseconds` of one image, forward; `fit_seconds` of the training. In a run that
        was not tested, or by another version, test scores are missing and that of validation has no interval.

    Raises:
        GenderClsError: there is no run in a folder, or a file of a run is damaged.
    """
    given = [folder] if isinstance(folder, str | os.PathLike) else folder
    rows = [_row(run) for run in find_runs([_absolute(one) for one in given])]
    return pd.DataFrame({name: _column(rows, name, kind) for name, kind in SCORE_COLUMNS.items()})


def read_metrics(run: Folder) -> Metrics:
    """The content of a tested run's `metrics.json`; `evaluation/schema.py` says what each key means.

    Raises:
        GenderClsError: the folder is no run, or the run was not tested by this version.
    """
    return cast(Metrics, _tested(run).metrics)


def read_epochs(run: Folder) -> pd.DataFrame:
    """The run's `epochs.csv`: one row per epoch, with its losses, scores, learning rate and seconds; epochs from 1.

    Raises:
        GenderClsError: the folder is no run, or no epoch has ended.
    """
    file = _run(run).epochs
    command = "python -m gender_cls.train"
    table = read_table(file, required=("epoch",), is_number=lambda _: True, written_by=command, again="train again")
    return table.astype({name: "int64" for name in ("epoch", "step") if name in table})


def read_predictions(run: Folder) -> pd.DataFrame:
    """The run's `predictions.csv`: one row per image of validation and test (`split`), names as text.

    `p_FEMALE` and `p_MALE` are the network's probabilities and `prediction` the larger one's label;
    `calibrated_p_FEMALE` is with the run's temperature and `answer` FEMALE, MALE or abstain, by its threshold and band.

    Raises:
        GenderClsError: the folder is no run, or the run was not tested by this version.
    """
    tested = _tested(run)
    numbers = ("p_FEMALE", "p_MALE", CONCLUDED[0], "native_height", "brightness", "sharpness")
    return read_table(
        tested.predictions,
        required=("path", "label", "split", "prediction", *CONCLUDED),
        is_number=numbers.__contains__,
        written_by=f"python -m gender_cls.evaluate run={tested.folder}",
        again="evaluate the run again",
    )


def _absolute(folder: Folder) -> Path:
    return Path(folder).expanduser().absolute()


def _run(folder: Folder) -> Run:
    run = Run(_absolute(folder))
    require(run.status_file.is_file(), f"{run.folder} is no run: name the folder of one run, with its status.json.")
    return run


def _tested(folder: Folder) -> Run:
    run = _run(folder)
    require_evaluated(run)
    return run


def _row(run: Run) -> dict[str, Any]:
    described = describe(run)
    status, metrics = run.status, run.metrics if is_evaluated(run) else {}
    scores = metrics.get("test", {}).get("scores", {})
    headline: Mapping[str, Any] = scores.get("balanced_accuracy", {})
    validation: Mapping[str, Any] = metrics.get("validation", {}).get("scores", {}).get("balanced_accuracy", {})
    return {
        **{"run": run.folder.name, "path": str(run.folder), "state": run.state, "model": described.model},
        **{group: described.choices.get(group) for group in ("recipe", "augment")},
        **{"data": _dataset(run), "seed": described.settings.get("seed"), "fold": _fold(described.settings)},
        "validation_balanced_accuracy": validation.get("value", validation_score(run)),
        **{f"validation_{end}": validation.get(end) for end in ("low", "high")},
        "test_balanced_accuracy": headline.get("value"),
        **{f"test_{end}": headline.get(end) for end in ("low", "high")},
        **{"test_auroc": scores.get("auroc", {}).get("value"), "test_images": metrics.get("test", {}).get("images")},
        **{name: metrics.get("cost", {}).get(name) for name in ("parameters", "flops")},
        "milliseconds": metrics.get("cost", {}).get("milliseconds_batch_1"),
        "fit_seconds": metrics.get("cost", {}).get("fit_seconds", status.get("fit_seconds")),
    }


def _fold(settings: Mapping[str, Any]) -> Any:
    return settings.get("data.fold") if settings.get("data.folds") is not None else None


def _dataset(run: Run) -> str | None:
    try:
        return run.dataset
    except GenderClsError:  # its configuration was not kept, or is of another version
        return None


def _column(rows: Sequence[Mapping[str, Any]], name: str, kind: Any) -> pd.Series:
    missing: Any = {"str": "", "float64": np.nan}.get(kind)
    return pd.Series([missing if row[name] is None else row[name] for row in rows], dtype=kind)
