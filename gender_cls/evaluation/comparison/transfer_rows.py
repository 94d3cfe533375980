"""Candidates -> the rows of the transfer matrix: on which images each was tested, at home and elsewhere."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import pandas as pd

from gender_cls.config.data import DataConfig, dataset_name
from gender_cls.errors import GenderClsError, first_few
from gender_cls.evaluation.bootstrap import bootstrap_units
from gender_cls.evaluation.comparison.candidates import Candidate, Trained
from gender_cls.evaluation.evaluated import usable_elsewhere
from gender_cls.evaluation.predictions import answers_of
from gender_cls.runs.result_folder import ResultFolder
from gender_cls.runs.run import Run


@dataclass(frozen=True, eq=False)
class Answers:
    """The answers of one candidate for the same images, of each seed."""

    dataset: str  # the title of the column, see `with_columns`
    kind: Literal["home", "elsewhere", "held_out"]
    tables: list[list[pd.DataFrame]]  # [seed][network]: one, or those of all folds; the same rows in the same order
    root: str  # the folder of the images
    left_out: int = 0  # images that the runs had seen; the most of any
    seen: bool = False  # whether they trained on images of this dataset
    shared: int | None = None  # the most images of any seed, where the seeds were tested on different ones

    @property
    def table(self) -> pd.DataFrame:
        """The rows of the first network, for what all share."""
        return self.tables[0][0]

    def cut_to(self, paths: Iterable[str]) -> "Answers":
        """The same with these images only."""
        kept = set(paths)
        tables = [[one[one["path"].isin(kept)] for one in networks] for networks in self.tables]
        return replace(self, tables=tables)

    def images(self) -> set[str]:
        """A name of each image, the same in every test: its pixels, or its path where these were not kept."""
        named = zip(_texts(self.table, "pixels"), _texts(self.table, "path"), strict=True)
        return {pixels or f"{self.root}/{path}" for pixels, path in named}

    def people(self) -> list[tuple[str, ...]]:
        """A name of each unit of `bootstrap_units`, the same in every test: one person moves several cells."""
        first = self.table.iloc[np.unique(bootstrap_units(self.table), return_index=True)[1]]
        named = zip(*(_texts(first, column) for column in ("source", "identity", "path")), strict=True)
        return [
            (self.root, source, "person", identity) if identity else (self.root, source, "image", path)
            for source, identity, path in named
        ]


@dataclass(frozen=True, eq=False)
class MatrixRow:
    """A candidate, by the dataset that it was trained on, with its tests."""

    candidate: Candidate
    trained_on: str
    home: Answers  # its own test, or with data.leave_out its validation
    tests: list[Answers]  # its own test first; all of the same seeds
    seen: set[str]  # names of datasets that it was trained on: its own, its sources and its cameras


def matrix_rows(candidates: Sequence[Candidate]) -> tuple[list[MatrixRow], list[str]]:
    """A row for each candidate with results and a known dataset, and remarks about what is not in them."""
    rows: list[MatrixRow] = []
    remarks: list[str] = []
    for candidate in candidates:
        if candidate.problem:
            continue
        if candidate.dataset is None:
            remarks.append(f"{candidate.title} is in no row: its configuration, and so its dataset, is not known.")
            continue
        seen = _sources_seen(candidate)
        trained, names = _tested_elsewhere(candidate, remarks)
        own = _own_test(candidate, trained)
        # A second test on the own dataset would be another name for home.
        tests = [_elsewhere(name, trained, seen) for name in names if name != candidate.dataset]
        home = _validation(trained) if candidate.left_out else own
        trained_on = f"all but {candidate.left_out}" if candidate.left_out else candidate.dataset
        rows.append(MatrixRow(candidate, trained_on, home, [own, *tests], seen))
    return with_columns(rows, remarks), remarks


def _own_test(candidate: Candidate, trained: Sequence[Trained]) -> Answers:
    held_out = candidate.left_out is not None
    kind: Literal["home", "held_out"] = "held_out" if held_out else "home"
    own = Answers(candidate.dataset or "", kind, [], _root(trained[0].runs[0]), seen=not held_out)
    return _aligned(own, [[one.test] for one in trained])


def _validation(trained: Sequence[Trained]) -> Answers:
    own = Answers("validation", "home", [], _root(trained[0].runs[0]), seen=True)
    return _aligned(own, [[one.validation] for one in trained])


def _tested_elsewhere(candidate: Candidate, remarks: list[str]) -> tuple[list[Trained], list[str]]:
    """The seeds that were tested on the same other data, as many data as possible, and the names of these data."""
    usable = [_usable_tests(one.runs, remarks) for one in candidate.trained]
    most = max(usable, key=len)
    seeds = [one for one, names in zip(candidate.trained, usable, strict=True) if set(most) <= set(names)]
    if len(seeds) < len(candidate.trained):
        missing = first_few(str(one.seed) for one in candidate.trained if one not in seeds)
        remarks.append(f"{candidate.title}: elsewhere without seed {missing}, not tested on all of {first_few(most)}.")
    return seeds, most


def _usable_tests(runs: Sequence[Run], remarks: list[str]) -> list[str]:
    """The names of data on which all these runs were tested by this version, with answers that can be read."""
    found: Counter[str] = Counter()
    for run in runs:
        for name in usable_elsewhere(run, remarks):
            try:
                answers_of(run.elsewhere(name))
            except GenderClsError as error:
                remarks.append(f"Left out: {error}")
            else:
                found[name] += 1
    return [name for name, count in found.items() if count == len(runs)]


def _elsewhere(name: str, trained: Sequence[Trained], seen: set[str]) -> Answers:
    folders = [[run.elsewhere(name) for run in one.runs] for one in trained]
    flat = [folder for networks in folders for folder in networks]
    left_out = [folder.metrics["elsewhere"]["left_out"] for folder in flat]
    test = Answers(
        dataset=name,
        kind="elsewhere",
        tables=[],
        root=_root(flat[0]),
        left_out=max(one["images"] for one in left_out),
        seen=name in seen or any(one["copies"] or one["people"] for one in left_out),
    )
    return _aligned(test, [[answers_of(folder) for folder in networks] for networks in folders])


def _aligned(test: Answers, tables: list[list[pd.DataFrame]]) -> Answers:
    """The test with those rows of the tables that all have, sorted by path."""
    flat = [table for networks in tables for table in networks]
    common = set.intersection(*(set(zip(_texts(one, "path"), _texts(one, "label"), strict=True)) for one in flat))
    paths = [path for path, _ in common]
    most = max(len(one) for one in flat)
    cut = [[one.sort_values("path", kind="stable").reset_index(drop=True) for one in networks] for networks in tables]
    whole = replace(test, tables=cut, shared=None)
    return whole if most == len(common) else replace(whole.cut_to(paths), shared=most)


def _sources_seen(candidate: Candidate) -> set[str]:
    """The names of datasets that its train and validation splits hold: its own, its sources and its cameras."""
    recorded = [run.data for one in candidate.trained for run in one.runs]
    names = {name for data in recorded for key in ("sources", "cameras") for name in data.get(key, [])}
    names = {dataset_name(DataConfig(leave_out=name), None) for name in names}
    return names - {candidate.dataset} if candidate.left_out else names | {candidate.dataset or ""}


def _texts(table: pd.DataFrame, column: str) -> list[str]:
    """The values of a column; a list is many times faster to go through than a column of text."""
    return list(table[column].to_numpy(object)) if column in table else [""] * len(table)


def _root(folder: ResultFolder) -> str:
    try:
        return str(folder.data_root)
    except GenderClsError:
        return str(folder.folder)


def with_columns(rows: Sequence[MatrixRow], remarks: list[str]) -> list[MatrixRow]:
    """The rows with titles of columns: data of the same name that share no image are told apart by a number."""
    by_name: dict[str, list[Answers]] = defaultdict(list)
    for test in (test for row in rows for test in row.tests):
        by_name[test.dataset].append(test)
    titles: dict[int, str] = {}
    for name, tests in by_name.items():
        groups = list(_sharing_images(tests))
        for place, group in enumerate(groups):
            titles |= {id(test): name if place == 0 else f"{name} #{place + 1}" for test in group}
            sizes = sorted({len(test.table) for test in group})
            if len(sizes) > 1 or len({frozenset(test.images()) for test in group}) > 1:
                remarks.append(
                    f"Not all tests on {titles[id(group[0])]} are of the same images ({sizes[0]:,} to {sizes[-1]:,}): "
                    "methods are compared on those that they share."
                )
        if len(groups) > 1:
            remarks.append(f"{len(groups)} datasets without a common image are called {name}.")
    return [replace(row, tests=[replace(test, dataset=titles[id(test)]) for test in row.tests]) for row in rows]


def _sharing_images(tests: Sequence[Answers]) -> Iterator[list[Answers]]:
    """Groups of tests that are connected by common images."""
    left = [(test, test.images()) for test in tests]
    while left:
        group, images = [left[0][0]], set(left[0][1])
        left = left[1:]
        while joining := [one for one in left if not images.isdisjoint(one[1])]:
            group += [test for test, _ in joining]
            images.update(*(names for _, names in joining))
            left = [one for one in left if not any(one[0] is test for test in group)]
        yield group
