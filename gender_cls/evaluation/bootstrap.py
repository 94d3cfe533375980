"""Intervals by a bootstrap over people.

Images of one person are not independent. So people are drawn, each with all images: in each sample every person gets a
random weight (the Bayesian bootstrap, Rubin 1981), so that no sample is without a label of which few people have it.
The interval of a share follows from the variance of the samples (`share_interval.py`). That of a loss or another mean
is an expanded percentile interval (Hesterberg 2015), because a plain one is too narrow for few people.
`tests/evaluation/test_interval_coverage.py` counts how often they contain the truth.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import ndtr, stdtrit

from gender_cls.evaluation.estimate import Estimate, undefined
from gender_cls.evaluation.share_interval import CONFIDENCE, share_interval

RESAMPLES = 10_000
SEED = 0  # the same predictions give the same intervals
WEIGHTS_AT_ONCE = 2**19  # limit on resamples times rows in memory; a statistic makes a few arrays of that size
ONE_PERSON = "No interval: there is only one person or image to draw from."
SAME = 1e-12  # draws that differ by less differ by rounding only
BIASED_UPWARD = frozenset({"ece"})
"""Last words of the names of sums of absolute differences. Noise raises them: their draws exceed the value as the value
exceeds the truth."""

Booleans = NDArray[np.bool_]
Numbers = NDArray[np.float64]
Units = NDArray[np.intp]
"""(rows,) the unit that the bootstrap draws for each row, as a code from 0 without a gap; see `bootstrap_units`."""
Statistics = Callable[[Numbers], Mapping[str, Numbers]]
"""Weights (resamples, rows), how much each row counts -> name -> (resamples,) values, NaN where undefined."""
Shares = Mapping[str, tuple[int, ...]]
"""Which statistics are shares, and of how many people; the mean of two shares has two numbers (see `count_people`)."""


def ratio(numerator: Numbers, denominator: Numbers) -> Numbers:
    """The quotient, NaN where the denominator is 0."""
    empty = np.full(np.broadcast_shapes(np.shape(numerator), np.shape(denominator)), np.nan)
    return np.divide(numerator, denominator, out=empty, where=np.asarray(denominator) != 0)


def bootstrap_units(table: pd.DataFrame) -> Units:
    """The unit of each row: the person; if `identity` is "", the `group`; without one, the image."""
    unit = "image " + pd.Series(np.arange(len(table)).astype(str), index=table.index)
    for column in ("group", "identity"):
        if column in table:
            unit = unit.mask(table[column] != "", column + " " + table[column].astype(str))
    return pd.factorize(unit)[0]


def count_units(units: Units) -> int:
    """The number of different units."""
    return int(units.max(initial=-1)) + 1


def count_people(units: Units, *rows: Booleans) -> tuple[int, ...]:
    """For each (rows,) choice of rows, the number of different units in it."""
    return tuple(len(np.unique(units[chosen])) for chosen in rows)


def bootstrap(units: Units, statistics: Statistics, resamples: int = RESAMPLES, seed: int = SEED) -> dict[str, Numbers]:
    """Statistics of random samples of units: name -> (resamples,).

    The same units and seed give the same samples, so that two calls are paired. `statistics` is called with some of the
    resamples at a time.
    """
    chunk = max(1, WEIGHTS_AT_ONCE // max(1, len(units)))
    # Not the stream of default_rng(seed), from which tests simulate the data themselves.
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(1,)))
    parts = [
        statistics(_draw(rng, min(chunk, resamples - start), count_units(units))[:, units])
        for start in range(0, resamples, chunk)
    ]
    return {name: np.concatenate([part[name] for part in parts]) for name in (parts[0] if parts else ())}


def _draw(rng: np.random.Generator, resamples: int, units: int) -> Numbers:
    """(resamples, units): the weight of each unit in each sample, 1 on average."""
    weights = rng.standard_exponential((resamples, units))
    return weights * (units / weights.sum(axis=1, keepdims=True)) if units else weights


def estimate(
    value: float, draws: Numbers, units: int, remark: str | None = None, share_of: Sequence[int] = ()
) -> Estimate:
    """A value with its interval: that of a share, or else the expanded percentile interval.

    There is no interval with fewer than two units.

    Args:
        value: NaN if undefined.
        draws: (resamples,) of the bootstrap; finite if the value is.
        units: how many were drawn from.
        remark: why the value is undefined; ignored if it is defined.
        share_of: of how many people it is a share, see `Shares`.
    """
    if not np.isfinite(value):
        return undefined(remark or "It is not defined for these images.")
    found = Estimate(value=float(value), low=None, high=None, remark=None)
    people = [number for number in share_of if number]
    if units < 2 or (people and sum(people) < 2):
        found["remark"] = ONE_PERSON
    elif people:
        found["low"], found["high"] = share_interval(float(value), people_variance(draws, people), people)
    elif len(draws):
        found["low"], found["high"] = (float(bound) for bound in np.quantile(draws, _tails(units)))
        if np.ptp(draws) < SAME:
            found["remark"] = "All resamples give the same value: the interval has no width."
    return found


def people_variance(draws: Numbers, people: Sequence[int]) -> float:
    """The variance of a share by the chance in the people drawn: random weights give k / (k + 1) of it, of k people."""
    each = len(people) / sum(1 / number for number in people)
    return float(draws.var()) * (each + 1) / each


def _tails(units: int) -> tuple[float, float]:
    """The quantiles at which the percentile interval of a mean is as wide as Student's (Hesterberg 2015)."""
    bound = np.sqrt((units + 1) / (units - 1)) * stdtrit(units - 1, (1 - CONFIDENCE) / 2)
    return float(ndtr(bound)), float(ndtr(-bound))


@dataclass(frozen=True)
class Sampled:
    """Statistics of the rows as they are, and of random samples of their units; all of them are paired."""

    values: dict[str, float]  # NaN if undefined
    draws: dict[str, Numbers]  # (resamples,)
    units: int  # how many were drawn from
    remarks: Mapping[str, str]  # why a value is undefined, if it is
    shares: Shares

    def of(self, name: str) -> Estimate:
        """The statistic with its interval."""
        value, share_of = self.values[name], self.shares.get(name, ())
        found = estimate(value, self.draws[name], self.units, self.remarks.get(name), share_of)
        if is_biased_upward(name) and found["high"] is not None:
            # The high end is that of the percentiles, which allows for a bias as large as that of the draws; the low
            # end is that of the basic interval, its mirror image, which allows for none (Davison & Hinkley 1997,
            # equation 5.6). With few images, or if the true error is nearly 0, the interval lies too high.
            found["low"] = max(0.0, 2 * value - found["high"])
        return found


def is_biased_upward(name: str) -> bool:
    """Whether noise raises the statistic of that name."""
    return name.split(" ")[-1] in BIASED_UPWARD


def sample(
    units: Units,
    statistics: Statistics,
    resamples: int = RESAMPLES,
    remarks: Mapping[str, str] = {},
    seed: int = SEED,
    shares: Shares | None = None,
) -> Sampled:
    """All statistics with their draws; the arguments are those of `estimates`."""
    values = {name: float(value[0]) for name, value in statistics(np.ones((1, len(units)))).items()}
    return Sampled(values, bootstrap(units, statistics, resamples, seed), count_units(units), remarks, shares or {})


def estimates(
    units: Units,
    statistics: Statistics,
    resamples: int = RESAMPLES,
    remarks: Mapping[str, str] = {},
    seed: int = SEED,
    shares: Shares | None = None,
) -> dict[str, Estimate]:
    """All statistics with their intervals; `remarks` says, by name, why a value is undefined, if it is."""
    sampled = sample(units, statistics, resamples, remarks, seed, shares)
    return {name: sampled.of(name) for name in sampled.values}
