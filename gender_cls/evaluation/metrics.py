"""A table of predictions -> scores with intervals. Needs neither a model nor torch."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gender_cls.config.data import CLASSES
from gender_cls.evaluation.bootstrap import RESAMPLES, Statistics, bootstrap_units, estimates, ratio
from gender_cls.evaluation.estimate import Estimate
from gender_cls.evaluation.schema import SCORES, Scored, SplitScores

FEMALE, MALE = CLASSES

RELIABILITY_EDGES = np.linspace(0, 1, 16)
"""Of the 15 bins of the probability of FEMALE."""


def decision_scores(
    female: NDArray[np.bool_], says_female: NDArray[np.bool_], weights: NDArray[np.float64]
) -> dict[str, NDArray[np.float64]]:
    """Scores of the decisions; NaN where a class is absent or, for precision, never answered.

    mA, the mean over attributes of (TPR + TNR) / 2 (Li et al. 2016, RAP), has one attribute here and is therefore the
    balanced accuracy.

    Args:
        female: (rows,) whether the label is FEMALE.
        says_female: (rows,) whether the answer is FEMALE.
        weights: (resamples, rows) how often each row counts.

    Returns:
        name -> (resamples,).
    """
    cells = [female & says_female, female & ~says_female, ~female & says_female, ~female & ~says_female]
    right_female, wrong_female, wrong_male, right_male = (weights @ np.stack(cells, axis=1).astype(np.float64)).T
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


def probability_scores(
    female: NDArray[np.bool_], p_female: NDArray[np.float64], weights: NDArray[np.float64]
) -> dict[str, NDArray[np.float64]]:
    """Scores of the probabilities; NaN where a class that they need is absent.

    AUROC counts ties half. Average precision is the sum of precision times rise of recall over the distinct
    probabilities, not interpolated. Log loss is natural, of probabilities clipped to [eps, 1 - eps] of float64.

    Args:
        female: (rows,) whether the label is FEMALE.
        p_female: (rows,) finite probability of FEMALE.
        weights: (resamples, rows) how often each row counts.

    Returns:
        name -> (resamples,).
    """
    return dict(probability_statistics(female, p_female)(weights))


def probability_statistics(female: NDArray[np.bool_], p_female: NDArray[np.float64]) -> Statistics:
    """`probability_scores` of weights that come in parts: what does not depend on them is computed once."""
    ranking, calibration = _ranking_statistics(female, p_female), calibration_statistics(female, p_female)
    return lambda weights: {**ranking(weights), **calibration(weights)}


def calibration_statistics(female: NDArray[np.bool_], p_female: NDArray[np.float64]) -> Statistics:
    """Brier score, log loss and expected calibration error: of `probability_scores` those that are not of the ranking.

    Args as there; weights follow.
    """
    eps = np.finfo(np.float64).eps
    clipped = np.clip(p_female, eps, 1 - eps)
    brier = (p_female - female) ** 2
    log_loss = -np.where(female, np.log(clipped), np.log1p(-clipped))
    columns = np.column_stack([np.ones(len(female)), brier, log_loss, _excess(female, p_female)])

    def statistics(weights: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
        sums = weights @ columns
        return {
            "brier": ratio(sums[:, 1], sums[:, 0]),
            "log_loss": ratio(sums[:, 2], sums[:, 0]),
            "ece": ratio(np.abs(sums[:, 3:]).sum(axis=1), sums[:, 0]),
        }

    return statistics


def _ranking_statistics(female: NDArray[np.bool_], p_female: NDArray[np.float64]) -> Statistics:
    """AUROC and average precisions from running sums of each class's weights by rising probability."""
    order = np.argsort(p_female, kind="stable")
    rows_f, rows_m = order[female[order]], order[~female[order]]
    p_f, p_m = p_female[rows_f], p_female[rows_m]
    m_less_f, m_upto_f = np.searchsorted(p_m, p_f, "left"), np.searchsorted(p_m, p_f, "right")
    f_less_f, f_upto_m = np.searchsorted(p_f, p_f, "left"), np.searchsorted(p_f, p_m, "right")
    m_upto_m = np.searchsorted(p_m, p_m, "right")

    def statistics(weights: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
        weights_f, weights_m = weights[:, rows_f], weights[:, rows_m]
        below_f, below_m = _running_sum(weights_f), _running_sum(weights_m)  # [:, k]: of the k least probable
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

    return statistics


def _running_sum(weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """(resamples, rows) -> (resamples, rows + 1), from 0."""
    sums = np.zeros((len(weights), weights.shape[1] + 1))
    np.cumsum(weights, axis=1, out=sums[:, 1:])
    return sums


def _or_zero(numerator: NDArray[np.float64], denominator: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.divide(numerator, denominator, out=np.zeros_like(numerator), where=denominator > 0)


def reliability_bins(p_female: NDArray[np.float64]) -> NDArray[np.intp]:
    """(rows,) finite probabilities -> (rows,) number of the bin, 0 to 14; bins are [a, b), the last is [a, b]."""
    return np.clip(np.searchsorted(RELIABILITY_EDGES, p_female, "right") - 1, 0, len(RELIABILITY_EDGES) - 2)


def calibration_error(
    female: NDArray[np.bool_], p_female: NDArray[np.float64], weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Expected calibration error (Naeini et al. 2015) of the probability of FEMALE.

    The sum over the bins of (share of the images in it) x |mean probability - share labelled FEMALE|.

    Args:
        female: (rows,) whether the label is FEMALE.
        p_female: (rows,) finite probability of FEMALE.
        weights: (resamples, rows) how often each row counts.

    Returns:
        (resamples,), NaN where nothing counts.
    """
    return ratio(np.abs(weights @ _excess(female, p_female)).sum(axis=1), weights.sum(axis=1))


def _excess(female: NDArray[np.bool_], p_female: NDArray[np.float64]) -> NDArray[np.float64]:
    """(rows, bins): in the place of its bin, by how much a probability exceeds its label."""
    excess = np.zeros((len(female), len(RELIABILITY_EDGES) - 1))
    excess[np.arange(len(female)), reliability_bins(p_female)] = p_female - female
    return excess


def by_identity(table: pd.DataFrame) -> pd.DataFrame:
    """One row a person, by mean probability over that person's images (track voting).

    Args:
        table: of predictions; images of nobody known ("") are left out.

    Returns:
        identity, label (that person's commonest; ties to the first of CLASSES), p_FEMALE, p_MALE and prediction, in the
        order in which people appear.
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


def score_rows(table: pd.DataFrame, resamples: int = RESAMPLES, seed: int = 0) -> Scored:
    """All scores of these rows; none when a probability is not finite. Such rows are not in the confusion matrix.

    Args:
        table: of predictions; `group` is optional.
    """
    female, says_female = (table["label"] == FEMALE).to_numpy(), (table["prediction"] == FEMALE).to_numpy()
    p_female, units = table[f"p_{FEMALE}"].to_numpy(np.float64), bootstrap_units(table)
    finite = np.isfinite(p_female)

    if len(table) and finite.all():
        of_probabilities = probability_statistics(female, p_female)

        def statistics(weights: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
            return {**decision_scores(female, says_female, weights), **of_probabilities(weights)}

        scores = estimates(units, statistics, resamples, seed, _remarks(female, says_female))
    else:
        broken = f"Probabilities that are not finite: {(~finite).sum():,} of {len(table):,}."
        remark = broken if len(table) else "There are no images."
        scores = {name: Estimate(value=None, low=None, high=None, remark=remark) for name in SCORES}
    return Scored(
        images=len(table),
        identities=table["identity"][table["identity"] != ""].nunique(),
        units=len(np.unique(units)),
        confusion_matrix=[
            [int((finite & (female == label) & (says_female == answer)).sum()) for answer in (True, False)]
            for label in (True, False)
        ],
        scores=scores,
    )


def _remarks(female: NDArray[np.bool_], says_female: NDArray[np.bool_]) -> dict[str, str]:
    """Why scores are undefined, for those that may be."""
    remarks: dict[str, str] = {}
    for name, labelled, answered in ((FEMALE, female, says_female), (MALE, ~female, ~says_female)):
        if not labelled.any():
            needing = ("balanced_accuracy", "mA", "auroc", f"recall_{name}", f"average_precision_{name}")
            remarks |= dict.fromkeys(needing, f"There is no {name} image.")
            remarks[f"f1_{name}"] = f"There is no {name} image, and nothing was answered {name}."
        if not answered.any():
            remarks[f"precision_{name}"] = f"Nothing was answered {name}."
    return remarks


def score_split(table: pd.DataFrame, resamples: int = RESAMPLES, seed: int = 0) -> SplitScores:
    """All scores of one split, by image and by person.

    Args:
        table: of that split's predictions.
    """
    people = by_identity(table)
    voted = score_rows(people, resamples, seed) if len(people) else None
    return SplitScores(**score_rows(table, resamples, seed), by_identity=voted)
