"""The house style of charts, and their way into a file or onto a page: matplotlib figures as PNG or SVG."""

import io
import warnings
from contextlib import AbstractContextManager
from typing import Any

import matplotlib
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from gender_cls.drawing.canvas import data_uri

PALETTE = {
    **{"paper": "#fbfbf9", "well": "#f1f1ed", "rule": "#e3e3dd", "ink": "#1f2328", "soft": "#5c636b"},
    **{"faint": "#70767e", "female": "#7b64a8", "male": "#4fa39a", "mark": "#2f6690"},
}
"""The light colours of page.css. In dark mode, a rule of page.css inverts the lightness of a chart."""


def house_style() -> AbstractContextManager[None]:
    """A context in which a chart is drawn, and in which text may be added to it."""
    return matplotlib.rc_context(
        {
            # matplotlib brings DejaVu Sans. Other fonts are narrower, so text fits where a browser lacks it.
            "font.family": "sans-serif",
            "font.sans-serif": ["DejaVu Sans", "Verdana", "sans-serif"],
            "font.size": 8,
            "text.parse_math": False,  # a camera may be called $1
            "axes.titlesize": 8.5,
            "axes.titlelocation": "left",
            "axes.titlepad": 9,
            "axes.linewidth": 0.8,
            **dict.fromkeys(("axes.spines.top", "axes.spines.right", "axes.unicode_minus"), False),
            **dict.fromkeys(("axes.grid", "axes.axisbelow"), True),
            **dict.fromkeys(("text.color", "axes.titlecolor"), PALETTE["ink"]),
            "grid.linewidth": 0.6,
            **dict.fromkeys(("axes.edgecolor", "grid.color", "xtick.color", "ytick.color"), PALETTE["rule"]),
            **dict.fromkeys(("axes.labelcolor", "xtick.labelcolor", "ytick.labelcolor"), PALETTE["soft"]),
            **dict.fromkeys(("axes.labelsize", "xtick.labelsize", "ytick.labelsize"), 8),
            **dict.fromkeys(("xtick.major.size", "ytick.major.size"), 0),
        }
    )


def charts(width_inches: float, height_inches: float, rows: int, columns: int, **grid: Any) -> tuple[Figure, NDArray]:
    """A figure of several empty charts that share their axes, and its Axes, (rows, columns).

    `grid` is passed to `Figure.subplots`.
    """
    with house_style():
        figure = Figure((width_inches, height_inches), layout="constrained", facecolor="white")
        return figure, figure.subplots(rows, columns, **{"sharex": True, "sharey": True, **grid}, squeeze=False)


def chart(width_inches: float = 4.2, height_inches: float = 3.0) -> tuple[Figure, Axes]:
    """An empty chart in the house style. At 4.2 inches its text can be read on a phone."""
    figure, axes = charts(width_inches, height_inches, 1, 1)
    return figure, axes[0, 0]


def titled(axes: Axes, title: str) -> None:
    """Write the title, and below it one line for each curve or mark that has a label: nothing lies over the curves."""
    lines = len(axes.get_legend_handles_labels()[1])
    axes.set_title(title, pad=9 + 12.5 * lines)
    if lines:
        axes.legend(
            loc="lower left", bbox_to_anchor=(0, 1.01), frameon=False, fontsize=8, handlelength=1.4, borderpad=0,
            borderaxespad=0, labelspacing=0.35,
        )  # fmt: skip


def figure_png(figure: Figure) -> bytes:
    """The figure on white, for files and TensorBoard."""
    return _saved(figure, format="png", dpi=150, metadata={"Software": None})


def figure_svg(figure: Figure) -> bytes:
    """The figure as SVG on a transparent background; the same figure gives the same text."""
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "gender_cls"}):
        no_metadata = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        return _saved(figure, format="svg", transparent=True, metadata=no_metadata)


def figure_image(figure: Figure) -> Markup:
    """The figure as an `<img>` of a page that holds it as SVG.

    Inside an image, the ids and styles that matplotlib writes cannot meet those of the page. The text for screen
    readers is the label of the figure, or else the titles of its charts.
    """
    svg = figure_svg(figure)
    titles = [axes.get_title("left") or axes.get_title() for axes in figure.axes]
    label = str(figure.get_label()) or ", ".join(title for title in titles if title)
    return Markup('<img class="chart" src="{}" alt="{}">').format(data_uri(svg), label)


def _saved(figure: Figure, **options: Any) -> bytes:
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")  # a browser has other fonts, a PNG shows a box
        figure.savefig(file, **options)
    return file.getvalue()
