import matplotlib
import numpy as np

from gender_cls.drawing.canvas import GAP, MARGIN
from gender_cls.drawing.events import confusion_matrix_figure


def test_it_is_shaded_by_the_share_of_the_true_class() -> None:
    picture = confusion_matrix_figure(np.array([[30, 10], [0, 1000]]), ("FEMALE", "MALE"))
    right, bottom = picture.shape[1] - MARGIN, picture.shape[0] - MARGIN
    cell = 168
    corners = {
        (0, 0): (bottom - 2 * cell - GAP, right - 2 * cell - GAP),
        (0, 1): (bottom - 2 * cell - GAP, right - cell),
        (1, 0): (bottom - cell, right - 2 * cell - GAP),
        (1, 1): (bottom - cell, right - cell),
    }
    blues = matplotlib.colormaps["Blues"]
    for place, level in {(0, 0): 20 + 157, (0, 1): 20 + 52, (1, 0): 20, (1, 1): 229}.items():  # 20 + share * 209
        assert picture[corners[place]].tolist() == list(blues(level, bytes=True)[:3]), place


def test_an_absent_class_has_no_share() -> None:
    picture = confusion_matrix_figure(np.zeros((2, 2), int), ("FEMALE", "MALE"))
    counted = confusion_matrix_figure(np.array([[0, 0], [0, 1]]), ("FEMALE", "MALE"))
    assert picture.shape == counted.shape
    assert not np.array_equal(picture, counted)
