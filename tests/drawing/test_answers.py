"""Crops and boxes with their answers."""

from itertools import combinations

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import ImageColor

from gender_cls.drawing.answers import COLOURS, OTHER, STRIP, TILE, Answered, answer_sheet, frame_with_answers

GREY = np.full((200, 300, 3), 90, np.uint8)


def is_colour(picture: NDArray[np.uint8], colour: str) -> NDArray[np.bool_]:
    return (picture == ImageColor.getrgb(colour)).all(-1)


@pytest.mark.parametrize("answer", ["FEMALE", "MALE"])
def test_a_box_has_the_colour_of_its_answer_on_its_edges_alone(answer: str) -> None:
    drawn = frame_with_answers(GREY, [(100, 60, 40, 80)], [Answered(answer, 0.5)], "frame 1")
    assert drawn.shape == (200 + STRIP, 300, 3)
    coloured = is_colour(drawn, COLOURS[answer])
    assert coloured[60:140, [100, 101, 138, 139]].all()
    assert coloured[[60, 61, 138, 139], 100:140].all()
    np.testing.assert_array_equal(drawn[63:137, 103:137], GREY[63:137, 103:137])
    np.testing.assert_array_equal(drawn[142:200], GREY[142:])


@pytest.mark.parametrize("answer", ["abstain", "outside"])
def test_a_box_without_a_label_is_dashed(answer: str) -> None:
    drawn = frame_with_answers(GREY, [(100, 60, 40, 80)], [Answered(answer, 0.5)], "frame 1")
    edge = is_colour(drawn, OTHER)[60:140, 100]
    assert 0.3 < edge.mean() < 0.7


def test_labels_of_neighbours_do_not_lie_on_each_other() -> None:
    answers = [Answered("FEMALE", 0.9), Answered("MALE", 0.1), Answered("abstain", 0.5)]
    boxes = [(100, 60, 40, 80), (110, 62, 40, 80), (120, 64, 40, 80)]
    alone = [frame_with_answers(GREY, [box], [one], "") for box, one in zip(boxes, answers, strict=True)]
    together = frame_with_answers(GREY, boxes, answers, "")
    for answered, lonely in zip(answers, alone, strict=True):
        colour = COLOURS.get(answered.answer, OTHER)
        whole, there = is_colour(lonely, colour).sum(), is_colour(together, colour).sum()
        assert there > 0.8 * whole, "a label covers more than a fifth of what is drawn for a box"


def test_a_box_may_reach_beyond_the_frame_or_be_empty() -> None:
    boxes = [(-20.0, -30.0, 400.0, 500.0), (10.0, 10.0, 0.0, 5.0), (290.0, 195.0, 50.0, 50.0)]
    drawn = frame_with_answers(GREY, boxes, [Answered("MALE", 0.1)] * 3, "")
    assert drawn.shape == (200 + STRIP, 300, 3)
    assert is_colour(drawn, COLOURS["MALE"]).any()


def test_the_sheet_shows_crops_in_their_order_with_their_pixels() -> None:
    crops = [np.full((60, 30, 3), 10 * number, np.uint8) for number in range(1, 12)]
    sheet = answer_sheet(crops, [Answered("MALE", 0.1, "a.png")] * 11, "Title", "Note")
    corners = []
    for crop in crops:
        rows, columns = np.nonzero((sheet == crop[0, 0]).all(-1))
        height, width = np.ptp(rows) + 1, np.ptp(columns) + 1
        assert (height, width) == (60 * 4, 30 * 4), "as large as it fits by a whole factor"
        corners.append((rows.min(), columns.min()))
    assert corners == sorted(corners)
    assert len({row for row, _ in corners}) == 2
    assert all(max(abs(a - c), abs(b - d)) >= TILE[0] for (a, b), (c, d) in combinations(corners, 2))


def test_a_large_crop_shrinks_and_keeps_its_shape() -> None:
    white = np.full((900, 300, 3), 253, np.uint8)
    rows, columns = np.nonzero((answer_sheet([white], [Answered("MALE", 0.1)], "", "") == 253).all(-1))
    assert (np.ptp(rows) + 1, np.ptp(columns) + 1) == (TILE[1], TILE[1] / 3)


def test_labels_take_a_line_only_where_there_are_some() -> None:
    crop = np.full((60, 30, 3), 200, np.uint8)
    without, with_label = (answer_sheet([crop], [Answered("MALE", 0.1, "a", label)], "", "") for label in ("", "MALE"))
    assert len(with_label) > len(without)
