"""A test on other data that lacks a label, people, numbers or images, or cannot be adapted."""

import numpy as np
import pytest
from helpers.prediction_tables import table_of
from helpers.shifted_tables import answers, drops, result_of

from gender_cls.config.evaluation import Adapt


def test_one_label_has_shares_and_probabilities_only() -> None:
    found = result_of(answers(share=1.0))
    for score in ("balanced_accuracy", "auroc"):
        assert found["scores"][score]["here"]["remark"] == "There is no MALE image."
        assert found["scores"][score]["drop"] == {
            "value": None,
            "low": None,
            "high": None,
            "remark": "There is no MALE image.",
        }
    assert (
        found["threshold"]["best"]["remark"] == found["threshold"]["below_best"]["remark"] == "There is no MALE image."
    )
    assert found["threshold"]["best_threshold"] is None
    assert found["scores"]["accuracy"]["drop"]["value"] is not None
    assert found["share_of_labels"]["here"]["value"] == 1
    assert found["sentences"][0].endswith("There is no MALE image.")


def test_one_person_has_no_intervals() -> None:
    found = result_of(answers(people=8).assign(identity="one"))
    for score in found["scores"].values():
        assert score["here"]["value"] is not None
        assert score["drop"]["value"] is not None
        assert score["drop"]["low"] is None
        assert "only one person" in score["drop"]["remark"]
    assert found["threshold"]["below_best"]["low"] is None
    assert all(one["low"] is None or one["value"] == 0 for one in found["adapted"][0]["difference"].values())
    assert "only one person" in found["sentences"][0]


@pytest.mark.parametrize("broken", [np.nan, np.inf])
def test_probabilities_that_are_not_finite_leave_shares_of_labels(broken: float) -> None:
    here = answers(people=8)
    here.loc[2, "p_FEMALE"] = broken
    found = result_of(here, adapt=[Adapt.batchnorm, Adapt.prior], batchnorm=answers(people=8))
    assert set(drops(found).values()) == {None}
    assert found["share_of_labels"]["here"]["value"] == 0.5
    assert found["share_of_labels"]["from_answers"]["remark"] == "1 of 8 probabilities are not finite."
    assert all("not finite" in one["sentence"] for one in found["adapted"])


def test_adapted_probabilities_that_are_not_finite_leave_the_plain_scores() -> None:
    batchnorm = answers(people=8).assign(p_FEMALE=np.nan)
    found = result_of(answers(people=8), adapt=[Adapt.batchnorm, Adapt.prior], batchnorm=batchnorm)
    assert found["scores"]["accuracy"]["here"]["value"] is not None
    assert found["adapted"][0]["remark"] == "8 of 8 probabilities are not finite."
    assert found["adapted"][1]["scores"]["accuracy"]["value"] is not None


def test_no_images_have_no_scores() -> None:
    found = result_of(answers(people=0))
    assert set(drops(found).values()) == {None}
    assert found["share_of_labels"]["here"]["remark"] == "There are no images."
    assert all("There are no images." in found["sentences"][at] for at in (0, 1, 2))


def test_without_batchnorm_its_reason_is_said() -> None:
    remark = "The network has no BatchNorm layer."
    [adapted] = result_of(answers(), adapt=[Adapt.batchnorm], batchnorm_remark=remark)["adapted"]
    assert adapted["remark"] == remark
    assert adapted["sentence"].endswith(remark)
    assert {one["value"] for one in (*adapted["scores"].values(), *adapted["difference"].values())} == {None}
    assert result_of(answers(), adapt=())["adapted"] == []


def test_answers_that_are_all_alike_say_nothing_about_the_share() -> None:
    found = result_of(table_of("FFM", [0.7, 0.7, 0.7]).assign(split="test"))
    [adapted] = found["adapted"]
    assert "the same probability" in adapted["sentence"]
    assert found["share_of_labels"]["from_answers"]["remark"] == adapted["remark"]
    assert found["scores"]["accuracy"]["here"]["value"] == pytest.approx(2 / 3)


@pytest.mark.parametrize("images", [1, 1000])
@pytest.mark.parametrize(("p_female", "label"), [([0.9, 0.8, 0.7], "FEMALE"), ([0.1, 0.2, 0.3], "MALE")])
def test_a_share_of_one_label_only_re_weighs_nothing(p_female: list[float], label: str, images: int) -> None:
    [adapted] = result_of(table_of("FMM" * images, p_female * images).assign(split="test"))["adapted"]
    assert f"suggest {label} labels only" in adapted["sentence"]
    assert adapted["scores"]["log_loss"]["value"] is None
