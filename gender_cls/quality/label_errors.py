"""How probable it is that the label of a person is right, from all images of the person and all labels of the place."""

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

# What all places show counts as much as this many people of the place itself. So the error rate of a place with a few
# dozen people is mostly its own, and one with a handful of people cannot look much worse than the rest.
PRIOR_PEOPLE = 20
FIRST_ERROR_RATE = 0.05  # where the iteration starts
MOST_ITERATIONS = 200
LARGEST_CHANGE = 1e-6  # of any probability, at which the iteration ends


def intraclass_correlation(values: NDArray[np.float64], people: NDArray[np.intp], cells: NDArray[np.intp]) -> float:
    """How much the images of one person resemble each other more than those of others in the same cell, 0 to 1.

    The estimator from the analysis of variance (Donner, "A review of inference procedures for the intraclass
    correlation coefficient in the one-way random effects model", International Statistical Review 1986).

    Args:
        values: (n,) of the images.
        people: (n,) number of the person, from 0.
        cells: (n,) number of the cell, from 0; differences between cells do not count.

    Returns:
        1 if no person has several images, because nothing is known about it then.
    """
    images, parts = np.bincount(people), np.unique(cells)
    person_mean = (np.bincount(people, values) / images)[people]
    cell_mean = (np.bincount(cells, values) / np.maximum(np.bincount(cells), 1))[cells]
    free_within, free_between = len(values) - len(images), len(images) - len(parts)
    if free_within == 0 or free_between <= 0:
        return 1.0
    within = np.square(values - person_mean).sum() / free_within
    between = np.square(person_mean - cell_mean).sum() / free_between
    typical = (len(values) - np.square(images).sum() / len(values)) / (len(images) - 1)  # images of a person
    variance = max(0.0, between - within) / typical
    return float(variance / (variance + within)) if variance + within > 0 else 1.0


def person_evidence(log_odds: NDArray[np.float64], people: NDArray[np.intp], correlation: float) -> NDArray[np.float64]:
    """The log-odds of each person from all images: (people,).

    Their mean, times n / (1 + (n - 1) correlation) for n images that are not independent.

    Args:
        log_odds: (n,) of the images.
        people: (n,) number of the person, from 0.
    """
    images = np.bincount(people)
    evidence: NDArray[np.float64] = np.bincount(people, log_odds) / (1 + (images - 1) * correlation)
    return evidence


def right_probabilities(
    evidence: NDArray[np.float64], second: NDArray[np.bool_], people: NDArray[np.intp], places: NDArray[np.intp]
) -> NDArray[np.float64]:
    """The probability that the label of each person is right: (people,).

    Learned from the evidence itself, by expectation maximisation: for each place, the share of its labels that are
    wrong, as for the observers of Dawid and Skene ("Maximum likelihood estimation of observer error-rates using the EM
    algorithm", Applied Statistics 1979), and the true share of the second class, as in Saerens, Latinne, Decaestecker
    ("Adjusting the outputs of a classifier to new a priori probabilities", Neural Computation 2002). And for all people
    together, how far the evidence can be trusted: a slope, because a strongly regularised classifier is too modest
    (the logistic regression with wrong labels of Bootkrajang and Kaban, "Label-noise robust logistic regression and its
    applications", ECML PKDD 2012). So a label is suspected sooner where others are wrong too, and where it is rare.

    Args:
        evidence: (people,) log-odds of the second class against the first, at equal shares.
        second: (people,) whether the label is the second class.
        people: (n,) number of each image's person, from 0; one person may be seen in several places.
        places: (n,) number of each image's place, from 0.
    """
    weight = 1 / np.bincount(people)[people]  # a person counts once, however many images there are
    total = np.bincount(places, weight)

    def share(values: NDArray[np.float64], prior: float, prior_people: float) -> NDArray[np.float64]:
        """The mean of the people's values by place, as if so many more people had the prior value."""
        found = np.bincount(places, weight * values[people])
        return np.asarray((found + prior_people * prior) / (total + prior_people), dtype=np.float64)

    def of_people(by_place: NDArray[np.float64]) -> NDArray[np.float64]:
        """The mean log-odds of the places of each person."""
        return np.asarray(np.bincount(people, weight * logit(by_place)[places]), dtype=np.float64)

    sign = np.where(second, 1, -1)
    error_rates, shares = np.full(len(total), FIRST_ERROR_RATE), share(second.astype(float), 0.5, 2)
    # At the start the evidence of a typical person weighs as much as the label. With less, wrong labels are believed,
    # and the slope stays too small to doubt them later.
    typical = float(np.median(np.abs(evidence)))
    slope = float(logit(1 - FIRST_ERROR_RATE)) / typical if typical > 0 else 0.0
    right = np.zeros(len(evidence))
    for _ in range(MOST_ITERATIONS):
        before, odds = right, slope * evidence + of_people(shares)
        right = expit(sign * odds - of_people(error_rates))
        if np.abs(right - before).max(initial=0) < LARGEST_CHANGE:
            break
        wrong = 1 - right
        is_second, predicted = np.where(second, right, wrong), expit(odds)
        # One Newton step, at most halving or doubling it.
        curvature = np.square(evidence) @ (predicted * (1 - predicted))
        step = evidence @ (is_second - predicted) / curvature if curvature > 0 else 0.0
        slope = float(np.clip(slope + step, slope / 2, slope * 2))
        # More than half wrong would turn the labels of the place around; systematic_errors.py looks for that.
        error_rates = np.clip(share(wrong, float(wrong.mean()), PRIOR_PEOPLE), 1e-4, 0.5)
        shares = share(is_second, 0.5, 2)
    return right
