import json
import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from helpers.example_metrics import assert_matches
from helpers.made_up_rows import rows_of
from helpers.prediction_tables import letters, table_of
from scipy.special import expit

from gender_cls.config.evaluation import EvaluationConfig
from gender_cls.evaluation.combined import CombinedRule, Member, combine, combined_answers
from gender_cls.evaluation.conclusions import draw_conclusions
from gender_cls.evaluation.decisions import DecisionRule
from gender_cls.evaluation.request_scores import Scores, score_lines, score_requested
from gender_cls.evaluation.tracks import TrackRule, track_table

RESAMPLES = 200
RULE = CombinedRule([1.0], DecisionRule(1.0, 0.6, (0.4, 0.7)), None, [])


def drawn(people: int, seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    female = np.repeat(rng.random(people) < 0.4, 3)
    logits = np.where(female, 1, -1) + np.repeat(rng.normal(0, 1, people), 3) + rng.normal(0, 1.3, 3 * people)
    return table_of(letters(female), expit(logits), images_each=3)


def requested(predictions: pd.DataFrame, combined: CombinedRule, **columns: Any) -> pd.DataFrame:
    """The rows of a predict that asked for these images."""
    answers = combined_answers(predictions[["p_FEMALE", "p_MALE"]].to_numpy()[None], combined)
    known = {name: predictions[name].to_numpy(object) for name in ("label", "identity")}
    return rows_of(answers["calibrated_p_FEMALE"], **answers.to_dict("series"), **{**known, **columns})


def with_answers(table: pd.DataFrame, combined: CombinedRule = RULE) -> pd.DataFrame:
    p_female = table["calibrated_p_FEMALE"]
    return table.assign(p_FEMALE=p_female, p_MALE=1 - p_female, answer=combined.rule.decide(p_female.to_numpy()))


def scored(table: pd.DataFrame, combined: CombinedRule = RULE, correlation: float = 1.0) -> Scores | None:
    tracks = track_table(table, combined.rule, TrackRule(correlation, 30, None))
    return score_requested(table, tracks, combined, RESAMPLES)


def value_of(estimate: Any) -> float:
    return float(estimate["value"])


def test_the_runs_own_test_images_have_the_scores_of_its_report() -> None:
    run = pd.concat([drawn(60, 1).assign(split="val"), drawn(50, 2).assign(split="test")], ignore_index=True)
    report = draw_conclusions(run, run[["path"]], EvaluationConfig(target_error=0.1, resamples=RESAMPLES))
    combined = combine([Member.of_run(report, run)])
    test = run[run["split"] == "test"].reset_index(drop=True)
    found = scored(requested(test, combined, known_as=np.full(len(test), "test", dtype=object)), combined)
    assert found is not None
    assert_matches(found, Scores)
    json.dumps(found, allow_nan=False)
    assert found["left_out"] == {"unreadable": 0, "train": 0, "val": 0, "unlabelled": 0}
    images = found["images"]
    assert {name: images[name] for name in ("images", "identities", "units")} == {
        "images": 150, "identities": 50, "units": 50,
    }  # fmt: skip
    assert images["scores"] == report["test"]["scores"]
    assert images["at_threshold"] == report["operating_point"]["test"]
    assert images["abstention"] == report["abstention"]["test"]
    after = report["calibration"]["after"]
    assert [images[name] for name in ("brier", "log_loss", "ece")] == [after[x] for x in ("brier", "log_loss", "ece")]


def test_scores_by_hand() -> None:
    table = rows_of(
        [0.9, 0.65, 0.5, 0.3, 0.2, 0.8],
        label=["FEMALE", "FEMALE", "FEMALE", "MALE", "MALE", "MALE"],
        identity=["a", "b", "c", "d", "e", "f"],
    )
    found = scored(with_answers(table))
    assert found is not None
    images = found["images"]
    assert value_of(images["at_threshold"]["balanced_accuracy"]) == pytest.approx((2 / 3 + 2 / 3) / 2)  # from 0.6 on
    assert value_of(images["scores"]["balanced_accuracy"]) == pytest.approx((1 + 2 / 3) / 2)  # from 0.5 on
    assert value_of(images["abstention"]["coverage"]) == pytest.approx(4 / 6)  # 0.65 and 0.5 lie in the band
    assert value_of(images["abstention"]["error"]) == pytest.approx(1 / 4)
    losses = [-math.log(p) for p in (0.9, 0.65, 0.5, 0.7, 0.8, 0.2)]
    assert value_of(images["log_loss"]) == pytest.approx(sum(losses) / 6)


def test_images_that_shaped_the_answers_are_left_out() -> None:
    table = rows_of(
        [0.9, 0.1, 0.9, 0.1, np.nan, 0.3, 0.2],
        label=["FEMALE", "FEMALE", "MALE", "FEMALE", "MALE", "", "unknown"],
        identity=[*"abcdefg"],
        known_as=["", "test", "train", "val", "", "", ""],
        fault=["", "", "", "", "damaged", "", ""],
    )
    found = scored(with_answers(table))
    assert found is not None
    assert found["left_out"] == {"unreadable": 1, "train": 1, "val": 1, "unlabelled": 2}
    assert found["images"]["images"] == 2
    assert found["tracks"] is not None
    assert found["tracks"]["images"] == 2
    assert any("1 of its training images and 1 of its validation images" in line for line in score_lines(found))


def test_a_track_has_the_label_of_most_images_and_counts_once() -> None:
    table = rows_of(
        [0.9, 0.8, 0.1, 0.4, 0.2, 0.9, 0.7],
        label=["FEMALE", "FEMALE", "MALE", "", "MALE", "FEMALE", "MALE"],
        track=["1", "1", "1", "2", "2", "3", ""],
        known_as=["", "", "", "", "", "train", ""],
    )
    found = scored(with_answers(table))
    assert found is not None
    tracks = found["tracks"]
    assert tracks is not None
    assert (tracks["images"], tracks["identities"], tracks["units"]) == (2, 0, 2)
    mean = (math.log(9) + math.log(4) - math.log(9)) / 3
    p_male = expit(-(math.log(0.4 / 0.6) + math.log(0.25)) / 2)
    assert value_of(tracks["log_loss"]) == pytest.approx(-(math.log(expit(mean)) + math.log(p_male)) / 2)
    assert value_of(tracks["at_threshold"]["recall_MALE"]) == 1
    assert found["images"]["units"] == 3  # tracks 1 and 2, and the image without one


def test_several_models_are_scored_by_their_mean() -> None:
    combined = CombinedRule([2.0, 3.0], DecisionRule(0.7, 0.6, None), None, [])
    p_female = np.array([0.9, 0.7, 0.4, 0.1])
    answers = combined_answers(np.stack([np.stack([p, 1 - p], axis=1) for p in (p_female, p_female**2)]), combined)
    table = rows_of(
        answers["calibrated_p_FEMALE"], **answers.to_dict("series"),
        label=["FEMALE", "MALE", "FEMALE", "MALE"], identity=[*"abcd"],
    )  # fmt: skip
    found = scored(table, combined)
    assert found is not None
    p = answers["calibrated_p_FEMALE"].to_numpy()
    expected = -(math.log(p[0]) + math.log(1 - p[1]) + math.log(p[2]) + math.log(1 - p[3])) / 4
    assert value_of(found["images"]["log_loss"]) == pytest.approx(expected)
    right = (answers["answer"] == table["label"]).to_numpy()
    assert value_of(found["images"]["at_threshold"]["balanced_accuracy"]) == pytest.approx(
        (right[[0, 2]].mean() + right[[1, 3]].mean()) / 2
    )


@pytest.mark.parametrize(
    ("labels", "remark"), [(["FEMALE", "FEMALE"], "no MALE"), (["FEMALE", "MALE"], "one person")], ids=["label", "one"]
)
def test_one_label_or_one_person_has_the_remark_of_every_test(labels: list[str], remark: str) -> None:
    found = scored(with_answers(rows_of([0.9, 0.2], label=labels, identity=["a", "a"])))
    assert found is not None
    assert remark in found["images"]["at_threshold"]["balanced_accuracy"]["remark"]
    assert any(remark in line for line in score_lines(found))


def test_without_labels_there_are_no_scores() -> None:
    assert scored(with_answers(rows_of([0.9, 0.2]))) is None
    assert scored(with_answers(rows_of([]))) is None
    known = scored(with_answers(rows_of([0.9, 0.2], label=["FEMALE", "MALE"], known_as=["train", "val"])))
    assert known is not None
    assert known["images"]["images"] == 0
    assert known["tracks"] is None
    [line] = score_lines(known)
    assert "1 of its training images and 1 of its validation images" in line
