"""Run folders -> candidates: what was trained several times with nothing but the seed, or the fold, changed."""

import json
from collections import defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gender_cls.errors import GenderClsError, first_few
from gender_cls.evaluation.comparison.compare_json import NOT_TESTED
from gender_cls.evaluation.comparison.settings import Described, describe, varied_settings
from gender_cls.evaluation.evaluated import is_evaluated, not_evaluated_sentence
from gender_cls.evaluation.predictions import answers_of
from gender_cls.runs.exported_run import ExportedRun
from gender_cls.runs.run import Run


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

    model: str
    varied: dict[str, str]  # settings that vary between the candidates, with its values; the same keys in each of them
    title: str  # what it is called among the others, see `with_titles`
    runs: list[Run]  # all that finished, and those that did not if no run with the same settings, seed and fold did
    trained: list[Trained]  # one per seed, sorted; a seed with an unfinished run is left out
    untested: list[tuple[int | None, list[Run]]]  # seeds and runs, sorted, if all of them left the test split alone
    repeated: list[Run]  # finished runs left out of `trained`: a later run has the same settings, seed and fold
    described: Described  # its first run and its configuration
    dataset: str | None  # the name of the data that it is tested on; None if its configuration was not kept

    @property
    def test(self) -> pd.DataFrame:
        """The test rows of its first seed, for what all seeds share."""
        return self.trained[0].test

    @property
    def exported(self) -> bool:
        """Whether these are the answers of exported models, not of the runs themselves."""
        return isinstance(self.described.run, ExportedRun)

    @property
    def left_out(self) -> str | None:
        """The source or camera that is its test split and in no other; None with another kind of split."""
        return self.described.settings.get("data.leave_out")

    @property
    def leaky(self) -> bool:
        """Whether a run saw test images, or near duplicates of them, in training."""
        return any(run.metrics["data"]["leaky"] for one in self.trained for run in one.runs)

    @cached_property
    def test_rows(self) -> Hashable:
        """Paths and labels of the test rows, equal for candidates that can be compared; None if seeds differ."""
        columns = [[one.test[name].to_numpy(object) for name in ("path", "label")] for one in self.trained]
        rows = {tuple(zip(*both, strict=True)) for both in columns}
        return rows.pop() if len(rows) == 1 else None

    @cached_property
    def problem(self) -> str | None:
        """Why its predictions cannot be used, or None."""
        if (debugging := self.described.run.debugging) is not None:
            return f"A debugging run ({debugging}) is not ranked."
        if self.untested:
            return NOT_TESTED
        for run in self.runs:
            if run.finished and not is_evaluated(run) and run not in self.repeated:
                return not_evaluated_sentence(run)
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


def find_candidates(runs: Sequence[Run]) -> tuple[list[Candidate], list[Run]]:
    """The candidates, and the runs that did not finish.

    Candidates are runs that differ only in seed and fold, in the order of their first runs. Runs without a single
    finished one among them are no candidate. A run that did not finish is left out if one with the same settings, seed
    and fold did. A run without its configuration (`.hydra`) is known by its model alone, and counts as a seed of its
    own.
    """
    members: dict[str, list[Described]] = defaultdict(list)
    for run in runs:
        described = describe(run)
        members[json.dumps(described.compared or described.model, sort_keys=True, default=str)].append(described)
    told = [_without_outdated(described) for described in members.values()]
    unfinished = [one.run for described in told for one in described if not one.run.finished]
    groups = [described for described in told if any(one.run.finished for one in described)]
    varied = varied_settings([described[0] for described in groups])
    candidates = [_candidate(described, settings) for described, settings in zip(groups, varied, strict=True)]
    return candidates, unfinished


def with_titles(ranked: Sequence[Candidate]) -> list[Candidate]:
    """The candidates with titles that tell them apart: their models; where some share one, with their datasets if these
    tell all apart, or else with their places in this order.

    A title such as `custom_cnn #2` stays short however many settings vary.
    """
    models = [one.model for one in ranked]
    on_datasets = [f"{one.model} {'without' if one.left_out else 'on'} {one.dataset}" for one in ranked]
    numbered = [f"{model} #{place}" for place, model in enumerate(models, 1)]
    titles = next(titles for titles in (models, on_datasets, numbered) if len(set(titles)) == len(titles))
    return [replace(one, title=title) for one, title in zip(ranked, titles, strict=True)]


def _without_outdated(described: Sequence[Described]) -> list[Described]:
    """The runs of a candidate without those that did not finish although another run of the same trial did."""
    finished = {one.trial for one in described if one.run.finished}
    return [one for one in described if one.run.finished or one.trial not in finished]


def _candidate(described: Sequence[Described], varied: dict[str, str]) -> Candidate:
    by_age = sorted(described, key=lambda one: (*_usable(one.run), one.run.status.get("started") or ""))
    latest = {one.trial: one.run for one in by_age}.values()
    seeds: dict[Hashable, list[Run]] = defaultdict(list)
    for one in described:
        if one.run in latest:
            seeds[one.seed].append(one.run)
    finished = [
        (seed if isinstance(seed, int) else None, runs)
        for seed, runs in seeds.items()
        if all(run.finished for run in runs)
    ]
    finished.sort(key=lambda one: -1 if one[0] is None else one[0])
    left_alone = [one.run for one in described if one.settings.get("evaluation.test") is False and not one.run.tested]
    runs = [one.run for one in described]
    first = described[0]
    return Candidate(
        model=first.model,
        varied=varied,
        title=first.model,
        runs=runs,
        trained=[_trained(seed, runs) for seed, runs in finished if all(map(is_evaluated, runs))],
        untested=finished if all(run in left_alone for _, runs in finished for run in runs) else [],
        repeated=[run for run in runs if run.finished and run not in latest],
        described=first,
        dataset=_dataset(first.run),
    )


def _dataset(run: Run) -> str | None:
    try:
        return run.dataset
    except GenderClsError:  # no configuration, or one of another version
        return None


def _usable(run: Run) -> tuple[bool, bool]:
    """A sort key: a finished run comes after one that is not, and after all one whose results can be compared."""
    return run.finished, run.finished and is_evaluated(run)


def _trained(seed: int | None, runs: list[Run]) -> Trained:
    table = pd.concat([answers_of(run) for run in runs]).sort_values("path", kind="stable")
    validation, test = (table[table["split"] == split].reset_index(drop=True) for split in ("val", "test"))
    return Trained(seed, runs, validation, test)
