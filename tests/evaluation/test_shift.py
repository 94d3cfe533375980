from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from helpers.example_metrics import assert_matches
from scipy.stats import ks_2samp

from gender_cls.evaluation import shift
from gender_cls.evaluation.multiple_testing import holm
from gender_cls.evaluation.schema import Shift, ShiftedColumn
from gender_cls.evaluation.shift import split_shift


def split_of(rng: np.random.Generator, people: int, mean: float = 0.0, images: int = 10) -> pd.DataFrame:
    """As many images of each person, alike: the person makes most of what is measured."""
    who = np.repeat(np.arange(people), images)
    female = (rng.random(people) < 0.5)[who]
    height = rng.normal(mean, 1, people)[who] + rng.normal(0, 0.3, len(who))
    probability = 1 / (1 + np.exp(-rng.normal(0, 2, people)[who] - rng.normal(0, 0.3, len(who))))
    return pd.DataFrame(
        {
            "path": [f"{number}.jpg" for number in range(len(who))],
            "label": np.where(female, "FEMALE", "MALE"),
            "identity": [f"person {number}" for number in who],
            "camera": rng.choice(["c1", "c2", "c3"], people)[who],
            "split": "",
            "native_height": (100 + 20 * height).round().astype(int),
            "p_FEMALE": probability,
        }
    )


def compared(validation: pd.DataFrame, test: pd.DataFrame) -> Shift:
    result = split_shift(validation, test)
    assert_matches(result, Shift)
    return result


def column(result: Shift, name: str) -> ShiftedColumn:
    (found,) = [one for one in result["columns"] if one["column"] == name]
    return found


def test_distances_of_names_by_hand() -> None:
    rng = np.random.default_rng(0)
    validation, test = split_of(rng, 10, images=1), split_of(rng, 20, images=1)
    validation["camera"] = ["c1"] * 5 + ["c2"] * 3 + [""] * 2  # 0.5, 0.3, 0, 0.2
    test["camera"] = ["c1"] * 4 + ["c2"] * 12 + ["c3"] * 4  # 0.2, 0.6, 0.2, 0
    validation["label"] = ["MALE"] * 4 + ["FEMALE"] * 6
    test["label"] = "MALE"
    result = compared(validation, test)
    assert column(result, "camera")["statistic"] == "tv"
    assert column(result, "camera")["value"] == pytest.approx((0.3 + 0.3 + 0.2 + 0.2) / 2)
    assert column(result, "label")["value"] == pytest.approx(0.6)


def test_p_values_are_the_share_of_all_exchanges_of_people() -> None:
    # Eight people with unequally many images, three of them in validation: 56 exchanges can be counted out.
    rng = np.random.default_rng(5)
    everybody = split_of(rng, 8, images=12)
    kept = np.concatenate([np.flatnonzero(everybody["identity"] == f"person {n}")[: n + 2] for n in range(8)])
    everybody = everybody.iloc[kept]
    people = [f"person {number}" for number in range(8)]

    def distances(first: tuple[str, ...]) -> list[float]:
        chosen = everybody["identity"].isin(first)
        inside, outside = everybody[chosen], everybody[~chosen]
        ks = [ks_2samp(inside[name], outside[name]).statistic for name in ("native_height", "p_FEMALE")]
        return [*ks, abs(inside["label"].eq("MALE").mean() - outside["label"].eq("MALE").mean())]

    chosen = ("person 1", "person 4", "person 6")
    exchanges = np.array([distances(first) for first in combinations(people, 3)])
    assert len(exchanges) == 56
    inside = everybody["identity"].isin(chosen)
    result = compared(everybody[inside], everybody[~inside])
    names = ("native_height", "probability", "label")
    for name, observed, exchanged in zip(names, distances(chosen), exchanges.T, strict=True):
        assert column(result, name)["statistic"] == ("tv" if name == "label" else "ks")
        assert column(result, name)["value"] == pytest.approx(observed)
        expected = (exchanged > observed - 1e-9).mean()
        assert 0.05 < expected < 0.95
        assert column(result, name)["p_value"] == pytest.approx(expected, abs=0.035)


def test_without_shift_five_percent_of_the_p_values_are_below_five_percent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shift, "PERMUTATIONS", 400)
    rng = np.random.default_rng(0)
    p_values, of_images, shifted = [], [], []
    for _ in range(200):
        validation, test = split_of(rng, 30), split_of(rng, 30)
        result = split_shift(validation, test)
        p_values.append([column(result, name)["p_value"] for name in ("native_height", "probability")])
        shifted.append(result["shifted"] != [])
        of_images.append(ks_2samp(validation["native_height"], test["native_height"], method="asymp").pvalue)
    for share in (np.array(p_values) < 0.05).mean(axis=0):
        assert 0.02 <= share <= 0.09
    assert np.mean(p_values) == pytest.approx(0.5, abs=0.05)
    assert np.mean(shifted) <= 0.09  # any of the four columns
    assert np.mean(np.array(of_images) < 0.05) > 0.5  # what comes of taking images for independent


def test_a_real_shift_is_found_and_named() -> None:
    rng = np.random.default_rng(0)
    result = compared(split_of(rng, 60), split_of(rng, 60, mean=1.2))
    assert result["shifted"] == ["native_height"]
    assert result["remark"] is None
    first = {"column": "native_height", "p_value": pytest.approx(1 / 2001), "p_holm": pytest.approx(4 / 2001)}
    assert {**result["columns"][0], **first} == result["columns"][0]
    p_values = [one["p_value"] for one in result["columns"]]
    assert p_values == sorted(p_values)
    assert [one["p_holm"] for one in result["columns"]] == pytest.approx(holm(p_values).tolist())


def test_equal_splits_are_never_shifted_and_people_in_both_count_twice() -> None:
    split = split_of(np.random.default_rng(0), 20)
    result = compared(split, split.copy())
    assert {one["column"] for one in result["columns"]} == {"label", "camera", "native_height", "probability"}
    for one in result["columns"]:
        assert (one["value"], one["p_value"], one["p_holm"]) == (0, 1, 1)


@pytest.mark.parametrize(
    ("people", "remark"),
    [
        ((0, 5), "validation has no image"),
        ((5, 0), "test has no image"),
        ((1, 5), "validation has one person"),
    ],
)
def test_splits_without_people_to_exchange_are_not_compared(people: tuple[int, int], remark: str) -> None:
    rng = np.random.default_rng(0)
    result = compared(*(split_of(rng, count) for count in people))
    assert result["columns"] == result["shifted"] == []
    assert remark in (result["remark"] or "")


def test_names_that_one_side_does_not_know_are_not_compared() -> None:
    rng = np.random.default_rng(3)
    validation, test = split_of(rng, 20), split_of(rng, 20)
    validation["camera"] = ""  # as in other data, where nobody noted them
    result = compared(validation, test)
    assert "camera" not in [one["column"] for one in result["columns"]]
    assert result["remark"] == "Not compared, because one of the two has no values: camera."


def test_values_that_are_not_finite_are_left_out_with_a_remark() -> None:
    rng = np.random.default_rng(0)
    validation, test = split_of(rng, 20), split_of(rng, 20)
    test.loc[3, "p_FEMALE"] = np.nan
    validation["brightness"], test["brightness"] = rng.random(200) * 255, 1.0
    validation.loc[0, "brightness"] = np.inf
    result = compared(validation, test)
    assert {one["column"] for one in result["columns"]} == {"label", "camera", "native_height"}
    assert (result["remark"] or "").endswith("not finite: brightness, probability.")


@pytest.mark.parametrize("cells", [1, 2_000, 2**30])
def test_chunks_of_permutations_change_nothing(cells: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """1: a permutation at a time; 2,000: 7 at a time, which do not divide 100; 2^30: all at once."""
    rng = np.random.default_rng(1)
    validation, test = split_of(rng, 12), split_of(rng, 14, mean=0.3)
    monkeypatch.setattr(shift, "PERMUTATIONS", 100)
    expected = split_shift(validation, test)
    monkeypatch.setattr(shift, "IMAGES_AT_ONCE", cells)
    assert split_shift(validation, test) == expected
