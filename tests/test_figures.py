import matplotlib
import numpy as np
import pytest
from PIL import ImageColor

from gender_cls.explain.figures import (
    ALARM,
    CAPTION_HEIGHT,
    GAP,
    GUTTER,
    HEADING_HEIGHT,
    MARGIN,
    NARROWEST_COLUMN,
    PAPER,
    TITLE_HEIGHT,
    Caption,
    Picture,
    confusion_matrix_figure,
    map_grid,
)

LEFT, TOP = MARGIN, MARGIN + TITLE_HEIGHT + HEADING_HEIGHT  # of the first tile
RIGHT = Caption("MALE", "MALE", 0.91, "crop.png")
WRONG = Caption("MALE", "FEMALE", 0.91, "crop.png")


def colour(name: str) -> list[int]:
    return list(ImageColor.getrgb(name))


def grid(count: int, height: int, width: int, value: float = 0.5, caption: Caption = RIGHT) -> Picture:
    images = np.random.default_rng(0).integers(0, 256, (count, 3, height, width), dtype=np.uint8)
    maps = {name: np.full((count, height, width), value, np.float32) for name in ("saliency", "Grad-CAM")}
    return map_grid(images, maps, [caption] * count, "Epoch 1, step 10: 3 of 8 right", "A note.")


def test_eight_tall_crops_fit_on_a_page() -> None:
    picture = grid(8, 256, 128)
    assert picture.dtype == np.uint8
    height, width, channels = picture.shape
    assert 1200 <= width <= 1720
    assert height < 1200
    assert channels == 3


@pytest.mark.parametrize(
    ("height", "width", "tile_height", "tile_width"),
    [(128, 64, 256, 128), (100, 50, 200, 100), (256, 128, 256, 128), (224, 224, 224, 224), (448, 448, 256, 256)],
)
def test_tiles_have_a_readable_size(height: int, width: int, tile_height: int, tile_width: int) -> None:
    picture = grid(1, height, width, value=1.0)
    margin = 2 * MARGIN + TITLE_HEIGHT + HEADING_HEIGHT + CAPTION_HEIGHT
    assert picture.shape[0] == margin + tile_height
    column = max(tile_width, NARROWEST_COLUMN) + GAP
    tile = picture[TOP : TOP + tile_height, LEFT + column : LEFT + column + tile_width]
    assert (tile == tile[0, 0]).all()  # saliency is 1 everywhere
    assert (picture[TOP : TOP + tile_height, LEFT + column + tile_width] == colour(PAPER)).all()


def test_small_pictures_are_enlarged_pixel_by_pixel() -> None:
    images = np.random.default_rng(0).integers(0, 256, (1, 3, 128, 64), dtype=np.uint8)
    picture = map_grid(images, {}, [RIGHT], "", "")
    expected = images[0].transpose(1, 2, 0).repeat(2, axis=0).repeat(2, axis=1)
    assert np.array_equal(picture[TOP : TOP + 256, LEFT : LEFT + 128], expected)


def test_colours_of_the_maps_by_hand() -> None:
    images = np.full((1, 3, 256, 128), 100, np.uint8)
    images[0, :, :, 64:] = np.array([200, 100, 50]).reshape(3, 1, 1)
    values = np.zeros((1, 256, 128), np.float32)
    values[0, 128:] = 1
    picture = map_grid(images, {"saliency": values, "Grad-CAM": values}, [RIGHT], "", "")
    saliency, cam = LEFT + 128 + GAP, LEFT + 2 * (128 + GAP)
    assert picture[TOP, saliency].tolist() == [0, 0, 3]  # both ends of inferno
    assert picture[TOP + 255, saliency].tolist() == [252, 254, 164]
    assert picture[TOP, cam].tolist() == [100, 100, 100]  # no evidence: the picture in grey
    assert picture[TOP, cam + 127].tolist() == [124] * 3  # 0.299 * 200 + 0.587 * 100 + 0.114 * 50
    assert picture[TOP + 255, cam].tolist() == [215, 198, 52]  # 3/4 viridis' end (253, 231, 36), 1/4 grey 100


def test_maps_without_evidence_and_diverged_maps_say_so() -> None:
    some, zero, diverged = (grid(1, 256, 128, value) for value in (0.5, 0.0, np.nan))
    middle = (TOP + 128 - 10, LEFT + 128 + GAP + 4)  # in the band of the remark, left of its text
    assert some[middle].tolist() != colour(PAPER)
    assert zero[middle].tolist() == diverged[middle].tolist() == colour(PAPER)
    assert not np.array_equal(zero, diverged)


def test_wrong_differs_from_right_without_colour() -> None:
    right, wrong = grid(1, 256, 128), grid(1, 256, 128, caption=WRONG)
    assert wrong[TOP - 4, LEFT + 10].tolist() == colour(ALARM)
    assert right[TOP - 4, LEFT + 10].tolist() == colour(PAPER)
    lightness = [picture.astype(float) @ (0.299, 0.587, 0.114) for picture in (right, wrong)]
    assert abs(lightness[0] - lightness[1])[TOP - 4, LEFT + 10] > 100


@pytest.mark.parametrize("name", ["x" * 500 + ".jpg", "два слова.png", "two\nlines.png", ""])
def test_names_stay_inside_their_panel(name: str) -> None:
    caption = Caption("FEMALE", "FEMALE", 1.0, name)
    picture, usual = grid(3, 256, 128, caption=caption), grid(3, 256, 128)
    assert picture.shape == usual.shape
    panel = 3 * (128 + GAP) - GAP
    assert (picture[TOP:, LEFT + panel : LEFT + panel + GUTTER] == colour(PAPER)).all()


def test_confusion_matrix_is_shaded_by_the_share_of_the_true_class() -> None:
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


def test_confusion_matrix_of_an_absent_class() -> None:
    picture = confusion_matrix_figure(np.zeros((2, 2), int), ("FEMALE", "MALE"))
    counted = confusion_matrix_figure(np.array([[0, 0], [0, 1]]), ("FEMALE", "MALE"))
    assert picture.shape == counted.shape
    assert not np.array_equal(picture, counted)
