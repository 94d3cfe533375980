"""The charts of a search: the score of each trial, how much each setting mattered, and all settings side by side."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from gender_cls.drawing.chart_style import PALETTE, chart, house_style, titled

SHADES = ("#d4d6d4", "#8d939a")  # of lines that are not marked, from the worst score to the best


@dataclass(frozen=True)
class Dimension:
    """A setting of all drawn trials, or their score, on an upright axis."""

    title: str
    places: Sequence[float]  # of each trial, from 0 (the low end) to 1
    ticks: Sequence[tuple[float, str]]  # place and text


def score_by_trial(
    complete: Mapping[int, float], pruned: Mapping[int, float], failed: Sequence[int], score: str, lowest: bool
) -> Figure:
    """The score of each trial by its number, and the best one so far as a line.

    Args:
        complete: trial -> score.
        pruned: trial -> the best score until it was ended; it does not count for the line.
        failed: the trials without a score, which are marked at the bottom.
        score: what the score is called.
        lowest: whether a lower score is better.
    """
    with house_style():
        figure, axes = chart(5.2, 3.1)
        figure.set_label(f"{score} of each trial")
        numbers, scores = list(complete), np.array(list(complete.values()))
        best = (np.minimum if lowest else np.maximum).accumulate(scores)
        axes.plot(numbers, scores, "o", color=PALETTE["mark"], markersize=4.5, label="trial")
        if pruned:
            hollow: Any = {"markerfacecolor": "none", "markersize": 4.5, "linestyle": ""}
            axes.plot(
                list(pruned), list(pruned.values()), "v", color=PALETTE["faint"], label="pruned (ended early)", **hollow
            )
        if failed:
            bottom: Any = {"transform": axes.get_xaxis_transform(), "markersize": 4.5, "linestyle": ""}
            axes.plot(failed, [0.04] * len(failed), "x", color=PALETTE["ink"], label="failed (no score)", **bottom)
        axes.step(numbers, best, where="post", color=PALETTE["ink"], linewidth=1.3, label="best so far", zorder=1)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1, steps=[1, 2, 5, 10]))
        axes.margins(y=0.12)
        axes.set(xlabel="trial")
        titled(axes, score)
    return figure


def importance_bars(importances: Mapping[str, float]) -> Figure:
    """The importance of each setting, the shares of 1, as bars."""
    with house_style():
        figure, axes = chart(5.2, 0.8 + 0.3 * len(importances))
        figure.set_label("Importance of each setting")
        names = list(importances)[::-1]
        values = [importances[name] for name in names]
        bars = axes.barh(range(len(names)), values, height=0.55, color=PALETTE["mark"])
        axes.bar_label(bars, fmt="%.2f", padding=3, color=PALETTE["soft"])
        axes.set_yticks(range(len(names)), names, color=PALETTE["ink"])
        axes.set_xlim(0, 1.12 * max(values))
        axes.grid(visible=False, axis="y")
        axes.set_title("Importance")
    return figure


def settings_side_by_side(dimensions: Sequence[Dimension], marked: Mapping[int, str]) -> Figure:
    """Parallel coordinates: an upright axis for each dimension, and a line for each trial; the last one is the score.

    Args:
        marked: place of a trial in the dimensions -> its name, at the right end. The others are grey, darker if the
            score is better.
    """
    with house_style():
        figure, axes = chart(max(5.2, len(dimensions)), 3.4)
        figure.set_label("Settings and score of each trial")
        scores = np.array(dimensions[-1].places)
        lines = np.array([dimension.places for dimension in dimensions]).T
        for index in np.argsort(scores):
            if index not in marked:
                axes.plot(lines[index], color=_grey(scores[index]), linewidth=0.9)
        for index in marked:
            axes.plot(lines[index], color=PALETTE["mark"], linewidth=1.8)
        _name(axes, {name: scores[index] for index, name in marked.items()}, len(dimensions) - 1)
        for place, dimension in enumerate(dimensions):
            axes.axvline(place, color=PALETTE["faint"], linewidth=0.8)
            for height, text in dimension.ticks:
                box = {"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 0.6}
                axes.text(
                    place - 0.03, height, text, ha="right", va="center", fontsize=7, color=PALETTE["soft"], bbox=box
                )
        axes.set_xticks(range(len(dimensions)), [_in_lines(one.title) for one in dimensions])
        axes.tick_params(axis="x", labelcolor=PALETTE["ink"], pad=6)
        axes.set(xlim=(-0.45, len(dimensions) - 0.7), ylim=(-0.04, 1.04), yticks=[])
        axes.grid(visible=False)
        for spine in axes.spines.values():
            spine.set_visible(False)
    return figure


def _in_lines(title: str) -> str:
    """`recipe.`, `backbone_lr_`, `factor`; `balanced accuracy`, `on validation`."""
    parts = re.split(r"(?<=\.)|(?= on )", title)
    return "\n".join(line for part in parts for line in re.findall(r".{1,15}(?:_|\.|$)|.+", part.strip()))


def _grey(score: float) -> tuple[float, ...]:
    low, high = (np.array([int(shade[i : i + 2], 16) for i in (1, 3, 5)]) / 255 for shade in SHADES)
    return tuple(low + score * (high - low))


def _name(axes: Axes, heights: Mapping[str, float], place: int) -> None:
    """Write names at the right end of lines, one above the other where they would overlap."""
    free = np.inf
    for name, height in sorted(heights.items(), key=lambda one: -one[1]):
        free = min(height, free - 0.055)
        axes.text(place + 0.04, free, name, va="center", fontsize=7, color=PALETTE["mark"])
