"""Run folders -> candidates: what was trained several times with nothing but the seed, or the fold, changed."""

import json
from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gender_cls.errors import first_few
from gender_cls.evaluation.predictions import read_predictions
from gender_cls.evaluation.schema import SCHEMA_VERSION
from gender_cls.runs.run import Run

NOT_COMPARED = (
    "seed",
    "name",
    "output_dir",
    "data.fold",
    "data.num_workers",
    "data.cache",
    "data.cache_gigabytes",
    "data.cache_days",
    "data.licence",
    "trainer.threads",
    "trainer.resume",
    "trainer.progress_bar",
)
"""Keys of the configuration that may differ within a candidate; those of explain and evaluation may as well."""


@dataclass(frozen=True, eq=False)
class Trained:
    """A candidate trained with one seed, and tested.

    Attributes:
        seed: None where the configuration was not kept.
        runs: one, or the folds of a cross-validation.
        validation: predictions, sorted by path; with folds, those of all of them.
        test: likewise; with folds these are the out-of-fold predictions.
    """

    seed: int | None
    runs: list[Run]
    validation: pd.DataFrame
    test: pd.DataFrame

    @property
    def correct(self) -> NDArray[np.bool_]:
        """(test rows,) whether each answer is the label."""
        return (self.test["prediction"] == self.test["label"]).to_numpy()


@dataclass(frozen=True, eq=False)
class Candidate:
    """Runs that share every setting that matters.

    Attributes:
        title: the chosen model, with the settings that tell it from other candidates of that model.
        runs: all of them.
        trained: a seed each, sorted; those with a run that has not finished are left out.
        repeated: finished runs left out of `trained` because a later one has the same settings, seed and fold.
    """

    title: str
    runs: list[Run]
    trained: list[Trained]
    repeated: list[Run]

    @cached_property
    def outdated(self) -> list[Run]:
        """Finished runs that this version has not evaluated."""
        return [run for run in self.runs if run.finished and not _is_evaluated(run)]

    @property
    def test(self) -> pd.DataFrame:
        """The test rows of its first seed, for what all seeds share."""
        return self.trained[0].test

    @property
    def leaky(self) -> bool:
        """Whether a run saw test images, or their twins, in training."""
        return any(run.metrics["data"]["leaky"] for one in self.trained for run in one.runs)

    @cached_property
    def test_rows(self) -> Hashable:
        """Paths and labels of the test rows; the same for candidates that can be compared. None: seeds differ."""
        rows = {tuple(zip(one.test["path"], one.test["label"], strict=True)) for one in self.trained}
        return rows.pop() if len(rows) == 1 else None

    @property
    def problem(self) -> str | None:
        """Why its predictions say nothing, or None."""
        if self.outdated:
            first = self.outdated[0]
            how = "evaluated by another version" if first.metrics else "not evaluated"
            return f"{first.folder} was {how}: run python -m gender_cls.evaluate run={first.folder}."
        if not self.trained:
            return "No seed has finished."
        for one in self.trained:
            if one.validation.empty or one.test.empty:
                return f"{one.runs[0].predictions} lacks validation or test images."
            invalid = ~np.isfinite(pd.concat([one.validation, one.test])[["p_FEMALE", "p_MALE"]]).all(axis=1)
            if invalid.any():
                return (
                    f"{invalid.sum()} predictions of {first_few(run.folder.name for run in one.runs)} are not numbers."
                )
        return None


def find_candidates(runs: Sequence[Run]) -> list[Candidate]:
    """Gather the runs that differ only in seed and fold, in the order of their first runs.

    Without its configuration (`.hydra`) a run is known by its model alone, and counts as a seed of its own.
    """
    members: dict[str, list[_Described]] = defaultdict(list)
    for run in runs:
        described = _describe(run)
        members[json.dumps(described.compared or described.model, sort_keys=True, default=str)].append(described)
    firsts = [described[0] for described in members.values()]
    return [
        _candidate(_title(described[0], [first for first in firsts if first.model == described[0].model]), described)
        for described in members.values()
    ]


@dataclass(frozen=True, eq=False)
class _Described:
    """A run and what was asked of it.

    Attributes:
        model: the chosen file of the group `model`.
        choices: of the other groups.
        settings: dotted keys; empty where the configuration was not kept.
    """

    run: Run
    model: str
    choices: dict[str, str]
    settings: dict[str, Any]

    @property
    def compared(self) -> dict[str, Any]:
        """The settings that make it another candidate."""
        return {key: value for key, value in self.settings.items() if _matters(key)}

    @property
    def place(self) -> tuple[Any, Any]:
        """Seed and fold."""
        return self.settings.get("seed"), self.settings.get("data.fold", 0)


def _describe(run: Run) -> _Described:
    choices = {group: name for group, name in run.choices.items() if "/" not in group}
    model = choices.pop("model", None) or run.metrics.get("model") or run.status.get("model") or run.folder.name
    return _Described(run, model, choices, dict(_flat(run.settings)))


def _flat(settings: Mapping[Any, Any], prefix: str = "") -> Iterable[tuple[str, Any]]:
    for key, value in settings.items():
        if isinstance(value, dict) and value:
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _matters(key: str) -> bool:
    return key not in NOT_COMPARED and key.partition(".")[0] not in ("explain", "evaluation")


def _title(one: _Described, rivals: Sequence[_Described]) -> str:
    """The model, and what tells it from other candidates of that model: choices of files, then single settings."""
    told = []
    for group in dict.fromkeys(group for rival in rivals for group in rival.choices):
        if _matters(group) and len({rival.choices.get(group) for rival in rivals}) > 1:
            told.append(f"{group}={one.choices.get(group)}")
    for key in dict.fromkeys(key for rival in rivals for key in rival.compared):
        choices = {rival.choices.get(key.partition(".")[0]) for rival in rivals}
        values = {(rival.choices.get(key.partition(".")[0]), _text(rival.settings.get(key))) for rival in rivals}
        if len(values) > len(choices):  # otherwise the choice says it
            told.append(f"{key}={_text(one.settings.get(key))}")
    return f"{one.model} ({', '.join(told)})" if told else one.model


def _text(value: Any) -> str:
    return "null" if value is None else str(value)


def _candidate(title: str, described: Sequence[_Described]) -> Candidate:
    by_age = sorted(described, key=lambda one: (one.run.finished, one.run.status.get("started") or ""))
    latest = {one.place if one.settings else one.run.folder: one for one in by_age}
    seeds: dict[Hashable, list[_Described]] = defaultdict(list)
    for one in described:
        if one in latest.values():
            seeds[one.place[0] if one.settings else one.run.folder].append(one)
    trained = [
        _trained(members[0].place[0], [one.run for one in members])
        for members in seeds.values()
        if all(one.run.finished and _is_evaluated(one.run) for one in members)
    ]
    trained.sort(key=lambda one: -1 if one.seed is None else one.seed)
    runs = [one.run for one in described]
    repeated = [one.run for one in described if one.run.finished and one not in latest.values()]
    return Candidate(title, runs, trained, repeated)


def _is_evaluated(run: Run) -> bool:
    return run.metrics.get("schema_version") == SCHEMA_VERSION and run.predictions.is_file()


def _trained(seed: int | None, runs: list[Run]) -> Trained:
    table = pd.concat([read_predictions(run.predictions) for run in runs]).sort_values("path", kind="stable")
    validation, test = (table[table["split"] == split].reset_index(drop=True) for split in ("val", "test"))
    return Trained(seed, runs, validation, test)
