"""The share of labels in new data, estimated from answers without labels, and answers re-weighed by it.

After Saerens, Latinne & Decaestecker, "Adjusting the outputs of a classifier to new a priori probabilities" (Neural
Computation 14(1), 2002). A network that was trained with few FEMALE answers MALE more readily. If only the share of
labels differs in the new data, and each label looks as it did in training, the answers can be corrected exactly.
"""

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from gender_cls.config.data import Balance
from gender_cls.evaluation.bootstrap import Numbers
from gender_cls.evaluation.calibration import log_odds
from gender_cls.evaluation.metrics import FEMALE, MALE, is_female
from gender_cls.evaluation.standing import TIED

CLOSE = 1e-9  # a smaller step ends the search; the one after a step of Newton's method is about its square
MOST_STEPS = 100  # bisection alone needs 30


def prior_of_training(train: pd.DataFrame, balance: Balance) -> float:
    """The share of FEMALE among the images as training drew or weighed them.

    Args:
        train: rows of the manifest, with `label` and `source`.
    """
    female = pd.Series(is_female(train))
    if balance in (Balance.loss, Balance.sampler):
        return 0.5
    if balance is Balance.source:
        return float(female.groupby(train["source"].to_numpy()).mean().mean())
    return float(female.mean())


def share_from_answers(p_female: Numbers, prior: float, weights: Numbers, start: float | None = None) -> Numbers:
    """(resamples,) the share of FEMALE at which the answers are most likely, from half an image to all but half.

    It is what the EM algorithm of Saerens et al. converges to. Their likelihood has one maximum in one number, so the
    root of its slope is found by Newton's method, held between bounds: EM takes thousands of steps for a share near 0
    or 1, or for answers that say little.

    Args:
        p_female: (rows,) calibrated probability of FEMALE, not all the same.
        prior: the share of FEMALE in training, between 0 and 1.
        weights: (resamples, rows) how much a row counts.
        start: a share from which the search is short; None: the prior.
    """
    female, male = p_female / prior, (1 - p_female) / (1 - prior)
    gain = female - male
    half = 0.5 / len(p_female)
    low, high = (np.full(len(weights), end) for end in (half, 1 - half))
    share = np.full(len(weights), np.clip(prior if start is None else start, half, 1 - half))
    for _ in range(MOST_STEPS):
        relative = gain / (male + share[:, None] * gain)
        weighted = weights * relative
        slope, curvature = weighted.sum(axis=1), np.einsum("ij,ij->i", weighted, relative)
        low, high = np.where(slope > 0, share, low), np.where(slope < 0, share, high)
        step = np.divide(slope, curvature, out=np.zeros_like(slope), where=curvature > 0)
        following = share + step
        following = np.where((following < low) | (following > high), (low + high) / 2, following)
        moved = np.abs(following - share).max(initial=0.0)
        share = following
        if moved < CLOSE:
            break
    return share


def reweighed(logits: Numbers, prior: float, share: ArrayLike) -> Numbers:
    """Calibrated logits after the prior of training was replaced by another share of FEMALE, or by one per resample.

    Args:
        logits: (rows,) log odds of FEMALE.
        share: a number, or (resamples,); then the result is (resamples, rows).
    """
    return logits + np.asarray(log_odds(share, 1 - np.asarray(share)) - log_odds(prior, 1 - prior))[..., None]


def why_no_share(p_female: Numbers) -> str | None:
    """Why these answers say nothing about the share of labels, or None."""
    if np.ptp(p_female) < TIED:
        return "All images get the same probability, which says nothing about the share of labels."
    return None


def why_one_label(share: float, rows: int) -> str | None:
    """Why nothing can be re-weighed by this share that so many answers suggest, or None."""
    if min(share, 1 - share) > 0.51 / rows:  # the search ends at half an image
        return None
    label = MALE if share < 0.5 else FEMALE
    return f"The answers suggest {label} labels only: re-weighed, each would be {label}."
