"""Which of two candidates is better, and whether that is more than chance in the people drawn and in training."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from gender_cls.evaluation.bootstrap import SEED, Booleans, Numbers, Units, bootstrap, count_units, estimate, ratio
from gender_cls.evaluation.comparison.compare_json import ENOUGH_SEEDS, McNemar, Pair
from gender_cls.evaluation.comparison.sentences import pair_sentence
from gender_cls.evaluation.estimate import Estimate
from gender_cls.evaluation.metrics import absent_labels
from gender_cls.evaluation.multiple_testing import SIGNIFICANT, holm


@dataclass(frozen=True)
class Means:
    """Balanced accuracies of candidates on the same rows."""

    correct: Sequence[Booleans]  # of each candidate (seeds, rows), whether its answers are right
    units: Units
    by_seed: list[Numbers]  # of each candidate (seeds,); NaN if a label is absent
    draws: Numbers  # (candidates, resamples) of the mean over seeds: chance in the people
    luck: Numbers  # (candidates, resamples) by how much other seeds would have moved it; 0 with one seed
    remark: str | None  # why they are undefined, or None

    def of(self, candidate: int) -> Estimate:
        """The mean over the candidate's seeds."""
        seeds = self.by_seed[candidate]
        draws = self.draws[candidate]
        if len(seeds) >= ENOUGH_SEEDS:
            draws = np.clip(draws + _widening(len(seeds) - 1) * self.luck[candidate], 0, 1)
        return estimate(float(seeds.mean()), draws, count_units(self.units), self.remark)

    def difference(self, a: int, b: int) -> tuple[Estimate, float | None]:
        """The paired difference of two means (both are drawn together), and its p-value; None without an interval."""
        value = float(self.by_seed[a].mean() - self.by_seed[b].mean())
        draws = self.draws[a] - self.draws[b]
        if min(len(self.by_seed[a]), len(self.by_seed[b])) >= ENOUGH_SEEDS:
            freedom = len(self.by_seed[a]) + len(self.by_seed[b]) - 2
            draws = draws + _widening(freedom) * (self.luck[a] - self.luck[b])
        people = count_units(self.units)
        found = estimate(value, draws, people, self.remark, is_share=False)
        return found, None if found["low"] is None else _p_value(value, draws[np.isfinite(draws)], people)


def resample_means(
    correct: Sequence[Booleans], female: Booleans, units: Units, resamples: int, seed: int = SEED
) -> Means:
    """Draw people, the same for all candidates, and for each candidate seeds; `correct` as in `Means`.

    A resample draws as many people as there are, with replacement, and from each candidate's seeds as many as it has,
    independently. So the draws contain chance in the sample and in training. Few seeds say little about training: their
    deviations are stretched by sqrt(n / (n - 1)), without which n draws from n seeds vary too little, and by Student's
    quantile over the normal one. In simulations with two to five seeds, 95 % intervals of a difference cover slightly
    more than 95 %. With one seed the draws contain chance in the sample alone: they cannot tell whether another run of
    training would have done as well.
    """
    count = count_units(units)
    labels = np.stack([female, ~female])
    # A balanced accuracy needs only these sums of each person, so the resamples weigh people, not rows.
    totals = np.stack([np.bincount(units, rows, count) for rows in labels])
    right = [np.bincount(units, one & rows, count) for runs in correct for one in runs for rows in labels]
    sums = np.stack([*totals, *right]).astype(np.float64).T

    def balanced_accuracies(weights: Numbers) -> dict[str, Numbers]:
        summed = (weights @ sums).reshape(len(weights), -1, len(labels))
        recalls = ratio(summed[:, 1:], summed[:, :1])
        return {str(run): values for run, values in enumerate(recalls.mean(axis=2).T)}

    people = np.arange(count)
    values = np.array([value[0] for value in balanced_accuracies(np.ones((1, count))).values()])
    drawn = np.array(list(bootstrap(people, balanced_accuracies, resamples, seed).values()))
    ends = np.cumsum([len(runs) for runs in correct])[:-1]
    rng = np.random.default_rng([seed, 1])  # another stream than that of the people
    absent = absent_labels(female)
    runs = [_draw_seeds(one, rng) for one in np.split(drawn, ends)]
    return Means(
        correct=correct,
        units=units,
        by_seed=np.split(values, ends),
        draws=np.stack([mean for mean, _ in runs]),
        luck=np.stack([luck for _, luck in runs]),
        remark=f"There is no {' and no '.join(absent)} image in test." if absent else None,
    )


def _draw_seeds(draws: Numbers, rng: np.random.Generator) -> tuple[Numbers, Numbers]:
    """(seeds, resamples) -> (resamples,) means over all seeds, and how far means over as many drawn seeds are off."""
    mean, (seeds, resamples) = draws.mean(axis=0), draws.shape
    if seeds == 1:
        return mean, np.zeros(resamples)
    picked = np.take_along_axis(draws, rng.integers(seeds, size=(seeds, resamples)), axis=0).mean(axis=0)
    return mean, np.sqrt(seeds / (seeds - 1)) * (picked - mean)


def _widening(freedom: int) -> float:
    """Student's 97.5 % quantile over the normal one."""
    return float(stats.t.ppf(0.975, freedom) / stats.norm.ppf(0.975)) if freedom else 1.0


def _p_value(value: float, draws: Numbers, units: int) -> float:
    """Two-sided: the level at which the interval of `estimate` would begin to leave out 0; at least 2 units."""
    if abs(value) < 1e-12:
        return 1.0  # equals, whatever the draws are
    beyond = int(min((draws <= 0).sum(), (draws >= 0).sum()))
    shrink = np.sqrt((units - 1) / units)  # the interval is widened for few people; so is the tail
    tail = stats.t.cdf(shrink * stats.norm.ppf((beyond + 1) / (len(draws) + 1)), units - 1)
    if not beyond and (spread := draws.std()) > 0:  # so far out that a count of draws says too little for many pairs
        tail = min(tail, stats.t.cdf(-shrink * abs(value) / spread, units - 1))
    return float(min(1.0, 2 * tail))


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
