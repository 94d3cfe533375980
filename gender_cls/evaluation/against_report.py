"""The answers of an exported file against those in the run's own `predictions.csv`."""

from typing import TypedDict

import pandas as pd

from gender_cls.errors import count, of_people
from gender_cls.evaluation.bootstrap import Numbers, bootstrap_units, sample
from gender_cls.evaluation.calibration import calibrated, problem_of
from gender_cls.evaluation.decisions import DecisionRule
from gender_cls.evaluation.differences import difference_of_same
from gender_cls.evaluation.estimate import Estimate, undefined
from gender_cls.evaluation.metrics import (
    decision_scores,
    is_female,
    known_people,
    probability_scores,
    score_remarks,
    score_shares,
)
from gender_cls.evaluation.wording import stated_change

SCORES = ("balanced_accuracy", "auroc")
"""Balanced accuracy is that at the run's threshold, without abstaining."""


class AgainstReport(TypedDict):
    """What `ExportedFile` says about answers."""

    images: dict[str, int]
    changed_answers: dict[str, int]
    difference: dict[str, Estimate]
    sentence: str


def against_report(
    report: pd.DataFrame,
    exported: pd.DataFrame,
    rule: DecisionRule,
    resamples: int,
    *,
    file: str,
    precision: str | None,
) -> AgainstReport:
    """How many answers differ, and by how much the scores of test do, with intervals over people.

    Args:
        report: the run's own answers for validation and test.
        exported: the file's answers for the same rows.
        rule: of the run; both are answered by it.
        file: its name.
        precision: of the report's answers.
    """
    test = (report["split"] == "test").to_numpy()
    found = AgainstReport(
        images={split: int((report["split"] == split).sum()) for split in ("val", "test")},
        changed_answers=changed_answers(report, exported, rule),
        difference=_differences(report[test], exported[test], rule, resamples),
        sentence="",
    )
    return found | {"sentence": _sentence(found, known_people(report[test]), file, precision)}


def changed_answers(before: pd.DataFrame, after: pd.DataFrame, rule: DecisionRule) -> dict[str, int]:
    """By split: how many answers of two tables with the same rows differ."""
    changed = rule.answers(before) != rule.answers(after)
    return {split: int(changed[(before["split"] == split).to_numpy()].sum()) for split in ("val", "test")}


def _differences(
    report: pd.DataFrame, exported: pd.DataFrame, rule: DecisionRule, resamples: int
) -> dict[str, Estimate]:
    p_female = {name: calibrated(table, rule.temperature) for name, table in (("report", report), ("file", exported))}
    for probabilities in p_female.values():
        if problem := problem_of(probabilities):
            return {name: undefined(problem) for name in SCORES}
    female, units = is_female(report), bootstrap_units(report)
    says = {name: probabilities >= rule.threshold for name, probabilities in p_female.items()}
    ranking = {name: probability_scores(female, probabilities) for name, probabilities in p_female.items()}

    def statistics(weights: Numbers) -> dict[str, Numbers]:
        return {
            f"{name} {score}": values[score]
            for name in p_female
            for values in [decision_scores(female, says[name], weights) | dict(ranking[name](weights))]
            for score in SCORES
        }

    names = [(name, score) for name in p_female for score in SCORES]
    remarks = {f"{name} {score}": why for name, score in names if (why := score_remarks(female, says[name]).get(score))}
    shares = {f"{name} {score}": score_shares(female, says[name], units)[score] for name, score in names}
    sampled = sample(units, statistics, resamples, remarks, shares=shares)
    return {score: difference_of_same(sampled, f"file {score}", f"report {score}") for score in SCORES}


def _sentence(found: AgainstReport, people: int, file: str, precision: str | None) -> str:
    changed, tested = found["changed_answers"]["test"], of_people(found["images"]["test"], "test image", people)
    report = "the report" + (f" ({precision})" if precision else "")
    same = f"{count(changed)} of {tested} differently from {report}" if changed else f"all {tested} as {report} does"
    balanced_accuracy, auroc = (found["difference"][score] for score in SCORES)
    if balanced_accuracy["value"] is None:
        return f"{file} answers {same}. The scores cannot be compared: {balanced_accuracy['remark']}"
    return (
        f"{file} answers {same}. Balanced accuracy differs by {stated_change(balanced_accuracy)}, AUROC by "
        f"{stated_change(auroc)}."
    )
