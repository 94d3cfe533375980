"""The transfer matrix as one figure, for papers: shade and number say the same, and no mark needs colour."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from gender_cls.drawing.chart_style import PALETTE, chart, house_style
from gender_cls.evaluation.comparison.transfer_json import Cell, Transfer
from gender_cls.evaluation.comparison.transfer_lines import Line, lines_by_method, saw
from gender_cls.evaluation.wording import MISSING, capitalised, decimal, score_title

WIDTH, HEIGHT = 0.72, 0.36  # inches of a square
LONGEST_NAME = 22  # letters of a name that there is room for
STRONGEST = 0.6  # how much of the colour is behind the best score, so that text on it stays easy to read
EDGES = {"home": (1.6, "-"), "held_out": (1.6, (0, (2, 1.2)))}  # width and dashes of the border


def transfer_figure(transfer: Transfer, score: str = "balanced_accuracy") -> Figure | None:
    """A square per candidate and dataset with the score and its interval, by method; None without any score.

    Home has a solid border, a held-out source a dashed one. Squares of data that a candidate saw in training are
    hatched and marked with †.
    """
    lines: list[Line | str] = []  # a method, then its lines
    for method, of_method in lines_by_method(transfer).items():
        lines += [method] * (len(transfer["methods"]) > 1)
        lines += of_method
    values = np.full((len(lines), len(transfer["datasets"])), np.nan)
    found: dict[tuple[int, int], Cell] = {}
    for number, line in enumerate(lines):
        for dataset, cell in () if isinstance(line, str) else line.cells.items():
            place = number, transfer["datasets"].index(dataset)
            found[place] = cell
            if (value := cell["scores"][score]["value"]) is not None:
                values[place] = value
    if np.isnan(values).all():
        return None
    paper, mark = np.array(to_rgb("white")), np.array(to_rgb(PALETTE["mark"]))
    shades = LinearSegmentedColormap.from_list("score", [paper, paper + STRONGEST * (mark - paper)])
    with house_style():
        figure, axes = chart(1.9 + WIDTH * values.shape[1], 0.9 + HEIGHT * values.shape[0])
        axes.imshow(values, cmap=shades, aspect="auto")
        for (number, column), cell in found.items():
            _square(axes, number, column, cell, score)
        for number, line in enumerate(lines):
            for column in range(values.shape[1]):
                if not isinstance(line, str) and (number, column) not in found:
                    axes.text(column, number, MISSING, ha="center", va="center", color=PALETTE["faint"])
        names = [line if isinstance(line, str) else line.trained_on for line in lines]
        axes.set_xticks(range(values.shape[1]), map(_shortened, transfer["datasets"]), rotation=30, ha="right")
        axes.set_yticks(range(len(lines)), map(_shortened, names))
        for label, line in zip(axes.get_yticklabels(), lines, strict=True):
            label.set_color(PALETTE["ink"])
            label.set_fontweight("bold" if isinstance(line, str) else "normal")
        for label in axes.get_xticklabels():
            label.set_color(PALETTE["ink"])
        axes.grid(visible=False)
        axes.spines[:].set_visible(False)
        axes.set(xlabel="tested on", ylabel="trained on")
        kinds = {cell["kind"] for cell in found.values()}
        marks = [name for kind, name in (("home", "framed: home"), ("held_out", "dashed: held out")) if kind in kinds]
        marks += ["†: seen in training"] * any(map(saw, found.values()))
        axes.set_title("; ".join([f"{capitalised(score_title(score))} [95 %]", *marks]), x=0)
        figure.set_label(f"{capitalised(score_title(score))} of each candidate on each dataset")
    return figure


def _square(axes: Axes, line: int, column: int, cell: Cell, score: str) -> None:
    """The number, the interval and the marks of one cell."""
    number, estimate = decimal(cell["scores"][score]["value"]), cell["scores"][score]
    axes.text(column, line - 0.12, number + "†" * saw(cell), ha="center", va="center", fontsize=8)
    if estimate["low"] is not None and estimate["high"] is not None:
        interval = f"{decimal(estimate['low'], 2)} to {decimal(estimate['high'], 2)}"
        axes.text(column, line + 0.25, interval, ha="center", va="center", fontsize=5.5)
    box = (column - 0.47, line - 0.45), 0.94, 0.9
    if saw(cell):
        axes.add_patch(Rectangle((column - 0.47, line + 0.37), 0.94, 0.08, fill=False, hatch="//////", linewidth=0))
    if cell["kind"] in EDGES:
        width, dashes = EDGES[cell["kind"]]
        axes.add_patch(Rectangle(*box, fill=False, edgecolor=PALETTE["ink"], linewidth=width, linestyle=dashes))


def _shortened(name: str) -> str:
    return name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 1]}…"
