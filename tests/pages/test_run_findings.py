from itertools import product
from typing import Any

import pytest
from helpers.example_metrics import changed, changed_metrics, example_estimate, example_method, example_metrics

from gender_cls.pages.run_findings import resampled, run_findings

NOTHING: dict[str, Any] = {"value": None, "low": None, "high": None, "remark": "There is no FEMALE image."}
TEST = "test.scores.balanced_accuracy"
WORST = "stress.corruptions.4.severities.4.balanced_accuracy"


def findings_of(metrics: Any) -> list[tuple[str, str]]:
    """(level, sentence), with ordinary spaces."""
    return [(finding.level, finding.sentence.replace("\u202f", " ")) for finding in run_findings(metrics)]


def new_findings(metrics: Any) -> list[tuple[str, str]]:
    """Those that the unchanged example does not have."""
    usual = findings_of(example_metrics())
    return [finding for finding in findings_of(metrics) if finding not in usual]


def test_the_findings_of_a_good_run_stand_in_order_with_their_numbers() -> None:
    expected = [
        ("warn", "native height 39 to 94, 0.730 [0.679, 0.781]"),
        ("warn", "differ in native height:"),
        ("warn", "person masked it still scores 0.560 [0.530, 0.590], above chance"),
        ("warn", "background only it still scores 0.610 [0.580, 0.640], above chance"),
        ("fine", "beats the best trivial baseline (the camera alone, 0.701)"),
        ("fine", "(deletion gain 0.10 [0.07, 0.12] and 0.17 [0.15, 0.20])"),
        ("fine", "84 % [81, 87] of MALE images (saliency) and 62 % [59, 65] of FEMALE images"),
        ("fine", "has 31, 37 and 32 % of its mass on head, upper and lower body (a uniform map: 20, 35 and 45 %)"),
        ("fine", "(rank correlation 0.18 and 0.06) than these are like each other (0.41 and 0.25)"),
        (
            "note",
            "At the threshold 0.431, chosen on validation, balanced accuracy is 0.807 [0.777, 0.838]; abstaining "
            "between 0.271 and 0.613, it answers 77 % of the images, 11.3 % [8.2, 14.4] of them wrongly (target 10 %, "
            "inside that interval).",
        ),
        ("note", "0.029 [0.008, 0.050] on average (ECE; 0.071 before"),
        (
            "note",
            "0.531 [0.501, 0.561] at worst (low light with noise, severity 5) and 0.720 on average; at worst it is not "
            "shown to beat the best trivial baseline (0.701).",
        ),
    ]
    found = findings_of(example_metrics())
    assert [level for level, _ in found] == [level for level, _ in expected]
    for (_, sentence), (_, part) in zip(found, expected, strict=True):
        assert part in sentence
    assert "35 % [32, 38] outside the person's box, less than the 52 %" in found[7][1]
    assert "Grad-CAM has 24, 41 and 35 %, and 46 % [43, 49] outside, less than the 52 %." in found[7][1]


@pytest.mark.parametrize(
    ("where", "value", "level", "part"),
    [
        (TEST, example_estimate(0.71), "warn", "not shown to beat the best trivial baseline (the camera alone, 0.701)"),
        (TEST, {**NOTHING, "value": 0.9}, "stop", "has no interval"),
        (TEST, example_estimate(0.701), "stop", "does not beat the best trivial baseline (the camera alone, 0.701)"),
        (TEST, NOTHING, "stop", "There is no FEMALE image."),
        ("test.identities", 0, "warn", "Who is on the tested images is not known"),
        ("shift.shifted", [], "note", "6 compared columns"),
        ("shift.shifted", ["a", "b_c", "probability"], "warn", "in a, b c and probability of FEMALE:"),
        ("calibration.after.ece", example_estimate(0.051), "warn", "by 0.051 [0.021, 0.081]"),
        (
            "calibration.after.ece",
            example_estimate(0.051),
            "warn",
            "before calibration): 80 % may stand for 75 or 85 %.",
        ),
        ("calibration.after.ece", example_estimate(0.02, 0.01), "fine", "by 0.020 [0.010, 0.030]"),
        ("abstention.reached", False, "warn", "11.3 % [8.2, 14.4] of them wrongly (target 10 %, missed)."),
        (
            "abstention.test.error",
            example_estimate(0.09, 0.02),
            "fine",
            "9.0 % [7.0, 11.0] of them wrongly (target 10 %)",
        ),
        ("abstention.band", None, "note", "; no band: every image is answered, 11.3 % [8.2, 14.4] of them wrongly ("),
        (
            "shortcuts.0.balanced_accuracy",
            example_estimate(0.52),
            "note",
            "0.520 [0.490, 0.550]: at most 17 % of the lead",
        ),
        (
            "shortcuts.0.balanced_accuracy",
            example_estimate(0.5),
            "fine",
            "0.500 [0.470, 0.530]: at most 10.0 % of the lead",
        ),
        ("shortcuts.0.balanced_accuracy", {**NOTHING, "value": 0.5}, "note", "With the person masked it scores 0.500."),
        ("slices.cells.5.balanced_accuracy", example_estimate(0.79), "note", "[0.760, 0.820]; it is not"),
        ("stress.mean", None, "note", "(low light with noise, severity 5); at worst"),
        (WORST, example_estimate(0.52), "warn", "0.520"),
        (WORST, example_estimate(0.74), "fine", "0.740 [0.710, 0.770] at worst (low light with noise, severity 5)"),
    ],
)
def test_findings_follow_the_numbers(where: str, value: Any, level: str, part: str) -> None:
    assert [found for found, sentence in new_findings(changed_metrics({where: value})) if part in sentence] == [level]


def test_a_slice_of_rows_without_a_value_is_unknown() -> None:
    metrics = changed_metrics({"slices.cells.5.value": "", "slices.worst.value": ""})
    assert "native height unknown, 0.730" in new_findings(metrics)[0][1]


def test_a_leak_comes_first_and_what_was_not_measured_is_left_out() -> None:
    level, sentence = findings_of(example_metrics(leaky=True))[0]
    assert level == "stop"
    assert "12 people, 30 exact copies and 8 near duplicates" in sentence
    assert "12 % of the test images" in sentence
    none = example_metrics(nulls=True, stress=False, shortcuts=False, explanations=False)
    none["slices"]["worst"], none["shift"]["columns"], none["shift"]["shifted"] = None, [], []
    assert [level for level, _ in findings_of(none)] == ["stop"]


def test_nothing_is_fine_about_a_model_whose_score_is_worth_nothing() -> None:
    changes = {TEST: example_estimate(0.5), WORST: example_estimate(0.74), "shortcuts.0.balanced_accuracy": NOTHING}
    levels = [level for level, _ in findings_of(changed_metrics(changes))]
    assert levels == sorted(levels, key=("stop", "warn", "note").index)
    assert set(levels) == {"stop", "warn", "note"}


@pytest.mark.parametrize(
    ("identities", "units", "text"),
    [
        (4, 4, "4 people"),
        (1, 3, "1 person and the images of unknown people"),
        (0, 3, "3 groups of images"),
        (0, 9, "9 images"),
    ],
)
def test_what_the_bootstrap_draws_from_is_counted(identities: int, units: int, text: str) -> None:
    scored: Any = {"images": 9, "identities": identities, "units": units}
    assert resampled(scored) == text


def test_a_method_that_shows_the_image_is_named() -> None:
    check = "explanations.methods.0.randomisation"
    changes = {f"{check}.flagged": True, f"{check}.stages.3.similarity": example_estimate(0.71)}
    ((level, sentence), (_, faithful)) = new_findings(changed_metrics(changes))
    assert level == "warn"
    assert "much like those of saliency" in faithful, "so that the two do not contradict each other"
    assert "Maps of saliency show the image" in sentence
    assert "(rank correlation 0.71)" in sentence
    assert "(0.41)" in sentence, "the control"


def test_maps_that_change_no_more_than_random_ones_get_a_note() -> None:
    change = {"explanations.methods.1.randomisation.difference": example_estimate(0.01, 0.04, least=-1)}
    ((level, sentence),) = new_findings(changed_metrics(change))
    assert level == "note"
    assert "Maps of saliency show what the model has learnt" in sentence
    assert "(rank correlation 0.18)" in sentence
    assert "Maps of Grad-CAM change with the weights" in sentence
    assert "is 0.06" in sentence
    assert "(0.25)" in sentence


def test_a_method_that_misses_the_cue_of_one_label_is_named() -> None:
    change = {"explanations.methods.0.cue.MALE.hit": example_estimate(0.09)}  # the box covers 8.1 %
    ((level, sentence),) = new_findings(changed_metrics(change))
    assert level == "warn"
    assert "86 % [83, 89] of FEMALE images and 9 % [6, 12] of MALE images (saliency)" in sentence
    assert sentence.endswith("for saliency of MALE.")


def test_a_method_that_is_not_better_than_chance_is_named() -> None:
    weak = {"explanations.methods.0.games.1.insertion_gain": example_estimate(0.02, least=-1)}
    ((level, sentence),) = new_findings(changed_metrics(weak))
    assert level == "warn"
    assert sentence.startswith("Grad-CAM: removing first")
    assert sentence.endswith("Saliency is not shown to beat a random order in insertion (mean colour).")
    lost = {
        f"explanations.methods.{method}.games.{game}.{gain}": example_estimate(-0.1, least=-1)
        for method, game, gain in product((0, 1), (0, 1), ("deletion_gain", "insertion_gain"))
    }
    ((level, sentence),) = new_findings(changed_metrics(lost))
    assert level == "warn"
    assert sentence.count("is not shown to beat a random order: nothing shows") == 2


@pytest.mark.parametrize(
    ("share", "level", "end"),
    [
        (example_estimate(0.6), "warn", "60 % [57, 63] outside the person's box, more than the 52 % of a uniform map."),
        (example_estimate(0.53), "fine", "box, about the 52 % of a uniform map."),
        (example_estimate(0.4), "fine", "box, less than the 52 % of a uniform map."),
        ({**NOTHING, "value": 0.6}, "fine", "60 % outside the person's box, against the 52 % of a uniform map."),
    ],
)
def test_mass_outside_the_person_is_compared_with_its_area(share: Any, level: str, end: str) -> None:
    moved = changed_metrics({"explanations.methods": [changed(example_method("saliency"), {"places.3.share": share})]})
    ((found, sentence),) = (finding for finding in findings_of(moved) if "of its mass" in finding[1])
    assert found == level
    assert sentence.endswith(end)
