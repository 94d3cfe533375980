import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from scipy.special import expit, logit

from gender_cls.config.data import Balance
from gender_cls.evaluation.prior import prior_of_training, reweighed, share_from_answers


def share_of(p_female: list[float] | NDArray[np.float64], prior: float, weights: NDArray | None = None) -> float:
    p = np.asarray(p_female, dtype=float)
    return float(share_from_answers(p, prior, np.ones((1, len(p))) if weights is None else weights[None])[0])


def test_two_kinds_of_answers_by_hand() -> None:
    """In training 9 of 10 FEMALE get 0.9 and 1 gets 0.1, MALE the other way round.

    Where 3/4 are FEMALE, 7 of 10 get 0.9, because 0.9 x 3/4 + 0.1 x 1/4 = 0.7.
    """
    assert share_of([0.9] * 7 + [0.1] * 3, 0.5) == pytest.approx(3 / 4, abs=1e-9)
    odds = np.exp(reweighed(logit(np.array([0.9, 0.1])), 0.5, 3 / 4))
    assert odds == pytest.approx([9 * 3, 3 / 9])


def test_the_share_of_training_counts_by_hand() -> None:
    """Trained on 1/4 FEMALE: 0.75 is 9 times the odds of training, 1/13 is 1/4 of them.

    Of FEMALE, f get 0.75, so that of MALE f / 9 do; and 1 - f = (1 - f / 9) / 4, so f = 27/35. With a share of 1/2,
    (27 + 3) / 70 = 3/7 of all get 0.75.
    """
    assert share_of([0.75] * 3 + [1 / 13] * 4, 0.25) == pytest.approx(1 / 2, abs=1e-9)


@pytest.mark.parametrize("share", [0.02, 0.3, 0.5, 0.95])
@pytest.mark.parametrize("prior", [0.2, 0.5, 0.7])
def test_it_is_what_the_steps_of_saerens_converge_to(share: float, prior: float) -> None:
    rng = np.random.default_rng(0)
    p = expit(2 * rng.normal(np.where(rng.random(2000) < share, 1, -1), 1) + logit(prior))
    weights, by_steps = rng.standard_exponential(2000), prior
    for _ in range(20_000):
        odds = by_steps * (1 - prior) / (1 - by_steps) / prior * p / (1 - p)
        by_steps = float(np.average(odds / (1 + odds), weights=weights))
    assert share_of(p, prior, weights) == pytest.approx(by_steps, abs=1e-9)
    assert by_steps == pytest.approx(share, abs=0.04)


def test_samples_are_searched_one_by_one() -> None:
    p = np.array([0.9, 0.8, 0.4, 0.1, 0.3])
    weights = np.random.default_rng(0).standard_exponential((50, 5)) ** 3
    together = share_from_answers(p, 0.4, weights, start=0.9)
    assert together == pytest.approx([share_of(p, 0.4, one) for one in weights], abs=1e-7)


def test_the_share_is_known_to_half_an_image() -> None:
    assert share_of([0.9, 0.8], 0.5) == pytest.approx(1 - 0.25, abs=1e-6)
    assert share_of([0.0, 0.1], 0.5) == pytest.approx(0.25, abs=1e-6)
    assert share_of([0.0, 1.0, 1.0], 0.5) == pytest.approx(2 / 3, abs=1e-9)


def test_the_prior_is_what_training_drew() -> None:
    train = pd.DataFrame({"label": ["FEMALE", "MALE", "MALE", "MALE", "FEMALE"], "source": ["a", "a", "a", "a", "b"]})
    expected = {Balance.none: 2 / 5, Balance.loss: 0.5, Balance.sampler: 0.5, Balance.source: (1 / 4 + 1) / 2}
    assert {balance: prior_of_training(train, balance) for balance in Balance} == pytest.approx(expected)
