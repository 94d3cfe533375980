"""When to answer FEMALE, when MALE and when not at all: chosen on validation, measured on test."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import expit

from gender_cls.config.evaluation import OperatingPointRule
from gender_cls.evaluation.bootstrap import Booleans, Numbers, bootstrap_units, count_units, estimates, ratio
from gender_cls.evaluation.calibration import calibrated, log_odds, logit, problem_of
from gender_cls.evaluation.estimate import Estimate, undefined
from gender_cls.evaluation.metrics import (
    FEMALE,
    MALE,
    absent_labels,
    decision_scores,
    is_female,
    score_remarks,
    score_shares,
)
from gender_cls.evaluation.risk_coverage import risk_coverage_curve
from gender_cls.evaluation.schema import Abstention, Accepted, OperatingPoint
from gender_cls.runs.result_folder import chosen_rule

ABSTAIN = "abstain"
LEAST_ANSWERED = 20  # a band must leave this many answers on validation; the error among fewer says nothing


@dataclass(frozen=True)
class DecisionRule:
    """How probabilities become answers; it is stored with the run."""

    temperature: float  # logits are divided by it; above 0
    threshold: float  # the answer is FEMALE from this calibrated probability of FEMALE on (>=), MALE below it
    # [low, high] around the threshold. Strictly between the two the answer is ABSTAIN; elsewhere, and without a band
    # everywhere, the threshold decides.
    band: tuple[float, float] | None

    @classmethod
    def from_metrics(cls, metrics: Mapping[str, Any]) -> Self:
        """The rule of a run, from the content of its `metrics.json`."""
        return cls.from_values(**chosen_rule(metrics))

    @classmethod
    def from_values(cls, temperature: float, threshold: float, band: Sequence[float] | None) -> Self:
        """The rule with these values, of which a file gives the band as a list."""
        return cls(temperature, threshold, None if band is None else (band[0], band[1]))

    def answers(self, table: pd.DataFrame) -> NDArray[np.str_]:
        """(rows,) FEMALE, MALE or ABSTAIN; also ABSTAIN where a probability is not finite."""
        return self.decide(calibrated(table, self.temperature))

    def decide(self, p_female: Numbers) -> NDArray[np.str_]:
        """The answers for calibrated probabilities of FEMALE."""
        low, high = self.band or (self.threshold, self.threshold)
        doubtful = ~np.isfinite(p_female) | ((low < p_female) & (p_female < high))
        return np.where(doubtful, ABSTAIN, np.where(p_female >= self.threshold, FEMALE, MALE))


def choose_operating_point(
    validation: pd.DataFrame, test: pd.DataFrame, temperature: float, rule: OperatingPointRule, resamples: int
) -> OperatingPoint:
    """The threshold that is best on validation, and its scores on both splits.

    Every threshold between two neighbouring probabilities gives the same answers; the middle of the two, in logits, is
    taken. If several are equally good, the one nearest to 0.5 is taken. The rule is balanced_accuracy, the highest; or
    equal_recall, the smallest difference between the recalls of the two classes, then the highest sum.
    """
    threshold, remark = best_threshold(validation, temperature, rule)
    decide = DecisionRule(temperature, threshold, None)
    on_validation, on_test = (answer_scores(split, decide, resamples) for split in (validation, test))
    return OperatingPoint(rule=rule.value, threshold=threshold, remark=remark, validation=on_validation, test=on_test)


def best_threshold(validation: pd.DataFrame, temperature: float, rule: OperatingPointRule) -> tuple[float, str | None]:
    """The best threshold for these predictions and None, or 0.5 and the reason; see `choose_operating_point`."""
    p_female, female = calibrated(validation, temperature), is_female(validation)
    females, males = int(female.sum()), int((~female).sum())
    if problem := problem_of(p_female):
        return 0.5, f"The threshold stays 0.5. On validation: {problem}"
    if absent := absent_labels(female):
        return 0.5, f"The threshold stays 0.5: on validation there is no {absent[0]} image."
    order = np.argsort(p_female, kind="stable")
    p_female, logits = p_female[order], logit(validation)[order] / temperature
    above = np.flatnonzero(np.diff(p_female)) + 1  # first row above each gap between two probabilities
    females_below = np.cumsum(female[order])[above - 1]
    # Recalls times females times males: whole numbers, so that ties are exact.
    recall_female, recall_male = (females - females_below) * males, (above - females_below) * females
    total = recall_female + recall_male
    for_balance = rule is OperatingPointRule.balanced_accuracy
    cost = -total if for_balance else np.abs(recall_female - recall_male)
    if not len(above) or (for_balance and total.max() <= females * males):
        return 0.5, "The threshold stays 0.5: on validation none does better than the same answer for every image."
    best = cost == cost.min()
    best &= total == total[best].max()
    middle = (logits[above - 1] + logits[above]) / 2
    gap = np.flatnonzero(best)[np.abs(middle[best]).argmin()]
    lower, upper = p_female[above[gap] - 1], p_female[above[gap]]
    # Rounding can put the middle of very close neighbours on the lower one, which would change its answer.
    return float(np.clip(expit(middle[gap]), np.nextafter(lower, 1), min(upper, np.nextafter(1, 0)))), None


def answer_scores(table: pd.DataFrame, decide: DecisionRule, resamples: int) -> dict[str, Estimate]:
    """Scores of the answers; all undefined if a probability is not finite."""
    names = ("balanced_accuracy", f"recall_{FEMALE}", f"recall_{MALE}")
    if problem := problem_of(logit(table)):
        return {name: undefined(problem) for name in names}
    female, says_female = is_female(table), decide.answers(table) == FEMALE

    def statistics(weights: Numbers) -> dict[str, Numbers]:
        scores = decision_scores(female, says_female, weights)
        return {name: scores[name] for name in names}

    units, remarks = bootstrap_units(table), score_remarks(female, says_female)
    return estimates(units, statistics, resamples, remarks, shares=score_shares(female, says_female, units))


def choose_abstention(
    validation: pd.DataFrame, test: pd.DataFrame, decide: DecisionRule, target_error: float, resamples: int
) -> Abstention:
    """The narrowest band around the threshold that reaches the target on validation, and its effect on both splits.

    Without a band, because none is needed or none reaches the target, every image is answered and that is measured.
    Certainty is the distance of the calibrated logit from that of the threshold, and the answer is the one at the
    threshold. The band, the curve and its area all use these.

    Args:
        decide: the rule without a band.
        target_error: share of wrong answers among the answered images.
    """
    band, remark = narrowest_band(validation, decide, target_error)
    on_validation, on_test = (accepted(split, replace(decide, band=band), resamples) for split in (validation, test))
    aurc, curve = risk_coverage_curve(*_wrong_and_certainty(test, decide), bootstrap_units(test), resamples)
    return Abstention(
        target_error=target_error,
        band=None if band is None else list(band),
        remark=remark,
        validation=on_validation,
        test=on_test,
        reached=_reached(on_test["error"], target_error),
        aurc=aurc,
        curve=curve,
    )


def narrowest_band(
    validation: pd.DataFrame, decide: DecisionRule, target_error: float
) -> tuple[tuple[float, float] | None, str | None]:
    """The band and None, or None and the reason."""
    p_female = calibrated(validation, decide.temperature)
    if problem := problem_of(p_female):
        return None, f"There is no band. On validation: {problem}"
    wrong, certainty = _wrong_and_certainty(validation, decide)
    values = np.unique(certainty)
    margins = np.append(0, (values[:-1] + values[1:]) / 2)  # each leaves out one more distinct certainty
    middle = log_odds(decide.threshold, 1 - decide.threshold)
    low, high = expit(middle - margins), expit(middle + margins)
    low[0] = high[0] = decide.threshold  # no band

    order = np.argsort(p_female, kind="stable")  # counted as `answers` compares, in probabilities
    from_low, to_high = np.searchsorted(p_female[order], low, "right"), np.searchsorted(p_female[order], high, "left")
    wrong_below = np.append(0, np.cumsum(wrong[order]))
    answered = len(wrong) - np.maximum(to_high - from_low, 0)
    error = ratio(wrong_below[-1] - np.maximum(wrong_below[to_high] - wrong_below[from_low], 0), answered)

    # The error on validation goes up and down as the band widens, and the first band below the target may be luck. So
    # the error must stay there until the band leaves half as many answers. It need not stay there to the end: among the
    # last few dozen answers one confident mistake, such as a wrong label, exceeds most targets and would forbid every
    # useful band.
    missed = np.append(0, np.cumsum(error > target_error))
    until = np.searchsorted(-answered, -np.maximum(LEAST_ANSWERED, answered / 2), "right")
    steady = np.flatnonzero((answered >= LEAST_ANSWERED) & (missed[until] == missed[:-1]))
    if not len(steady):
        return None, (
            f"There is no band: none holds the error on validation at or below {100 * target_error:g} % with at least "
            f"{LEAST_ANSWERED} images answered."
        )
    if steady[0] == 0:
        return None, (
            f"No band is needed: with every image answered, the error on validation is at or below "
            f"{100 * target_error:g} %."
        )
    return (float(low[steady[0]]), float(high[steady[0]])), None


def accepted(table: pd.DataFrame, decide: DecisionRule, resamples: int) -> Accepted:
    """How many images get an answer, and how many of those are wrong."""
    if problem := problem_of(logit(table)):
        return Accepted(coverage=undefined(problem), error=undefined(problem))
    answers = decide.answers(table)
    answered = answers != ABSTAIN
    wrong = (answers == FEMALE) != is_female(table)

    def share(rows: pd.DataFrame, counted: Booleans) -> Estimate:
        def statistics(weights: Numbers) -> dict[str, Numbers]:
            return {"share": ratio(weights @ counted, weights.sum(axis=1))}

        units = bootstrap_units(rows)
        return estimates(units, statistics, resamples, shares={"share": (count_units(units),)})["share"]

    # The error is drawn from the people who got an answer: with few of them, the interval must be that of few.
    error = share(table[answered], wrong[answered]) if answered.any() else undefined("No image is answered.")
    return Accepted(coverage=share(table, answered), error=error)


def _reached(error: Estimate, target_error: float) -> bool | None:
    """Whether the target is not below the interval, or not below the value if there is no interval."""
    least = error["value"] if error["low"] is None else error["low"]
    return None if least is None else target_error >= least


def _wrong_and_certainty(table: pd.DataFrame, decide: DecisionRule) -> tuple[Booleans, Numbers]:
    """(rows,) whether the answer at the threshold is wrong; how far from the threshold it is, in calibrated logits."""
    wrong = (calibrated(table, decide.temperature) >= decide.threshold) != is_female(table)
    threshold = log_odds(decide.threshold, 1 - decide.threshold)
    return wrong, np.abs(logit(table) / decide.temperature - threshold)
