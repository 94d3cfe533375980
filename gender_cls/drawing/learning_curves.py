"""How a network learnt: what `epochs.csv` says about loss and validation score, drawn."""

from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from gender_cls.drawing.chart_style import PALETTE, chart, house_style, titled

FEW = 40  # epochs up to which each has its own dot; a single epoch is nothing but a dot


def learning_figures(epochs: pd.DataFrame, best: int) -> dict[str, Figure]:
    """Charts of the losses and of the validation balanced accuracy by epoch; one without values is left out.

    Args:
        epochs: the content of `epochs.csv`.
        best: the epoch whose weights were tested, counted from 1.
    """
    lines = {
        "losses": ("Loss by epoch", {"train_loss": ("train", "faint"), "val_loss": ("validation", "mark")}),
        "scores": ("Validation balanced accuracy by epoch", {"val_balanced_accuracy": ("", "mark")}),
    }
    figures: dict[str, Figure] = {}
    with house_style():
        for name, (title, columns) in lines.items():
            known = {
                column: style for column, style in columns.items() if column in epochs and epochs[column].notna().any()
            }
            if known:
                figures[name], axes = chart(4.2, 3.0)
                for column, (label, colour) in known.items():
                    _draw(axes, epochs.dropna(subset=column), column, label, colour)
                _mark(axes, epochs, best, next(reversed(known)))
                titled(axes, title)
    return figures


def _draw(axes: Axes, epochs: pd.DataFrame, column: str, label: str, colour: str) -> None:
    marker = "o" if len(epochs) <= FEW else ""
    style: dict[str, Any] = {"color": PALETTE[colour], "linewidth": 1.6, "marker": marker, "markersize": 3.5}
    axes.plot(epochs["epoch"], epochs[column], label=label or None, **style)


def _mark(axes: Axes, epochs: pd.DataFrame, best: int, column: str) -> None:
    """Ring the best epoch on the curve of validation, and name it with its value."""
    value = epochs.set_index("epoch")[column].get(best)
    if value is not None and value == value:
        ring: dict[str, Any] = {"markersize": 9, "markerfacecolor": "none", "color": PALETTE["ink"], "linestyle": ""}
        axes.plot(best, value, "o", **ring, label=f"tested: epoch {best}, {value:.3f}")
    axes.set(xlabel="epoch", xlim=(epochs["epoch"].min() - 0.5, epochs["epoch"].max() + 0.5))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.margins(y=0.12)
