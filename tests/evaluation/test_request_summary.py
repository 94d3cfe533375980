import json
from typing import Any

import numpy as np
import pandas as pd
import pytest
from helpers.example_metrics import assert_matches
from helpers.made_up_rows import rows_of
from helpers.prediction_tables import letters, table_of
from scipy.special import expit

from gender_cls.evaluation import request_summary as summaries
from gender_cls.evaluation.combined import CombinedRule
from gender_cls.evaluation.decisions import DecisionRule
from gender_cls.evaluation.request_summary import Summary, summarise, summary_lines
from gender_cls.evaluation.shift import split_shift
from gender_cls.evaluation.tracks import TrackRule, track_table

RULE = DecisionRule(1.0, 0.6, (0.4, 0.7))
FITTED = TrackRule(0.5, 30, None)


def images_of(people: int, seed: int, brighter: float = 0.0) -> pd.DataFrame:
    """Predictions for three images per person, with measurements."""
    rng = np.random.default_rng(seed)
    female = np.repeat(rng.random(people) < 0.5, 3)
    p_female = expit(np.where(female, 1.0, -1.0) + rng.normal(0, 1, 3 * people))
    person = np.repeat(rng.normal(0, 20, people), 3)
    return table_of(
        letters(female),
        p_female,
        images_each=3,
        native_height=rng.integers(60, 200, 3 * people),
        brightness=(100 + brighter + person + rng.normal(0, 5, 3 * people)).round(1),
        sharpness=rng.random(3 * people).round(3),
    )


VALIDATION = images_of(60, 0)
COMBINED = CombinedRule([1.0], RULE, VALIDATION, [], images_of(50, 1))


def requested(predictions: pd.DataFrame, **columns: Any) -> pd.DataFrame:
    """These images as rows of predict, whose table holds the measurements in fewer bits."""
    rows = rows_of(
        predictions["p_FEMALE"].to_numpy(),
        identity=predictions["identity"].to_numpy(object),
        native_height=predictions["native_height"].to_numpy(),
        brightness=predictions["brightness"].to_numpy(np.float32),
        sharpness=predictions["sharpness"].to_numpy(np.float32),
        spread=np.nan,
    ).assign(**columns)
    return rows.assign(answer=np.where(rows["fault"] == "", RULE.decide(rows["calibrated_p_FEMALE"].to_numpy()), ""))


def summed_up(table: pd.DataFrame, combined: CombinedRule = COMBINED, rule: TrackRule = FITTED) -> Summary:
    found = summarise(table, track_table(table, combined.rule, rule), combined, rule)
    assert_matches(found, Summary)
    json.dumps(found, allow_nan=False)
    return found


def test_counts_by_hand() -> None:
    table = requested(
        images_of(3, 2),
        calibrated_p_FEMALE=[0.9, 0.8, 0.5, 0.1, 0.7, 0.3, 0.9, np.nan, np.nan],
        fault=[""] * 7 + ["damaged", "missing"],
        known_as=["train", "val", "", "", "test", "test", "", "", ""],
    )
    found = summed_up(table)
    assert found["images"] == 9
    assert found["faults"] == {"damaged": 1, "missing": 1}
    assert found["answers"] == {"FEMALE": 4, "MALE": 2, "abstain": 1}
    assert found["known_as"] == {"train": 1, "val": 1, "test": 2}
    assert found["abstained"]["here"] == pytest.approx(1 / 7)
    p_test = images_of(50, 1)["p_FEMALE"]
    assert found["abstained"]["home"] == pytest.approx(((p_test > 0.4) & (p_test < 0.7)).mean())
    assert found["abstained"]["of"] == "test"
    # Of the first person 0.5 lies below the threshold; the second, with the logits -2.2, 0.8 and -0.8, is MALE but 0.7.
    assert found["tracks"] == {
        "tracks": 0, "people": 3, "answers": {"FEMALE": 2, "MALE": 1, "abstain": 0}, "unanswered": 0, "disagreeing": 2,
        "correlation": 0.5,
    }  # fmt: skip
    lines = summary_lines(found)
    assert len(lines) <= 10
    for number in (
        "9 images",
        "2 cannot be read",
        "14",
        "1 of training, 1 of validation and 2 of test",
        "3 people",
        "In 2",
    ):
        assert any(number in line for line in lines)
    agreeing = summary_lines(summed_up(table.assign(calibrated_p_FEMALE=0.9)))
    assert not any("other side" in line for line in agreeing)


def test_images_like_those_of_validation_are_compared_as_a_test_is() -> None:
    here = images_of(50, 3)
    found, expected = summed_up(requested(here))["shift"], split_shift(VALIDATION, here)
    of_test = {column["column"]: column for column in expected["columns"]}
    assert {column["column"] for column in found["columns"]} == {
        "native_height", "brightness", "sharpness", "probability",
    }  # fmt: skip
    for column in found["columns"]:
        assert column["value"] == of_test[column["column"]]["value"]
        assert column["p_value"] == of_test[column["column"]]["p_value"]
    assert found["shifted"] == []


def test_brighter_images_are_noticed() -> None:
    found = summed_up(requested(images_of(50, 3, brighter=30)))
    assert found["shift"]["shifted"] == ["brightness"]
    assert any("brightness (p" in line for line in summary_lines(found))


def test_without_people_each_image_counts_and_that_is_said() -> None:
    here = requested(images_of(50, 3))
    by_people, by_images = summed_up(here), summed_up(here.assign(identity=""))
    assert (by_people["alone"], by_images["alone"]) == (0, 150)
    p_of = [{one["column"]: one["p_value"] for one in found["shift"]["columns"]} for found in (by_people, by_images)]
    assert p_of[1]["brightness"] < p_of[0]["brightness"]  # images of one person resemble each other
    for found, said in ((by_people, False), (by_images, True)):
        assert any("150 images have no track" in line for line in summary_lines(found)) == said
    assert by_images["tracks"] is None
    tracks = summed_up(here.assign(track=here["identity"], identity=""))
    assert tracks["shift"] == by_people["shift"]


def test_of_many_images_some_are_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(summaries, "MOST_COMPARED", 90)
    found = summed_up(requested(images_of(50, 3, brighter=30)))
    assert "brightness" in found["shift"]["shifted"]
    assert any("90 random images" in line for line in summary_lines(found))


def test_what_cannot_be_compared_is_said() -> None:
    here = requested(images_of(50, 3))
    exported = summed_up(here, CombinedRule([1.0], RULE, None, []))
    assert exported["shift"]["columns"] == []
    assert exported["abstained"]["home"] is None
    without_test = summed_up(here, CombinedRule([1.0], RULE, VALIDATION, []))
    assert without_test["abstained"]["of"] == "validation"
    of_folds = summed_up(here, CombinedRule([1.0, 1.0], RULE, VALIDATION, ["rule"], whole=False))
    assert "probability" not in {column["column"] for column in of_folds["shift"]["columns"]}
    assert of_folds["abstained"]["home"] is None
    plain = VALIDATION.drop(columns=["native_height", "brightness", "sharpness"])
    old_run = summed_up(here, CombinedRule([1.0], RULE, plain, []))
    assert [column["column"] for column in old_run["shift"]["columns"]] == ["probability"]
    for few in (here.iloc[:0], here.iloc[:3]):
        assert summed_up(few)["shift"]["columns"] == []
        assert summary_lines(summed_up(few))


def test_several_models_have_a_spread_and_remarks_are_told() -> None:
    spread = np.array([0.1, 0.3, 0.2, np.nan, 0.0, 0.4])
    combined = CombinedRule([1.0, 2.0, 3.0], RULE, VALIDATION, ["A remark of the rule."], COMBINED.test)
    not_fitted = TrackRule(1.0, 3, "A remark on tracks.")
    found = summed_up(requested(images_of(2, 2)).assign(spread=spread), combined, not_fitted)
    assert found["spread"] == {"models": 3, "median": pytest.approx(0.2), "largest": pytest.approx(0.4)}
    assert found["remarks"] == ["A remark of the rule.", "A remark on tracks."]
    assert summary_lines(found)[-2:] == found["remarks"]
    alone = summed_up(requested(images_of(2, 2)).assign(identity=""), combined, not_fitted)
    assert alone["remarks"] == ["A remark of the rule."]
    assert summed_up(requested(images_of(2, 2)))["spread"] is None


def test_nothing_is_said_about_abstaining_without_a_band() -> None:
    without = CombinedRule([1.0], DecisionRule(1.0, 0.6, None), VALIDATION, [], COMBINED.test)
    assert not any("abstain for" in line for line in summary_lines(summed_up(requested(images_of(3, 2)), without)))
