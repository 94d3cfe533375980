"""What follows from the answers of a run for other data: `metrics.json`, without asking the network or an image."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

import pandas as pd

from gender_cls.config.data import CLASSES
from gender_cls.config.evaluation import Adapt, EvaluationConfig, OperatingPointRule
from gender_cls.config.parsing import recorded_config
from gender_cls.data.csv_text import csv_text
from gender_cls.data.run_images import recorded_rows
from gender_cls.errors import GenderClsError, noting_failure, require
from gender_cls.evaluation.conclusions import with_answers
from gender_cls.evaluation.decisions import DecisionRule
from gender_cls.evaluation.elsewhere import conclude_elsewhere
from gender_cls.evaluation.predictions import answers_of, read_table
from gender_cls.evaluation.schema import SCHEMA_VERSION, Metrics
from gender_cls.reports.answers import PROBABILITIES
from gender_cls.reports.result_pages import write_pages
from gender_cls.reports.steps import Tested, conclude, metrics_of, write_metrics
from gender_cls.runs.files import write_atomically
from gender_cls.runs.result_folder import ResultFolder
from gender_cls.runs.run import Run
from gender_cls.system.progress import working

ADAPTED = [f"{name}_batchnorm" for name in PROBABILITIES]
"""The columns of `adapted.csv` after `path`."""


def conclude_elsewhere_of(
    test: Tested, settings: EvaluationConfig, adapt: Sequence[Adapt], problems: dict[str, str]
) -> Metrics:
    """Write `predictions.csv` with its conclusions and `metrics.json`, and return the content of the latter.

    Args:
        problems: parts that could not be made, and why.
    """
    run, folder, data = test.run, test.folder, test.folder.data
    home, own = cast(Metrics, run.metrics), answers_of(run)
    settings = replace(
        settings,
        operating_point=OperatingPointRule(home["operating_point"]["rule"]),
        target_error=home["abstention"]["target_error"],
    )
    batchnorm, remark = _batchnorm(test, problems) if Adapt.batchnorm in adapt else (None, None)
    conclusions = conclude(test, _after_validation(own, test.rows), settings, problems)
    train = recorded_rows(run)
    train = train[(train["split"] == "train") & train["label"].isin(CLASSES)]
    with working("Comparing with the run's own test"):
        elsewhere = conclude_elsewhere(
            home, own, test.rows, conclusions,
            name=data["name"], part=data["part"], left_out=data["seen"],
            train=train, balance=test.config.data.balance,
            adapt=adapt, batchnorm=batchnorm, batchnorm_remark=remark, resamples=settings.resamples,
        )  # fmt: skip
    found = {**conclusions, "elsewhere": elsewhere, "cost": home["cost"], "problems": problems}
    metrics = metrics_of(test, data, found)
    write_atomically(folder.predictions, csv_text(with_answers(test.rows, conclusions)))
    write_metrics(folder, metrics)
    return metrics


def conclude_again(run: Run, settings: EvaluationConfig, problems: dict[str, str]) -> None:
    """Write those tests on other data anew that rest on another threshold, temperature or band than the run has now.

    Args:
        problems: gets the reason for a test that cannot be written anew; it does not count any more.
    """
    now = _chosen(run.metrics)
    for name, folder in run.tests_elsewhere.items():
        with noting_failure(problems, f"test on {name}"):
            earlier = folder.metrics
            if earlier.get("schema_version") == SCHEMA_VERSION and _chosen(earlier) == now:
                continue
            adapt = adaptations(folder)
            folder.metrics_file.unlink()
            precision, own = (one.answers_from["precision"] for one in (folder, run))
            require(
                precision == own,
                f"Its answers are of precision {precision}, and those of the run are of {own} now: test it on {name} "
                "again.",
            )
            test = Tested(run, folder, recorded_config(run.config_file), answers_of(folder))
            write_pages(test, conclude_elsewhere_of(test, settings, adapt, dict(earlier.get("problems", {}))))


def _chosen(metrics: Mapping[str, Any]) -> tuple[DecisionRule, str, float]:
    """What validation chose, and by which settings."""
    rule = DecisionRule.from_metrics(metrics)
    return rule, metrics["operating_point"]["rule"], metrics["abstention"]["target_error"]


def adaptations(folder: ResultFolder, asked: Sequence[Adapt] = ()) -> list[Adapt]:
    """How to adapt: as it is asked for, and as an earlier test did."""
    try:
        earlier = [one["method"] for one in (folder.metrics.get("elsewhere") or {}).get("adapted", [])]
    except GenderClsError:  # cut off; it is written anew
        earlier = []
    return [one for one in Adapt if one in asked or one.value in earlier]


def _batchnorm(test: Tested, problems: dict[str, str]) -> tuple[pd.DataFrame | None, str | None]:
    """`p_FEMALE` and `p_MALE` after BatchNorm was adapted, from `adapted.csv`; or None and the reason."""
    folder = test.folder
    if folder.status.get("has_batchnorm") is False:
        return None, f"{test.config.model.title} has no BatchNorm layers, so there is nothing to adapt."
    if Adapt.batchnorm.value in problems:
        return None, problems[Adapt.batchnorm.value]
    with noting_failure(problems, Adapt.batchnorm.value):
        kept = read_table(
            folder.adapted,
            required=("path", *ADAPTED),
            is_number=ADAPTED.__contains__,
            written_by="adapt=batchnorm",
            again="test on these data again",
        )
        require(
            kept["path"].tolist() == test.rows["path"].tolist(),
            f"{folder.adapted} is not about the images in {folder.predictions.name}: remove it.",
        )
        return kept[ADAPTED].set_axis(PROBABILITIES, axis="columns"), None
    return None, problems[Adapt.batchnorm.value]


def _after_validation(own: pd.DataFrame, rows: pd.DataFrame) -> pd.DataFrame:
    """The run's own validation and these rows, with the columns of the rows; texts are empty where one is unknown."""
    validation = own[own["split"] == "val"].reindex(columns=rows.columns, fill_value="")
    return pd.concat([validation, rows], ignore_index=True)
