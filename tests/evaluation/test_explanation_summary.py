import re
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from helpers.example_metrics import assert_matches

from gender_cls.errors import GenderClsError
from gender_cls.evaluation.bootstrap import bootstrap_units, estimates
from gender_cls.evaluation.estimate import undefined
from gender_cls.evaluation.explanation_schema import BASELINES, PLACES, SCORE_COLUMNS, Explanations
from gender_cls.evaluation.explanation_summary import (
    is_of_earlier_version,
    read_explanations,
    read_randomisation,
    summarise_explanations,
)

METHODS = ("saliency", "grad_cam")
NO_CHECK = pd.DataFrame()


def scored(path: str, method: str = "saliency", identity: str = "p", role: str = "predicted", **scores: Any) -> Any:
    """A row of explanations.csv, all scores 0.5 but for those that are named."""
    return {
        **{"path": path, "label": "MALE", "identity": identity, "method": method, "role": role, "explained": "MALE"},
        **{"probability": 0.9, "p_FEMALE": 0.1},
        **dict.fromkeys((*SCORE_COLUMNS, *(f"agreement_{name}" for name in METHODS)), 0.5),
        **scores,
    }


def checked(
    path: str, stage: int, similarity: float, method: str = "saliency", identity: str = "", control: float = np.nan
) -> Any:
    """A row of randomisation.csv."""
    return {
        **{"path": path, "identity": identity, "method": method, "stage": stage},
        **{"similarity": similarity, "control": control},
        **{"layers": ("head", "stem")[stage], "share": (0.1, 1.0)[stage]},
    }


def summary(rows: list[Any], checks: list[Any] | None = None, methods: Any = METHODS, **options: Any) -> Any:
    """Of rows; it fits the schema, and JSON can hold it."""
    table = pd.DataFrame(rows, columns=list(scored("a")))
    found = summarise_explanations(
        table, pd.DataFrame(checks) if checks else NO_CHECK, methods, **{"resamples": 500, **options}
    )
    assert_matches(found, Explanations)
    return found


def game(found: Any, method: int = 0, baseline: str = "blurred") -> Any:
    return found["methods"][method]["games"][BASELINES.index(baseline)]


def place(found: Any, name: str, method: int = 0) -> Any:
    return found["methods"][method]["places"][PLACES.index(name)]


def a_person_an_image(count: int, **scores: Any) -> list[Any]:
    """One method's rows; each score is (count,) values."""
    return [
        scored(f"{index}.jpg", identity=f"p{index}", **{name: values[index] for name, values in scores.items()})
        for index in range(count)
    ]


def test_means_and_gains_are_those_worked_out_by_hand() -> None:
    found = summary(
        [
            scored("a.jpg", deletion_blurred=0.2, insertion_blurred=0.9, random_blurred=0.5, head=0.1, head_area=0.2),
            scored("b.jpg", deletion_blurred=0.4, insertion_blurred=0.7, random_blurred=0.7, head=0.4, head_area=0.3),
            scored("c.jpg", identity="q", deletion_blurred=0.6, insertion_blurred=0.5, random_blurred=0.9, head=0.4),
            scored("a.jpg", "grad_cam", deletion_mean=0.1),
            scored("b.jpg", "grad_cam", deletion_mean=0.2),
            scored("c.jpg", "grad_cam", identity="q", deletion_mean=0.3),
        ]
    )
    assert (found["images"], found["identities"], found["units"]) == (3, 2, 2)
    assert found["explained_class"] == "predicted"
    titles = {method["name"]: method["title"] for method in found["methods"]}
    assert titles == {"saliency": "saliency", "grad_cam": "Grad-CAM"}
    for scores, expected in (
        (game(found), {"deletion": 0.4, "insertion": 0.7, "random": 0.7, "deletion_gain": 0.3, "insertion_gain": 0.0}),
        (game(found, 1, "mean"), {"deletion": 0.2, "deletion_gain": 0.3}),
    ):
        assert {name: scores[name]["value"] for name in expected} == pytest.approx(expected)
    assert place(found, "head")["share"]["value"] == pytest.approx(0.3)
    assert place(found, "head")["area"] == pytest.approx((0.2 + 0.3 + 0.5) / 3)
    assert [method["randomisation"] for method in found["methods"]] == [None, None]


def test_gains_are_paired_image_by_image() -> None:
    # The control differs much from image to image, the gain not at all.
    random = np.linspace(0.3, 0.9, 12)
    found = summary(a_person_an_image(12, random_mean=random, deletion_mean=random - 0.125), methods=["saliency"])
    deletion, gain = (game(found, 0, "mean")[name] for name in ("deletion", "deletion_gain"))
    assert deletion["high"] - deletion["low"] > 0.1
    assert (gain["low"], gain["high"]) == pytest.approx((0.125, 0.125))
    assert "no width" in gain["remark"]


def test_intervals_are_those_of_a_bootstrap_over_people() -> None:
    rng = np.random.default_rng(5)
    people = [f"p{index}" for index in np.repeat(np.arange(30), rng.integers(1, 6, 30))]
    deletion, random = rng.random((2, len(people))) / 2 + 0.25
    scores = zip(people, deletion, random, strict=True)
    rows = [scored(f"{i}.jpg", identity=p, deletion_blurred=d, random_blurred=r) for i, (p, d, r) in enumerate(scores)]
    found = game(summary(rows, methods=["saliency"], resamples=20_000))["deletion_gain"]

    gain, units = random - deletion, bootstrap_units(pd.DataFrame({"identity": people}))
    same = estimates(units, lambda weights: {"gain": weights @ gain / weights.sum(axis=1)}, 20_000)["gain"]
    assert found == pytest.approx(same)


def test_all_methods_share_the_samples_of_people() -> None:
    head = np.random.default_rng(1).random(20)
    rows = a_person_an_image(20, head=head)
    found = summary([*rows, *({**row, "method": "grad_cam"} for row in reversed(rows))])
    assert place(found, "head", 0) == place(found, "head", 1)
    assert place(found, "head")["share"]["low"] < head.mean() < place(found, "head")["share"]["high"]


def test_images_without_a_score_are_left_out_and_counted() -> None:
    rows = a_person_an_image(5, head=[0.2, np.nan, 0.4, 0.6, np.nan], head_area=[0.1, 0.9, 0.2, 0.3, 0.9])
    found = summary(rows, methods=["saliency"])
    head = place(found, "head")
    assert (head["share"]["value"], head["area"]) == pytest.approx((0.4, 0.2)), "of the images whose share is known"
    assert head["share"]["remark"].endswith("2 of 5 images have no such score and are left out.")
    assert "no width" in place(found, "outside")["share"]["remark"]


def test_an_interval_counts_only_people_with_a_score() -> None:
    head = [0.2, *[np.nan] * 9]
    share = place(summary(a_person_an_image(10, head=head), methods=["saliency"]), "head")["share"]
    assert (share["value"], share["low"], share["high"]) == (0.2, None, None)
    assert re.search("only one person.*9 of 10 images", share["remark"])


def test_maps_of_a_network_that_diverged_have_no_scores() -> None:
    nothing = dict.fromkeys(SCORE_COLUMNS, [np.nan] * 4)
    found = summary(a_person_an_image(4, **nothing), [checked("0.jpg", 0, np.nan), checked("0.jpg", 1, np.nan)])
    for score in (game(found)["deletion"], game(found)["insertion_gain"], place(found, "head")["share"]):
        assert score == undefined("No image has this score.")
    assert place(found, "head")["area"] is None
    assert found["methods"][0]["randomisation"]["flagged"] is None


def test_an_empty_table_has_nothing_but_reasons() -> None:
    found = summary([])
    assert (found["images"], found["identities"], found["units"]) == (0, 0, 0)
    assert game(found, 1)["random"] == undefined("No image was explained.")
    assert found["agreement"][0]["correlation"]["value"] is None
    assert place(found, "outside")["area"] is None


def test_where_nobody_is_known_images_are_drawn_and_groups_stay_together() -> None:
    rows = [{**row, "identity": ""} for row in a_person_an_image(4)]
    assert summary(rows)["units"] == 4
    grouped = pd.DataFrame([{**row, "group": "g" if index < 3 else ""} for index, row in enumerate(rows)])
    found = summarise_explanations(grouped, NO_CHECK, METHODS, 100)
    assert (found["identities"], found["units"]) == (0, 2)


def test_the_true_class_counts_only_where_nothing_else_was_explained() -> None:
    true = [scored("a.jpg", role="true", head=0.9), scored("b.jpg", role="true", head=0.7)]
    found = summary(true, methods=["saliency"])
    assert found["explained_class"] == "true"
    assert place(found, "head")["share"]["value"] == pytest.approx(0.8)
    found = summary([*true, scored("a.jpg", head=0.3)], methods=["saliency"])
    assert (found["explained_class"], found["images"]) == ("predicted", 1)
    assert place(found, "head")["share"]["value"] == 0.3


def test_agreement_is_of_every_pair_once() -> None:
    rows = a_person_an_image(3, agreement_grad_cam=(-0.2, 0.0, 0.5))
    found = summary(rows, methods=["occlusion", *METHODS])["agreement"]
    assert [(pair["a"], pair["b"]) for pair in found] == list(combinations(("occlusion", *METHODS), 2))
    assert [pair["correlation"]["value"] for pair in found] == [None, None, pytest.approx(0.1)]
    assert found[0]["correlation"]["remark"] == "No image has this score."


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_correlations_of_nought_or_one_are_no_shares_that_all_agree_on(value: float) -> None:
    correlation = summary(a_person_an_image(8, agreement_grad_cam=[value] * 8))["agreement"][0]["correlation"]
    assert (correlation["low"], correlation["high"]) == (value, value)
    assert "no width" in correlation["remark"]


CHECKED_IMAGES = [f"{index}.jpg" for index in range(8)]


def check_of(last: Any, control: Any) -> Any:
    """The check of saliency; both are (8,), of images of different people."""
    rows = [
        *(
            checked(path, 1, value, identity=path, control=other)
            for path, value, other in zip(CHECKED_IMAGES, last, control, strict=True)
        ),
        *(checked(path, 0, 0.9, identity=path) for path in CHECKED_IMAGES),
    ]
    found = summary([scored("a.jpg")], rows)["methods"]
    assert found[1]["randomisation"] is None, "grad_cam was not checked"
    return found[0]["randomisation"]


WOBBLE = np.linspace(-0.05, 0.05, 8)  # from image to image


@pytest.mark.parametrize(
    ("last", "control", "flagged"),
    [
        (0.9 + WOBBLE, 0.9 - WOBBLE, True),  # as much like random networks as these are like each other
        (0.9 + WOBBLE, 0.8 + WOBBLE, True),  # even more
        (0.85 + WOBBLE, 0.9 + WOBBLE, False),  # much alike, but image by image less than the control
        (0.3 + WOBBLE, 0.2 + WOBBLE, False),  # the larger part of the map has changed: 0.3 squared is 0.09
        (0.69 + 0 * WOBBLE, 0.5 + WOBBLE, False),
        (0.72 + 0 * WOBBLE, 0.5 + WOBBLE, True),  # 0.72 squared is 0.52
        (-0.9 + WOBBLE, -0.9 - WOBBLE, False),
        (np.full(8, np.nan), 0.9 + WOBBLE, None),
    ],
    ids=["alike", "more alike", "less alike", "little left", "less than half", "more than half", "opposite", "nothing"],
)
def test_a_method_is_flagged_if_its_maps_are_as_random_networks_make_them(
    last: Any, control: Any, flagged: Any
) -> None:
    check = check_of(last, control)
    assert check["flagged"] is flagged
    assert check["images"] == 8
    assert [(stage["layers"], stage["share"]) for stage in check["stages"]] == [("head", 0.1), ("stem", 1.0)]
    assert check["stages"][0]["similarity"]["value"] == pytest.approx(0.9)
    assert check["control"]["value"] == pytest.approx(control.mean())
    if flagged is not None:
        assert check["stages"][1]["similarity"]["value"] == pytest.approx(last.mean())
        assert check["difference"]["value"] == pytest.approx((control - last).mean())


def test_the_difference_from_the_control_is_paired_image_by_image() -> None:
    wide = np.linspace(0.5, 0.95, 8)
    difference = check_of(wide - 0.02, wide)["difference"]
    assert (difference["low"], difference["high"]) == (pytest.approx(0.02), pytest.approx(0.02))


def test_hits_and_mass_of_a_known_cue_are_means_of_each_label() -> None:
    cues = [("FEMALE", 1.0, 0.3, 0.1), ("FEMALE", 0.0, 0.2, 0.06), ("FEMALE", np.nan, np.nan, np.nan)]
    cues += [("MALE", 1.0, 0.5, 0.08), ("MALE", 1.0, 0.6, 0.12), ("MALE", 1.0, np.nan, 0.07)]
    rows = [
        scored(f"{index}.jpg", identity=f"p{index}", label=label, cue_hit=hit, cue_mass=mass, cue_area=area)
        for index, (label, hit, mass, area) in enumerate(cues)
    ]
    found = summary(rows)["methods"]
    female, male = found[0]["cue"]["FEMALE"], found[0]["cue"]["MALE"]
    assert (female["images"], male["images"]) == (2, 3), "an image without a box does not count"
    assert (female["hit"]["value"], female["mass"]["value"], female["area"]) == pytest.approx((0.5, 0.25, 0.08))
    assert (male["hit"]["value"], male["mass"]["value"], male["area"]) == pytest.approx((1, 0.55, 0.09))
    assert male["hit"]["low"] < 1 == male["hit"]["high"], "three people who agree are no proof for all"
    assert found[1]["cue"] is None, "grad_cam has no maps"


def test_without_boxes_there_is_no_cue() -> None:
    nothing = {name: [np.nan] * 3 for name in ("cue_hit", "cue_mass", "cue_area")}
    assert summary(a_person_an_image(3, **nothing))["methods"][0]["cue"] is None


def test_tables_are_read_as_they_were_written(tmp_path: Path) -> None:
    file = tmp_path / "explanations.csv"
    written = pd.DataFrame([scored("1", identity="007", head=np.nan, outside=1 / 3, agreement_saliency=np.nan)])
    written.to_csv(file, index=False)
    table = read_explanations(file)
    pd.testing.assert_frame_equal(table, written, check_dtype=False)
    assert table["outside"].dtype == np.float64
    checks = pd.DataFrame([checked("1", 0, 0.25), checked("1", 1, np.nan)])
    checks.to_csv(file, index=False)
    pd.testing.assert_frame_equal(read_randomisation(file), checks, check_dtype=False)


HEADER = "path,method,stage,identity,layers,share,similarity,control\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "is missing: python -m gender_cls.explain "),
        ("", "as CSV.*run python -m gender_cls.explain again"),
        ("path,method\n", "'stage'.*run python -m gender_cls.explain again"),
        (HEADER + "a,b,0,,c,0.1,1,x\n", "'x'.*run python -m gender_cls.explain again"),
        (
            HEADER + "a,b,0,,c,0.1,1,\na,b,0,,c,0.1,1,\n",
            "two rows of a, b, 0: .*run python -m gender_cls.explain again",
        ),
    ],
)
def test_a_damaged_table_is_named(tmp_path: Path, text: str | None, message: str) -> None:
    file = tmp_path / "explanations.csv"
    if text is not None:
        file.write_text(text)
    with pytest.raises(GenderClsError, match=f"^{file} .*{message}"):
        read_randomisation(file)


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        (("path", *SCORE_COLUMNS), False),
        (("path", *(name for name in SCORE_COLUMNS if not name.startswith("cue_"))), True),
        (("anything",), False),
        (None, False),
    ],
)
def test_a_table_of_maps_of_one_logit_is_of_an_earlier_version(tmp_path: Path, columns: Any, expected: bool) -> None:
    file = tmp_path / "explanations.csv"
    if columns is not None:
        file.write_text(",".join(columns) + "\n")
    assert is_of_earlier_version(file) is expected
