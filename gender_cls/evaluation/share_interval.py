"""The interval of a share: one method for every score between 0 and 1, perfect scores included."""

from collections.abc import Sequence

import numpy as np
from scipy.special import stdtrit

CONFIDENCE = 0.95
ADDED = 2.0  # people added on each side, shared out among the labels


def share_interval(
    value: float, variance: float, people: Sequence[int], training: float = 0.0, training_freedom: float = 1.0
) -> tuple[float, float]:
    """Wilson's 95 % interval (1927) for the number of independent images that a share is worth.

    That number follows from the variance between people (Korn & Graubard 1998), so images of one person, which
    resemble each other, count as few. The variance is that of the people seen and of two more on each side, who are
    wholly right and wholly wrong (Agresti & Coull 1998; one of each in both labels: Agresti & Caffo 2000): without
    them, a perfect score of few people would be certain. If the chance of training joins, which is known from a few
    seeds only, Student's quantile replaces the normal one. The interval never leaves [0, 1], and
    `tests/evaluation/interval_coverage.md` says how often it holds the truth.

    Tried as well, in simulations of 10, 20 and 50 people: expanded percentiles (too narrow for good scores), a prior
    on the random weights of the bootstrap (shifted: too narrow for good scores), Jeffreys' interval in place of
    Wilson's and the two recalls' intervals combined (MOVER; both no better).

    Args:
        value: 0 to 1.
        variance: of the value, by the chance in the people drawn.
        people: how many it is a share of; the mean of two shares, such as balanced accuracy, has two numbers.
        training: the variance of the value by the chance of training.
        training_freedom: the degrees of freedom of that variance.
    """
    centre, within = _steadied(value, variance, people, ADDED)
    whole = within + training
    size = centre * (1 - centre) / whole
    bound = quantile(freedom(whole, [(training, training_freedom)]))
    shrink = 1 + bound**2 / size
    middle = (value + bound**2 / (2 * size)) / shrink
    half = bound / shrink * np.sqrt(max(0.0, value * (1 - value)) / size + (bound / (2 * size)) ** 2)
    return min(value, max(0.0, float(middle - half))), max(value, min(1.0, float(middle + half)))


def difference_variance(value: float, variance: float, people: Sequence[int]) -> float:
    """The variance of a paired difference of two shares, -1 to 1, steadied by half a person for each side.

    These are Agresti & Min's (2005): without them, two candidates that answer few people alike would be known to be
    equally good.
    """
    return 4 * _steadied((1 + value) / 2, variance / 4, people, 0.5)[1]


def freedom(variance: float, parts: Sequence[tuple[float, float]]) -> float:
    """The degrees of freedom of a variance of which only these parts were estimated (Satterthwaite 1946).

    Args:
        parts: each a variance and its degrees of freedom. What they leave of the whole counts as known.
    """
    unknown = sum(part**2 / own for part, own in parts)
    return variance**2 / unknown if unknown else np.inf


def quantile(freedom: float) -> float:
    """The 97.5 % quantile of Student's distribution; with infinite freedom that of the normal one."""
    return float(stdtrit(freedom, (1 + CONFIDENCE) / 2))


def _steadied(value: float, variance: float, people: Sequence[int], added: float) -> tuple[float, float]:
    """A share and its variance after as many people as `added` on each side joined those seen."""
    seen = len(people) ** 2 / sum(1 / number for number in people)
    whole = seen + 2 * added
    centre = (seen * value + added) / whole
    squares = seen**2 * variance + seen * (value - centre) ** 2 + added * (centre**2 + (1 - centre) ** 2)
    return centre, squares / (whole - len(people)) / seen
