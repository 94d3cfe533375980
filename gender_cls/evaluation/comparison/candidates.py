"""Run folders -> candidates: what was trained several times with nothing but the seed, or the fold, changed."""

import json
from collections import defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gender_cls.config.parsing import by_dotted_key
from gender_cls.errors import first_few
from gender_cls.evaluation.predictions import answers_of
from gender_cls.evaluation.schema import SCHEMA_VERSION
from gender_cls.runs.run import Run

NOT_COMPARED = {
    *("seed", "name", "output_dir", "data.fold", "data.num_workers", "data.licence"),
    *("data.cache", "data.cache_gigabytes", "data.cache_days"),
    *("trainer.threads", "trainer.resume", "trainer.progress_bar"),
}
"""Keys of the configuration that may differ within a candidate; so may all keys of explain and evaluation."""


@dataclass(frozen=True, eq=False)
class Trained:
    """A candidate trained with one seed, and tested."""

    seed: int | None  # None if the configuration was not kept
    runs: list[Run]  # one, or the folds of a cross-validation
    validation: pd.DataFrame  # predictions, sorted by path; with folds, those of all folds
    test: pd.DataFrame  # the same; with folds these are the out-of-fold predictions

    @property
    def correct(self) -> NDArray[np.bool_]:
        """(test rows,) whether each answer is the label."""
        return (self.test["prediction"] == self.test["label"]).to_numpy()


@dataclass(frozen=True, eq=False)
class Candidate:
    """Runs that share every setting that matters."""

    title: str  # the chosen model, and the settings that distinguish it from other candidates with that model
    runs: list[Run]  # all of them
    trained: list[Trained]  # one per seed, sorted; a seed with an unfinished run is left out
    repeated: list[Run]  # finished runs left out of `trained`: a later run has the same settings, seed and fold

    @property
    def test(self) -> pd.DataFrame:
        """The test rows of its first seed, for what all seeds share."""
        return self.trained[0].test

    @property
    def leaky(self) -> bool:
        """Whether a run saw test images, or near duplicates of them, in training."""
        return any(run.metrics["data"]["leaky"] for one in self.trained for run in one.runs)

    @cached_property
    def test_rows(self) -> Hashable:
        """Paths and labels of the test rows, equal for candidates that can be compared; None if seeds differ."""
        rows = {tuple(zip(one.test["path"], one.test["label"], strict=True)) for one in self.trained}
        return rows.pop() if len(rows) == 1 else None

    @cached_property
    def problem(self) -> str | None:
        """Why its predictions cannot be used, or None."""
        for run in self.runs:
            if run.finished and not _is_evaluated(run) and run not in self.repeated:
                how = "evaluated by another version" if run.metrics else "not evaluated"
                return f"{run.folder} was {how}: run python -m gender_cls.evaluate run={run.folder}."
        if not self.trained:
            return "No seed has finished."
        for one in self.trained:
            if one.validation.empty or one.test.empty:
                return f"{one.runs[0].predictions} lacks validation or test images."
            invalid = ~np.isfinite(pd.concat([one.validation, one.test])[["p_FEMALE", "p_MALE"]]).all(axis=1)
            if invalid.any():
                names = first_few(run.folder.name for run in one.runs)
                return f"{invalid.sum()} predictions of {names} are not numbers."
        return None


@dataclass(frozen=True, eq=False)
class _Described:
    """A run and its configuration."""

    run: Run
    model: str  # the chosen file of the group `model`
    choices: dict[str, str]  # the chosen files of the other groups
    settings: dict[str, Any]  # by dotted key; empty if the configuration was not kept

    @property
    def compared(self) -> dict[str, Any]:
        """The settings that make it another candidate."""
        return {key: value for key, value in self.settings.items() if _matters(key)}

    @property
    def seed(self) -> Hashable:
        """The seed; without a configuration every run counts as a seed of its own."""
        return self.settings.get("seed") if self.settings else self.run.folder


def find_candidates(runs: Sequence[Run]) -> list[Candidate]:
    """The candidates: runs that differ only in seed and fold, in the order of their first runs.

    A run without its configuration (`.hydra`) is known by its model alone, and counts as a seed of its own.
    """
    members: dict[str, list[_Described]] = defaultdict(list)
    for run in runs:
        described = _describe(run)
        members[json.dumps(described.compared or described.model, sort_keys=True, default=str)].append(described)
    firsts = [described[0] for described in members.values()]
    return [
        _candidate(_title(first, [other for other in firsts if other.model == first.model]), described)
        for first, described in zip(firsts, members.values(), strict=True)
    ]


def _describe(run: Run) -> _Described:
    choices = {group: name for group, name in run.choices.items() if "/" not in group}
    model = choices.pop("model", None) or run.metrics.get("model") or run.status.get("model") or run.folder.name
    return _Described(run, model, choices, by_dotted_key(run.settings))


def _matters(key: str) -> bool:
    return key not in NOT_COMPARED and key.partition(".")[0] not in ("explain", "evaluation")


def _title(one: _Described, rivals: Sequence[_Described]) -> str:
    """The model, and how it differs from other candidates with that model: in chosen files, then in single settings."""
    told = []
    for group in dict.fromkeys(group for rival in rivals for group in rival.choices):
        if _matters(group) and len({rival.choices.get(group) for rival in rivals}) > 1:
            told.append(f"{group}={one.choices.get(group)}")
    for key in dict.fromkeys(key for rival in rivals for key in rival.compared):
        values = {(rival.choices.get(key.partition(".")[0]), _shown(rival.settings.get(key))) for rival in rivals}
        if len(values) > len({choice for choice, _ in values}):  # otherwise the choice of the file says it
            told.append(f"{key}={_shown(one.settings.get(key))}")
    return f"{one.model} ({', '.join(told)})" if told else one.model


def _shown(value: Any) -> str:
    return "null" if value is None else str(value)


def _candidate(title: str, described: Sequence[_Described]) -> Candidate:
    by_age = sorted(described, key=lambda one: (*_usable(one.run), one.run.status.get("started") or ""))
    latest = {(one.seed, one.settings.get("data.fold", 0)): one.run for one in by_age}.values()
    seeds: dict[Hashable, list[Run]] = defaultdict(list)
    for one in described:
        if one.run in latest:
            seeds[one.seed].append(one.run)
    trained = [
        _trained(seed if isinstance(seed, int) else None, runs)
        for seed, runs in seeds.items()
        if all(run.finished and _is_evaluated(run) for run in runs)
    ]
    trained.sort(key=lambda one: -1 if one.seed is None else one.seed)
    runs = [one.run for one in described]
    return Candidate(title, runs, trained, [run for run in runs if run.finished and run not in latest])


def _usable(run: Run) -> tuple[bool, bool]:
    """A sort key: a finished run comes after one that is not, and after all one whose results can be compared."""
    return run.finished, run.finished and _is_evaluated(run)


def _is_evaluated(run: Run) -> bool:
    return run.metrics.get("schema_version") == SCHEMA_VERSION and run.predictions.is_file()


def _trained(seed: int | None, runs: list[Run]) -> Trained:
    table = pd.concat([answers_of(run) for run in runs]).sort_values("path", kind="stable")
    validation, test = (table[table["split"] == split].reset_index(drop=True) for split in ("val", "test"))
    return Trained(seed, runs, validation, test)
