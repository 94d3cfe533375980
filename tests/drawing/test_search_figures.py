"""The charts of a search hold the numbers that they are given."""

from itertools import pairwise

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex

from gender_cls.drawing.chart_style import PALETTE, figure_svg
from gender_cls.drawing.search_figures import Dimension, importance_bars, score_by_trial, settings_side_by_side


@pytest.mark.parametrize(("lowest", "best"), [(False, [0.6, 0.7, 0.7, 0.8]), (True, [0.6, 0.6, 0.5, 0.5])])
def test_the_line_is_the_best_score_so_far(lowest: bool, best: list[float]) -> None:
    figure = score_by_trial({0: 0.6, 1: 0.7, 3: 0.5, 4: 0.8}, {2: 0.9}, [5, 6], "score", lowest)
    lines = {str(line.get_label()): line for line in figure.axes[0].lines}
    assert list(lines["best so far"].get_xdata()) == [0, 1, 3, 4]
    assert list(lines["best so far"].get_ydata()) == best
    assert list(lines["pruned (ended early)"].get_ydata()) == [0.9]
    assert list(lines["failed (no score)"].get_xdata()) == [5, 6]
    again = score_by_trial({0: 0.6, 1: 0.7, 3: 0.5, 4: 0.8}, {2: 0.9}, [5, 6], "score", lowest)
    assert figure_svg(figure) == figure_svg(again)


def test_the_most_important_setting_is_on_top() -> None:
    axes = importance_bars({"a": 0.7, "b": 0.3}).axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["b", "a"]
    assert [bar.get_width() for bar in axes.patches] == [0.3, 0.7]


def test_a_line_joins_the_values_of_a_trial_and_finalists_stand_out() -> None:
    ticks = [(0.0, "low"), (1.0, "high")]
    dimensions = [Dimension("recipe.lr", [0.0, 0.5, 1.0], ticks), Dimension("score", [0.2, 1.0, 0.0], ticks)]
    axes = settings_side_by_side(dimensions, {1: "trial 7"}).axes[0]
    drawn = [line for line in axes.lines if len(set(line.get_xdata())) == 2]
    assert [list(line.get_ydata()) for line in drawn] == [[1.0, 0.0], [0.0, 0.2], [0.5, 1.0]], "the best on top"
    assert [to_hex(line.get_color()) == PALETTE["mark"] for line in drawn] == [False, False, True]
    shades = [np.mean(to_rgb) for to_rgb in (line.get_color() for line in drawn[:2])]
    assert shades[0] > shades[1], "darker where the score is better"
    assert {"trial 7", "low", "high"} <= {text.get_text() for text in axes.texts}


def test_neighbouring_names_do_not_run_into_each_other() -> None:
    names = ["recipe.backbone_lr_factor", "model.options.drop_path_rate", "recipe.label_smoothing", "accuracy on val"]
    figure = settings_side_by_side([Dimension(name, [0.0, 1.0], []) for name in names], {})
    FigureCanvasAgg(figure).draw()
    boxes = [label.get_window_extent() for label in figure.axes[0].get_xticklabels()]
    assert all(left.x1 < right.x0 for left, right in pairwise(boxes))
