from typing import Any

import numpy as np
import pytest
import torch

from gender_cls.config.data import ResizeMode
from gender_cls.data.pixel_modes import MID_GREY
from gender_cls.data.resizing import place_in_input
from gender_cls.data.shortcuts import apply_shortcut
from gender_cls.evaluation.explanation_schema import PLACES
from gender_cls.explain.mass_shares import area_shares, cue_scores, mass_inside, mass_shares

NAN, INF = float("nan"), float("inf")


def one(shares: dict[str, np.ndarray]) -> dict[str, float]:
    return {place: float(values[0]) for place, values in shares.items()}


def places(*shares: float) -> Any:
    """Of head, upper body, lower body and outside the person."""
    return pytest.approx(dict(zip(("head", "upper_body", "lower_body", "outside"), shares, strict=True)))


def test_mass_of_a_stretched_crop_by_hand() -> None:
    # 10x10: the head is rows 0 and 1, the upper body rows 2 to 4 and half of row 5. The person's box is rows 1 to 8 and
    # columns 2 to 7. What is negative has no mass.
    values = np.zeros((1, 10, 10))
    values[0, 0, 0] = 3  # head, outside
    values[0, 1, 2] = 1  # head, person
    values[0, 5, 7] = 4  # half upper, half lower body; person
    values[0, 9, 5] = 2  # lower body, outside
    values[0, 4, :] = -7
    expected = places(0.4, 0.2, 0.4, 0.5)
    assert one(mass_shares(values, [[0, 0, 10, 10]])) == expected
    assert one(mass_shares(torch.tensor(values), torch.tensor([[0, 0, 10, 10]]))) == expected


def test_padding_of_a_letterbox_is_outside_and_in_no_band() -> None:
    # A crop of 40x10 in an input of 20x20 is 5 columns wide: 7 columns of padding to its left, 8 to its right.
    box = place_in_input((40, 10), (20, 20), ResizeMode.letterbox)
    assert box == (7, 0, 12, 20)
    values = np.zeros((1, 20, 20))
    values[0, 0, 0] = 5  # padding
    values[0, 3, 8] = 1  # head, person
    values[0, 10, 7] = 2  # upper body, next to the person, whose columns are 8 to 10
    values[0, 19, 9] = 2  # lower body, below the person, whose rows are 2 to 17
    assert one(mass_shares(values, [box])) == places(0.1, 0.2, 0.2, 0.9)
    assert one(area_shares((20, 20), [box])) == places(0.05, 0.0875, 0.1125, 1 - 48 / 400)  # the person is 16 rows of 3


def test_bands_are_parts_of_the_whole_crop_also_where_it_was_cut() -> None:
    # A crop of 40x10 that fills an input of 20x10: its upper and lower quarter are cut off.
    box = place_in_input((40, 10), (20, 10), ResizeMode.crop)
    assert box == (0, -10, 10, 30)
    # In rows of the input the head is -10 to -2, the upper body -2 to 12, the person -6 to 26 and columns 2 to 7.
    assert one(area_shares((20, 10), [box])) == places(0, 0.6, 0.4, 0.4)
    values = np.zeros((1, 20, 10))
    values[0, 11, 2], values[0, 12, 1] = 3, 1
    assert one(mass_shares(values, [box])) == places(0, 0.75, 0.25, 0.25)


def test_pixels_at_an_edge_count_in_proportion() -> None:
    values = np.array([[[1.0, 2, 3], [4, 5, 6]]])
    # Rows: half of the first, a quarter of the second; columns: three quarters of the first, half of the second.
    inside = 0.5 * (0.75 * 1 + 0.5 * 2) + 0.25 * (0.75 * 4 + 0.5 * 5)
    assert mass_inside(values, [[0.25, 0.5, 1.5, 1.25]]).tolist() == pytest.approx([inside / 21])
    # A box within one pixel, one outside the map, and one around it.
    boxes = [[1.25, 0.5, 1.75, 0.75], [-4, 0, -1, 2], [-1, -1, 9, 9]]
    assert mass_inside(values, boxes).tolist() == pytest.approx([2 * 0.5 * 0.25 / 21, 0, 1])


def test_outside_is_what_lies_outside_the_box_that_is_masked() -> None:
    # The pixels that `person_only` paints grey, and those that `outside` counts, where no edge cuts a pixel.
    kept = apply_shortcut(torch.zeros(3, 20, 10, dtype=torch.uint8), "person_only")[0] != MID_GREY
    assert one(mass_shares(kept[None].double(), [[0, 0, 10, 20]]))["outside"] == pytest.approx(0)
    assert one(mass_shares((~kept)[None].double(), [[0, 0, 10, 20]]))["outside"] == pytest.approx(1)


def test_maps_without_mass_have_no_shares_and_spoil_no_other() -> None:
    values = np.ones((7, 10, 10), dtype=np.float32)
    values[0], values[1] = 0, -1
    values[2, 3, 3], values[3, 3, 3], values[4, 3, 3], values[5] = NAN, INF, -INF, NAN
    shares = mass_shares(values, [[0, 0, 10, 10]] * 7)
    for place, area in zip(PLACES, (0.2, 0.35, 0.45, 0.52), strict=True):
        assert np.isnan(shares[place]).tolist() == [True] * 6 + [False]
        assert shares[place][6] == pytest.approx(area)


@pytest.mark.parametrize("size", [(256, 128), (224, 224), (17, 31), (40, 30)])
def test_an_even_map_has_the_shares_of_the_area(size: tuple[int, int]) -> None:
    boxes = [[0, 0, size[1], size[0]], [7, 0, 23, 17], [0, -5.5, 30, 45.5], [2.25, 3.5, 20.75, 31.125]]
    areas = area_shares(size, boxes)
    assert [areas[place][0] for place in PLACES] == pytest.approx([0.2, 0.35, 0.45, 0.52])
    for place, shares in mass_shares(np.full((4, *size), 0.1, dtype=np.float32), boxes).items():
        np.testing.assert_allclose(shares, areas[place], rtol=1e-12)


def test_shares_do_not_depend_on_the_scale_and_maps_are_left_alone() -> None:
    values = np.random.default_rng(0).normal(size=(3, 16, 16)).astype(np.float32)
    before = values.copy()
    boxes = [[0, 0, 16, 16]] * 3
    expected = mass_shares(values, boxes)
    for scale in (1e-30, 1e30):
        for place, shares in mass_shares(values * np.float32(scale), boxes).items():
            np.testing.assert_allclose(shares, expected[place], rtol=1e-5)
    assert np.array_equal(values, before)
    doubles = values.astype(np.float64)  # of the type in which it is computed
    mass_shares(doubles, boxes)
    assert np.array_equal(doubles, before)


def test_no_maps_give_no_numbers() -> None:
    nothing = np.zeros((0, 4))
    for shares in (mass_shares(np.zeros((0, 16, 8)), nothing), area_shares((16, 8), nothing)):
        assert {place: values.shape for place, values in shares.items()} == dict.fromkeys(PLACES, (0,))


def test_hits_and_mass_of_cues_by_hand() -> None:
    values = np.zeros((4, 4, 6))
    values[0, 1, 2], values[0, 3, 5], values[0, 0, 0] = 3, 1, -9  # the peak's centre is at 2.5 across, 1.5 down
    values[1] = values[0]
    values[2, 1, 2] = values[2, 3, 5] = 2  # two peaks
    values[3] = -1
    boxes = [[2.0, 1.0, 3.0, 2.0], [2.6, 1.0, 4.0, 2.0], [0.0, 0.0, 3.0, 2.0], [0.0, 0.0, 6.0, 4.0]]
    for maps in (values, torch.tensor(values, dtype=torch.float32)):
        found = cue_scores(maps, boxes)
        np.testing.assert_allclose(found["cue_hit"], [1, 0, 0.5, np.nan])
        np.testing.assert_allclose(found["cue_mass"], [0.75, 0.4 * 0.75, 0.5, np.nan])


def test_where_no_cue_is_known_or_it_was_cut_off_there_are_no_scores() -> None:
    found = cue_scores(np.ones((3, 8, 8)), [[NAN] * 4, [9, 0, 12, 4], [0, 0, 8, 8]])
    assert {name: values.tolist()[2] for name, values in found.items()} == {"cue_hit": 1, "cue_mass": 1}
    assert all(np.isnan(values[:2]).all() for values in found.values())
    broken = np.ones((1, 8, 8))
    broken[0, 3, 3] = NAN
    assert all(np.isnan(values).all() for values in cue_scores(broken, [[0, 0, 8, 8]]).values())
