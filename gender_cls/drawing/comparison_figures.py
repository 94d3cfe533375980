"""The charts of a comparison: accuracy against cost, and the ROC curves one over the other."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Annotation
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, MultipleLocator, NullLocator, PercentFormatter
from matplotlib.transforms import Bbox

from gender_cls.drawing.svg import PALETTE, chart, figure_svg, house_style
from gender_cls.evaluation.comparison.schema import CandidateRow, Ensemble, RocCurve

COLOURS = ("#005f9e", "#d55e00", "#3795d0", "#3b3f45", "#c2448c", "#bf8600", "#5c3a21", "#4b7f5f")
"""Of the best candidates by validation; `--model-1` and so on in compare.css. After Okabe & Ito (2008). The first four
are drawn solid and the others dashed: among four of a kind, no two look alike without red, green or blue vision."""

DASHES = ("-", "-", "-", "-", (0, (4, 1.6)), (0, (4, 1.6)), (0, (4, 1.6)), (0, (4, 1.6)))

PLACES = (
    (7, 0, "left", "center"),
    (-7, 0, "right", "center"),
    (7, 3, "left", "bottom"),
    (7, -3, "left", "top"),
    (-7, 3, "right", "bottom"),
    (-7, -3, "right", "top"),
    (0, 4, "center", "bottom"),
    (0, -4, "center", "top"),
)
"""Where a name may stand: offsets in points from the point, or above and below from the ends of its interval."""

LONGEST_NAME = 24
"""Letters of a title that a point has room for."""

CORNERS = (0.25, 0.5)
"""Sides of the corner that a ROC chart may be cut down to."""


def comparison_svg(figure: Figure) -> Markup:
    """For a page: as `figure_svg`, and the colours of the candidates follow the page's theme as well."""
    svg = figure_svg(figure)
    for number, colour in enumerate(COLOURS, 1):
        svg = svg.replace(colour, f"var(--model-{number})")
    return svg


def accuracy_against_cost(
    rows: Sequence[CandidateRow], ensemble: Ensemble | None, size: tuple[float, float]
) -> Figure | None:
    """Test balanced accuracy with its interval against milliseconds per image; None where no candidate has both.

    Points are numbered by their place in `rows`; where there is room, the title stands beside the number.
    """
    points = [
        _Point(str(number), row["title"], cost, score, row["test"]["low"], row["test"]["high"], _colour(number))
        for number, row in enumerate(rows, 1)
        if (cost := row["cost"]["milliseconds_batch_32"]) and (score := row["test"]["mean"]) is not None
    ]
    if not points:
        return None
    pareto = sorted((point for point in points if rows[int(point.number) - 1]["pareto"]), key=lambda point: point.cost)
    lines = list(pairwise(pareto))
    if ensemble is not None and (cost := ensemble["cost"]["milliseconds_batch_32"]):
        found = ensemble["balanced_accuracy"]
        if (score := found["value"]) is not None:
            points.append(_Point("", "soft vote of all", cost, score, found["low"], found["high"], PALETTE["soft"]))
    with house_style():
        figure, axes = chart(*size)
        figure.set_label("Test balanced accuracy against milliseconds per image")
        for left, right in lines:
            ends = [left.cost, right.cost], [left.score, right.score]
            axes.plot(*ends, color=PALETTE["faint"], linewidth=0.9, zorder=1)
        for point in points:
            _draw_point(axes, point)
        _cost_axes(axes, points)
        figure.draw_without_rendering()
        figure.set_layout_engine("none")  # names are placed in this layout
        _name_points(axes, points, lines)
    return figure


def _colour(number: int) -> str:
    return COLOURS[number - 1] if number <= len(COLOURS) else PALETTE["soft"]


@dataclass(frozen=True)
class _Point:
    """A candidate in the chart; the soft vote of all has no number."""

    number: str
    title: str
    cost: float
    score: float
    low: float | None
    high: float | None
    colour: str

    @property
    def interval(self) -> tuple[float, float]:
        """From where to where; the score alone without one."""
        return (self.score, self.score) if self.low is None or self.high is None else (self.low, self.high)

    @property
    def names(self) -> list[str]:
        """What may stand beside it, the best first."""
        short = self.title if len(self.title) <= LONGEST_NAME else self.title[: LONGEST_NAME - 1].rstrip() + "…"
        return [f"{self.number} {short}", self.number] if self.number else [short]


def _draw_point(axes: Axes, point: _Point) -> None:
    axes.vlines(point.cost, *point.interval, color=point.colour, linewidth=1.2, zorder=2)
    shape, face = ("o", point.colour) if point.number else ("D", PALETTE["paper"])
    axes.plot(point.cost, point.score, shape, color=point.colour, markerfacecolor=face, markersize=5.5, zorder=3)


def _cost_axes(axes: Axes, points: Sequence[_Point]) -> None:
    costs = [point.cost for point in points]
    axes.set_xscale("log")
    axes.set_xlim(min(costs) / 2, max(costs) * 2)
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda number, _: f"{number:g}"))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_locator(MaxNLocator(5))
    axes.margins(y=0.14)
    axes.grid(visible=False, axis="x")
    axes.set(xlabel="milliseconds per image at batch 32 (logarithmic)")
    axes.set_title("Test balanced accuracy", color=PALETTE["soft"], fontsize=8)


def _name_points(axes: Axes, points: Sequence[_Point], lines: Sequence[tuple[_Point, _Point]]) -> None:
    """Each name where it covers no point, no interval, no line and no other name, or as little as can be.

    Where only the number finds such a place, it stands alone.
    """
    taken = [_extent(axes, point) for point in points]
    taken += [box for left, right in lines for box in _along(axes, left, right)]
    frame = axes.get_window_extent()
    for point in points:
        options = [_name(axes, point, text, *place) for text in point.names for place in PLACES]
        boxes = [option.get_window_extent() for option in options]
        faults = [box.count_overlaps(taken) + (0 if _within(box, frame) else len(taken)) for box in boxes]
        chosen = faults.index(min(faults))
        for option in options[:chosen] + options[chosen + 1 :]:
            option.remove()
        taken.append(boxes[chosen])


def _name(axes: Axes, point: _Point, text: str, x: float, y: float, horizontal: str, vertical: str) -> Annotation:
    end = point.score if x else point.interval[y > 0]
    return axes.annotate(
        text,
        (point.cost, end),
        (x, y),
        textcoords="offset points",
        annotation_clip=False,
        horizontalalignment=horizontal,
        verticalalignment=vertical,
        color=PALETTE["ink"],
    )


def _along(axes: Axes, left: _Point, right: _Point) -> list[Bbox]:
    """Small boxes that cover the line between two points, in pixels."""
    ends = axes.transData.transform([(left.cost, left.score), (right.cost, right.score)])
    return [Bbox([spot - 1, spot + 1]) for spot in np.linspace(ends[0], ends[1], 100)]


def _extent(axes: Axes, point: _Point) -> Bbox:
    """Of the point and its interval, in pixels."""
    low, high = point.interval
    (x, bottom), (_, middle), (_, top) = axes.transData.transform([(point.cost, y) for y in (low, point.score, high)])
    half = 5.0
    return Bbox([[x - half, min(bottom, middle - half)], [x + half, max(top, middle + half)]])


def _within(box: Bbox, outer: Bbox) -> bool:
    return box.x0 >= outer.x0 and box.x1 <= outer.x1 and box.y0 >= outer.y0 and box.y1 <= outer.y1


def roc_overlay(curves: Sequence[RocCurve]) -> tuple[Figure, float]:
    """The curves, one over the other, in the colours of the candidates.

    Args:
        curves: best validation first, at most as many as there are colours.

    Returns:
        The figure, and the side of what it shows: 1, or less where all curves pass through the upper left corner, which
        is then all that is shown.
    """
    side = next((corner for corner in CORNERS if all(_reaches(curve, corner) for curve in curves)), 1.0)
    with house_style():
        figure, axes = chart(3.6, 3.5)
        figure.set_label("ROC curves")
        if side == 1:
            axes.plot([0, 1], [0, 1], color=PALETTE["faint"], linewidth=0.8, linestyle=(0, (3, 3)))
        # The best one last, over the others.
        for curve, colour, dashes in reversed(list(zip(curves, COLOURS, DASHES, strict=False))):
            axes.plot(*zip(*curve["points"], strict=True), color=colour, linestyle=dashes, linewidth=1.6)
        margin = 0.015 * side
        axes.set(xlim=(-margin, side + margin), ylim=(1 - side - margin, 1 + margin), aspect="equal")
        axes.set(xlabel="MALE answered FEMALE", ylabel="FEMALE answered FEMALE (recall)")
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(MultipleLocator(side / 5))
            axis.set_major_formatter(PercentFormatter(1, decimals=0, symbol=" %"))
    return figure, side


def _reaches(curve: RocCurve, side: float) -> bool:
    """Whether it enters the corner by its left half and below."""
    return max(true for false, true in curve["points"] if false <= side / 2) > 1 - side / 2
