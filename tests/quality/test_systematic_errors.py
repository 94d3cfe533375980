"""Labels that follow a camera, planted in Gaussian features whose cameras look alike or differ."""

import re

import numpy as np
import pandas as pd
import pytest
from scipy.stats import t

from gender_cls.config.data import CLASSES
from gender_cls.quality import systematic_errors
from gender_cls.quality.systematic_errors import find_systematic_errors


def town(
    cameras: int = 12, people: int = 120, shift: float = 0.0, contrast: float = 4.0, seed: int = 0
) -> tuple[np.ndarray, pd.DataFrame]:
    """Two images a person; 20 % to 60 % women. `shift`: how far cameras move along the axis that tells the sexes."""
    rng = np.random.default_rng(seed)
    camera = np.repeat(np.arange(cameras), people)
    women = rng.random(len(camera)) < np.linspace(0.2, 0.6, cameras)[camera]
    offset = rng.permutation(np.linspace(-shift, shift, cameras))
    person = np.repeat(np.arange(len(camera)), 2)
    features = rng.normal(size=(len(person), 6)).astype(np.float32)
    features[:, 0] += contrast * ~women[person] + offset[camera[person]]
    table = pd.DataFrame(
        {"camera": [f"c{one}" for one in camera[person]], "label": np.where(women[person], *CLASSES), "group": person}
    )
    return features, table


def invert(table: pd.DataFrame, chosen: pd.Series) -> None:
    table.loc[chosen, "label"] = table["label"].map(dict(zip(CLASSES, CLASSES[::-1], strict=True)))


def kinds(features: np.ndarray, table: pd.DataFrame) -> list[tuple[str, str]]:
    return [(error.value, error.kind) for error in find_systematic_errors("camera", features, table, 0)]


@pytest.mark.parametrize("shift", [0.0, 1.5])
def test_clean_labels_raise_no_alarm(shift: float) -> None:
    for seed in range(6):
        assert kinds(*town(shift=shift, seed=seed)) == []


@pytest.mark.parametrize(("label", "models"), [("FEMALE", 20), ("MALE", 20), ("MALE", 5)])
def test_one_label_for_all_in_one_camera_is_found(label: str, models: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(systematic_errors, "MOST_MODELS", models)  # 5 are fewer than cameras
    features, table = town()
    table.loc[table["camera"] == "c3", "label"] = label
    [error] = find_systematic_errors("camera", features, table, 0)
    assert (error.value, error.kind) == ("c3", "contradicted")
    assert f"Camera c3: all 240 images are labelled {label}" in error.sentence


def test_a_camera_that_saw_men_only_is_not_reported_where_predictions_confirm_it() -> None:
    features, table = town()
    kept = ~((table["camera"] == "c5") & (table["label"] == "FEMALE")).to_numpy()
    assert kinds(features[kept], table[kept]) == []


def test_cameras_too_different_to_compare_leave_a_question() -> None:
    features, table = town(shift=3.0, contrast=1.0)
    table.loc[table["camera"] == "c3", "label"] = "MALE"
    [error] = find_systematic_errors("camera", features, table, 0)
    assert error.kind == "one_label"
    people = table[table["camera"] != "c3"].drop_duplicates("group")
    usual = (people["label"] == "FEMALE").groupby(people["camera"]).mean().mean()
    assert "Camera c3: all 240 images are labelled MALE" in error.sentence
    assert f"{usual:.0%} of the people are FEMALE" in error.sentence


@pytest.mark.parametrize("shift", [0.0, 3.0])
def test_inverted_labels_are_found_however_different_the_cameras(shift: float) -> None:
    features, table = town(shift=shift, contrast=1.5)
    table = table.assign(source=table["camera"].str.replace("c", "source ")).drop(columns="camera")
    invert(table, table["source"] == "source 2")
    [error] = find_systematic_errors("source", features, table, 0)
    assert (error.value, error.kind) == ("source 2", "inverted")
    assert error.sentence.startswith("Source source 2: its labels look inverted")
    assert re.search(r"\d% of pairs .*other sources .*\d% to \d+%", error.sentence)


def test_two_inverted_cameras_are_both_found_and_nothing_else() -> None:
    features, table = town(contrast=2.0)
    invert(table, table["camera"].isin(["c0", "c6"]))
    assert sorted(kinds(features, table)) == [("c0", "inverted"), ("c6", "inverted")]


def test_unknown_cameras_and_few_people_are_not_judged() -> None:
    features, table = town(cameras=4)
    assert kinds(features, table.assign(camera="")) == []
    assert kinds(features, table.assign(camera="only one")) == []
    table.loc[:19, ["camera", "label"]] = "small", "MALE"  # ten people
    assert kinds(features, table) == []
    table.loc[20:21, ["camera", "label"]] = "small", "MALE"
    assert [value for value, _ in kinds(features, table)] == ["small"]


def test_sources_of_one_label_each_leave_nothing_to_learn_from() -> None:
    features, table = town(cameras=2)
    table["label"] = np.where(table["camera"] == "c0", "MALE", "FEMALE")
    assert kinds(features, table) == [("c0", "one_label"), ("c1", "one_label")]


def test_the_interval_is_the_one_worked_out_by_hand() -> None:
    """Predictions are 0.6 for women and 0.2 for men in b, c and d, and moved by the camera's look in each."""
    rows = []
    for value, women, men, moved in (("a", 0, 40, 0.02), ("b", 20, 20, 0.0), ("c", 20, 20, 0.04), ("d", 20, 20, -0.04)):
        for label, count, level in (("FEMALE", women, 0.6), ("MALE", men, 0.2)):
            rows += [(value, label, 1, level + moved)] * count
    people = pd.DataFrame(rows, columns=["value", "label", "images", "p_female"])
    shares = systematic_errors._shares_of_women(people)
    # a: (0.22 - 0.2) / 0.4 = 0.05. b against c and d: the same levels, so no error. c against b and d, whose levels are
    # 0.58 and 0.18: (0.44 - 0.18) / 0.4 - 0.5 = 0.15. d: (0.36 - 0.22) / 0.4 - 0.5 = -0.15. Their mean is 0, their
    # standard deviation 0.15; a's own predictions do not vary.
    assert shares.loc["a", "labelled"] == 0
    reach = t.isf(0.01 / 2 / 4, 2) * 0.15 * np.sqrt(4 / 3)
    assert shares.loc["a", ["low", "high"]].tolist() == pytest.approx([0.05 - reach, 0.05 + reach])
    assert shares.loc["b", ["low", "high"]].tolist() == [-np.inf, np.inf]  # two others are too few


def test_the_error_of_an_area_is_that_of_the_published_formula() -> None:
    """Hanley and McNeil: Q1 = A / (2 - A), Q2 = 2 A^2 / (1 + A); A = 0.75 with 4 and 2 people."""
    expected = (0.75 * 0.25 + 3 * (0.6 - 0.5625) + 1 * (2 * 0.5625 / 1.75 - 0.5625)) / 8
    assert systematic_errors._auroc_error(0.75, 4, 2) == pytest.approx(expected**0.5)
    assert 0 < systematic_errors._auroc_error(1.0, 5, 5) < 0.2
