"""A table of predictions -> scores with intervals. Needs neither a model nor torch.

Everywhere in `evaluation`, `female` (rows,) says whether the label is FEMALE, `says_female` (rows,) whether the answer
is, `p_female` (rows,) is the finite probability of FEMALE, and `weights` (resamples, rows) say how much a row counts.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gender_cls.config.data import CLASSES
from gender_cls.evaluation.bootstrap import (
    Booleans,
    Numbers,
    Shares,
    Statistics,
    Units,
    bootstrap_units,
    count_people,
    count_units,
    estimates,
    ratio,
)
from gender_cls.evaluation.estimate import undefined
from gender_cls.evaluation.schema import SCORES, Scored, SplitScores

FEMALE, MALE = CLASSES
RELIABILITY_EDGES = np.linspace(0, 1, 16)  # of the 15 bins of the probability of FEMALE


def is_female(table: pd.DataFrame, column: str = "label") -> Booleans:
    """(rows,) whether the label, or another column, is FEMALE."""
    return (table[column] == FEMALE).to_numpy()


def p_female_of(table: pd.DataFrame) -> Numbers:
    """(rows,) probability of FEMALE."""
    return table[f"p_{FEMALE}"].to_numpy(np.float64)


def known_people(table: pd.DataFrame) -> int:
    """The number of people who are known by name."""
    return table["identity"][table["identity"] != ""].nunique()


def absent_labels(female: Booleans) -> list[str]:
    """The labels that no row has."""
    return [name for name, there in ((FEMALE, female.any()), (MALE, not female.all())) if not there]


def decision_scores(female: Booleans, says_female: Booleans, weights: Numbers) -> dict[str, Numbers]:
    """Scores of the decisions, name -> (resamples,); see `count_scores`."""
    cells = [female & says_female, female & ~says_female, ~female & ~says_female, ~female & says_female]
    return count_scores(weights @ np.stack(cells, axis=1).astype(np.float64))


def count_scores(counts: Numbers) -> dict[str, Numbers]:
    """Scores of the decisions, name -> (resamples,); NaN where a class is absent or, for precision, never answered.

    mA is the mean over attributes of (TPR + TNR) / 2 (Li et al. 2016, RAP). With one attribute it is the balanced
    accuracy.

    Args:
        counts: (resamples, 4) of FEMALE answered right and wrong, and of MALE answered right and wrong.
    """
    right_female, wrong_female, right_male, wrong_male = counts.T
    recall_female = ratio(right_female, right_female + wrong_female)
    recall_male = ratio(right_male, right_male + wrong_male)
    balanced = (recall_female + recall_male) / 2
    wrong = wrong_female + wrong_male
    return {
        "balanced_accuracy": balanced,
        "accuracy": ratio(right_female + right_male, right_female + right_male + wrong),
        "mA": balanced,
        f"recall_{FEMALE}": recall_female,
        f"recall_{MALE}": recall_male,
        f"precision_{FEMALE}": ratio(right_female, right_female + wrong_male),
        f"precision_{MALE}": ratio(right_male, right_male + wrong_female),
        f"f1_{FEMALE}": ratio(2 * right_female, 2 * right_female + wrong),
        f"f1_{MALE}": ratio(2 * right_male, 2 * right_male + wrong),
    }


def macro_f1(scores: Mapping[str, Numbers]) -> Numbers:
    """The mean of the F1 scores of the two labels, of the scores of decisions."""
    return (scores[f"f1_{FEMALE}"] + scores[f"f1_{MALE}"]) / 2


def probability_scores(female: Booleans, p_female: Numbers) -> Statistics:
    """Scores of the probabilities, as a function of weights; NaN where a class that they need is absent.

    AUROC counts ties half. Average precision is the sum of precision times rise of recall over the distinct
    probabilities, not interpolated. For the others see `calibration_scores`.
    """
    ranking, calibration = _ranking_scores(female, p_female), calibration_scores(female, p_female)
    return lambda weights: {**ranking(weights), **calibration(weights)}


def calibration_scores(female: Booleans, p_female: Numbers) -> Statistics:
    """Brier score, log loss and expected calibration error (ECE), as a function of weights.

    Log loss is natural, of probabilities clipped to [eps, 1 - eps] of float64. ECE (Naeini et al. 2015) is that of the
    probability of FEMALE: the sum over bins of (share of the images in the bin) x |mean probability - share labelled
    FEMALE|.
    """
    eps = np.finfo(np.float64).eps
    clipped = np.clip(p_female, eps, 1 - eps)
    brier = (p_female - female) ** 2
    log_loss = -np.where(female, np.log(clipped), np.log1p(-clipped))
    excess = np.zeros((len(female), len(RELIABILITY_EDGES) - 1))
    excess[np.arange(len(female)), reliability_bins(p_female)] = p_female - female
    columns = np.column_stack([np.ones(len(female)), brier, log_loss, excess])

    def scores(weights: Numbers) -> dict[str, Numbers]:
        sums = weights @ columns
        return {
            "brier": ratio(sums[:, 1], sums[:, 0]),
            "log_loss": ratio(sums[:, 2], sums[:, 0]),
            "ece": ratio(np.abs(sums[:, 3:]).sum(axis=1), sums[:, 0]),
        }

    return scores


def _ranking_scores(female: Booleans, p_female: Numbers) -> Statistics:
    """AUROC and average precisions from running sums of each class's weights by rising probability."""
    order = np.argsort(p_female, kind="stable")
    rows_f, rows_m = order[female[order]], order[~female[order]]
    p_f, p_m = p_female[rows_f], p_female[rows_m]
    m_less_f, m_upto_f = np.searchsorted(p_m, p_f, "left"), np.searchsorted(p_m, p_f, "right")
    f_less_f, f_upto_m = np.searchsorted(p_f, p_f, "left"), np.searchsorted(p_f, p_m, "right")
    m_upto_m = np.searchsorted(p_m, p_m, "right")

    def scores(weights: Numbers) -> dict[str, Numbers]:
        weights_f, weights_m = weights[:, rows_f], weights[:, rows_m]
        below_f, below_m = running_sum(weights_f), running_sum(weights_m)  # [:, k]: of the k least probable
        total_f, total_m = below_f[:, -1:], below_m[:, -1:]

        less_m, upto_m = below_m[:, m_less_f], below_m[:, m_upto_f]
        in_order = np.einsum("ij,ij->i", weights_f, less_m + upto_m) / 2

        true = total_f - below_f[:, f_less_f]
        average_f = np.einsum("ij,ij->i", weights_f, _or_zero(true, true + total_m - less_m))

        true, false = below_m[:, m_upto_m], below_f[:, f_upto_m]
        average_m = np.einsum("ij,ij->i", weights_m, _or_zero(true, true + false))
        return {
            "auroc": ratio(in_order, total_f[:, 0] * total_m[:, 0]),
            f"average_precision_{FEMALE}": ratio(average_f, total_f[:, 0]),
            f"average_precision_{MALE}": ratio(average_m, total_m[:, 0]),
        }

    return scores


def running_sum(weights: Numbers) -> Numbers:
    """(resamples, rows) -> (resamples, rows + 1), from 0."""
    sums = np.zeros((len(weights), weights.shape[1] + 1))
    np.cumsum(weights, axis=1, out=sums[:, 1:])
    return sums


def _or_zero(numerator: Numbers, denominator: Numbers) -> Numbers:
    return np.divide(numerator, denominator, out=np.zeros_like(numerator), where=denominator > 0)


def reliability_bins(p_female: Numbers) -> NDArray[np.intp]:
    """(rows,) finite probabilities -> (rows,) number of the bin, 0 to 14; bins are [a, b), the last is [a, b]."""
    return np.clip(np.searchsorted(RELIABILITY_EDGES, p_female, "right") - 1, 0, len(RELIABILITY_EDGES) - 2)


def by_identity(table: pd.DataFrame) -> pd.DataFrame:
    """One row per known person, in order of appearance, with the mean probability over the images (track voting).

    The columns are identity, label (the most frequent; ties go to the first of CLASSES), p_FEMALE, p_MALE, prediction.
    """
    known = table[table["identity"] != ""]
    people, names = pd.factorize(known["identity"])
    images = np.bincount(people)
    female = np.bincount(people, weights=known["label"] == FEMALE)
    means = {f"p_{name}": np.bincount(people, weights=known[f"p_{name}"]) / images for name in CLASSES}
    return pd.DataFrame(
        {
            "identity": names,
            "label": np.where(2 * female >= images, FEMALE, MALE),
            **means,
            "prediction": np.where(means[f"p_{FEMALE}"] >= means[f"p_{MALE}"], FEMALE, MALE),
        }
    )


def score_rows(table: pd.DataFrame, resamples: int) -> Scored:
    """All scores of predictions; none if a probability is not finite. Such rows are not in the confusion matrix."""
    female, says_female = is_female(table), is_female(table, "prediction")
    p_female, units = p_female_of(table), bootstrap_units(table)
    finite = np.isfinite(p_female)

    if len(table) and finite.all():
        of_probabilities = probability_scores(female, p_female)

        def statistics(weights: Numbers) -> dict[str, Numbers]:
            return {**decision_scores(female, says_female, weights), **of_probabilities(weights)}

        remarks, shares = score_remarks(female, says_female), score_shares(female, says_female, units)
        scores = estimates(units, statistics, resamples, remarks, shares=shares)
    else:
        broken = f"Probabilities that are not finite: {(~finite).sum():,} of {len(table):,}."
        scores = {name: undefined(broken if len(table) else "There are no images.") for name in SCORES}
    return Scored(
        images=len(table),
        identities=known_people(table),
        units=count_units(units),
        confusion_matrix=[
            [int((finite & (female == label) & (says_female == answer)).sum()) for answer in (True, False)]
            for label in (True, False)
        ],
        scores=scores,
    )


def score_remarks(female: Booleans, says_female: Booleans) -> dict[str, str]:
    """Why scores are undefined, for those that may be."""
    remarks: dict[str, str] = {}
    for name in absent_labels(female):
        needing = ("balanced_accuracy", "mA", "auroc", f"recall_{name}", f"average_precision_{name}")
        remarks |= dict.fromkeys(needing, f"There is no {name} image.")
        remarks[f"f1_{name}"] = f"There is no {name} image, and nothing was answered {name}."
    for name in absent_labels(says_female):
        remarks[f"precision_{name}"] = f"Nothing was answered {name}."
    return remarks


def score_shares(female: Booleans, says_female: Booleans, units: Units) -> Shares:
    """Of how many people each score between 0 and 1 is a share, but the Brier score, which is a mean of squares."""
    labels = count_people(units, female, ~female)
    both = ("balanced_accuracy", "mA", "auroc", f"average_precision_{FEMALE}", f"average_precision_{MALE}")
    shares = {"accuracy": count_people(units, female | True)} | dict.fromkeys(both, labels)
    for name, labelled, answered in ((FEMALE, female, says_female), (MALE, ~female, ~says_female)):
        shares[f"recall_{name}"] = count_people(units, labelled)
        shares[f"precision_{name}"] = count_people(units, answered)
        shares[f"f1_{name}"] = count_people(units, labelled | answered)
    return shares


def score_split(table: pd.DataFrame, resamples: int) -> SplitScores:
    """All scores of the predictions of one split, by image and by person."""
    people = by_identity(table)
    return SplitScores(
        **score_rows(table, resamples), by_identity=score_rows(people, resamples) if len(people) else None
    )
