"""Where the labels of the points of a chart go, so that none lies on another, or on a point."""

from collections.abc import Sequence
from math import cos, pi, sin

ANGLES = [step * pi / 8 for step in (2, -2, 6, 10, 0, 1, -1, 8, 7, 9, 3, -3, 4, -4, 5, 11)]
DIRECTIONS = [(cos(a) / max(abs(cos(a)), abs(sin(a))), sin(a) / max(abs(cos(a)), abs(sin(a)))) for a in ANGLES]
"""Between the lines of the cross that shows a point's intervals first; then to the right, the left, above and below."""

Box = tuple[float, float, float, float]  # left, bottom, right, top


def label_places(
    points: Sequence[tuple[float, float]], sizes: Sequence[tuple[float, float]], radius: float, bounds: Box
) -> list[tuple[float, float]]:
    """The centres of the labels, each as close to its point as there is room; all lengths in the same unit.

    Places are taken in turn: the first points have the closest ones. If there is no room left within `bounds`, a label
    lies to the right of its point, on whatever is there.

    Args:
        points: their centres.
        sizes: (width, height) of each label.
        radius: of the discs that mark the points.
        bounds: in which all labels must lie.
    """
    taken: list[Box] = [(x - radius, y - radius, x + radius, y + radius) for x, y in points]
    places = []
    for (x, y), (width, height) in zip(points, sizes, strict=True):
        first = x + radius + width / 2 + 1, y
        place = next(
            (
                (x + across, y + up)
                for across, up in _offsets(radius, width, height)
                if _inside(box := _around(x + across, y + up, width, height), bounds)
                and not any(_overlap(box, other) for other in taken)
            ),
            first,
        )
        places.append(place)
        taken.append(_around(*place, width, height))
    return places


def _offsets(radius: float, width: float, height: float) -> list[tuple[float, float]]:
    """From a point to the centre of its label, on rectangles around the point, the closest first."""
    return [
        ((radius + width / 2 + 1 + gap) * across, (radius + height / 2 + 1 + gap) * up)
        for gap in range(0, 20 * round(height), max(1, round(height / 2)))
        for across, up in DIRECTIONS
    ]


def _around(x: float, y: float, width: float, height: float) -> Box:
    return x - width / 2, y - height / 2, x + width / 2, y + height / 2


def _overlap(a: Box, b: Box) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _inside(a: Box, b: Box) -> bool:
    return b[0] <= a[0] and b[1] <= a[1] and a[2] <= b[2] and a[3] <= b[3]
