"""Scores on test of answers that never look at the person: a model has to beat them."""

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

NOTHING = -1
"""The answer for a test image about which a baseline knows nothing."""


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


Baseline = Callable[[], NDArray[np.intp] | str]
"""Returns for each test image an index into CLASSES or NOTHING, or else a sentence that says why it cannot answer."""


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
    labels = pd.Index(CLASSES).get_indexer(pd.Index(table["label"]))
    usable = (facts["fault"] == "").to_numpy() & (labels >= 0)
    train, test = (usable & (table["split"] == split).to_numpy() for split in ("train", "test"))
    rows = Rows(labels, train, test)
    sides = facts[["width", "height"]].to_numpy(dtype=np.float64).clip(min=1)  # unreadable images have 0
    sides = np.column_stack([sides, sides[:, 1] / sides[:, 0]])
    sizes, colours = np.column_stack([sides, np.log(sides)]), facts[["red", "green", "blue"]].to_numpy(np.float64)
    baselines: list[tuple[str, str, Baseline]] = [
        ("majority", "always the commonest label", lambda: np.full(test.sum(), rows.most_frequent, dtype=np.intp)),
        ("camera", "the camera alone", lambda: _lookup(rows, table["camera"])),
        ("source", "the source alone", lambda: _lookup(rows, table["source"])),
        ("identity", "the same person in train", lambda: _lookup(rows, table["identity"])),
        ("size", "the size of the image alone", lambda: _regression(rows, sizes)),
        ("colour", "the mean colour of the image alone", lambda: _regression(rows, colours)),
        ("near_duplicate", "the nearest near duplicate in train", lambda: _nearest(rows, near)),
    ]
    return [{"name": name, "title": title, **_score(rows, baseline)} for name, title, baseline in baselines]


def _score(rows: Rows, baseline: Baseline) -> dict[str, Any]:
    given = rows.problem or baseline()
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
