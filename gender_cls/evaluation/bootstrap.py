"""Intervals by a bootstrap over people.

Images of one person are not independent. So people are drawn, each with all images (Davison & Hinkley 1997, section
3.8). The intervals are expanded percentile intervals (Hesterberg 2015), because plain ones are too narrow for few
people. `tests/evaluation/test_interval_coverage.py` counts how often they contain the truth.
"""

from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from gender_cls.evaluation.estimate import Estimate, undefined

RESAMPLES = 10_000
SEED = 0  # the same predictions give the same intervals
CONFIDENCE = 0.95
WEIGHTS_AT_ONCE = 2**19  # limit on resamples times rows in memory; a statistic makes a few arrays of that size
MOST_UNDEFINED = 0.05  # a statistic with an interval may be undefined in this share of the resamples
SAME = 1e-12  # draws that differ by less differ by rounding only
LOSSES = ("brier", "log_loss")
BIASED_UPWARD = frozenset({"ece"})
"""Last words of the names of sums of absolute differences. Noise raises them: their draws exceed the value as the value
exceeds the truth."""

Booleans = NDArray[np.bool_]
Numbers = NDArray[np.float64]
Units = NDArray[np.intp]
"""(rows,) the unit that the bootstrap draws for each row, as a code from 0 without a gap; see `bootstrap_units`."""
Statistics = Callable[[Numbers], Mapping[str, Numbers]]
"""Weights (resamples, rows), how often each row counts -> name -> (resamples,) values, NaN where undefined."""


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


def bootstrap(units: Units, statistics: Statistics, resamples: int = RESAMPLES, seed: int = SEED) -> dict[str, Numbers]:
    """Statistics of random samples of as many units, drawn with replacement: name -> (resamples,).

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
    """(resamples, units): how often each unit is in each sample."""
    if not units:
        return np.zeros((resamples, 0))
    picks = rng.integers(units, size=(resamples, units))  # int64, so that chunks of any size give the same draws
    picks += np.arange(resamples)[:, None] * units
    return np.bincount(picks.ravel(), minlength=resamples * units).reshape(resamples, units).astype(np.float64)


def estimate(value: float, draws: Numbers, units: int, remark: str | None = None, *, is_share: bool = True) -> Estimate:
    """A value with its expanded percentile interval.

    There is no interval with fewer than two units, or if more than 5 % of the draws are undefined. A share of 0 or 1 is
    the same in every resample; its interval is that of Clopper & Pearson (1934) for as many units.

    Args:
        value: NaN if undefined.
        draws: (resamples,) of the bootstrap; NaN are left out.
        units: how many were drawn from.
        remark: why the value is undefined; ignored if it is defined.
        is_share: whether it lies between 0 and 1, and all cases agree at 0 and at 1.
    """
    if not np.isfinite(value):
        return undefined(remark or "It is not defined for these images.")
    found = Estimate(value=float(value), low=None, high=None, remark=None)
    defined = draws[np.isfinite(draws)]
    if units < 2:
        found["remark"] = "No interval: there is only one person or image to draw from."
    elif len(defined) < max(1, (1 - MOST_UNDEFINED) * len(draws)):
        found["remark"] = f"No interval: it is undefined in {len(draws) - len(defined):,} of {len(draws):,} resamples."
    else:
        found["low"], found["high"] = (float(bound) for bound in np.quantile(defined, _tails(units)))
        if np.ptp(defined) < SAME:
            found["remark"] = "All resamples give the same value: the interval has no width."
            if is_share and found["value"] in (0, 1):
                beyond = 1 - ((1 - CONFIDENCE) / 2) ** (1 / units)
                found["low"], found["high"] = (0.0, beyond) if found["value"] == 0 else (1 - beyond, 1.0)
                found["remark"] = "All agree: the interval is Clopper and Pearson's for as many people."
    return found


def _tails(units: int) -> tuple[float, float]:
    """The quantiles at which the percentile interval of a mean is as wide as Student's (Hesterberg 2015)."""
    bound = np.sqrt(units / (units - 1)) * stats.t.ppf((1 - CONFIDENCE) / 2, units - 1)
    return float(stats.norm.cdf(bound)), float(stats.norm.cdf(-bound))


def estimates(
    units: Units,
    statistics: Statistics,
    resamples: int = RESAMPLES,
    remarks: Mapping[str, str] = {},
    seed: int = SEED,
) -> dict[str, Estimate]:
    """All statistics with their intervals; `remarks` says, by name, why a value is undefined, if it is."""
    values = statistics(np.ones((1, len(units))))
    draws = bootstrap(units, statistics, resamples, seed)
    result = {}
    for name, value in values.items():
        score = name.split(" ")[-1]
        is_share = score not in LOSSES and score not in BIASED_UPWARD
        found = estimate(value[0], draws[name], count_units(units), remarks.get(name), is_share=is_share)
        if score in BIASED_UPWARD and found["high"] is not None:
            # The high end is that of the percentiles, which allows for a bias as large as that of the draws; the low
            # end is that of the basic interval, its mirror image, which allows for none (Davison & Hinkley 1997,
            # equation 5.6). With few images, or if the true error is nearly 0, the interval lies too high.
            found["low"] = max(0.0, 2 * float(value[0]) - found["high"])
        result[name] = found
    return result
