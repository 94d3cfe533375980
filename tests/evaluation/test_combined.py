import math
from statistics import NormalDist, stdev

import numpy as np
import pandas as pd
import pytest
from helpers.prediction_tables import answered, letters, table_of
from numpy.typing import NDArray
from scipy.special import expit
from scipy.special import logit as log_odds_of

from gender_cls.config.evaluation import EvaluationConfig, OperatingPointRule
from gender_cls.evaluation.combined import CombinedRule, Member, combine, combined_answers
from gender_cls.evaluation.conclusions import draw_conclusions, with_answers
from gender_cls.evaluation.decisions import ABSTAIN, DecisionRule

BALANCED = OperatingPointRule.balanced_accuracy


def drawn(people: int, seed: int, noise: float = 1.3) -> pd.DataFrame:
    """Three images per person; networks of different seeds see the same people."""
    truth, own = np.random.default_rng(1), np.random.default_rng(seed)
    female = np.repeat(truth.random(people) < 0.4, 3)
    logits = np.where(female, 2, -2) + np.repeat(truth.normal(0, 1, people), 3) + own.normal(0, noise, 3 * people)
    return table_of(letters(female), expit(logits), images_each=3)


def member(table: pd.DataFrame, rule: DecisionRule, target_error: float = 0.05) -> Member:
    return Member(rule, table, BALANCED, target_error)


def both(p_female: list[list[float]]) -> NDArray[np.float64]:
    """(models, rows, 2) from the probabilities of FEMALE."""
    return np.stack([np.array(p_female), 1 - np.array(p_female)], axis=-1)


def test_one_model_answers_as_in_its_own_report() -> None:
    run = pd.concat([drawn(60, 2).assign(split="val"), drawn(50, 3).assign(split="test")], ignore_index=True)
    conclusions = draw_conclusions(run, run[["path"]], EvaluationConfig(target_error=0.05, resamples=20))
    written = with_answers(run, conclusions)
    combined = combine([Member.of_run(conclusions, run)])
    assert combined.rule == DecisionRule.from_metrics(conclusions)
    assert combined.remarks == []
    found = combined_answers(run[["p_FEMALE", "p_MALE"]].to_numpy()[None], combined)
    assert set(found["answer"]) == {"FEMALE", "MALE", ABSTAIN}
    for column in ("p_FEMALE", "p_MALE", "calibrated_p_FEMALE", "answer"):
        assert found[column].tolist() == written[column].tolist()  # to the last bit
    assert found["distance"].tolist() == (written["calibrated_p_FEMALE"] - combined.rule.threshold).tolist()
    assert found["spread"].isna().all()


def test_several_models_answer_with_the_mean_of_their_calibrated_logits() -> None:
    combined = CombinedRule([1.0, 2.0, 4.0], DecisionRule(0.5, 0.6, (0.3, 0.7)), None, [])
    logits = np.array([[1.0, -2.0], [2.0, -2.0], [-4.0, -8.0]])
    found = combined_answers(both(expit(logits).tolist()), combined)
    raw = [-1 / 3, -4.0]
    assert found["p_FEMALE"].tolist() == pytest.approx([1 / (1 + math.exp(-one)) for one in raw], rel=1e-14)
    assert found["p_MALE"].tolist() == pytest.approx([1 / (1 + math.exp(one)) for one in raw], rel=1e-14)
    calibrated = [(1 + 1 - 1) / 3 / 0.5, (-2 - 1 - 2) / 3 / 0.5]
    expected = [1 / (1 + math.exp(-one)) for one in calibrated]
    assert found["calibrated_p_FEMALE"].tolist() == pytest.approx(expected, rel=1e-14)
    assert found["distance"].tolist() == pytest.approx([one - 0.6 for one in expected], rel=1e-13)
    of_each = [[1, 1, -1], [-2, -1, -2]]
    spread = [stdev(1 / (1 + math.exp(-one)) for one in image) for image in of_each]
    assert found["spread"].tolist() == pytest.approx(spread, rel=1e-12)
    assert found["answer"].tolist() == [ABSTAIN, "MALE"]


def test_a_model_without_a_finite_probability_makes_the_answer_abstain() -> None:
    combined = CombinedRule([1.0, 1.0], DecisionRule(1.0, 0.5, None), None, [])
    found = combined_answers(both([[0.9, np.nan, np.inf], [0.9, 0.9, 0.1]]), combined)
    assert found["answer"].tolist() == ["FEMALE", ABSTAIN, ABSTAIN]
    numbers = found[["p_FEMALE", "p_MALE", "calibrated_p_FEMALE", "distance", "spread"]]
    assert numbers.isna().all(axis=1).tolist() == [False, True, True]
    assert combined_answers(both([[], []]), combined).shape == (0, 6)


def test_probabilities_of_0_and_1_count_as_large_logits() -> None:
    combined = CombinedRule([1.0, 1.0], DecisionRule(1.0, 0.5, None), None, [])
    found = combined_answers(both([[1.0, 1.0, 0.0], [1.0, 0.0, 0.0]]), combined)
    assert found["calibrated_p_FEMALE"].tolist() == [1.0, 0.5, pytest.approx(0.0)]
    assert found["answer"].tolist() == ["FEMALE", "FEMALE", "MALE"]


def test_the_rule_of_several_is_chosen_on_the_mean_over_validation() -> None:
    tables = [drawn(60, seed, noise=2.5) for seed in (2, 3, 4)]
    temperatures = [1.5, 2.0, 3.0]
    shuffled = [table.sample(frac=1, random_state=row).reset_index(drop=True) for row, table in enumerate(tables)]
    members = [member(table, DecisionRule(one, 0.5, None)) for table, one in zip(shuffled, temperatures, strict=True)]
    combined = combine(members)
    logits = [log_odds_of(table["p_FEMALE"].to_numpy()) / one for table, one in zip(tables, temperatures, strict=True)]
    mean = answered(tables[0], expit(np.mean(logits, axis=0)))
    in_order = combined.validation.set_index("path").loc[mean["path"]]  # type: ignore[union-attr]
    assert in_order["p_FEMALE"].tolist() == pytest.approx(mean["p_FEMALE"].tolist(), rel=1e-12)
    rows = pd.concat([mean.assign(split="val"), mean.assign(split="test")], ignore_index=True)
    as_a_run = draw_conclusions(rows, rows[["path"]], EvaluationConfig(target_error=0.05, resamples=20))
    expected = DecisionRule.from_metrics(as_a_run)
    assert expected.band is not None
    assert expected.temperature < 1  # the mean over networks is more certain than its logits say
    assert combined.rule.temperature == pytest.approx(expected.temperature, rel=1e-9)
    assert combined.rule.threshold == pytest.approx(expected.threshold, rel=1e-9)
    assert combined.rule.band == pytest.approx(expected.band, rel=1e-9)
    assert combined.temperatures == temperatures
    assert combined.whole
    assert combined.remarks == []


LOW, HIGH = DecisionRule(2.0, expit(-1.0), (expit(-3.0), expit(0.0))), DecisionRule(4.0, expit(2.0), None)


@pytest.mark.parametrize(
    "others",
    [
        Member(HIGH, drawn(60, 3).assign(path=lambda rows: "fold 2/" + rows["path"]), BALANCED, 0.05),
        Member(HIGH, drawn(60, 3).iloc[3:], BALANCED, 0.05),
        Member(HIGH, drawn(60, 3).assign(label="MALE"), BALANCED, 0.05),
        Member(HIGH, drawn(60, 3).assign(pixels="other"), BALANCED, 0.05),
        Member(HIGH, drawn(60, 3), OperatingPointRule.equal_recall, 0.05),
        Member(HIGH, drawn(60, 3), BALANCED, 0.1),
        Member(HIGH, drawn(60, 3).iloc[:0], BALANCED, 0.05),
        Member(HIGH, None),
    ],
    ids=["folds", "one person less", "labels", "pixels", "rule", "target", "no validation", "exported"],
)
def test_without_a_common_validation_the_rule_is_the_mean_of_theirs(others: Member) -> None:
    combined = combine([member(drawn(60, 2).assign(pixels="same"), LOW), others])
    assert combined.rule.temperature == 1
    assert combined.rule.threshold == pytest.approx(expit(0.5))
    assert combined.rule.band == pytest.approx((expit(-0.5), expit(1.0)))
    assert "2 models" in " ".join(combined.remarks)
    without = combine([member(drawn(60, 2), HIGH), Member(HIGH, None)])
    assert without.rule.band is None
    assert without.rule.threshold == pytest.approx(HIGH.threshold)


def test_validation_of_folds_is_what_each_run_answered_for_its_own() -> None:
    first, second = drawn(4, 2), drawn(4, 3).assign(path=lambda rows: "fold 2/" + rows["path"])
    combined = combine([member(first, LOW), member(second, HIGH)])
    assert combined.validation is not None
    logits = np.concatenate([log_odds_of(first["p_FEMALE"]) / 2, log_odds_of(second["p_FEMALE"]) / 4])
    assert not combined.whole
    assert combined.validation["path"].tolist() == [*first["path"], *second["path"]]
    assert combined.validation["p_FEMALE"].tolist() == pytest.approx(expit(logits).tolist())
    assert combine([Member(LOW, None), Member(HIGH, None)]).validation is None


def test_answers_for_test_are_combined_where_all_models_have_the_same() -> None:
    first, second, other = drawn(4, 2), drawn(4, 3), drawn(4, 4).iloc[3:]
    members = [Member(one, drawn(5, 1), test=table) for one, table in ((LOW, first), (HIGH, second), (LOW, other))]
    assert combine(members[:1]).test is first
    combined = combine(members[:2])
    assert combined.test is not None
    mean = (log_odds_of(first["p_FEMALE"].to_numpy()) / 2 + log_odds_of(second["p_FEMALE"].to_numpy()) / 4) / 2
    assert combined.test["p_FEMALE"].tolist() == pytest.approx(expit(mean).tolist())
    assert combine(members).test is None


def test_a_run_whose_probabilities_are_not_finite_is_noticed() -> None:
    broken = answered(drawn(30, 2), np.full(90, np.nan))
    combined = combine([member(broken, LOW), member(drawn(30, 3), LOW)])
    assert combined.rule == DecisionRule(1.0, 0.5, None)
    assert any("90 of 90" in remark for remark in combined.remarks)


def test_independent_mistakes_of_models_cancel_out() -> None:
    tables = [drawn(400, seed, noise=3) for seed in range(2, 8)]
    combined = combine([member(table, DecisionRule(1.0, 0.5, None)) for table in tables])
    found = combined_answers(np.stack([table[["p_FEMALE", "p_MALE"]].to_numpy() for table in tables]), combined)
    female = (tables[0]["label"] == "FEMALE").to_numpy()
    wrong = [((table["p_FEMALE"] >= 0.5) != female).mean() for table in tables]
    # of a normal logit at 2 with the spread of people (1) and of images (3, of the mean of six 3 / sqrt(6))
    normal = NormalDist()
    assert np.mean(wrong) == pytest.approx(normal.cdf(-2 / math.sqrt(1 + 9)), abs=0.02)
    assert ((found["calibrated_p_FEMALE"] >= 0.5) != female).mean() == pytest.approx(
        normal.cdf(-2 / math.sqrt(1 + 9 / 6)), abs=0.03
    )
