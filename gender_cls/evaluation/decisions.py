"""When to answer FEMALE, when MALE and when not at all: chosen on validation, judged on test."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import expit

from gender_cls.errors import require
from gender_cls.evaluation.bootstrap import RESAMPLES, bootstrap_units, estimates, ratio
from gender_cls.evaluation.calibration import calibrated, log_odds, logit, problem_of
from gender_cls.evaluation.estimate import Estimate
from gender_cls.evaluation.metrics import FEMALE, MALE, decision_scores
from gender_cls.evaluation.risk_coverage import risk_coverage_curve
from gender_cls.evaluation.schema import Abstention, Accepted, OperatingPoint

ABSTAIN = "abstain"

RULES = ("balanced_accuracy", "equal_recall")

LEAST_ANSWERED = 20
"""A band must leave this many answers on validation; the error among fewer says nothing."""


@dataclass(frozen=True)
class DecisionRule:
    """How probabilities become answers; it travels with the run.

    Attributes:
        temperature: what logits are divided by, above 0.
        threshold: FEMALE is answered from this calibrated probability of FEMALE on (>=), MALE below it.
        band: [low, high] around the threshold. Strictly between the two the answer is ABSTAIN; at the ends and beyond
            the threshold decides, as it does everywhere without a band. One of no width lets every image through.
    """

    temperature: float
    threshold: float
    band: tuple[float, float] | None

    @classmethod
    def from_metrics(cls, metrics: Mapping[str, Any]) -> Self:
        """The rule of a run, from the content of its `metrics.json`."""
        band = metrics["abstention"]["band"]
        return cls(
            temperature=metrics["calibration"]["temperature"],
            threshold=metrics["operating_point"]["threshold"],
            band=None if band is None else (band[0], band[1]),
        )

    def answers(self, table: pd.DataFrame) -> NDArray[np.str_]:
        """(rows,) FEMALE, MALE or ABSTAIN. Without a finite probability there is no answer either."""
        p_female = calibrated(table, self.temperature)
        low, high = self.band or (self.threshold, self.threshold)
        doubtful = ~np.isfinite(p_female) | ((low < p_female) & (p_female < high))
        return np.where(doubtful, ABSTAIN, np.where(p_female >= self.threshold, FEMALE, MALE))


def choose_operating_point(
    validation: pd.DataFrame,
    test: pd.DataFrame,
    temperature: float,
    rule: str,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> OperatingPoint:
    """The threshold that is best on validation, and what it scores on both splits.

    Every threshold between two neighbouring probabilities gives the same answers: the middle of the two, in logits, is
    taken. Where several are equally good it is the one nearest to 0.5.

    Args:
        validation: its predictions.
        test: its predictions.
        rule: balanced_accuracy, the highest; or equal_recall, the smallest difference between the recalls of the two
            classes, then the highest sum.
    """
    require(rule in RULES, f"{rule!r} is no rule for the operating point; use {' or '.join(RULES)}.")
    threshold, remark = _best_threshold(validation, temperature, rule)
    decide = DecisionRule(temperature, threshold, None)
    return OperatingPoint(
        rule=rule,
        threshold=threshold,
        remark=remark,
        validation=_scores(validation, decide, resamples, seed),
        test=_scores(test, decide, resamples, seed),
    )


def _best_threshold(validation: pd.DataFrame, temperature: float, rule: str) -> tuple[float, str | None]:
    """The threshold and None, or 0.5 and why."""
    p_female, female = calibrated(validation, temperature), _female(validation)
    females, males = int(female.sum()), int((~female).sum())
    if problem := problem_of(p_female):
        return 0.5, f"The threshold stays 0.5. On validation: {problem}"
    if not females or not males:
        return 0.5, f"The threshold stays 0.5: on validation there is no {MALE if females else FEMALE} image."
    order = np.argsort(p_female, kind="stable")
    p_female, logits = p_female[order], logit(validation)[order] / temperature
    above = np.flatnonzero(np.diff(p_female)) + 1  # first row above each gap between two probabilities
    females_below = np.cumsum(female[order])[above - 1]
    # Recalls times females times males: whole numbers, so that a tie is one.
    recall_female, recall_male = (females - females_below) * males, (above - females_below) * females
    total = recall_female + recall_male
    cost = -total if rule == "balanced_accuracy" else np.abs(recall_female - recall_male)
    if not len(above) or (rule == "balanced_accuracy" and total.max() <= females * males):
        return 0.5, "The threshold stays 0.5: on validation none does better than the same answer for every image."
    best = cost == cost.min()
    best &= total == total[best].max()
    middle = (logits[above - 1] + logits[above]) / 2
    gap = np.flatnonzero(best)[np.abs(middle[best]).argmin()]
    lower, upper = p_female[above[gap] - 1], p_female[above[gap]]
    # Rounding can put the middle of very close neighbours on the lower one, which would change its answer.
    return float(np.clip(expit(middle[gap]), np.nextafter(lower, 1), min(upper, np.nextafter(1, 0)))), None


def _scores(table: pd.DataFrame, decide: DecisionRule, resamples: int, seed: int) -> dict[str, Estimate]:
    names = ("balanced_accuracy", f"recall_{FEMALE}", f"recall_{MALE}")
    female, says_female = _female(table), decide.answers(table) == FEMALE

    def statistics(weights: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
        scores = decision_scores(female, says_female, weights)
        return {name: scores[name] for name in names}

    absent = [name for name, there in ((FEMALE, female.any()), (MALE, not female.all())) if not there]
    remarks = {f"recall_{name}": f"There is no {name} image." for name in absent}
    if absent:
        remarks["balanced_accuracy"] = remarks[f"recall_{absent[0]}"]
    return _estimates(table, names, statistics, resamples, seed, remarks)


def choose_abstention(
    validation: pd.DataFrame,
    test: pd.DataFrame,
    temperature: float,
    threshold: float,
    target_error: float,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Abstention:
    """The narrowest band around the threshold that reaches the target on validation, and what it does on both splits.

    Certainty is the distance of the calibrated logit from that of the threshold, and the answer is the one at the
    threshold; the band, the curve and its area all speak of these.

    Args:
        validation: its predictions.
        test: its predictions.
        threshold: calibrated probability of FEMALE, between 0 and 1.
        target_error: share of wrong answers among the answered images.
    """
    band, remark = _narrowest_band(validation, temperature, threshold, target_error)
    decide = DecisionRule(temperature, threshold, band)
    accepted = None if band is None else _accepted(test, decide, resamples, seed)
    wrong, certainty = _wrong_and_certainty(test, temperature, threshold)
    aurc, curve = risk_coverage_curve(wrong, certainty, bootstrap_units(test), resamples, seed)
    return Abstention(
        target_error=target_error,
        band=None if band is None else list(band),
        remark=remark,
        validation=None if band is None else _accepted(validation, decide, resamples, seed),
        test=accepted,
        reached=None if accepted is None else _reached(accepted["error"], target_error),
        aurc=aurc,
        curve=curve,
    )


def _narrowest_band(
    validation: pd.DataFrame, temperature: float, threshold: float, target_error: float
) -> tuple[tuple[float, float] | None, str | None]:
    """The band and None, or None and why."""
    p_female = calibrated(validation, temperature)
    if problem := problem_of(p_female):
        return None, f"There is no band. On validation: {problem}"
    wrong, certainty = _wrong_and_certainty(validation, temperature, threshold)
    values = np.unique(certainty)
    margins = np.append(0, (values[:-1] + values[1:]) / 2)  # each leaves out one more distinct certainty
    middle = log_odds(threshold, 1 - threshold)
    low, high = expit(middle - margins), expit(middle + margins)
    low[0] = high[0] = threshold

    order = np.argsort(p_female, kind="stable")  # counted as `answers` compares, in probabilities
    from_low, to_high = np.searchsorted(p_female[order], low, "right"), np.searchsorted(p_female[order], high, "left")
    wrong_below = np.append(0, np.cumsum(wrong[order]))
    answered = len(wrong) - np.maximum(to_high - from_low, 0)
    error = ratio(wrong_below[-1] - np.maximum(wrong_below[to_high] - wrong_below[from_low], 0), answered)

    # The error on validation goes up and down as the band widens, and the first band below the target may be one lucky
    # dip. So it must stay there while the band widens to half as many answers. Not to the end: among the last few dozen
    # answers one confident mistake, such as a wrong label, is above most targets, and would forbid every useful band.
    missed = np.append(0, np.cumsum(error > target_error))
    until = np.searchsorted(-answered, -np.maximum(LEAST_ANSWERED, answered / 2), "right")
    steady = np.flatnonzero((answered >= LEAST_ANSWERED) & (missed[until] == missed[:-1]))
    if not len(steady):
        return None, (
            f"There is no band: none holds the error on validation at or below {100 * target_error:g} % with at least "
            f"{LEAST_ANSWERED} images answered."
        )
    return (float(low[steady[0]]), float(high[steady[0]])), None


def _accepted(table: pd.DataFrame, decide: DecisionRule, resamples: int, seed: int) -> Accepted:
    answers = decide.answers(table)
    answered = answers != ABSTAIN
    wrong = ((answers == FEMALE) != _female(table))[answered]

    def coverage(weights: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
        return {"coverage": ratio(weights @ answered, weights.sum(axis=1))}

    def error(weights: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
        return {"error": ratio(weights @ wrong, weights.sum(axis=1))}

    found = _estimates(table, ("coverage",), coverage, resamples, seed, {})
    if problem_of(logit(table)):
        found["error"] = found["coverage"]
    elif not answered.any():
        found["error"] = Estimate(value=None, low=None, high=None, remark="No image is answered.")
    else:  # of the people who got an answer: with few of them, the interval must be that of few
        found |= _estimates(table[answered].reset_index(drop=True), ("error",), error, resamples, seed, {})
    return Accepted(coverage=found["coverage"], error=found["error"])


def _reached(error: Estimate, target_error: float) -> bool | None:
    """Whether the target is not below the interval, or not below the value where there is no interval."""
    least = error["value"] if error["low"] is None else error["low"]
    return None if least is None else target_error >= least


def _female(table: pd.DataFrame) -> NDArray[np.bool_]:
    return (table["label"] == FEMALE).to_numpy()


def _wrong_and_certainty(
    table: pd.DataFrame, temperature: float, threshold: float
) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """(rows,) whether the answer at the threshold is wrong; how far from the threshold it is, in calibrated logits."""
    wrong = (calibrated(table, temperature) >= threshold) != _female(table)
    return wrong, np.abs(logit(table) / temperature - log_odds(threshold, 1 - threshold))


def _estimates(
    table: pd.DataFrame,
    names: tuple[str, ...],
    statistics: Callable[[NDArray[np.float64]], dict[str, NDArray[np.float64]]],
    resamples: int,
    seed: int,
    remarks: Mapping[str, str],
) -> dict[str, Estimate]:
    """Of these names; all null where a probability is not finite."""
    if problem := problem_of(logit(table)):
        return {name: Estimate(value=None, low=None, high=None, remark=problem) for name in names}
    return estimates(bootstrap_units(table), statistics, resamples, seed, remarks)
