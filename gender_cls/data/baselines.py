"""What answers that never look at the person score on test: what a model has to beat."""

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
"""For a test image that an answer knows nothing about."""


@dataclass(frozen=True)
class Rows:
    """Which images count: readable, with a label, and in train or in test.

    Attributes:
        labels: (images,) index into CLASSES, -1 where the label is unknown.
        train: (images,) whether each is a training image.
        test: (images,) whether each is a test image.
    """

    labels: NDArray[np.intp]
    train: NDArray[np.bool_]
    test: NDArray[np.bool_]

    @property
    def problem(self) -> str | None:
        """Why nothing can be computed."""
        for split, rows in (("train", self.train), ("test", self.test)):
            for index, label in enumerate(CLASSES):
                if not (self.labels[rows] == index).any():
                    return f"There is no readable {label} image in {split}."
        return None

    @property
    def commonest(self) -> int:
        """Label of the most training images, as an index."""
        return int(np.bincount(self.labels[self.train]).argmax())


Answer = Callable[[], NDArray[np.intp] | str]
"""Gives an index into CLASSES, or NOTHING, for each test image; or a sentence that says why it cannot."""


def trivial_baselines(table: pd.DataFrame, facts: pd.DataFrame, near: NearDuplicates) -> list[dict[str, Any]]:
    """Learn answers from train and score them on test.

    Only readable images with a label count. Where an answer knows nothing, the commonest label of train stands in. Of
    a camera, source or person the answer is the label that has a larger share there than in the whole of train: the
    one that maximises balanced accuracy, and that logistic regression with balanced classes would learn.

    Args:
        table: a row an image, with label, identity, camera, source and split.
        facts: of the same rows, see `scan`.
        near: near duplicates among them.

    Returns:
        Plain values, a record a baseline: `name`, `title`, `balanced_accuracy` (None where it cannot be computed),
        `answered` (share of the test images about which it knew something; None likewise) and `remark` (a sentence, or
        None).
    """
    labels = pd.Index(CLASSES).get_indexer(pd.Index(table["label"]))
    usable = (facts["fault"] == "").to_numpy() & (labels >= 0)
    train, test = (usable & (table["split"] == split).to_numpy() for split in ("train", "test"))
    rows = Rows(labels, train, test)
    answers: list[tuple[str, str, Answer]] = [
        ("majority", "always the commonest label", lambda: _majority(rows)),
        ("camera", "the camera alone", lambda: _lookup(rows, table["camera"])),
        ("source", "the source alone", lambda: _lookup(rows, table["source"])),
        ("identity", "the same person in train", lambda: _lookup(rows, table["identity"])),
        ("size", "the size of the image alone", lambda: _regression(rows, _sizes(facts))),
        ("colour", "the mean colour of the image alone", lambda: _regression(rows, _colours(facts))),
        ("near_duplicate", "the nearest near duplicate in train", lambda: _nearest(rows, near)),
    ]
    return [{"name": name, "title": title, **_score(rows, answer)} for name, title, answer in answers]


def _score(rows: Rows, answer: Answer) -> dict[str, Any]:
    given = rows.problem or answer()
    if isinstance(given, str):
        return {"balanced_accuracy": None, "answered": None, "remark": given}
    answered = given != NOTHING
    correct = np.where(answered, given, rows.commonest) == rows.labels[rows.test]
    recalls = [correct[rows.labels[rows.test] == index].mean() for index in range(len(CLASSES))]
    return {
        "balanced_accuracy": float(np.mean(recalls)),
        "answered": float(answered.mean()),
        "remark": None if answered.any() else "It knows nothing about any test image.",
    }


def _majority(rows: Rows) -> NDArray[np.intp]:
    return np.full(rows.test.sum(), rows.commonest, dtype=np.intp)


def _lookup(rows: Rows, key: pd.Series) -> NDArray[np.intp] | str:
    """The over-represented label of each camera, source or person; the commonest one where neither is."""
    codes, names = pd.factorize(key.mask(key == ""))
    if not (codes[rows.train | rows.test] >= 0).any():
        return f"No {key.name} is known."
    known = rows.train & (codes >= 0)
    counts = np.zeros((len(names), len(CLASSES)), dtype=np.int64)
    np.add.at(counts, (codes[known], rows.labels[known]), 1)
    totals = np.bincount(rows.labels[rows.train], minlength=len(CLASSES))
    shares = counts * totals[::-1]  # counts / totals, times both totals: of whole numbers ties are exact
    answer = np.where(shares[:, 0] == shares[:, 1], rows.commonest, shares.argmax(axis=1))
    answer[counts.sum(axis=1) == 0] = NOTHING
    return np.append(answer, NOTHING)[codes[rows.test]]  # -1, no key, is the last


def _regression(rows: Rows, features: NDArray[np.float64]) -> NDArray[np.intp]:
    """Args: features: (images, features), used where `rows` counts the image."""
    model = make_pipeline(StandardScaler(), LogisticRegression(class_weight="balanced", max_iter=1000))
    model.fit(features[rows.train], rows.labels[rows.train])
    return model.predict(features[rows.test])


def _sizes(facts: pd.DataFrame) -> NDArray[np.float64]:
    sides = facts[["width", "height"]].to_numpy(dtype=np.float64).clip(min=1)  # unreadable images have 0
    sides = np.column_stack([sides, sides[:, 1] / sides[:, 0]])
    return np.column_stack([sides, np.log(sides)])


def _colours(facts: pd.DataFrame) -> NDArray[np.float64]:
    return facts[["red", "green", "blue"]].to_numpy(dtype=np.float64)


def _nearest(rows: Rows, near: NearDuplicates) -> NDArray[np.intp]:
    twins = near.nearest(rows.train)[rows.test]
    return np.where(twins >= 0, rows.labels[twins], NOTHING)
