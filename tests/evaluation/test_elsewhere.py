"""A test on other data: each shift costs what it must, and is repaired where it can be."""

import numpy as np
import pandas as pd
import pytest
from helpers.prediction_tables import letters, table_of
from helpers.shifted_tables import PEOPLE, SEPARATION, answers, concluded, drops, logits_of, result_of, said
from numpy.typing import NDArray
from scipy.special import expit
from scipy.special import logit as log_odds_of
from scipy.stats import norm
from sklearn import metrics as sklearn_metrics

from gender_cls.config.data import Balance
from gender_cls.config.evaluation import Adapt
from gender_cls.evaluation.elsewhere_schema import COMPARED_SCORES
from gender_cls.evaluation.estimate import is_above_0


def test_the_same_answers_lose_nothing() -> None:
    found = result_of(answers())
    assert drops(found) == pytest.approx(dict.fromkeys(COMPARED_SCORES, 0), abs=1e-12)
    for score in found["scores"].values():
        assert score["drop"]["low"] < 0 < score["drop"]["high"]
    assert found["share_of_labels"]["from_answers"]["value"] == pytest.approx(0.5, abs=1e-6)
    assert found["share_of_labels"]["home_from_answers"]["value"] == pytest.approx(0.5, abs=1e-6)
    assert not said(found, "At home they suggest")
    assert found["adapted"][0]["difference"]["log_loss"]["value"] == pytest.approx(0, abs=1e-6)
    assert said(found, "Neither a gain nor a drop is shown")


def test_a_shift_of_all_logits_costs_the_threshold_and_leaves_the_ranking() -> None:
    found = result_of(answers(added=1.5))
    moved = 1.5 / 2 / SEPARATION  # of x, whose best threshold is 0
    at_half = (norm.cdf(SEPARATION + moved) + norm.cdf(SEPARATION - moved)) / 2
    best, lost = found["threshold"]["best"], found["threshold"]["below_best"]
    assert found["ranking"]["auroc"]["drop"]["value"] == pytest.approx(0, abs=1e-12)
    assert found["scores"]["balanced_accuracy"]["here"]["value"] == pytest.approx(at_half, abs=2e-3)
    assert best["value"] == pytest.approx(norm.cdf(SEPARATION), abs=2e-3)
    assert lost["value"] == pytest.approx(norm.cdf(SEPARATION) - at_half, abs=4e-3)
    assert is_above_0(lost)
    assert found["threshold"]["best_threshold"] == pytest.approx(expit(1.5), abs=0.03)
    assert said(found, "The threshold does not fit here")
    assert said(found, "Images are not shown to be ordered worse here")


def test_another_temperature_costs_calibration_only() -> None:
    found = result_of(answers(times=3.0))
    lost = drops(found)
    for score in ("balanced_accuracy", "macro_f1", "accuracy", "auroc"):
        assert lost[score] == pytest.approx(0, abs=1e-12), score
    logits = 3 * logits_of(np.ones(PEOPLE, dtype=bool))  # by symmetry MALE is alike
    assert found["scores"]["log_loss"]["here"]["value"] == pytest.approx(np.logaddexp(0, -logits).mean(), rel=0.02)
    for score in ("log_loss", "ece"):
        assert is_above_0(found["scores"][score]["drop"])
    assert found["threshold"]["below_best"]["low"] == 0
    assert said(found, "Probabilities are worse here")
    assert said(found, "The threshold is not shown to cost anything here")


def test_another_share_of_labels_costs_no_recall_and_is_repaired_as_if_the_share_were_known() -> None:
    table = answers(share=0.8)
    found = result_of(table)
    lost, share = drops(found), found["share_of_labels"]
    for score in ("balanced_accuracy", "auroc"):
        assert lost[score] == pytest.approx(0, abs=2e-3), score
    assert is_above_0(found["scores"]["ece"]["drop"])
    assert share["trained_on"] == share["prior"] == 0.5
    assert share["here"]["value"] == 0.8
    assert share["from_answers"]["value"] == pytest.approx(0.8, abs=2e-3)
    assert share["from_answers"]["low"] < 0.8 < share["from_answers"]["high"]

    [adapted] = found["adapted"]
    female = (table["label"] == "FEMALE").to_numpy()
    known = expit(log_odds_of(table["p_FEMALE"]) + log_odds_of(0.8))
    assert adapted["scores"]["log_loss"]["value"] == pytest.approx(sklearn_metrics.log_loss(female, known), abs=2e-3)
    assert adapted["scores"]["accuracy"]["value"] == pytest.approx(np.mean((known >= 0.5) == female), abs=2e-3)
    assert is_above_0(adapted["difference"]["accuracy"])
    for score in ("log_loss", "ece"):
        assert adapted["difference"][score]["high"] < 0
    assert adapted["difference"]["auroc"] == {
        **{"value": 0.0, "low": 0.0, "high": 0.0},
        "remark": "Re-weighing keeps the order of images.",
    }
    assert adapted["scores"]["auroc"] == found["ranking"]["auroc"]["here"]
    assert adapted["scores"]["ece"]["value"] < found["scores"]["ece"]["here"]["value"] / 2
    assert "better in accuracy and log loss" in adapted["sentence"]


def test_noise_costs_the_ranking_and_nothing_repairs_it() -> None:
    found = result_of(answers(noise=4.0))
    auroc = norm.cdf(SEPARATION * np.sqrt(2) / np.sqrt(1 + (4 / 2) ** 2))  # x gets a variance of 1 + (4 / 2)^2
    assert found["ranking"]["auroc"]["here"]["value"] == pytest.approx(auroc, abs=0.02)
    assert is_above_0(found["ranking"]["auroc"]["drop"])
    assert found["threshold"]["best"]["high"] < found["threshold"]["balanced_accuracy"]["home"]["low"]
    assert found["threshold"]["below_best"]["low"] == 0
    [adapted] = found["adapted"]
    for score in ("balanced_accuracy", "macro_f1", "accuracy"):
        assert not is_above_0(adapted["difference"][score]), score
    assert found["share_of_labels"]["from_answers"]["value"] == pytest.approx(0.5, abs=0.05)
    assert said(found, "Images are ordered worse here")


def test_what_was_lost_in_batchnorm_comes_back_with_it_and_prior_cannot() -> None:
    home, here = answers(), answers(noise=3.0, added=1.0)
    found = result_of(here, adapt=[Adapt.batchnorm, Adapt.prior], batchnorm=home[["p_FEMALE", "p_MALE"]])
    batchnorm, prior = found["adapted"]
    assert [batchnorm["method"], prior["method"]] == ["batchnorm", "prior"]
    for score, one in found["scores"].items():
        assert batchnorm["scores"][score]["value"] == pytest.approx(one["home"]["value"], abs=1e-12)
        change = one["home"]["value"] - one["here"]["value"]
        assert batchnorm["difference"][score]["value"] == pytest.approx(change, abs=1e-12)
        gained = batchnorm["difference"][score]
        assert gained["high"] < 0 if score in ("log_loss", "ece") else is_above_0(gained)
    assert "better in balanced accuracy, accuracy, AUROC and log loss" in batchnorm["sentence"]
    assert prior["difference"]["balanced_accuracy"]["high"] < batchnorm["difference"]["balanced_accuracy"]["low"]


@pytest.mark.parametrize("adapt", [Adapt.batchnorm, Adapt.prior])
def test_numbers_agree_with_scikit_learn(adapt: Adapt) -> None:
    rng = np.random.default_rng(5)
    female = rng.random(300) < 0.7
    logits, other = (rng.normal(np.where(female, 1.2, -0.3), 1.5) for _ in range(2))
    here = table_of(letters(female), expit(logits), images_each=2).assign(split="test")
    pair = pd.DataFrame({"p_FEMALE": expit(other), "p_MALE": expit(-other)})
    found = result_of(here, adapt=[adapt], batchnorm=pair)
    temperature = fitted_temperature()
    plain, adapted = logits / temperature, other / temperature
    if adapt is Adapt.prior:
        adapted = plain + log_odds_of(share_by_em(expit(plain), 0.5))
    for name, (p, scores) in {
        "here": (expit(plain), {score: one["here"] for score, one in found["scores"].items()}),
        "adapted": (expit(adapted), found["adapted"][0]["scores"]),
    }.items():
        expected = {
            "balanced_accuracy": sklearn_metrics.balanced_accuracy_score(female, p >= 0.5),
            "macro_f1": sklearn_metrics.f1_score(female, p >= 0.5, average="macro"),
            "accuracy": sklearn_metrics.accuracy_score(female, p >= 0.5),
            "auroc": sklearn_metrics.roc_auc_score(female, p),
            "log_loss": sklearn_metrics.log_loss(female, p),
            "ece": calibration_error(female, p),
        }
        assert {score: one["value"] for score, one in scores.items()} == pytest.approx(expected, abs=1e-9), name
        if name == "adapted":
            for score, one in found["adapted"][0]["difference"].items():
                change = expected[score] - found["scores"][score]["here"]["value"]
                assert one["value"] == pytest.approx(change, abs=1e-9)
    thresholds = np.unique(expit(plain))
    best = max(sklearn_metrics.balanced_accuracy_score(female, expit(plain) >= one) for one in thresholds)
    assert found["threshold"]["best"]["value"] == pytest.approx(best, abs=1e-12)
    at_best = expit(plain) >= found["threshold"]["best_threshold"]
    assert sklearn_metrics.balanced_accuracy_score(female, at_best) == pytest.approx(best, abs=1e-12)
    assert found["calibration"]["mean_probability"]["value"] == pytest.approx(expit(plain).mean(), abs=1e-12)


def fitted_temperature() -> float:
    return concluded(answers(), 10)["calibration"]["temperature"]


def share_by_em(p_female: NDArray[np.float64], prior: float) -> float:
    """As Saerens et al. write it: posteriors by the share, the share by their mean, over and over."""
    share = prior
    for _ in range(100_000):
        female, male = p_female * share / prior, (1 - p_female) * (1 - share) / (1 - prior)
        new = float(np.mean(female / (female + male)))
        if abs(new - share) < 1e-15:
            break
        share = new
    return share


def calibration_error(female: NDArray[np.bool_], p_female: NDArray[np.float64]) -> float:
    bins = np.minimum((p_female * 15).astype(int), 14)
    return sum(abs((p_female - female)[bins == one].sum()) for one in range(15)) / len(female)


def test_the_best_of_thresholds_that_are_all_worthless_is_not_shown_to_gain() -> None:
    reach = {}
    for people in (20, 200):
        table = table_of("FM" * (people // 2), np.random.default_rng(0).random(people)).assign(split="test")
        found = result_of(table)["threshold"]
        assert found["below_best"]["value"] > 0
        assert found["below_best"]["low"] == 0
        reach[people] = found["best"]["value"] - found["best"]["low"]
    assert reach[20] > 1.5 * reach[200]


def test_the_scores_of_both_files_are_taken_over_as_they_are() -> None:
    home = answers(share=0.4)
    found = result_of(answers(added=1.0), home=home)
    own = concluded(home, 200)
    assert found["scores"]["auroc"]["home"] == own["test"]["scores"]["auroc"]
    assert found["scores"]["log_loss"]["home"] == own["calibration"]["after"]["log_loss"]
    assert found["threshold"]["balanced_accuracy"]["home"] == own["operating_point"]["test"]["balanced_accuracy"]
    assert found["share_of_labels"]["home"]["value"] == 0.4


def test_a_share_that_is_wrong_at_home_is_said_to_be() -> None:
    home = answers(added=2.0)
    found = result_of(answers(added=2.0), home=home)
    share = found["share_of_labels"]
    assert share["home_from_answers"]["value"] == share["from_answers"]["value"]
    assert share["home_from_answers"]["low"] > 0.5
    assert said(found, "At home they suggest")


def test_a_balanced_training_has_another_prior_than_its_labels() -> None:
    train = pd.DataFrame({"label": ["FEMALE", *["MALE"] * 3], "source": "a"})
    found = result_of(answers(share=0.8), train=train, balance=Balance.sampler)
    share = found["share_of_labels"]
    assert (share["trained_on"], share["prior"]) == (0.25, 0.5)
    assert share["from_answers"]["value"] == pytest.approx(0.8, abs=2e-3)
    assert said(found, "against 25\u202f% in training, which the run weighed as 50\u202f%")
