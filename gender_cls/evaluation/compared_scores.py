"""The scores that are given for home and here, as functions of how much each row counts: of the plain answers, of
answers re-weighed by the share of labels that they suggest, and of the best threshold."""

import numpy as np
from scipy.special import expit

from gender_cls.evaluation.bootstrap import Booleans, Numbers, Shares, Statistics, Units, count_people, ratio
from gender_cls.evaluation.calibration import log_odds
from gender_cls.evaluation.elsewhere_schema import COMPARED_SCORES
from gender_cls.evaluation.metrics import (
    RELIABILITY_EDGES,
    absent_labels,
    count_scores,
    decision_scores,
    macro_f1,
    probability_scores,
    running_sum,
)
from gender_cls.evaluation.prior import reweighed, share_from_answers


def compared_scores(female: Booleans, logits: Numbers) -> Statistics:
    """COMPARED_SCORES of answers, as a function of weights.

    Args:
        logits: (rows,) calibrated log odds of FEMALE; from 0 on the answer is FEMALE.
    """
    of_probabilities = probability_scores(female, expit(logits))

    def scores(weights: Numbers) -> dict[str, Numbers]:
        found = {**decision_scores(female, logits >= 0, weights), **of_probabilities(weights)}
        return {name: found[name] for name in COMPARED_SCORES if name in found} | {"macro_f1": macro_f1(found)}

    return scores


def compared_shares(female: Booleans, units: Units) -> Shares:
    """Name -> how many people the score is a share of: those of each label, or everyone."""
    labels, everyone = count_people(units, female, ~female), count_people(units, female | True)
    of_labels = dict.fromkeys(("balanced_accuracy", "auroc", "best", "at_threshold"), labels)
    return {**of_labels, "macro_f1": everyone, "accuracy": everyone}


def compared_remarks(female: Booleans) -> dict[str, str]:
    """Why scores are undefined where a label is absent."""
    names = ("balanced_accuracy", "macro_f1", "auroc", "best", "at_threshold")
    return {name: f"There is no {label} image." for label in absent_labels(female) for name in names}


def reweighed_scores(female: Booleans, logits: Numbers, prior: float) -> Statistics:
    """COMPARED_SCORES but AUROC of re-weighed answers, as a function of weights, and the `share` of FEMALE behind them.

    The share is estimated anew from each resample, so that the intervals cover the chance in it.

    Args:
        logits: (rows,) rising calibrated log odds of FEMALE, not all the same.
        prior: the share of FEMALE in training.
    """
    p_female, eps = expit(logits), np.finfo(np.float64).eps
    edges = log_odds(RELIABILITY_EDGES[1:-1], 1 - RELIABILITY_EDGES[1:-1])
    start = float(share_from_answers(p_female, prior, np.ones((1, len(female))))[0])

    def scores(weights: Numbers) -> dict[str, Numbers]:
        share = share_from_answers(p_female, prior, weights, start)
        moved = reweighed(logits, prior, share)
        p_moved = expit(moved)
        says_female, images = moved >= 0, weights.sum(axis=1)
        said_female, said_male = weights * says_female, weights * ~says_female
        counts = [said_female @ female, said_male @ female, said_male @ ~female, said_female @ ~female]
        found = count_scores(np.stack(counts, axis=1))

        of_label = np.clip(np.where(female, p_moved, 1 - p_moved), eps, 1 - eps)
        ends = np.searchsorted(logits, edges - (moved[:, :1] - logits[0]))
        excess = running_sum(weights * (p_moved - female))
        inside = np.diff(np.take_along_axis(excess, ends, 1), prepend=0, append=excess[:, -1:])
        return {
            "share": share,
            "balanced_accuracy": found["balanced_accuracy"],
            "macro_f1": macro_f1(found),
            "accuracy": found["accuracy"],
            "log_loss": ratio(-np.einsum("ij,ij->i", weights, np.log(of_label)), images),
            "ece": ratio(np.abs(inside).sum(axis=1), images),
        }

    return scores


def best_threshold_scores(female: Booleans, p_female: Numbers, threshold: float) -> Statistics:
    """Balanced accuracy at this threshold (`at_threshold`) and at the best one of each resample (`best`), as a function
    of weights; and by how much the latter exceeds what the threshold so chosen reaches on the rows as they are
    (`luck`).

    Args:
        p_female: (rows,) rising probability of FEMALE.
    """
    ends = np.concatenate([[0], np.flatnonzero(np.diff(p_female)) + 1, [len(female)]])  # rows below each threshold
    at = int(np.searchsorted(p_female, threshold))

    def balanced(weights: Numbers) -> Numbers:
        """(resamples, rows + 1), by how many rows lie below the threshold."""
        females, males = weights @ female, weights @ ~female
        both = np.where((females > 0) & (males > 0), 0.5, np.nan)[:, None]
        return both + running_sum(ratio(weights, np.where(female, -2 * females[:, None], 2 * males[:, None])))

    [as_they_are] = balanced(np.ones((1, len(female))))

    def scores(weights: Numbers) -> dict[str, Numbers]:
        found = balanced(weights)
        chosen = ends[found[:, ends].argmax(axis=1)]
        best = np.take_along_axis(found, chosen[:, None], 1)[:, 0]
        return {"best": best, "at_threshold": found[:, at], "luck": best - as_they_are[chosen]}

    return scores
