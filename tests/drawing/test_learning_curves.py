import math

import pandas as pd
import pytest
from matplotlib.figure import Figure

from gender_cls.drawing.learning_curves import learning_figures

EPOCHS = pd.DataFrame(
    {
        "epoch": [1, 2, 3],
        "train_loss": [0.7, 0.5, 0.4],
        "val_loss": [0.69, 0.6, 0.65],
        "val_balanced_accuracy": [0.5, 0.8, 0.75],
    }
)


def points(figure: Figure) -> dict[str, list[list[float]]]:
    """The points of each curve by its name."""
    return {str(line.get_label()): line.get_xydata().tolist() for line in figure.axes[0].lines}


def test_losses_and_score_are_drawn_by_epoch_and_the_tested_epoch_is_named() -> None:
    figures = learning_figures(EPOCHS, 2)
    assert points(figures["losses"]) == {
        "train": [[1, 0.7], [2, 0.5], [3, 0.4]],
        "validation": [[1, 0.69], [2, 0.6], [3, 0.65]],
        "tested: epoch 2, 0.600": [[2, 0.6]],
    }
    _, ring = points(figures["scores"]).items()
    assert ring == ("tested: epoch 2, 0.800", [[2, 0.8]])
    assert figures["scores"].axes[0].lines[0].get_xydata().tolist() == [[1, 0.5], [2, 0.8], [3, 0.75]]


def test_one_epoch_is_a_dot_in_the_middle_with_one_tick() -> None:
    axes = learning_figures(EPOCHS[:1], 1)["scores"].axes[0]
    assert axes.get_xlim() == (0.5, 1.5)
    assert [tick for tick in axes.get_xticks() if 0.5 <= tick <= 1.5] == [1]
    assert axes.lines[0].get_marker() == "o"


@pytest.mark.parametrize("loss", [math.nan, None])
def test_what_was_not_logged_is_left_out(loss: float | None) -> None:
    without = EPOCHS.assign(train_loss=loss).drop(columns="val_balanced_accuracy")
    figures = learning_figures(without, 9)  # an epoch that the table lacks is not marked
    assert {name: list(points(figure)) for name, figure in figures.items()} == {"losses": ["validation"]}
    assert learning_figures(EPOCHS[["epoch"]], 1) == {}


def test_epochs_that_lack_a_value_do_not_break_the_curve() -> None:
    gap = EPOCHS.assign(val_loss=[0.69, math.nan, 0.65])
    assert points(learning_figures(gap, 2)["losses"])["validation"] == [[1, 0.69], [3, 0.65]]
