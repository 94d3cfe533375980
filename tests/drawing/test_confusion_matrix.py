import matplotlib
import numpy as np

from gender_cls.drawing.canvas import GAP, MARGIN
from gender_cls.drawing.confusion_matrix import confusion_matrix_figure


def test_it_is_shaded_by_the_share_of_the_true_class() -> None:
    picture = confusion_matrix_figure(np.array([[30, 10], [0, 1000]]), ("FEMALE", "MALE"))
    right, bottom = picture.shape[1] - MARGIN, picture.shape[0] - MARGIN
    width, height = 190, 150
    corners = {
        (0, 0): (bottom - 2 * height - GAP, right - 2 * width - GAP),
        (0, 1): (bottom - 2 * height - GAP, right - width),
        (1, 0): (bottom - height, right - 2 * width - GAP),
        (1, 1): (bottom - height, right - width),
    }
    blues = matplotlib.colormaps["Blues_r"]
    for place, level in {(0, 0): 30 + 127, (0, 1): 30 + 42, (1, 0): 30, (1, 1): 199}.items():  # 30 + share * 169
        assert picture[corners[place]].tolist() == list(blues(level, bytes=True)[:3]), place


def test_an_absent_class_has_no_share() -> None:
    picture = confusion_matrix_figure(np.zeros((2, 2), int), ("FEMALE", "MALE"))
    counted = confusion_matrix_figure(np.array([[0, 0], [0, 1]]), ("FEMALE", "MALE"))
    assert picture.shape == counted.shape
    assert not np.array_equal(picture, counted)
