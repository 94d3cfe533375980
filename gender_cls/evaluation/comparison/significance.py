"""Which of two candidates is better, and whether that is more than chance in the people drawn and in training."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from scipy.special import stdtr

from gender_cls.evaluation.bootstrap import (
    ONE_PERSON,
    SEED,
    Booleans,
    Numbers,
    Units,
    count_people,
    count_units,
    ratio,
)
from gender_cls.evaluation.comparison.compare_json import ENOUGH_SEEDS, McNemar, Pair
from gender_cls.evaluation.comparison.sentences import pair_sentence
from gender_cls.evaluation.estimate import Estimate, undefined
from gender_cls.evaluation.metrics import absent_labels
from gender_cls.evaluation.multiple_testing import SIGNIFICANT, holm
from gender_cls.evaluation.share_interval import difference_variance, freedom, quantile, share_interval

FEW_PEOPLE = 16  # while no more differ, the test takes all of their signs; otherwise random ones
ROUNDING = 1e-12  # sums that differ by less are equal
SIGNS_AT_ONCE = 2**22  # limit on draws times people in memory


Training = tuple[float, float] | None
"""The variance of a mean by the chance of training, and its degrees of freedom; None if seeds are too few."""


@dataclass(frozen=True)
class Means:
    """Balanced accuracies of candidates on the same rows, each the mean over the candidate's seeds."""

    correct: Sequence[Booleans]  # of each candidate (seeds, rows), whether its answers are right; for McNemar's test
    units: Units
    by_seed: list[Numbers]  # of each candidate (seeds,); NaN if a label is absent
    training: list[Training]  # of each candidate
    added: Numbers  # (candidates, people) what the right answers for each person add to the mean
    moved: Numbers  # (candidates, people) how the mean moves with the weight of each person; they sum to 0
    people: tuple[int, ...]  # with each label
    flipped: Numbers  # (candidates, draws) sums of `added` with random signs, the same signs for all candidates
    remark: str | None  # why the means are undefined, or None

    def of(self, candidate: int) -> Estimate:
        """The mean over the candidate's seeds; from ENOUGH_SEEDS on, its interval covers the chance of training."""
        value = float(self.by_seed[candidate].mean())
        return mean_estimate(value, self.moved[candidate], self.people, self.training[candidate], self.remark)

    def difference(self, a: int, b: int) -> tuple[Estimate, float | None]:
        """The difference of two means, a minus b, and its two-sided p-value; None without an interval.

        The test turns the signs of people's contributions to the difference (Fisher 1935), all together or at random:
        if neither candidate is better, what each person adds could as well be its opposite. If both have ENOUGH_SEEDS,
        the chance of training joins: to each sum of turned contributions comes a draw from Student's distribution with
        the variance of the two means over seeds (Welch 1947).

        The interval follows from the variance of the difference. It holds 0 if and only if the p-value is at least
        0.05: where the two would disagree, the p-value decides, and the end of the interval moves to 0.
        """
        value = float(self.by_seed[a].mean() - self.by_seed[b].mean())
        found = _without_interval(value, self.moved.shape[1], self.remark)
        if found["value"] is None or found["remark"] is not None:
            return found, None
        parts = [part for one in (a, b) if (part := self.training[one]) is not None]
        if len(parts) < 2:
            parts = []
        training = sum(variance for variance, _ in parts)
        p_value = self._p_value(a, b, training, freedom(training, parts))
        variance = float(((self.moved[a] - self.moved[b]) ** 2).sum())
        whole = difference_variance(value, variance, self.people) + training
        half = quantile(freedom(whole, parts)) * np.sqrt(whole)
        half = max(half, abs(value)) if p_value >= SIGNIFICANT else min(half, abs(value) * (1 - 1e-9))
        found["low"], found["high"] = max(-1.0, value - float(half)), min(1.0, value + float(half))
        return found, p_value

    def _p_value(self, a: int, b: int, training: float, freedom: float) -> float:
        """The share of sums with turned signs that are at least as far from 0 as the difference is."""
        added = self.added[a] - self.added[b]
        differing = added[np.abs(added) > ROUNDING]
        value = abs(float(differing.sum())) - ROUNDING
        if exact := len(differing) <= FEW_PEOPLE:
            sums = differing[:1] if len(differing) else np.zeros(1)  # the other half, with its sign turned, is alike
            for one in differing[1:]:
                sums = np.concatenate([sums + one, sums - one])
        else:
            sums = np.append(self.flipped[a] - self.flipped[b], value)  # the signs as they are count as one draw
        if training > 0:
            spread = np.sqrt(training)
            beyond = stdtr(freedom, (sums - value) / spread) + stdtr(freedom, (-value - sums) / spread)
            return min(1.0, float(beyond.mean()))
        p_value = float((np.abs(sums) >= value).mean())
        if not exact and p_value * len(sums) < 1.5:
            # So far out that a count of draws says too little for many pairs: Hoeffding's bound (1963).
            p_value = min(p_value, 2 * float(np.exp(-(value**2) / (2 * (differing**2).sum()))))
        return p_value


def mean_estimate(
    value: float, moved: Numbers, people: Sequence[int], training: Training, remark: str | None = None
) -> Estimate:
    """The mean of a share over seeds; its interval covers the chance of training if that is known.

    Args:
        value: NaN if it is undefined.
        moved: (people,) how the mean moves with the weight of each person.
        people: see `share_interval`.
        remark: why it is undefined.
    """
    found = _without_interval(value, len(moved), remark)
    if found["value"] is not None and found["remark"] is None:
        variance = float((moved**2).sum())
        found["low"], found["high"] = share_interval(found["value"], variance, people, *(training or ()))
    return found


def drop_estimate(
    value: float, moved: Numbers, people: Sequence[int], training: Training, remark: str | None = None
) -> Estimate:
    """The same for the difference of two shares of the same networks (-1 to 1), such as on two sets of images."""
    found = _without_interval(value, len(moved), remark)
    if found["value"] is not None and found["remark"] is None:
        parts = [training] if training is not None else []
        whole = difference_variance(value, float((moved**2).sum()), people) + sum(variance for variance, _ in parts)
        half = quantile(freedom(whole, parts)) * float(np.sqrt(whole))
        found["low"], found["high"] = max(-1.0, value - half), min(1.0, value + half)
    return found


def _without_interval(value: float, people: int, remark: str | None) -> Estimate:
    if not np.isfinite(value):
        return undefined(remark or "It is not defined for these images.")
    return Estimate(value=value, low=None, high=None, remark=ONE_PERSON if people < 2 else None)


def training_of(by_seed: Sequence[Numbers]) -> Training:
    """The chance of training in a sum of means; each of them, (seeds,), is of other networks."""
    if min(map(len, by_seed)) < ENOUGH_SEEDS:
        return None
    parts = [(float(one.var(ddof=1)) / len(one), len(one) - 1.0) for one in by_seed]
    whole = sum(variance for variance, _ in parts)
    return whole, min(freedom(whole, parts), float(sum(own for _, own in parts)))


def means_of(correct: Sequence[Booleans], female: Booleans, units: Units, draws: int, seed: int = SEED) -> Means:
    """The mean scores of candidates, with `draws` of random signs for their people; `correct` as in `Means`."""
    count = count_units(units)
    labels = np.stack([female, ~female])
    images = np.stack([np.bincount(units, rows, count) for rows in labels])  # (labels, people)
    right = [[[np.bincount(units, one & rows, count) for rows in labels] for one in runs] for runs in correct]
    totals = images.sum(axis=1)
    by_seed = [ratio(np.sum(runs, axis=2), totals).mean(axis=1) for runs in right]
    means = np.stack([np.mean(runs, axis=0) for runs in right])  # (candidates, labels, people)
    recalls = ratio(means.sum(axis=2), totals)[..., None]
    added = ratio(means, totals[:, None]).mean(axis=1)
    absent = absent_labels(female)
    return Means(
        correct=correct,
        units=units,
        by_seed=by_seed,
        training=[training_of([one]) for one in by_seed],
        added=added,
        moved=ratio(means - recalls * images, totals[:, None]).mean(axis=1),
        people=count_people(units, female, ~female),
        flipped=turned_sums(added, draws, seed),
        remark=f"There is no {' and no '.join(absent)} image in test." if absent else None,
    )


def turned_sums(added: Numbers, draws: int, seed: int) -> Numbers:
    """(candidates, people) -> (candidates, draws) sums with random signs."""
    people, rng = added.shape[1], np.random.default_rng([seed, 1])
    at_once = max(1, SIGNS_AT_ONCE // max(1, people))
    parts = [
        added @ (2.0 * rng.integers(0, 2, (people, min(at_once, draws - start)), dtype=np.int8) - 1)
        for start in range(0, draws, at_once)
    ]
    return np.concatenate(parts, axis=1) if parts else np.zeros((len(added), 0))


def compare_pairs(titles: Sequence[str], means: Means, paths: Sequence[str]) -> list[Pair]:
    """Compare every candidate with every later one; paths are those of the (rows,) images."""
    trials = _trials(means.units, paths)
    indices = list(combinations(range(len(titles)), 2))
    differences = [means.difference(a, b) for a, b in indices]
    corrected = iter(holm([p_value for _, p_value in differences if p_value is not None]).tolist())
    pairs = []
    for (a, b), (found, p_value) in zip(indices, differences, strict=True):
        p_holm = None if p_value is None else next(corrected)
        significant = p_holm is not None and p_holm < SIGNIFICANT
        pairs.append(
            Pair(
                a=titles[a],
                b=titles[b],
                difference=found["value"],
                low=found["low"],
                high=found["high"],
                remark=found["remark"],
                p_value=p_value,
                p_holm=p_holm,
                significant=significant,
                verdict=pair_sentence(titles[a], titles[b], found, p_holm, significant),
                mcnemar=_mcnemar(means.correct[a], means.correct[b], trials),
            )
        )
    return pairs


def _trials(units: Units, paths: Sequence[str]) -> tuple[NDArray[np.intp], NDArray[np.uint64]]:
    """One row per person, chosen by its path so that it is always the same, and a number to choose a seed by."""
    digests = (hashlib.blake2b(path.encode(), digest_size=8).digest() for path in paths)
    numbers = np.array([int.from_bytes(digest) for digest in digests], dtype=np.uint64)
    order = np.lexsort((numbers, units))
    rows = order[np.unique(units[order], return_index=True)[1]]
    return rows, numbers[rows]


def _mcnemar(a: Booleans, b: Booleans, trials: tuple[NDArray[np.intp], NDArray[np.uint64]]) -> McNemar:
    rows, numbers = trials
    right_a, right_b = (right[numbers % np.uint64(len(right)), rows] for right in (a, b))
    only_a, only_b = int((right_a & ~right_b).sum()), int((right_b & ~right_a).sum())
    p_value = stats.binomtest(only_a, only_a + only_b).pvalue if only_a + only_b else 1.0
    return McNemar(people=len(rows), only_a=only_a, only_b=only_b, p_value=float(p_value))
