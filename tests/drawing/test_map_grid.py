from collections.abc import Sequence

import numpy as np
import pytest
from PIL import ImageColor

from gender_cls.drawing.canvas import ALARM, GAP, MARGIN, PAPER, Picture
from gender_cls.drawing.map_colours import paint
from gender_cls.drawing.map_grid import (
    BAR_HEIGHT,
    CAPTION_HEIGHT,
    GUTTER,
    HEADING_LINE,
    NARROWEST_COLUMN,
    NOTE_HEIGHT,
    TITLE_HEIGHT,
    Caption,
    MapColumn,
    map_grid,
)

LEFT, TOP = MARGIN, MARGIN + TITLE_HEIGHT + HEADING_LINE + BAR_HEIGHT  # of the first tile
RIGHT = Caption("MALE", "MALE", 0.91, "crop.png")
WRONG = Caption("MALE", "FEMALE", 0.91, "crop.png")
MACHADO = np.array([[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]])
"""Deuteranopia in linear RGB: Machado, Oliveira, Fernandes 2009, severity 1."""


def colour(name: str) -> list[int]:
    return list(ImageColor.getrgb(name))


def grid(
    count: int, height: int, width: int, value: float = 0.5, caption: Caption = RIGHT, names: Sequence[str] = "ab"
) -> Picture:
    images = np.random.default_rng(0).integers(0, 256, (count, 3, height, width), dtype=np.uint8)
    values = np.full((count, height, width), value, np.float32)
    columns = [MapColumn(name, values, signed=bool(place % 2)) for place, name in enumerate(names)]
    return map_grid(images, columns, [caption] * count, "Epoch 1, step 10: 3 of 8 right", "A note.")


def lightness(picture: np.ndarray) -> np.ndarray:
    """L* of CIELAB, by its definition, of sRGB from 0 to 255."""
    linear = np.where(picture <= 0.04045 * 255, picture / 255 / 12.92, ((picture / 255 + 0.055) / 1.055) ** 2.4)
    luminance = linear @ np.array((0.2126, 0.7152, 0.0722))
    return np.where(luminance > (6 / 29) ** 3, 116 * np.cbrt(luminance) - 16, luminance * (29 / 3) ** 3)


def as_seen_without_green(picture: np.ndarray) -> np.ndarray:
    linear = (picture / 255) ** 2.2 @ MACHADO.T
    return linear.clip(0, 1) ** (1 / 2.2) * 255


@pytest.mark.parametrize("maps", range(11))
@pytest.mark.parametrize(("height", "width"), [(256, 128), (224, 224), (64, 32), (32, 64)])
def test_any_number_of_maps_fits_on_a_page(maps: int, height: int, width: int) -> None:
    picture = grid(2, height, width, names=("Grad-CAM, true",) * maps)
    assert picture.dtype == np.uint8
    assert 640 <= picture.shape[1] <= 1704
    assert picture.shape[0] < 1200


def test_eight_tall_crops_fit_on_a_page() -> None:
    height, width, _ = grid(8, 256, 128).shape
    assert height < 1200 <= width <= 1720


@pytest.mark.parametrize(
    ("height", "width", "tile_height", "tile_width"),
    [(128, 64, 256, 128), (100, 50, 200, 100), (256, 128, 256, 128), (224, 224, 224, 224), (448, 448, 256, 256)],
)
def test_tiles_have_a_readable_size(height: int, width: int, tile_height: int, tile_width: int) -> None:
    picture = grid(1, height, width, value=1.0)
    assert picture.shape[0] == TOP + tile_height + CAPTION_HEIGHT + MARGIN
    column = max(tile_width, NARROWEST_COLUMN) + GAP
    tile = picture[TOP : TOP + tile_height, LEFT + column : LEFT + column + tile_width]
    assert (tile == tile[0, 0]).all()  # the first map is 1 everywhere
    assert (picture[TOP : TOP + tile_height, LEFT + column + tile_width] == colour(PAPER)).all()


def test_ten_maps_of_a_wide_input_shrink_to_the_page() -> None:
    picture = grid(1, 224, 224, value=1.0, names=("a",) * 10)
    tile = (1704 - 2 * MARGIN + GAP) // 11 - GAP  # 145
    assert picture.shape[0] == TOP + tile + CAPTION_HEIGHT + MARGIN
    assert picture[TOP + tile - 1, LEFT + tile + GAP].tolist() == [252, 254, 164]
    assert picture[TOP + tile, LEFT + tile + GAP].tolist() == colour(PAPER)


def test_long_titles_take_more_lines() -> None:
    one, three = grid(1, 256, 128), grid(1, 256, 128, names=("integrated gradients, predicted", "b"))
    assert three.shape[0] == one.shape[0] + 2 * HEADING_LINE


def test_small_pictures_are_enlarged_pixel_by_pixel() -> None:
    images = np.random.default_rng(0).integers(0, 256, (1, 3, 128, 64), dtype=np.uint8)
    picture = map_grid(images, [], [RIGHT], "", "")
    expected = images[0].transpose(1, 2, 0).repeat(2, axis=0).repeat(2, axis=1)
    assert np.array_equal(picture[TOP : TOP + 256, LEFT : LEFT + 128], expected)


def test_colours_of_the_maps_by_hand() -> None:
    images = np.full((1, 3, 256, 128), 100, np.uint8)
    images[0, :, :, 64:] = np.array([200, 100, 50]).reshape(3, 1, 1)
    unsigned, signed = np.zeros((1, 256, 128), np.float32), np.zeros((1, 256, 128), np.float32)
    unsigned[0, 128:] = 1
    signed[0, :64], signed[0, 192:] = -1, 0.5
    columns = [MapColumn("saliency", unsigned, signed=False), MapColumn("Grad-CAM", signed, signed=True)]
    picture = map_grid(images, columns, [RIGHT], "", "")
    saliency, cam = LEFT + 128 + GAP, LEFT + 2 * (128 + GAP)
    assert picture[TOP, saliency].tolist() == [0, 0, 3]  # both ends of inferno
    assert picture[TOP + 255, saliency].tolist() == [252, 254, 164]
    # Grey is 128 + 0.3 * (luminance - 128): 119.6 for 100, and 126.8 for 124 = 0.299 * 200 + 0.587 * 100 + 0.114 * 50.
    assert picture[TOP + 128, cam].tolist() == [120] * 3
    assert picture[TOP + 128, cam + 127].tolist() == [127] * 3
    assert picture[TOP, cam].tolist() == [12, 39, 120]  # nine tenths (0, 30, 120), one tenth 119.6
    assert picture[TOP + 255, cam].tolist() == [181, 169, 93]  # 0.45 of (255, 230, 60), 0.55 of 119.6


def test_evidence_for_and_against_differ_without_colour_and_without_colour_vision() -> None:
    values = np.linspace(-1, 1, 41, dtype=np.float32)[np.newaxis, np.newaxis]
    for brightness in (0, 128, 255):
        below = np.full((1, 1, 41, 3), brightness, np.uint8)
        for signed, steps in ((True, values), (False, values.clip(0))):
            seen = paint(steps, below, signed)[0, 0].astype(float)
            for shown in (seen, as_seen_without_green(seen)):
                growth = np.diff(lightness(shown))
                assert (growth[20:] > 0).all()
                assert (growth[:20] > 0).all() == signed
    against, darkest, lightest, favour = (
        lightness(paint(values[..., [step]], np.full((1, 1, 1, 3), brightness, np.uint8), True))
        for step, brightness in ((0, 128), (20, 0), (20, 255), (40, 128))
    )
    assert against + 15 < darkest < lightest < favour - 15  # no part of a picture passes for strong evidence


def test_a_grainy_signed_map_is_smoothed_and_scaled_again() -> None:
    noise = np.random.default_rng(0).choice([-0.02, 0.02], (1, 256, 128)).astype(np.float32)
    noise[0, 100:110, 60:70] += 0.04
    noise[0, 10, 10] = -1  # a lone pixel that sets the scale of the unsmoothed map
    picture = map_grid(np.full((1, 3, 256, 128), 128, np.uint8), [MapColumn("a", noise, signed=True)], [RIGHT], "", "")
    middle, corner = picture[TOP + 105, LEFT + 134 + 65], picture[TOP + 250, LEFT + 134 + 120]
    assert middle[0] > 170 > 150 > corner[0]


def test_notes_stand_below_their_tiles() -> None:
    maps, images = np.ones((2, 256, 128), np.float32), np.zeros((2, 3, 256, 128), np.uint8)
    columns = [MapColumn("a", maps, signed=False, notes=notes) for notes in (["outside 42 %", "outside 7 %"], [])]
    picture, usual = (map_grid(images, [column], [RIGHT] * 2, "", "") for column in columns)
    assert picture.shape[0] == usual.shape[0] + NOTE_HEIGHT
    strip = picture[TOP + 256 : TOP + 256 + NOTE_HEIGHT, LEFT : LEFT + 2 * (128 + GAP)]
    assert (strip[:, :128] == colour(PAPER)).all()
    assert (strip[:, 128 + GAP :] != colour(PAPER)).any()


def test_maps_without_evidence_and_diverged_maps_say_so() -> None:
    some, zero, diverged = (grid(1, 256, 128, value) for value in (0.5, 0.0, np.nan))
    for tile in (LEFT + 128 + GAP, LEFT + 2 * (128 + GAP)):
        middle = (TOP + 128 - 10, tile + 4)  # in the band of the remark, left of its text
        assert some[middle].tolist() != colour(PAPER)
        assert zero[middle].tolist() == diverged[middle].tolist() == colour(PAPER)
    assert not np.array_equal(zero, diverged)
    assert np.array_equal(diverged, grid(1, 256, 128, np.inf))


@pytest.mark.parametrize("names", ["a", "ab"])  # the verdict beside the name, and beside the labels
def test_wrong_differs_from_right_without_colour(names: str) -> None:
    right, wrong = grid(1, 256, 128, names=names), grid(1, 256, 128, caption=WRONG, names=names)
    assert wrong[TOP - 4, LEFT + 10].tolist() == colour(ALARM)
    assert right[TOP - 4, LEFT + 10].tolist() == colour(PAPER)
    assert abs(lightness(right) - lightness(wrong))[TOP - 4, LEFT + 10] > 40


@pytest.mark.parametrize("name", ["x" * 500 + ".jpg", "два слова.png", "two\nlines.png", "写真/人物.png", ""])
def test_names_stay_inside_their_panel(name: str) -> None:
    caption = Caption("FEMALE", "FEMALE", 1.0, name)
    picture, usual = grid(3, 256, 128, caption=caption), grid(3, 256, 128)
    assert picture.shape == usual.shape
    panel = 3 * (128 + GAP) - GAP
    assert (picture[TOP:, LEFT + panel : LEFT + panel + GUTTER] == colour(PAPER)).all()


def test_letters_that_the_font_lacks_are_spelled_out() -> None:
    names = ("王.png", "\\u738b.png", "李.png")
    lacking, spelled, other = (grid(1, 256, 128, caption=Caption("MALE", "MALE", 0.9, name)) for name in names)
    assert np.array_equal(lacking, spelled)
    assert not np.array_equal(lacking, other)
