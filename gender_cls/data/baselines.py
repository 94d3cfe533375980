"""Scores of answers that never look at the person: a model has to beat them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from gender_cls.config.data import CLASSES
from gender_cls.data.near_duplicates import NearDuplicates
from gender_cls.data.split import group_partition

NOTHING = -1
"""The answer for a test image about which a baseline knows nothing."""

FOLDS = 5
"""Parts of the people, for data without a train split."""


@dataclass(frozen=True)
class Rows:
    """The images that count: readable and with a label."""

    labels: NDArray[np.intp]  # (images,) index into CLASSES, -1 if the label is unknown
    train: NDArray[np.bool_]  # (images,) whether the image counts and is in train
    test: NDArray[np.bool_]  # (images,) the same for test

    @property
    def problem(self) -> str | None:
        """Why no baseline can be computed; None if they can."""
        for split, rows in (("train", self.train), ("test", self.test)):
            for index, label in enumerate(CLASSES):
                if not (self.labels[rows] == index).any():
                    return f"There is no readable {label} image in {split}."
        return None

    @property
    def most_frequent(self) -> int:
        """Index of the most frequent label in train."""
        return int(np.bincount(self.labels[self.train]).argmax())


Baseline = Callable[[Rows], NDArray[np.intp] | str]
"""Returns for each test image an index into CLASSES or NOTHING, or else a sentence that says why it cannot answer."""

TITLES = {
    "majority": "always the commonest label",
    "camera": "the camera alone",
    "source": "the source alone",
    "identity": "the same person in train",
    "size": "the size of the image alone",
    "colour": "the mean colour of the image alone",
    "near_duplicate": "the nearest near duplicate in train",
}


def trivial_baselines(table: pd.DataFrame, facts: pd.DataFrame, near: NearDuplicates) -> list[dict[str, Any]]:
    """Learn each baseline from train and score it on test.

    Only readable images with a label count. Where a baseline knows nothing, it answers the most frequent label of
    train. For a camera, source or person it answers the label with a larger share there than in all of train, which
    maximises balanced accuracy.

    Args:
        table: one row per image, with label, identity, camera, source and split.
        facts: of the same rows, see `scan`.
        near: near duplicates among the rows.

    Returns:
        One record of plain values per baseline: `name`, `title`, `balanced_accuracy`, `answered` (share of the test
        images about which it knew something) and `remark` (a sentence, or None). The two numbers are None if they
        cannot be computed.
    """
    labels, usable = _labels(table, facts)
    train, test = (usable & (table["split"] == split).to_numpy() for split in ("train", "test"))
    rows = Rows(labels, train, test)
    baselines = _without_people(table, facts)
    baselines["identity"] = lambda rows: _lookup(rows, table["identity"])
    baselines["near_duplicate"] = lambda rows: _nearest(rows, near)
    return [_record(name, _scored(rows, rows.problem or baselines[name](rows))) for name in TITLES]


def cross_validated_baselines(table: pd.DataFrame, facts: pd.DataFrame, seed: int) -> list[dict[str, Any]]:
    """The same for data without a train split, by cross-validation over people.

    The people are divided into FOLDS parts, and each part is answered by what the others teach. The answers that look
    for a person or a copy in train are not among them: these are never in two parts.

    Args:
        table: as for `trivial_baselines`, with `group` too; all rows are tested, and there are some of each label.
        facts: of the same rows.
        seed: of the parts.
    """
    labels, usable = _labels(table, facts)
    everything = Rows(labels, usable, usable)
    baselines = _without_people(table, facts)
    people = [table["group"][usable & (labels == index)].nunique() for index in range(len(CLASSES))]
    folds = min(FOLDS, *people)
    part = np.full(len(table), -1)
    if folds > 1:
        part[usable] = group_partition(table[usable], "group", np.full(folds, 1 / folds), seed)
    records = []
    for name, baseline in baselines.items():
        if name == "majority":  # in a fold, the commonest label of the others can be the rarer one
            found = _scored(everything, baseline(everything))
        elif folds < 2:
            found = _scored(everything, "One person has all images of a label, so nothing can be learned from others.")
        else:
            answers = _answers_by_fold(labels, part, folds, baseline)
            found = _scored(everything, answers if isinstance(answers, str) else answers[usable])
            found["remark"] = found["remark"] or f"Learned here, on other people ({folds} folds)."
        records.append(_record(name, found))
    return records


def _answers_by_fold(
    labels: NDArray[np.intp], part: NDArray[np.intp], folds: int, baseline: Baseline
) -> NDArray[np.intp] | str:
    """(images,) the answers for each part by what the others teach; a sentence if the baseline cannot answer."""
    answers = np.full(len(labels), NOTHING)
    for fold in range(folds):
        rows = Rows(labels, train=(part >= 0) & (part != fold), test=part == fold)
        given = baseline(rows)
        if isinstance(given, str):
            return given
        answers[rows.test] = given
    return answers


def _labels(table: pd.DataFrame, facts: pd.DataFrame) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """(images,) index into CLASSES, -1 if the label is unknown, and whether the image counts."""
    labels = pd.Index(CLASSES).get_indexer(pd.Index(table["label"]))
    return labels, (facts["fault"] == "").to_numpy() & (labels >= 0)


def _without_people(table: pd.DataFrame, facts: pd.DataFrame) -> dict[str, Baseline]:
    """The baselines that look for no person and no copy in train."""
    sides = facts[["width", "height"]].to_numpy(dtype=np.float64).clip(min=1)  # unreadable images have 0
    sides = np.column_stack([sides, sides[:, 1] / sides[:, 0]])
    sizes, colours = np.column_stack([sides, np.log(sides)]), facts[["red", "green", "blue"]].to_numpy(np.float64)
    return {
        "majority": lambda rows: np.full(rows.test.sum(), rows.most_frequent, dtype=np.intp),
        "camera": lambda rows: _lookup(rows, table["camera"]),
        "source": lambda rows: _lookup(rows, table["source"]),
        "size": lambda rows: _regression(rows, sizes),
        "colour": lambda rows: _regression(rows, colours),
    }


def _record(name: str, found: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "title": TITLES[name], **found}


def _scored(rows: Rows, given: NDArray[np.intp] | str) -> dict[str, Any]:
    if isinstance(given, str):
        return {"balanced_accuracy": None, "answered": None, "remark": given}
    answered = given != NOTHING
    correct = np.where(answered, given, rows.most_frequent) == rows.labels[rows.test]
    recalls = [correct[rows.labels[rows.test] == index].mean() for index in range(len(CLASSES))]
    return {
        "balanced_accuracy": float(np.mean(recalls)),
        "answered": float(answered.mean()),
        "remark": None if answered.any() else "It knows nothing about any test image.",
    }


def _lookup(rows: Rows, key: pd.Series) -> NDArray[np.intp] | str:
    """The over-represented label of each camera, source or person; in a tie, the most frequent label of train."""
    codes, names = pd.factorize(key.mask(key == ""))
    if not (codes[rows.train | rows.test] >= 0).any():
        return f"No {key.name} is known."
    known = rows.train & (codes >= 0)
    counts = np.zeros((len(names), len(CLASSES)), dtype=np.int64)
    np.add.at(counts, (codes[known], rows.labels[known]), 1)
    totals = np.bincount(rows.labels[rows.train], minlength=len(CLASSES))
    shares = counts * totals[::-1]  # counts / totals, times both totals: with whole numbers, ties are exact
    answer = np.where(shares[:, 0] == shares[:, 1], rows.most_frequent, shares.argmax(axis=1))
    answer[counts.sum(axis=1) == 0] = NOTHING
    return np.append(answer, NOTHING)[codes[rows.test]]  # the last value is for code -1, no key


def _regression(rows: Rows, features: NDArray[np.float64]) -> NDArray[np.intp]:
    """Balanced logistic regression on `features` (images, features)."""
    model = make_pipeline(StandardScaler(), LogisticRegression(class_weight="balanced", max_iter=1000))
    model.fit(features[rows.train], rows.labels[rows.train])
    return model.predict(features[rows.test])


def _nearest(rows: Rows, near: NearDuplicates) -> NDArray[np.intp]:
    twins = near.nearest(rows.train)[rows.test]
    return np.where(twins >= 0, rows.labels[twins], NOTHING)
