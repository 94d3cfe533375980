"""The charts of a comparison: accuracy against cost, and the ROC curves in one chart."""

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, MultipleLocator, NullLocator, PercentFormatter

from gender_cls.drawing.chart_style import PALETTE, chart, house_style
from gender_cls.drawing.label_places import label_places
from gender_cls.evaluation.comparison.compare_json import CandidateRow, Ensemble, RocCurve

CANDIDATE_COLOURS = ("#005f9e", "#d55e00", "#3795d0", "#3b3f45", "#c2448c", "#bf8600", "#5c3a21", "#4b7f5f")
"""The colours of the best candidates by validation, after Okabe & Ito (2008).

The ROC curves of the first four are solid, the others dashed: in each group of four, no two look alike to people with
any kind of colour blindness.
"""

DASHES = (*["-"] * 4, *[(0, (4, 1.6))] * 4)

DISC, NUMBER_SIZE = 6, 7.5  # diameter of a point and height of its number, in points of type

CORNERS = (0.25, 0.5)  # sides of the upper left corner that a ROC chart may be reduced to


@dataclass(frozen=True)
class _Point:
    number: str  # "" for the soft vote
    place: tuple[float, float]  # milliseconds and score
    spread: Sequence[float] | None  # [low, high] milliseconds
    interval: tuple[float | None, float | None]
    colour: str
    hollow: bool


def accuracy_against_cost(rows: Sequence[CandidateRow], ensemble: Ensemble | None) -> Figure | None:
    """Test balanced accuracy with its interval against milliseconds per image; None where no candidate has both.

    A candidate is a disc next to its number, its place in `rows`, hollow if it is not in the Pareto set; the soft vote
    of all is a hollow diamond. Lines are the interval of the score and the spread of the time.
    """
    colours = dict(enumerate(CANDIDATE_COLOURS, 1))
    points = []
    for number, row in enumerate(rows, 1):
        milliseconds, test = row["cost"]["milliseconds_batch_32"], row["test"]
        if milliseconds and test["mean"] is not None:
            place, spread = (milliseconds, test["mean"]), row["cost"]["milliseconds_batch_32_spread"]
            colour, interval = colours.get(number, PALETTE["soft"]), (test["low"], test["high"])
            points.append(_Point(str(number), place, spread, interval, colour, row["pareto"] is False))
    if not points:
        return None
    if ensemble is not None and (milliseconds := ensemble["cost"]["milliseconds_batch_32"]):
        vote = ensemble["balanced_accuracy"]
        if vote["value"] is not None:
            place, spread = (milliseconds, vote["value"]), ensemble["cost"]["milliseconds_batch_32_spread"]
            points.append(_Point("", place, spread, (vote["low"], vote["high"]), PALETTE["soft"], hollow=True))
    with house_style():
        figure, axes = chart(4.6, 3.6)
        figure.set_label("Test balanced accuracy against milliseconds per image")
        for order, point in enumerate(reversed(points), 3):  # the best candidate last, on top of the others
            low, high = point.interval
            if low is not None and high is not None:
                axes.vlines(point.place[0], low, high, color=point.colour, linewidth=1.2)
            if point.spread is not None:
                axes.hlines(point.place[1], point.spread[0], point.spread[1], color=point.colour, linewidth=1.2)
            shape, face = "o" if point.number else "D", PALETTE["paper"] if point.hollow else point.colour
            axes.plot(*point.place, shape, color=point.colour, markerfacecolor=face, markersize=DISC, zorder=order)
        costs = [point.place[0] for point in points]
        axes.set_xscale("log")
        axes.set_xlim(min(costs) / 2, max(costs) * 2)
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda number, _: f"{number:g}"))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.margins(y=0.14)
        low, high = axes.get_ylim()
        low, high = max(low, -0.02), min(high, 1.02)  # no score is outside 0 to 1
        axes.set_yticks([tick for tick in MaxNLocator(5).tick_values(low, high) if max(0, low) <= tick <= min(1, high)])
        axes.set_ylim(low, high)
        axes.grid(visible=False, axis="x")
        axes.set(xlabel="milliseconds per image at batch 32 (logarithmic)")
        axes.set_title("Test balanced accuracy", color=PALETTE["soft"], fontsize=8)
        _write_numbers(figure, axes, points)
    return figure


def _write_numbers(figure: Figure, axes: Axes, points: Sequence[_Point]) -> None:
    """The number of each point next to it, with a thin line where it must lie further away."""
    figure.draw_without_rendering()  # the layout decides where the points lie
    figure.set_layout_engine("none")
    points_per_pixel = 72 / figure.dpi
    centres = points_per_pixel * axes.transData.transform([point.place for point in points])
    (left, bottom), (right, top) = points_per_pixel * axes.get_window_extent().get_points()
    sizes = [(0.7 * NUMBER_SIZE * len(point.number) + 1, NUMBER_SIZE + 1) for point in points]
    places = label_places(centres.tolist(), sizes, DISC / 2, (left, bottom, right, top))
    for point, centre, place in zip(points, centres, places, strict=True):
        if not point.number:
            continue
        across, up = place[0] - centre[0], place[1] - centre[1]
        line = {"arrowstyle": "-", "color": point.colour, "linewidth": 0.5, "shrinkA": 0, "shrinkB": DISC / 2}
        far = max(abs(across), abs(up)) > DISC / 2 + 2 * NUMBER_SIZE
        axes.annotate(
            point.number,
            point.place,
            (across, up),
            textcoords="offset points",
            horizontalalignment="center",
            verticalalignment="center_baseline",
            color=point.colour,
            fontsize=NUMBER_SIZE,
            fontweight="bold",
            arrowprops=line if far else None,
        )


def roc_overlay(curves: Sequence[RocCurve]) -> tuple[Figure, float]:
    """The ROC curves in one chart, in the colours of the candidates, and the side of the square that it shows.

    The side is 1, or less where all curves pass through the upper left corner: then only that corner is shown.

    Args:
        curves: best validation first, at most as many as there are colours.
    """
    side = next((corner for corner in CORNERS if all(_passes_through(curve, corner) for curve in curves)), 1.0)
    with house_style():
        figure, axes = chart(3.6, 3.5)
        figure.set_label("ROC curves")
        if side == 1:
            axes.plot([0, 1], [0, 1], color=PALETTE["faint"], linewidth=0.8, linestyle=(0, (3, 3)))
        # The best candidate last, on top of the others.
        for curve, colour, dashes in reversed(list(zip(curves, CANDIDATE_COLOURS, DASHES, strict=False))):
            axes.plot(*zip(*curve["points"], strict=True), color=colour, linestyle=dashes, linewidth=1.6)
        margin = 0.015 * side
        axes.set(xlim=(-margin, side + margin), ylim=(1 - side - margin, 1 + margin), aspect="equal")
        axes.set(xlabel="MALE answered FEMALE", ylabel="FEMALE answered FEMALE (recall)")
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(MultipleLocator(side / 5))
            axis.set_major_formatter(PercentFormatter(1, decimals=0, symbol=" %"))
    return figure, side


def _passes_through(curve: RocCurve, side: float) -> bool:
    """Whether a curve reaches the upper left quarter of the corner with this side."""
    return max(true for false, true in curve["points"] if false <= side / 2) > 1 - side / 2
