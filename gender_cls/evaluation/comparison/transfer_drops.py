"""Drops over several cells of the matrix, and which of two methods scores more elsewhere.

Cells share people: those of one column are the same, and the people of a home test are those of the column of the same
name. So what each person does to each cell is first added up over cells, and then squared:
where home and elsewhere are other people, the variances of both count; where people are the same, so does the
covariance.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np

from gender_cls.errors import plural
from gender_cls.evaluation.bootstrap import SEED, Numbers
from gender_cls.evaluation.comparison.compare_json import ENOUGH_SEEDS
from gender_cls.evaluation.comparison.sentences import pair_sentence
from gender_cls.evaluation.comparison.significance import (
    Means,
    Training,
    drop_estimate,
    mean_estimate,
    training_of,
    turned_sums,
)
from gender_cls.evaluation.comparison.transfer_json import Drop, TransferPair
from gender_cls.evaluation.comparison.transfer_scores import BALANCED, MACRO_F1, Measured, PersonName, measure
from gender_cls.evaluation.estimate import Estimate, undefined
from gender_cls.evaluation.multiple_testing import SIGNIFICANT, holm

NO_CELL = "There is no test on data that it was not trained on."
ONE_CELL = "There is only one test elsewhere."
SPREAD_DRAWS = 10_000


@dataclass(frozen=True, eq=False)
class Foreign:
    """A cell that is not home, of data that was not trained on."""

    trained_on: str
    home: Measured
    here: Measured

    @property
    def place(self) -> tuple[str, str]:
        """Which cell it is, the same for all methods."""
        return self.trained_on, self.here.test.dataset


def mean_elsewhere(cells: Sequence[Foreign]) -> Estimate:
    """The mean balanced accuracy of the cells."""
    if not cells:
        return undefined(NO_CELL)
    moved = _side_by_side([[(cell.here, cell.here.scores[BALANCED].moved)] for cell in cells])
    by_seed = [cell.here.scores[BALANCED].by_seed for cell in cells]
    return mean_estimate(_mean(by_seed), moved.mean(axis=0), _people(_heres(cells)), _training(cells, by_seed))


def mean_drop(cells: Sequence[Foreign]) -> Estimate:
    """Home minus elsewhere, of balanced accuracy, the mean over the cells."""
    if not cells:
        return undefined(NO_CELL)
    by_seed = [_drop_by_seed(cell) for cell in cells]
    people = _people([*(cell.home for cell in cells), *_heres(cells)])
    return drop_estimate(_mean(by_seed), _drops_moved(cells).mean(axis=0), people, _training(cells, by_seed))


def drop_of(method: str, cells: Sequence[Foreign]) -> Drop:
    """The mean, the spread and the worst of a method's drops.

    CDD and SD carry the names of Mbongo et al. (2025), see `transfer.PAPER`. Only the abstract and some captions of the
    paper were at hand, so neither is confirmed.
    """
    scores = [cell.here.scores[BALANCED].mean for cell in cells]
    worst = cells[int(np.argmin(scores))] if cells else None
    f1 = np.array([[one.scores[MACRO_F1].mean for one in (cell.home, cell.here)] for cell in cells])
    return Drop(
        method=method,
        cells=len(cells),
        mean_drop=mean_drop(cells),
        spread=_spread(cells),
        mean_elsewhere=mean_elsewhere(cells),
        worst=worst.here.cell() if worst else None,
        worst_trained_on=worst.trained_on if worst else None,
        cdd=float((f1[:, 0] - f1[:, 1]).mean()) if len(f1) else None,
        sd=float(f1[:, 1].std(ddof=1)) if len(f1) > 1 else None,
    )


def _spread(cells: Sequence[Foreign]) -> Estimate:
    """The sample standard deviation of the drops.

    Chance makes drops differ more than they do in truth, and draws around them still more. So the high end of the
    interval is that of the draws, and the low end its mirror image, as for calibration errors (`bootstrap.estimates`).
    """
    if len(cells) < 2:
        return undefined(ONE_CELL if cells else NO_CELL)
    by_seed = [_drop_by_seed(cell) for cell in cells]
    values = np.array([one.mean() for one in by_seed])
    moved = _drops_moved(cells)
    covariance = moved @ moved.T
    for row in {id(cell.home): cell.home for cell in cells}.values():
        own = [index for index, cell in enumerate(cells) if cell.home is row]
        seeds = np.stack([by_seed[index] for index in own])
        if seeds.shape[1] >= ENOUGH_SEEDS:
            covariance[np.ix_(own, own)] += np.atleast_2d(np.cov(seeds)) / seeds.shape[1]
    draws = np.random.default_rng([SEED, 2]).multivariate_normal(values, covariance, SPREAD_DRAWS, method="svd")
    spread, high = float(values.std(ddof=1)), float(np.quantile(draws.std(axis=1, ddof=1), 0.975))
    return Estimate(value=spread, low=max(0.0, 2 * spread - high), high=high, remark=None)


def _drop_by_seed(cell: Foreign) -> Numbers:
    return cell.home.scores[BALANCED].by_seed - cell.here.scores[BALANCED].by_seed


def _drops_moved(cells: Sequence[Foreign]) -> Numbers:
    """(cells, people) how each drop moves with the weight of each person."""
    return _side_by_side(
        [
            [(cell.home, cell.home.scores[BALANCED].moved), (cell.here, -cell.here.scores[BALANCED].moved)]
            for cell in cells
        ]
    )


def _mean(by_seed: Sequence[Numbers]) -> float:
    """The mean over cells of means over seeds."""
    return float(np.mean([one.mean() for one in by_seed]))


def _training(cells: Sequence[Foreign], by_seed: Sequence[Numbers]) -> Training:
    """The chance of training in the mean over cells: the cells of a row are of the same networks."""
    rows: dict[int, Numbers] = defaultdict(lambda: np.zeros(1))
    for cell, one in zip(cells, by_seed, strict=True):
        rows[id(cell.home)] = rows[id(cell.home)] + one / len(cells)
    return training_of(list(rows.values()))


def _side_by_side(cells: Sequence[Sequence[tuple[Measured, Numbers]]]) -> Numbers:
    """(cells, people) sums of numbers (people,) of tests, of which some share people."""
    places: dict[PersonName, int] = {}
    codes = [[[places.setdefault(name, len(places)) for name in test.names] for test, _ in parts] for parts in cells]
    table = np.zeros((len(cells), len(places)))
    for row, parts, of_parts in zip(table, cells, codes, strict=True):
        for (_, numbers), own in zip(parts, of_parts, strict=True):
            row[own] += numbers
    return table


def _heres(cells: Sequence[Foreign]) -> list[Measured]:
    return [cell.here for cell in cells]


def _people(tests: Sequence[Measured]) -> tuple[int, ...]:
    """How many people have each label in each set of images, each set once."""
    sets = {frozenset(one.names): one.people for one in tests}
    return tuple(number for numbers in sets.values() for number in numbers)


def compare_methods(cells: Mapping[str, Sequence[Foreign]], draws: int) -> list[TransferPair]:
    """Compare every method with every later one on the images that both were tested on, trained on the same data."""
    by_place = {method: {cell.place: cell for cell in own} for method, own in cells.items()}
    pairs = list(combinations(cells, 2))
    shared = {(a, b): tuple(sorted(by_place[a].keys() & by_place[b].keys())) for a, b in pairs}
    found: dict[tuple[str, str], tuple[Estimate, float | None]] = {}
    for places in dict.fromkeys(shared.values()):
        together = [pair for pair in pairs if shared[pair] == places]
        methods = list(dict.fromkeys(method for pair in together for method in pair))
        if places:
            means = _means([[by_place[method][place] for place in places] for method in methods], draws)
            found |= {(a, b): means.difference(methods.index(a), methods.index(b)) for a, b in together}
        else:
            found |= dict.fromkeys(together, (undefined("They were not tested on the same data elsewhere."), None))
    corrected = iter(holm([p_value for _, p_value in found.values() if p_value is not None]).tolist())
    p_holm = {pair: None if p_value is None else next(corrected) for pair, (_, p_value) in found.items()}
    return [_pair(a, b, len(shared[a, b]), *found[a, b], p_holm[a, b]) for a, b in pairs]


def _means(methods: Sequence[Sequence[Foreign]], draws: int) -> Means:
    """The mean balanced accuracies of methods (methods, cells), each over the same cells, on the same images."""
    columns = [_on_same_images(column) for column in zip(*methods, strict=True)]
    cut = [list(own) for own in zip(*columns, strict=True)]
    share = 1 / len(columns)
    by_seed = [[one.here.scores[BALANCED].by_seed for one in own] for own in cut]
    added = _side_by_side([[(one.here, share * one.here.added) for one in own] for own in cut])
    return Means(
        correct=[],
        units=np.arange(added.shape[1]),
        by_seed=[np.array([_mean(one)]) for one in by_seed],
        training=[_training(own, one) for own, one in zip(cut, by_seed, strict=True)],
        added=added,
        moved=_side_by_side([[(one.here, share * one.here.scores[BALANCED].moved) for one in own] for own in cut]),
        people=_people(_heres(cut[0])),
        flipped=turned_sums(added, draws, SEED),
        remark=next((one.here.remark for own in cut for one in own if one.here.remark), None),
    )


def _on_same_images(column: Sequence[Foreign]) -> list[Foreign]:
    """The tests of one dataset, cut to the images that all have."""
    paths = [frozenset(cell.here.test.table["path"]) for cell in column]
    common = frozenset.intersection(*paths)
    return [
        cell if own == common else replace(cell, here=measure(cell.here.test.cut_to(common)))
        for cell, own in zip(column, paths, strict=True)
    ]


def _pair(
    a: str, b: str, cells: int, difference: Estimate, p_value: float | None, p_holm: float | None
) -> TransferPair:
    significant = p_holm is not None and p_holm < SIGNIFICANT
    sentence = pair_sentence(a, b, difference, p_holm, significant)
    return TransferPair(
        a=a,
        b=b,
        cells=cells,
        difference=difference,
        p_value=p_value,
        p_holm=p_holm,
        significant=significant,
        verdict=f"On other data, in the {plural(cells, 'test')} that both have: {sentence}" if cells else sentence,
    )
