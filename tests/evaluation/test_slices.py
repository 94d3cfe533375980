import numpy as np
import pandas as pd
import pytest
from helpers.example_metrics import assert_matches
from helpers.prediction_tables import letters, table_of
from sklearn.metrics import balanced_accuracy_score, recall_score

from gender_cls.evaluation import bootstrap
from gender_cls.evaluation.estimate import undefined
from gender_cls.evaluation.metrics import decision_scores, is_female, score_shares
from gender_cls.evaluation.schema import Slice, Slices
from gender_cls.evaluation.slices import slice_columns, slice_scores


def random_table(rows: int = 600, people: int = 150, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    who = rng.integers(people, size=rows)
    female = (rng.random(people) < 0.4)[who]
    right = rng.random(rows) < rng.beta(4, 1, people)[who]
    return table_of(
        letters(female),
        letters(female == right),
        [f"person {number}" for number in who],
        camera=rng.choice(["c1", "c2", "c3"], rows).tolist(),
        source=[""] * rows,
        view=rng.choice(["front", "back", ""], rows).tolist(),
        native_height=rng.integers(40, 300, rows),
        brightness=rng.normal(110, 20, rows),
        sharpness=rng.normal(1.1, 0.15, rows),
    )


def scored(table: pd.DataFrame, resamples: int = 200) -> Slices:
    result = slice_scores(table, resamples)
    assert_matches(result, Slices)
    return result


def cell(result: Slices, column: str, value: str) -> Slice:
    (found,) = [one for one in result["cells"] if (one["column"], one["value"]) == (column, value)]
    return found


def values(result: Slices, column: str) -> list[str]:
    return [one["value"] for one in result["cells"] if one["column"] == column]


def test_every_slice_has_the_scores_of_scikit_learn() -> None:
    table = random_table()
    result = scored(table)
    columns = dict.fromkeys(one["column"] for one in result["cells"])
    assert [*columns] == ["camera", "view", "native_height", "brightness", "sharpness"]
    for one in result["cells"]:
        column, value = one["column"], one["value"]
        if column in ("camera", "view"):
            rows = table[table[column] == ("" if value == "unknown" else value)]
        else:
            low, high = map(float, value.split(" to "))
            rows = table[table[column].round(2 if column == "sharpness" else 0).between(low, high)]
        assert one["images"] == len(rows)
        assert one["identities"] == rows["identity"].nunique()
        assert one["few"] == (one["identities"] < 50)
        balanced = balanced_accuracy_score(rows["label"], rows["prediction"])
        female, male = recall_score(rows["label"], rows["prediction"], labels=["FEMALE", "MALE"], average=None)
        scores = [one[name]["value"] for name in ("balanced_accuracy", "recall_FEMALE", "recall_MALE", "recall_gap")]
        assert scores == pytest.approx([balanced, female, male, male - female])


def test_intervals_are_those_of_the_bootstrap_over_the_people_of_the_slice() -> None:
    table = random_table()
    found = cell(slice_scores(table, 10_000), "camera", "c2")
    rows = table[table["camera"] == "c2"]
    female, says_female = is_female(rows), is_female(rows, "prediction")
    people = bootstrap.bootstrap_units(rows)
    shares = score_shares(female, says_female, people)
    expected = bootstrap.estimates(
        people, lambda weights: decision_scores(female, says_female, weights), seed=1, shares=shares
    )
    for name in ("balanced_accuracy", "recall_FEMALE", "recall_MALE"):
        one, other = found[name], expected[name]
        assert (one["low"], one["high"]) == pytest.approx((other["low"], other["high"]), abs=0.006)
        assert one["low"] < one["value"] - 0.01 < one["value"] + 0.01 < one["high"]


def test_another_column_changes_no_slice() -> None:
    table = random_table()
    more = slice_scores(table.assign(hat=["yes", "no"] * 300), 500)
    assert [one for one in more["cells"] if one["column"] != "hat"] == slice_scores(table, 500)["cells"]


def test_columns_that_describe_the_image_are_taken() -> None:
    rng = np.random.default_rng(1)
    rows = 300
    table = table_of(
        letters(rng.random(rows) < 0.5),
        "F" * rows,
        images_each=3,
        camera=[f"c{row % 25}" for row in range(rows)],
        source=["PETA"] * rows,
        view=rng.choice(["front", "side", "back", ""], rows).tolist(),
        group=[str(row % 4) for row in range(rows)],
        frame=[str(row % 7) for row in range(rows)],
        width=[str(40 + row % 9) for row in range(rows)],
        height=[str(90 + row % 9) for row in range(rows)],
        original_label=rng.choice(["", "MALE", "FEMALE"], rows).tolist(),
        weather=["", "rain"] * 150,
        file_number=[str(row) for row in range(rows)],
        person_number=[str(row // 12) for row in range(rows)],
        cue_left=[str(row % 31) for row in range(rows)],
        age=rng.choice(["16-30", "31-45"], rows).tolist(),
        native_height=rng.integers(40, 300, rows),
        brightness=[99.0] * rows,
        sharpness=1 + rng.random(rows) / 1000,
    )
    assert slice_columns(table) == ["camera", "view", "age", "native_height"]


def test_of_columns_that_divide_the_images_alike_the_first_is_kept() -> None:
    cameras = ["c1", "c2", ""] * 20
    table = table_of("FFMM" * 15, "FFFM" * 15, camera=cameras, source=cameras)
    table["place"] = table["camera"].map({"c1": "door", "c2": "", "": "lift"})
    table["sex"] = table["label"].str.lower()
    assert slice_columns(table) == ["camera"]
    table.loc[0, "source"] = "c2"
    assert slice_columns(table) == ["camera", "source"]


def test_unknown_values_make_the_last_slice() -> None:
    views = (["side", "", "back", "unknown", "zoom"] * 12)[:60]
    result = scored(table_of("FM" * 30, "FM" * 30, view=views))
    assert values(result, "view") == ["back", "side", "zoom", "unknown"]
    assert cell(result, "view", "unknown")["images"] == 24


def test_terciles_are_thirds_whose_ranges_do_not_touch() -> None:
    rng = np.random.default_rng(0)
    measured = {
        "native_height": rng.permutation(90) + 40,
        "brightness": rng.random(90) * 9,
        "sharpness": rng.random(90),
    }
    result = scored(table_of("FM" * 45, "FM" * 45, **measured))
    assert values(result, "native_height") == ["40 to 69", "70 to 99", "100 to 129"]
    assert [one["images"] for one in result["cells"][:3]] == [30, 30, 30]
    for column, step in (("brightness", 1.0), ("sharpness", 0.01)):
        bounds = [float(bound) for value in values(result, column) for bound in value.split(" to ")]
        assert (np.diff(bounds) >= [0, step - 1e-9, 0, step - 1e-9, 0]).all()


@pytest.mark.parametrize(
    ("heights", "expected"),
    [
        ([50] * 10 + [60] * 30 + [70] * 20, {"50 to 60": 40, "70": 20}),
        ([50] * 20 + [60] * 20 + [70] * 20, {"50": 20, "60": 20, "70": 20}),
        ([50] * 55 + [60, 61, 62, 63, 64], {"50": 55, "60 to 64": 5}),
        ([50] * 5 + [60] * 55, {}),
        ([50] * 60, {}),
    ],
)
def test_equal_values_stay_in_one_range(heights: list[int], expected: dict[str, int]) -> None:
    result = scored(table_of("FM" * 30, "FM" * 30, native_height=heights))
    assert {one["value"]: one["images"] for one in result["cells"]} == expected


def test_a_measure_that_is_not_finite_is_unknown() -> None:
    brightness = [np.nan, np.inf] * 5 + list(range(50))
    result = scored(table_of("FM" * 30, "FM" * 30, brightness=brightness))
    assert values(result, "brightness") == ["0 to 16", "17 to 33", "34 to 49", "unknown"]
    assert cell(result, "brightness", "unknown")["images"] == 10
    assert scored(table_of("FM" * 30, "FM" * 30, brightness=[np.inf, -np.inf, np.nan] * 20))["cells"] == []


def test_a_slice_of_one_label_has_its_recall_and_says_what_is_missing() -> None:
    result = scored(table_of("M" * 60 + "FM" * 30, "M" * 45 + "F" * 15 + "FM" * 30, camera=["c1"] * 60 + ["c2"] * 60))
    men = cell(result, "camera", "c1")
    assert men["recall_MALE"]["value"] == pytest.approx(0.75)
    assert men["recall_MALE"]["low"] < 0.75 < men["recall_MALE"]["high"]
    for missing in (men["balanced_accuracy"], men["recall_FEMALE"], men["recall_gap"]):
        assert missing == undefined("There is no FEMALE image.")
    assert result["worst"] == {"column": "camera", "value": "c2", "balanced_accuracy": 1.0}


def test_the_worst_slice_is_the_lowest_of_those_with_fifty_people() -> None:
    # a: 50 people, half right. b: 49 people, all wrong. c: 60 people, all right.
    labels = "FM" * 25 + "FM" * 24 + "F" + "FM" * 30
    answers = "FF" * 25 + "MF" * 24 + "M" + "FM" * 30
    result = scored(table_of(labels, answers, camera=["a"] * 50 + ["b"] * 49 + ["c"] * 60))
    assert [one["few"] for one in result["cells"]] == [False, True, False]
    assert cell(result, "camera", "b")["balanced_accuracy"]["value"] == 0
    assert result["worst"] == {"column": "camera", "value": "a", "balanced_accuracy": 0.5}
    assert result["remark"] is None


def test_images_of_unknown_people_count_themselves() -> None:
    result = scored(table_of("FM" * 60, "FM" * 60, [""] * 120, camera=["a", "a", "b"] * 40))
    found = [(one["images"], one["identities"], one["few"]) for one in result["cells"]]
    assert found == [(80, 0, False), (40, 0, True)]


def test_one_person_in_a_slice_has_scores_without_an_interval() -> None:
    people = ["ann"] * 4 + [f"person {row}" for row in range(16)]
    alone = cell(scored(table_of("FM" * 10, "FF" * 10, people, camera=["a"] * 4 + ["b"] * 16)), "camera", "a")
    score = alone["balanced_accuracy"]
    assert (alone["identities"], score["value"], score["low"]) == (1, 0.5, None)
    assert "only one person" in (score["remark"] or "")


@pytest.mark.parametrize(
    ("table", "remark"),
    [
        (table_of("FM" * 20, "FM" * 20, camera=["a", "a", "b", "b"] * 10), "both labels and 50 people"),
        (table_of("FM" * 80, "FM" * 80, camera=["a", "b"] * 80, age=["x"] * 160), "No column"),
        (table_of("FM" * 20, "FM" * 20, ["ann"] * 40, camera=["a", "a", "b", "b"] * 10), "No column"),
        (random_table().iloc[:0], "no test images"),
        (table_of("", "", camera=[], native_height=[]), "no test images"),
        (table_of("F", "M", camera=["a"], native_height=[3]), "No column"),
    ],
)
def test_without_a_worst_slice_a_remark_says_why(table: pd.DataFrame, remark: str) -> None:
    result = scored(table)
    assert result["worst"] is None
    assert remark in (result["remark"] or "")


def test_a_slice_with_probabilities_that_are_not_finite_has_no_scores() -> None:
    table = table_of("FM" * 60, "FM" * 60, camera=["a", "a", "b", "b"] * 30)
    table.loc[[0, 1], ["p_FEMALE", "p_MALE"]] = np.nan
    result = scored(table)
    assert cell(result, "camera", "a")["recall_MALE"] == undefined("2 of 60 probabilities are not finite.")
    assert result["worst"] == {"column": "camera", "value": "b", "balanced_accuracy": 1.0}
