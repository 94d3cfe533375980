"""Everything that is measured on the images of other data, from the same samples of their people."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import expit

from gender_cls.config.evaluation import Adapt
from gender_cls.evaluation.bootstrap import Numbers, Sampled, bootstrap_units, ratio, sample
from gender_cls.evaluation.calibration import logit, problem_of
from gender_cls.evaluation.compared_scores import (
    best_threshold_scores,
    compared_remarks,
    compared_scores,
    compared_shares,
    reweighed_scores,
)
from gender_cls.evaluation.decisions import DecisionRule
from gender_cls.evaluation.differences import difference_of_same
from gender_cls.evaluation.estimate import Estimate, undefined
from gender_cls.evaluation.metrics import is_female
from gender_cls.evaluation.prior import share_from_answers, why_no_share, why_one_label
from gender_cls.evaluation.standing import CHANCE
from gender_cls.evaluation.stress import MOST_RESAMPLES

PLAIN = ""  # answers that were not adapted


@dataclass(frozen=True)
class MeasuredHere:
    """COMPARED_SCORES of the plain answers, and those of adapted ones after the name of the method and a blank.

    With them come `mean_probability`, and those of `best_threshold_scores` and `reweighed_scores`.
    """

    sampled: Sampled
    problems: Mapping[str, str]  # method -> why its numbers are undefined; those of PLAIN are about everything

    def of(self, name: str) -> Estimate:
        """A number with its interval."""
        problem = self.problem_of(name)
        return self.sampled.of(name) if problem is None else undefined(problem)

    def difference(self, a: str, b: str) -> Estimate:
        """One number minus another, with the interval of the paired difference."""
        problem = self.problem_of(a) or self.problem_of(b)
        return difference_of_same(self.sampled, a, b) if problem is None else undefined(problem)

    def problem_of(self, name: str) -> str | None:
        """Why a number is undefined; None if that follows from its computation only."""
        return self.problems.get(PLAIN) or self.problems.get(name.split(" ")[0])

    def best(self) -> tuple[Estimate, Estimate]:
        """The best balanced accuracy of any threshold, and how much more that is than at the run's threshold.

        The threshold is chosen on the images that it is measured on, so its score is too high. Both low ends are
        lowered by this optimism (Efron 1983): the mean, over resamples, of how much more the best threshold of a
        resample reaches there than on the images as they are. The high ends stay: such a choice only raises scores.
        """
        best, below_best = self.of("best"), self.difference("best", "at_threshold")
        if best["value"] is not None:
            luck = max(0.0, float(self.sampled.draws["luck"].mean()))
            best["low"] = _lower(best["low"], luck, CHANCE)
            below_best["low"] = _lower(below_best["low"], luck, 0.0)
        return best, below_best


def suggested_share(table: pd.DataFrame, rule: DecisionRule, prior: float, resamples: int) -> Estimate:
    """The share of FEMALE that the answers suggest."""
    logits = logit(table) / rule.temperature
    p_female, units = expit(logits), bootstrap_units(table)
    if problem := problem_of(logits) or why_no_share(p_female):
        return undefined(problem)

    def statistics(weights: Numbers) -> dict[str, Numbers]:
        return {"share": share_from_answers(p_female, prior, weights)}

    sampled = sample(units, statistics, min(resamples, MOST_RESAMPLES))
    problem = why_one_label(sampled.values["share"], len(table))
    return sampled.of("share") if problem is None else undefined(problem)


def _name(method: str, score: str) -> str:
    return f"{method} {score}" if method else score


def _lower(low: float | None, luck: float, least: float) -> float | None:
    return None if low is None else max(least, low - luck)


def measure_here(
    table: pd.DataFrame, rule: DecisionRule, prior: float, batchnorm: pd.DataFrame | None, resamples: int
) -> MeasuredHere:
    """Measure these predictions and samples of their people.

    Args:
        rule: of the run; its threshold and temperature are used.
        prior: the share of FEMALE in training.
        batchnorm: p_FEMALE and p_MALE for each row of the table after BatchNorm was re-estimated.
        resamples: no more than MOST_RESAMPLES are drawn.
    """
    logits = logit(table) / rule.temperature
    if problem := problem_of(logits):
        return MeasuredHere(sample(np.zeros(0, np.intp), lambda _: {}, 0), {PLAIN: problem})
    order = np.argsort(logits, kind="stable")
    female, units, logits = is_female(table)[order], bootstrap_units(table)[order], logits[order]
    p_female = expit(logits)
    of_threshold, problems = best_threshold_scores(female, p_female, rule.threshold), {}
    of_method = {PLAIN: compared_scores(female, logits)}
    if problem := why_no_share(p_female):
        problems[Adapt.prior.value] = problem
    else:
        of_method[Adapt.prior.value] = reweighed_scores(female, logits, prior)
    if batchnorm is not None:
        adapted = logit(batchnorm)[order] / rule.temperature
        if problem := problem_of(adapted):
            problems[Adapt.batchnorm.value] = problem
        else:
            of_method[Adapt.batchnorm.value] = compared_scores(female, adapted)

    def statistics(weights: Numbers) -> dict[str, Numbers]:
        found = {**of_threshold(weights), "mean_probability": ratio(weights @ p_female, weights.sum(axis=1))}
        for method, scores in of_method.items():
            found |= {_name(method, name): value for name, value in scores(weights).items()}
        return {**found, f"{Adapt.prior.value} auroc": found["auroc"]}  # re-weighing keeps the order

    remarks, shares = compared_remarks(female), compared_shares(female, units)
    sampled = sample(
        units,
        statistics,
        min(resamples, MOST_RESAMPLES),
        {_name(method, name): remark for method in of_method for name, remark in remarks.items()},
        shares={_name(method, name): people for method in of_method for name, people in shares.items()},
    )
    if Adapt.prior.value in of_method and (problem := why_one_label(sampled.values["prior share"], len(table))):
        problems[Adapt.prior.value] = problem
    return MeasuredHere(sampled, problems)
