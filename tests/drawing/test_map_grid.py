from collections.abc import Sequence

import numpy as np
import pytest
from PIL import ImageColor

from gender_cls.drawing.canvas import ALARM, GAP, MARGIN, MAT, Picture
from gender_cls.drawing.map_grid import (
    BAND_HEIGHT,
    BAR_HEIGHT,
    CAPTION_HEIGHT,
    GUTTER,
    HEADING_LINE,
    NARROWEST_COLUMN,
    NOTE_HEIGHT,
    NOTE_LINE,
    TITLE_HEIGHT,
    Caption,
    MapColumn,
    map_grid,
)

LEFT, BAND = MARGIN, MARGIN + TITLE_HEIGHT + NOTE_LINE + HEADING_LINE + BAR_HEIGHT  # of the first panel
TOP = BAND + BAND_HEIGHT  # of its tiles
RIGHT = Caption("MALE", "MALE", 0.09, "crop.png")
WRONG = Caption("MALE", "FEMALE", 0.91, "crop.png")


def colour(name: str) -> list[int]:
    return list(ImageColor.getrgb(name))


def grid(
    count: int, height: int, width: int, value: float = 0.5, caption: Caption = RIGHT, names: Sequence[str] = "ab"
) -> Picture:
    images = np.random.default_rng(0).integers(0, 256, (count, 3, height, width), dtype=np.uint8)
    values = np.full((count, height, width), value, np.float32)
    columns = [MapColumn(name, values, signed=bool(place % 2)) for place, name in enumerate(names)]
    return map_grid(images, columns, [caption] * count, "Epoch 1, step 10: 3 of 8 right", "A note.")


@pytest.mark.parametrize("maps", range(11))
@pytest.mark.parametrize(("height", "width"), [(256, 128), (224, 224), (64, 32), (32, 64)])
def test_any_number_of_maps_fits_on_a_page(maps: int, height: int, width: int) -> None:
    picture = grid(2, height, width, names=("Grad-CAM, true",) * maps)
    assert picture.dtype == np.uint8
    assert 640 <= picture.shape[1] <= max(1272, 2 * MARGIN + (1 + maps) * (128 + GAP))
    assert picture.shape[0] < 1200


def test_eight_tall_crops_fit_on_a_page() -> None:
    height, width, _ = grid(8, 256, 128).shape
    assert height < 1300
    assert 1200 <= width <= 1272


@pytest.mark.parametrize(
    ("height", "width", "tile_height", "tile_width"),
    [(128, 64, 256, 128), (100, 50, 200, 100), (256, 128, 256, 128), (224, 224, 224, 224), (448, 448, 256, 256)],
)
def test_tiles_have_a_readable_size(height: int, width: int, tile_height: int, tile_width: int) -> None:
    picture = grid(1, height, width, value=1.0)
    assert picture.shape[0] == TOP + tile_height + CAPTION_HEIGHT + MARGIN
    column = max(tile_width, NARROWEST_COLUMN) + GAP
    tile = picture[TOP : TOP + tile_height, LEFT + column : LEFT + column + tile_width]
    assert (tile.astype(int).sum(axis=2) > 500).all()  # the first map is 1 everywhere: light yellow
    assert (picture[TOP : TOP + tile_height, LEFT + column + tile_width] == colour(MAT)).all()


def test_ten_maps_of_a_wide_input_shrink() -> None:
    picture = grid(1, 224, 224, value=1.0, names=("a",) * 10)
    assert picture.shape[0] == TOP + 128 + CAPTION_HEIGHT + MARGIN  # no smaller, so that headings can be read
    assert picture.shape[1] == 2 * MARGIN + 11 * (128 + GAP) - GAP


def test_long_titles_take_more_lines() -> None:
    one, three = grid(1, 256, 128), grid(1, 256, 128, names=("integrated gradients, true", "b"))
    assert three.shape[0] == one.shape[0] + 2 * HEADING_LINE


def test_small_pictures_are_enlarged_pixel_by_pixel() -> None:
    images = np.random.default_rng(0).integers(0, 256, (1, 3, 128, 64), dtype=np.uint8)
    picture = map_grid(images, [], [RIGHT], "", "A note.")
    expected = images[0].transpose(1, 2, 0).repeat(2, axis=0).repeat(2, axis=1)
    assert np.array_equal(picture[TOP : TOP + 256, LEFT : LEFT + 128], expected)


def test_notes_stand_below_their_tiles() -> None:
    maps, images = np.ones((2, 256, 128), np.float32), np.zeros((2, 3, 256, 128), np.uint8)
    columns = [MapColumn("a", maps, signed=False, notes=notes) for notes in (["outside 42 %", "outside 7 %"], [])]
    picture, usual = (map_grid(images, [column], [RIGHT] * 2, "", "A note.") for column in columns)
    assert picture.shape[0] == usual.shape[0] + NOTE_HEIGHT
    strip = picture[TOP + 256 : TOP + 256 + NOTE_HEIGHT, LEFT : LEFT + 2 * (128 + GAP)]
    assert (strip[:, :128] == colour(MAT)).all()
    assert (strip[:, 128 + GAP :] != colour(MAT)).any()


def test_maps_without_evidence_and_diverged_maps_say_so() -> None:
    some, zero, diverged = (grid(1, 256, 128, value) for value in (0.5, 0.0, np.nan))
    for tile in (LEFT + 128 + GAP, LEFT + 2 * (128 + GAP)):
        middle = (TOP + 128 - 10, tile + 4)  # in the band of the remark, left of its text
        assert some[middle].tolist() != colour(MAT)
        assert zero[middle].tolist() == diverged[middle].tolist() == colour(MAT)
    assert not np.array_equal(zero, diverged)
    assert np.array_equal(diverged, grid(1, 256, 128, np.inf))


@pytest.mark.parametrize("names", ["a", "ab"])
def test_a_wrong_answer_has_a_red_band_and_another_word(names: str) -> None:
    right, wrong = grid(1, 256, 128, names=names), grid(1, 256, 128, caption=WRONG, names=names)
    panel = max((128 + GAP) * (1 + len(names)) - GAP, 330)
    for x in (LEFT, LEFT + panel - 1):
        assert wrong[BAND, x].tolist() == wrong[BAND + BAND_HEIGHT - 5, x].tolist() == colour(ALARM)
        assert right[BAND, x].tolist() == colour(MAT)
    inks = [(band[BAND:TOP] != band[BAND, LEFT]).any(axis=2) for band in (right, wrong)]
    assert not np.array_equal(*inks)  # the words differ, not only the colour
    assert np.array_equal(right[TOP:], wrong[TOP:])


@pytest.mark.parametrize("name", ["x" * 500 + ".jpg", "два слова.png", "two\nlines.png", "写真/人物.png", ""])
def test_names_stay_inside_their_panel(name: str) -> None:
    caption = Caption("FEMALE", "FEMALE", 1.0, name)
    picture, usual = grid(3, 256, 128, caption=caption), grid(3, 256, 128)
    assert picture.shape == usual.shape
    panel = 3 * (128 + GAP) - GAP
    assert (picture[TOP:, LEFT + panel : LEFT + panel + GUTTER] == colour(MAT)).all()


def test_letters_that_the_font_lacks_are_spelled_out() -> None:
    names = ("王.png", "\\u738b.png", "李.png")
    lacking, spelled, other = (grid(1, 256, 128, caption=Caption("MALE", "MALE", 0.9, name)) for name in names)
    assert np.array_equal(lacking, spelled)
    assert not np.array_equal(lacking, other)
