"""The transfer matrix: what was trained on one dataset, tested on the others."""

from collections import defaultdict
from collections.abc import Sequence

from gender_cls.errors import first_few
from gender_cls.evaluation.comparison.candidates import Candidate
from gender_cls.evaluation.comparison.compare_json import ENOUGH_SEEDS
from gender_cls.evaluation.comparison.settings import Described, method_of, method_titles
from gender_cls.evaluation.comparison.transfer_drops import (
    Foreign,
    compare_methods,
    drop_of,
    mean_drop,
    mean_elsewhere,
)
from gender_cls.evaluation.comparison.transfer_json import Transfer, TransferRow
from gender_cls.evaluation.comparison.transfer_rows import MatrixRow, matrix_rows
from gender_cls.evaluation.comparison.transfer_scores import BALANCED, Measured, measure
from gender_cls.evaluation.comparison.transfer_sentences import drop_sentence
from gender_cls.evaluation.wording import listed

PAPER = (
    "CDD is the mean drop of macro F1, and SD the sample standard deviation of macro F1 elsewhere. The names are those "
    "of Mbongo, Hambarde and Proença (Sensors 25(13):4161, 2025), whose abstract speaks of such a drop; the equations "
    "of the paper could not be checked, and its third measure, URM, is not computed. It tests 1,000 images each."
)


def transfer_of(candidates: Sequence[Candidate], resamples: int) -> Transfer | None:
    """The matrix of these candidates, in this order by method; None if none was tested elsewhere.

    Args:
        resamples: random signs behind each p-value.
    """
    rows, remarks = matrix_rows(candidates)
    if all(test.kind == "home" for row in rows for test in row.tests):
        return None
    datasets = _columns(rows)
    by_method: dict[str, list[MatrixRow]] = defaultdict(list)
    for method, row in zip(_methods([row.candidate for row in rows]), rows, strict=True):
        by_method[method].append(row)
    methods = [method for method, own in by_method.items() for _ in own]
    measured = [_measured(row) for own in by_method.values() for row in own]
    cells: dict[str, list[Foreign]] = {method: [] for method in dict.fromkeys(methods)}
    found = []
    for method, (row, home, tests) in zip(methods, measured, strict=True):
        foreign = [Foreign(row.trained_on, home, test) for test in tests if _counts(home, test)]
        cells[method] += foreign
        found.append(
            TransferRow(
                candidate=row.candidate.title,
                method=method,
                trained_on=row.trained_on,
                home=home.estimate(BALANCED),
                cells=[one.cell() for one in sorted(tests, key=lambda one: datasets.index(one.test.dataset))],
                mean_elsewhere=mean_elsewhere(foreign),
                mean_drop=mean_drop(foreign),
            )
        )
    drops = [drop_of(method, own) for method, own in cells.items()]
    pairs = compare_methods(cells, resamples)
    return Transfer(
        datasets=datasets,
        methods=list(cells),
        rows=found,
        drops=drops,
        pairs=pairs,
        sentences=[*(drop_sentence(drop) for drop in drops), *(pair["verdict"] for pair in pairs)],
        remarks=[*remarks, *_remarks(measured), PAPER],
    )


def _measured(row: MatrixRow) -> tuple[MatrixRow, Measured, list[Measured]]:
    tests = [measure(test) for test in row.tests]
    return row, tests[0] if row.home.kind == row.tests[0].kind else measure(row.home), tests


def _methods(candidates: Sequence[Candidate]) -> list[str]:
    """The title of each candidate's method."""
    keyed = [method_of(one.described) for one in candidates]
    different: dict[str, Described] = {}
    for key, described in keyed:
        different.setdefault(key, described)
    titles = dict(zip(different, method_titles(list(different.values())), strict=True))
    return [titles[key] for key, _ in keyed]


def _columns(rows: Sequence[MatrixRow]) -> list[str]:
    """The datasets that candidates have their own test on, then others; each in order of appearance."""
    own = [row.tests[0].dataset for row in rows]
    return list(dict.fromkeys([*own, *(test.dataset for row in rows for test in row.tests)]))


def _counts(home: Measured, test: Measured) -> bool:
    """Whether a test is not home, on data that was not trained on, and has scores to compare."""
    return test.test.kind != "home" and not test.test.seen and home.remark is None and test.remark is None


def _remarks(rows: Sequence[tuple[MatrixRow, Measured, list[Measured]]]) -> list[str]:
    """What the matrix does not show, and what its numbers do not count."""
    remarks = []
    seen, cut, undefined, few = [], [], [], []
    for row, home, tests in rows:
        title = row.candidate.title
        for test in tests:
            on = f"{title} on {test.test.dataset}"
            if test.test.seen and test.test.kind != "home":
                seen.append(on)
            if test.test.shared is not None:
                cut.append(f"{on}, {len(test.test.table):,} of {test.test.shared:,}")
            if test.remark is not None:
                undefined.append(f"{on} ({test.remark})")
        if home.remark is not None and home is not tests[0]:
            undefined.append(f"{title} on its validation ({home.remark})")
        few += [title] if len(row.home.tables) < ENOUGH_SEEDS else []
    if any(row.candidate.left_out for row, *_ in rows):
        remarks.append(
            "With data.leave_out, home is the validation split: the epoch was chosen on it, so home is a little too "
            "good and drops too large."
        )
    if leaky := [row.candidate.title for row, *_ in rows if row.candidate.leaky]:
        remarks.append(f"Leaky, so that home is too good and drops are too large: {first_few(leaky)}.")
    if seen:
        remarks.append(
            "Trained on images, people or sources of the column, and in no mean, drop or pair: " + first_few(seen) + "."
        )
    if cut:
        remarks.append(f"Seeds were tested on different images; only those that all share count: {first_few(cut)}.")
    if undefined:
        remarks.append(f"Without scores: {first_few(undefined)}.")
    if few:
        remarks.append(
            f"With fewer than {ENOUGH_SEEDS} seeds, intervals do not cover the chance of training: {first_few(few)}."
        )
    columns = _columns([row for row, *_ in rows])
    missing = []
    for row, *_ in rows:
        known = row.seen | {test.dataset for test in row.tests}
        if names := [name for name in columns if name not in known]:
            missing.append(f"{row.candidate.title} on {listed(names)}")
    if missing:
        remarks.append(f"Not tested: {first_few(missing)}.")
    return remarks
