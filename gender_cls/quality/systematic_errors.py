"""Systematic label errors: labels that are wrong for a whole camera or source.

Where most labels of a camera are wrong, the out-of-fold classifiers of `suspects.py` take them for its truth, because
they learn from them. Here classifiers learn without the camera and then predict its labels.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import norm, t
from sklearn.metrics import roc_auc_score

from gender_cls.config.data import CLASSES
from gender_cls.quality.label_probabilities import predicted_probabilities

FALSE_ALARMS = 0.01  # probability of any claim for all cameras or sources together if nothing is wrong
FEWEST_PEOPLE = 10  # a camera that saw at most so many people may well have seen one sex only
FEWEST_OTHERS = 3  # cameras that are needed to estimate the error of an estimate
MOST_MODELS = 20  # if there are more cameras, several are left out at a time


@dataclass(frozen=True)
class SystematicError:
    """One camera or source whose labels should be checked together."""

    value: str  # name of the camera or source
    # `inverted` and `contradicted` claim that the labels are wrong. `one_label` is a question: all labels are the same,
    # and the other cameras can neither confirm nor contradict them.
    kind: Literal["inverted", "contradicted", "one_label"]
    sentence: str  # for the reader


def find_systematic_errors(
    column: str, features: NDArray[np.floating], table: pd.DataFrame, seed: int
) -> list[SystematicError]:
    """Cameras or sources whose labels disagree with what the others teach; claims first.

    Inverted labels show in the order of the predictions: their area under the ROC curve is clearly below 0.5. Partly
    wrong labels show in the mean prediction, corrected as in Bella et al., "Quantification via probability estimators"
    (ICDM 2010). But the look of a camera changes that mean too. So the same estimate is made for every other camera,
    and its errors there give a prediction interval (Student's t). A claim is made if the labelled share lies outside.
    With few, very different cameras the interval is wide, and nothing is claimed.

    Args:
        column: `camera` or `source`; rows where it is empty are learned from, but not checked.
        features: (n, d).
        table: n rows, with the columns label (one of CLASSES), group and `column`. Groups, not images, count as
            independent.
        seed: for the choice of rows to learn from if there are many.
    """
    errors: list[SystematicError] = []
    kept = np.ones(len(table), dtype=bool)
    while True:
        people = _people(column, features, table, kept, seed)
        if people.empty:
            return errors
        inverted = _most_inverted(column, people)
        if inverted is None:
            return errors + _wrong_shares(column, people)
        errors.append(inverted)
        kept &= (table[column] != inverted.value).to_numpy()  # it has misled the models of the others: start again


def _people(
    column: str, features: NDArray[np.floating], table: pd.DataFrame, kept: NDArray[np.bool_], seed: int
) -> pd.DataFrame:
    """Predictions for the people in each camera, by models that learned without that camera.

    No model learns from a camera with one label: it would take the look of that camera for the label.

    Args:
        kept: (n,) rows to use.

    Returns:
        One row for the images of one group with one label in one camera: `value`, `label`, `images`, and `p_female`,
        the mean probability; NaN if the other cameras have one label only.
    """
    named = (table[column] != "").to_numpy()
    labels = table["label"].to_numpy()
    mixed = (table.groupby(column)["label"].transform("nunique") == len(CLASSES)).to_numpy()
    codes, names = pd.factorize(table[column], sort=True)
    parts = np.where(named, (np.random.default_rng(seed).permutation(len(names)) % MOST_MODELS)[codes], -1)
    probability = np.full(len(table), np.nan)
    one_place = np.zeros(len(table), dtype=np.intp)  # the look of a camera that nobody learned from is not known
    for part in np.unique(parts[named & kept]):
        held_out = np.flatnonzero((parts == part) & kept)
        train = np.flatnonzero((parts != part) & kept & (mixed | ~named))
        if len(set(labels[train])) == len(CLASSES):
            predicted = predicted_probabilities(features, labels, train, held_out, one_place, seed)
            probability[held_out] = predicted[:, CLASSES.index("FEMALE")]
    images = table.assign(value=table[column], p_female=probability)[named & kept]
    people = images.groupby(["value", "label", "group"])["p_female"]
    return people.agg(images="size", p_female="mean").reset_index()


def _most_inverted(column: str, people: pd.DataFrame) -> SystematicError | None:
    """The camera whose area under the ROC curve is most clearly below 0.5; None if none is clearly so."""
    rows = []
    for value, seen in people.dropna().groupby("value"):
        women = seen["label"] == "FEMALE"
        if women.any() and not women.all():
            area = float(roc_auc_score(women, seen["p_female"]))
            rows.append((str(value), area, (0.5 - area) / _auroc_error(area, int(women.sum()), int((~women).sum()))))
    worst, area, deviation = max(rows, key=lambda row: row[2], default=("", 0.5, -np.inf))
    if not rows or deviation < norm.isf(FALSE_ALARMS / len(rows)):
        return None
    others = [other for value, other, _ in rows if value != worst]
    elsewhere = f" (on the other {column}s in {min(others):.0%} to {max(others):.0%})" if others else ""
    return SystematicError(
        worst,
        "inverted",
        f"{column.capitalize()} {worst}: its labels look inverted. For a person labelled FEMALE and one labelled MALE, "
        f"a model that learned without it gives the woman the higher probability of FEMALE in {area:.0%} of "
        f"pairs{elsewhere}.",
    )


def _auroc_error(area: float, positives: int, negatives: int) -> float:
    """Standard error (Hanley and McNeil, "The meaning and use of the area under a ROC curve", Radiology 1982).

    At 0 and 1 it would be zero, so the area is kept half a pair away from them.
    """
    least = 0.5 / (positives * negatives)
    area = min(max(area, least), 1 - least)
    two_positives, two_negatives = area / (2 - area), 2 * area**2 / (1 + area)
    variance = area * (1 - area)
    variance += (positives - 1) * (two_positives - area**2) + (negatives - 1) * (two_negatives - area**2)
    return float(np.sqrt(variance / (positives * negatives)))


def _wrong_shares(column: str, people: pd.DataFrame) -> list[SystematicError]:
    """Cameras whose share of women cannot be the labelled one; then those with one label that may be right."""
    cameras = _shares_of_women(people)
    claims, questions = [], []
    for value, camera in cameras[cameras["people"] > FEWEST_PEOPLE].iterrows():
        only = {0.0: "MALE", 1.0: "FEMALE"}.get(camera["labelled"])
        if only is not None:
            labels = f"all {camera['images']:.0f} images are labelled {only}"
        else:
            labels = f"{camera['labelled']:.0%} of its people are labelled FEMALE"
        start, low, high = f"{column.capitalize()} {value}: {labels}", camera["low"], camera["high"]
        usual = cameras["labelled"].drop(index=value).mean()
        if not low <= camera["labelled"] <= high:
            sentence = (
                f"{start}, but a model that learned without it estimates {max(low, 0):.0%} to {min(high, 1):.0%}: its "
                f"labels seem to depend on the {column}."
            )
            claims.append(SystematicError(str(value), "contradicted", sentence))
        elif only is not None and low <= usual <= high:
            absent = "women" if only == "MALE" else "men"
            sentence = (
                f"{start}, while elsewhere {usual:.0%} of the people are FEMALE. Either it saw no {absent}, or they "
                f"are labelled {only} too. A model that learned without it cannot tell, so look at some."
            )
            questions.append(SystematicError(str(value), "one_label", sentence))
    return claims + questions


def _shares_of_women(people: pd.DataFrame) -> pd.DataFrame:
    """The labelled and the predicted share of women in each camera, in shares of its groups.

    Returns:
        By `value`: `images`, `people`, `labelled` and the interval from `low` to `high` for the true share, which
        allows for the errors of the estimates for the other cameras; infinite if these are not known.
    """
    cameras = people.groupby("value").agg(
        images=("images", "sum"), people=("images", "size"), mean=("p_female", "mean")
    )
    cameras["labelled"] = (people["label"] == "FEMALE").groupby(people["value"]).mean()
    levels = people.groupby(["value", "label"])["p_female"].mean().unstack().reindex(columns=list(CLASSES)).dropna()
    for value in cameras.index:
        elsewhere = levels.drop(index=value, errors="ignore").mean()
        cameras.loc[value, "contrast"] = elsewhere["FEMALE"] - elsewhere["MALE"]
        cameras.loc[value, "estimate"] = cameras.loc[value, "mean"] - elsewhere["MALE"]
    cameras["estimate"] /= cameras["contrast"]
    errors = (cameras["estimate"] - cameras["labelled"])[levels.index]  # a camera with one label may be the wrong one
    mixed = people[people["value"].isin(levels.index)]
    deviation = mixed.groupby(["value", "label"])["p_female"].std().mean()  # between people of one label and camera
    for value, camera in cameras.iterrows():
        others = errors.drop(index=value, errors="ignore")
        low, high = -np.inf, np.inf
        if len(others) >= FEWEST_OTHERS:
            chance = deviation / abs(camera["contrast"]) / np.sqrt(camera["people"])
            spread = np.hypot(others.std() * np.sqrt(1 + 1 / len(others)), chance)
            half_width = t.isf(FALSE_ALARMS / 2 / len(cameras), len(others) - 1) * spread
            centre = camera["estimate"] - others.mean()
            low, high = centre - half_width, centre + half_width
        cameras.loc[value, ["low", "high"]] = low, high
    return cameras
