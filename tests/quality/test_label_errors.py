"""Probabilities of labels, against numbers worked out by hand and wrong labels planted in Gaussian evidence."""

import numpy as np
import pytest
from scipy.special import logit

from gender_cls.quality import label_errors
from gender_cls.quality.label_errors import intraclass_correlation, person_evidence, right_probabilities


def test_the_correlation_of_one_persons_images_worked_out_by_hand() -> None:
    """Within: 1 + 1 = 2 over 2 degrees of freedom; between: 2 (9 + 9) = 36 over 1, so (36 - 1) / 2 to 1."""
    values, people = np.array([2.0, 4, 8, 10]), np.array([0, 0, 1, 1])
    within, between = (1 + 1 + 1 + 1) / 2, 2 * (9 + 9) / 1
    expected = (between - within) / 2 / ((between - within) / 2 + within)
    assert intraclass_correlation(values, people, np.zeros(4, dtype=int)) == pytest.approx(expected)
    twice, cells = np.tile(values, 2) + np.repeat([0, 50], 4), np.repeat([0, 1], 4)
    apart = intraclass_correlation(twice, np.concatenate([people, people + 2]), cells)
    assert apart == pytest.approx(expected)  # a difference between cells says nothing about people
    assert intraclass_correlation(values, np.arange(4), np.zeros(4, dtype=int)) == 1  # nobody has two images


@pytest.mark.parametrize("correlation", [0.0, 0.3, 0.9])
def test_the_correlation_is_found_where_it_is_planted(correlation: float) -> None:
    rng = np.random.default_rng(0)
    people = np.repeat(np.arange(2000), rng.integers(1, 6, 2000))
    values = np.sqrt(correlation) * rng.normal(size=2000)[people]
    values += np.sqrt(1 - correlation) * rng.normal(size=len(people)) + 3 * (people % 4)
    assert intraclass_correlation(values, people, people % 4) == pytest.approx(correlation, abs=0.04)


def test_images_of_one_person_count_by_their_correlation() -> None:
    log_odds, people = np.array([1.0, 2, 3, -4]), np.array([0, 0, 0, 1])
    for correlation, first in ((0.0, 6.0), (1.0, 2.0), (0.5, 2 * 3 / 2)):
        assert person_evidence(log_odds, people, correlation) == pytest.approx([first, -4])


def town(wrong: list[float], shares: list[float], seed: int = 0, people: int = 400) -> tuple[np.ndarray, ...]:
    """Evidence whose log-odds are exact, labels of which a share is wrong, and one image of each person, by place."""
    rng = np.random.default_rng(seed)
    places = np.repeat(np.arange(len(wrong)), people)
    truth = rng.random(len(places)) < np.array(shares)[places]
    evidence = rng.normal(np.where(truth, 2, -2), 2)  # the log-odds of N(2, 2) against N(-2, 2) are the value itself
    false = rng.random(len(places)) < np.array(wrong)[places]
    return evidence, truth ^ false, false, places


def test_the_probabilities_are_those_of_a_judge_who_knows_the_rates() -> None:
    wrong, shares = [0.3, 0.02, 0.1], [0.5, 0.9, 0.3]
    evidence, second, false, places = town(wrong, shares, people=3000)
    odds = np.where(second, 1, -1) * (evidence + logit(shares)[places]) - logit(wrong)[places]
    found = right_probabilities(evidence, second, np.arange(len(places)), places)
    np.testing.assert_allclose(found, 1 / (1 + np.exp(-odds)), atol=0.12)
    for low, high in ((0.0, 0.2), (0.4, 0.6), (0.8, 1.0)):
        chosen = (found >= low) & (found <= high)
        assert false[chosen].mean() == pytest.approx(1 - found[chosen].mean(), abs=0.05)


@pytest.mark.parametrize("scale", [0.3, 3.0])
def test_a_judge_too_modest_or_too_certain_is_put_right(scale: float) -> None:
    evidence, second, _, places = town([0.2, 0.03], [0.5, 0.6])
    people = np.arange(len(places))
    expected = right_probabilities(evidence, second, people, places)
    np.testing.assert_allclose(right_probabilities(scale * evidence, second, people, places), expected, atol=0.001)


def test_evidence_that_says_nothing_makes_no_label_suspect() -> None:
    people = np.arange(60)
    for second in (people % 2 == 0, people < 60):
        assert (right_probabilities(np.zeros(60), second, people, people % 3) > 0.5).all()


def test_a_few_people_do_not_make_a_place_notorious() -> None:
    """Four of ten contradict their label in the second place; with 40 times as many people this is its rate."""
    evidence, second, _, places = town([0.05], [0.5])
    labels = np.arange(10) % 2 == 0
    agreement = np.where(np.arange(10) < 4, -2, 2)
    few, many = (
        right_probabilities(
            np.concatenate([evidence, np.tile(np.where(labels, 1, -1) * agreement, times)]),
            np.concatenate([second, np.tile(labels, times)]),
            np.arange(len(evidence) + 10 * times),
            np.concatenate([places, np.ones(10 * times, dtype=int)]),
        )[len(evidence)]
        for times in (1, 40)
    )
    assert few > 2 * many


def test_a_person_seen_in_two_places_has_half_of_the_rates_of_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(label_errors, "MOST_ITERATIONS", 1)  # the rates are still those of the start
    right = right_probabilities(
        np.zeros(5),
        np.array([True, True, True, False, True]),
        np.array([0, 1, 2, 3, 4, 4]),
        np.array([0, 0, 1, 1, 0, 1]),
    )
    # By place 2.5 people: all of the first are of the second class, so (2.5 + 1) / (2.5 + 2); of the other 1.5 are.
    shares = logit(np.array([3.5, 2.5]) / 4.5)
    odds = np.array([shares[0], shares[0], shares[1], -shares[1], shares.mean()]) + np.log(19)
    assert right == pytest.approx(1 / (1 + np.exp(-odds)))
