"""How a score moves with the weight of each image: its variance, and its covariance with others, without resampling.

This is the infinitesimal jackknife (Jaeckel 1972; Efron 1982): the derivative of a score by the weight of an image. The
movements of a person's images are summed, because these images are not independent; the sum of their squares over
people is the variance by the chance in the people drawn. For AUROC they are the structural components of DeLong et al.
(1988), and their sums by person those of Obuchowski (1997).
"""

from dataclasses import dataclass

import numpy as np

from gender_cls.evaluation.bootstrap import Booleans, Numbers, ratio
from gender_cls.evaluation.metrics import count_scores, macro_f1


@dataclass(frozen=True)
class Moved:
    """A score and what each image does to it."""

    score: float  # NaN if it is not defined
    by_row: Numbers  # (rows,) the derivative of the score by the weight of the row; they sum to 0


def moved_scores(female: Booleans, says_female: Booleans, p_female: Numbers) -> dict[str, Moved]:
    """Balanced accuracy, macro F1 and AUROC; NaN where a label is absent."""
    right = female == says_female
    counts = [female & right, female & ~right, ~female & right, ~female & ~right]
    scores = count_scores(np.array([[one.sum() for one in counts]], dtype=np.float64))
    size = np.where(female, female.sum(), (~female).sum())
    recall = np.where(female, scores["recall_FEMALE"], scores["recall_MALE"])
    return {
        "balanced_accuracy": Moved(float(scores["balanced_accuracy"][0]), (right - recall) / size / 2),
        "macro_f1": Moved(float(macro_f1(scores)[0]), (_f1_moved(female, right) + _f1_moved(~female, right)) / 2),
        "auroc": _auroc_moved(female, p_female),
    }


def _f1_moved(label: Booleans, right: Booleans) -> Numbers:
    """For F1 = 2 TP / (2 TP + wrong answers): a row's part of the numerator, minus F1 times that of the denominator."""
    above = np.where(label & right, 2.0, 0.0)
    below = above + ~right
    total = below.sum()
    return ratio(above - ratio(above.sum(), total) * below, total)


def _auroc_moved(female: Booleans, p_female: Numbers) -> Moved:
    """By the share of MALE images below each FEMALE image, and of FEMALE images above each MALE one."""
    females, males = np.sort(p_female[female]), np.sort(p_female[~female])
    place = np.full(len(female), np.nan)
    if len(females) and len(males):
        below = [np.searchsorted(males, p_female[female], side) for side in ("left", "right")]
        above = [len(females) - np.searchsorted(females, p_female[~female], side) for side in ("left", "right")]
        place[female], place[~female] = sum(below) / 2 / len(males), sum(above) / 2 / len(females)
    auroc = float(place[female].mean()) if len(females) else np.nan
    return Moved(auroc, (place - auroc) / np.where(female, len(females), len(males)))
