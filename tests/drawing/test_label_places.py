from itertools import combinations

import numpy as np
import pytest

from gender_cls.drawing.label_places import label_places

BOUNDS = (0.0, 0.0, 300.0, 200.0)
SIZE = (12.0, 8.0)


def apart(a: tuple[float, float], b: tuple[float, float], size: tuple[float, float]) -> bool:
    return abs(a[0] - b[0]) >= size[0] or abs(a[1] - b[1]) >= size[1]


@pytest.mark.parametrize("points", [[(150.0, 100.0)] * 20, [(150.0 + n, 100.0 + n / 2) for n in range(20)]])
def test_labels_lie_on_no_other_and_on_no_point(points: list[tuple[float, float]]) -> None:
    places = label_places(points, [SIZE] * len(points), 3, BOUNDS)
    assert all(apart(a, b, SIZE) for a, b in combinations(places, 2))
    assert all(apart(place, point, (SIZE[0] / 2 + 3, SIZE[1] / 2 + 3)) for place in places for point in points)
    across, up = np.array(places).T
    assert across.min() >= 6
    assert across.max() <= 294
    assert up.min() >= 4
    assert up.max() <= 196


def test_a_lonely_point_has_its_label_above_to_the_right_and_at_the_edge_to_the_left() -> None:
    alone, edge = label_places([(100.0, 100.0), (297.0, 20.0)], [SIZE] * 2, 3, BOUNDS)
    assert alone == pytest.approx((110.0, 108.0))  # radius 3, half a label, and 1 between
    assert edge == pytest.approx((287.0, 28.0))


def test_a_label_lies_on_neither_line_of_its_point() -> None:
    """The intervals of a point are drawn as a cross."""
    (across, up), *_ = label_places([(100.0, 100.0)], [SIZE], 3, BOUNDS)
    assert abs(across - 100) > SIZE[0] / 2
    assert abs(up - 100) > SIZE[1] / 2


def test_without_any_room_a_label_is_to_the_right() -> None:
    assert label_places([(5.0, 5.0)], [SIZE], 3, (0.0, 0.0, 6.0, 6.0)) == [(15.0, 5.0)]
