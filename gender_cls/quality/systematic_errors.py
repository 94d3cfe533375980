"""Labels that are wrong for a whole camera or source: what a model that learnt from the others says of it.

The out-of-fold model of `suspects.py` is blind to such a fault: it learns the look of the camera together with its
labels.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import norm, t
from sklearn.metrics import roc_auc_score

from gender_cls.config.data import CLASSES
from gender_cls.quality.label_probabilities import learnt_probabilities

FALSE_ALARMS = 0.01
"""Probability of a claim where nothing is wrong, over all the cameras or sources together."""

FEWEST_PEOPLE = 10
"""Of these and fewer a camera may well have seen one sex only."""

FEWEST_OTHERS = 3
"""Cameras that it takes to say how far an estimate is off."""

MOST_MODELS = 20
"""More cameras than that are left out several at a time."""


@dataclass(frozen=True)
class SystematicError:
    """One camera or source whose labels should be looked at together.

    Args:
        value: of the column: the camera's or the source's name.
        kind: `inverted` and `contradicted` are claims: the labels are wrong. `one_label` is a question: all labels are
            the same, and what was learnt from the others can neither confirm nor contradict it.
        sentence: all of it, for the reader.
    """

    value: str
    kind: Literal["inverted", "contradicted", "one_label"]
    sentence: str


def find_systematic_errors(
    column: str, features: NDArray[np.floating], table: pd.DataFrame, seed: int
) -> list[SystematicError]:
    """Cameras or sources whose labels do not agree with what was learnt without them.

    Inverted labels show in the order of the predictions: an area under the ROC curve clearly below 0.5. A wrong share
    shows in their mean, corrected as in Bella et al., "Quantification via probability estimators" (ICDM 2010). But a
    camera's look moves that mean too. So the same estimate is made for every other camera, and its errors there make
    a prediction interval (Student's t) which the labelled share must leave. With a few, very different cameras the
    interval is wide, and nothing is claimed.

    Args:
        column: `camera` or `source`; rows where it is empty are learnt from and not judged.
        features: (n, d).
        table: (n rows) with the columns label (one of CLASSES), group and `column`. Groups, not images, count as
            independent.
        seed: of the rows to learn from, where there are many.

    Returns:
        Claims first.
    """
    faults: list[SystematicError] = []
    kept = np.ones(len(table), dtype=bool)
    while True:
        people = _people(column, features, table, kept, seed)
        if people.empty:
            return faults
        inverted = _most_inverted(column, people)
        if inverted is None:
            return faults + _wrong_shares(column, people)
        faults.append(inverted)
        kept &= (table[column] != inverted.value).to_numpy()  # and again: it has misled the models of the others


def _people(
    column: str, features: NDArray[np.floating], table: pd.DataFrame, kept: NDArray[np.bool_], seed: int
) -> pd.DataFrame:
    """What models that learnt without a camera say of the people in it.

    Nobody learns from a camera with one label: it would teach that camera's look as the label's.

    Args:
        kept: (n,) rows that take part.

    Returns:
        A row for the images of one group with one label in one camera: `value`, `label`, `images`, and `p_female`, the
        mean probability; NaN where the other cameras hold one label only.
    """
    named = (table[column] != "").to_numpy()
    labels = table["label"].to_numpy()
    mixed = (table.groupby(column)["label"].transform("nunique") == len(CLASSES)).to_numpy()
    codes, names = pd.factorize(table[column], sort=True)
    parts = np.where(named, (np.random.default_rng(seed).permutation(len(names)) % MOST_MODELS)[codes], -1)
    probability = np.full(len(table), np.nan)
    for part in np.unique(parts[named & kept]):
        asked = np.flatnonzero((parts == part) & kept)
        learnt = np.flatnonzero((parts != part) & kept & (mixed | ~named))
        if len(set(labels[learnt])) == len(CLASSES):
            predicted = learnt_probabilities(features, labels, learnt, asked, seed)
            probability[asked] = predicted[:, CLASSES.index("FEMALE")]
    images = pd.DataFrame(
        {"value": table[column], "label": labels, "group": table["group"], "p_female": probability}, index=table.index
    )
    people = images[named & kept].groupby(["value", "label", "group"])["p_female"]
    return people.agg(images="size", p_female="mean").reset_index()


def _most_inverted(column: str, people: pd.DataFrame) -> SystematicError | None:
    """The camera whose area under the ROC curve is the most clearly below 0.5, if it is clear."""
    rows = []
    for value, seen in people.dropna().groupby("value"):
        women = seen["label"] == "FEMALE"
        if women.any() and not women.all():
            area = float(roc_auc_score(women, seen["p_female"]))
            rows.append((str(value), area, (0.5 - area) / _auroc_error(area, int(women.sum()), int((~women).sum()))))
    if not rows:
        return None
    worst, area, deviation = max(rows, key=lambda row: row[2])
    if deviation < norm.isf(FALSE_ALARMS / len(rows)):
        return None
    others = [other for value, other, _ in rows if value != worst]
    beside = f" (on the other {column}s in {min(others):.0%} to {max(others):.0%})" if others else ""
    return SystematicError(
        worst,
        "inverted",
        f"{column.capitalize()} {worst}: its labels look inverted: of a person labelled FEMALE and one labelled MALE, "
        f"predictions learnt without it hold the right one for the woman in {area:.0%} of pairs{beside}.",
    )


def _auroc_error(area: float, positives: int, negatives: int) -> float:
    """Standard error (Hanley and McNeil, "The meaning and use of the area under a ROC curve", Radiology 1982).

    An area of 0 or 1 would have none, so half a pair is taken off.
    """
    least = 0.5 / (positives * negatives)
    area = min(max(area, least), 1 - least)
    two_positives, two_negatives = area / (2 - area), 2 * area**2 / (1 + area)
    variance = area * (1 - area)
    variance += (positives - 1) * (two_positives - area**2) + (negatives - 1) * (two_negatives - area**2)
    return float(np.sqrt(variance / (positives * negatives)))


def _wrong_shares(column: str, people: pd.DataFrame) -> list[SystematicError]:
    """Cameras whose share of women cannot be the labelled one; then those of one label that may well be right."""
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
            start += f", yet predictions learnt without it put {max(low, 0):.0%} to {min(high, 1):.0%} on FEMALE"
            claims.append(
                SystematicError(str(value), "contradicted", f"{start}: its labels seem to follow the {column}.")
            )
        elif only is not None and low <= usual <= high:
            lacking = "women" if only == "MALE" else "men"
            start += f", while elsewhere {usual:.0%} of the people are FEMALE: either it saw no {lacking}, or they are"
            doubt = "predictions learnt without it cannot tell, so look at some"
            questions.append(SystematicError(str(value), "one_label", f"{start} labelled {only} too; {doubt}."))
    return claims + questions


def _shares_of_women(people: pd.DataFrame) -> pd.DataFrame:
    """What is labelled and what is predicted in each camera, in shares of its groups.

    Returns:
        By `value`: `images`, `people`, `labelled` and the interval from `low` to `high` in which the true share lies,
        seen how far the estimates for the other cameras are off; infinite where that is not known.
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
    off = (cameras["estimate"] - cameras["labelled"])[levels.index]  # a camera with one label may be the faulty one
    mixed = people[people["value"].isin(levels.index)]
    deviation = mixed.groupby(["value", "label"])["p_female"].std().mean()  # of people alike
    for value, camera in cameras.iterrows():
        others = off.drop(index=value, errors="ignore")
        low, high = -np.inf, np.inf
        if len(others) >= FEWEST_OTHERS:
            chance = deviation / abs(camera["contrast"]) / np.sqrt(camera["people"])
            spread = np.hypot(others.std() * np.sqrt(1 + 1 / len(others)), chance)
            reach = t.isf(FALSE_ALARMS / 2 / len(cameras), len(others) - 1) * spread
            middle = camera["estimate"] - others.mean()
            low, high = middle - reach, middle + reach
        cameras.loc[value, ["low", "high"]] = low, high
    return cameras
