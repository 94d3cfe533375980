"""Tests of a candidate -> its scores, and what each person does to them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from gender_cls.evaluation.bootstrap import Booleans, Numbers, bootstrap_units, count_people, count_units
from gender_cls.evaluation.comparison.significance import mean_estimate, training_of
from gender_cls.evaluation.comparison.transfer_json import TRANSFER_SCORES, Cell
from gender_cls.evaluation.comparison.transfer_rows import Answers
from gender_cls.evaluation.estimate import Estimate
from gender_cls.evaluation.influence import moved_scores
from gender_cls.evaluation.metrics import absent_labels, is_female, known_people, p_female_of

BALANCED, MACRO_F1 = "balanced_accuracy", "macro_f1"
PersonName = tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Score:
    """One score, the mean over seeds."""

    by_seed: Numbers  # (seeds,) with folds each the mean over them; NaN if it is undefined
    moved: Numbers  # (people,) how the mean moves with the weight of each person; they sum to 0

    @property
    def mean(self) -> float:
        """NaN if it is undefined."""
        return float(self.by_seed.mean())


@dataclass(frozen=True, eq=False)
class Measured:
    """All scores of one test."""

    test: Answers
    names: list[PersonName]  # of the people, the same in every test
    people: tuple[int, ...]  # how many have each label
    scores: dict[str, Score]
    added: Numbers  # (people,) what the right answers for each add to the mean balanced accuracy
    remark: str | None  # why nothing is defined, or None

    def estimate(self, score: str) -> Estimate:
        """The mean over seeds with its interval."""
        found = self.scores[score]
        return mean_estimate(found.mean, found.moved, self.people, training_of([found.by_seed]), self.remark)

    def cell(self) -> Cell:
        """The test in `compare.json`."""
        return Cell(
            dataset=self.test.dataset,
            kind=self.test.kind,
            images=len(self.test.table),
            identities=known_people(self.test.table),
            seeds=len(self.test.tables),
            left_out=self.test.left_out,
            seen=self.test.seen,
            scores={name: self.estimate(name) for name in TRANSFER_SCORES},
        )


def measure(test: Answers) -> Measured:
    """The scores of a test."""
    table, female = test.table, is_female(test.table)
    units = bootstrap_units(table)
    remark = _problem(test, female)

    def by_unit(rows: Numbers) -> Numbers:
        return np.bincount(units, rows, count_units(units)).astype(np.float64)  # without rows these are integers

    nothing = Score(np.full(len(test.tables), np.nan), by_unit(np.full(len(table), np.nan)))
    scores = dict.fromkeys(TRANSFER_SCORES, nothing)
    if remark is None:
        seeds = [
            [moved_scores(female, is_female(one, "prediction"), p_female_of(one)) for one in seed]
            for seed in test.tables
        ]
        for name in TRANSFER_SCORES:
            values = np.array([np.mean([one[name].score for one in seed]) for seed in seeds])
            rows = [np.mean([one[name].by_row for one in seed], axis=0) for seed in seeds]
            scores[name] = Score(values, by_unit(np.mean(rows, axis=0)))
    right = np.mean([np.mean([_is_right(one) for one in seed], axis=0) for seed in test.tables], axis=0)
    return Measured(
        test=test,
        names=test.people(),
        people=count_people(units, female, ~female),
        scores=scores,
        added=by_unit(right / np.where(female, female.sum(), (~female).sum()) / 2),
        remark=remark,
    )


def _is_right(table: pd.DataFrame) -> Booleans:
    return (table["prediction"] == table["label"]).to_numpy()


def _problem(test: Answers, female: Booleans) -> str | None:
    """Why scores are not defined, or None."""
    if not len(female):
        return "No image was tested with all seeds."
    if absent := absent_labels(female):
        return f"There is no {absent[0]} image."
    tables: Sequence[pd.DataFrame] = [one for seed in test.tables for one in seed]
    broken = sum(int((~np.isfinite(p_female_of(one))).sum()) for one in tables)
    return f"{broken:,} probabilities are not numbers." if broken else None
