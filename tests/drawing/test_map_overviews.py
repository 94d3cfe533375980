import numpy as np
import pytest
from PIL import Image, ImageColor

from gender_cls.drawing.canvas import GAP, MARGIN, MAT, SOFT
from gender_cls.drawing.map_grid import CAPTION_HEIGHT, MapColumn
from gender_cls.drawing.map_overviews import MeanMaps, density_tile, map_strip, mean_map_grid

BRIGHTEST, DARKEST = [238, 224, 116], [83] * 3  # on mid-grey, dimmed to 83.2: nine tenths of (255, 240, 120), nothing
AGAINST, NEUTRAL, FOR = [39, 88, 203], [83] * 3, [203, 175, 32]  # seven tenths of (20, 90, 255) and of (255, 214, 10)
PICTURE = np.full((3, 256, 128), 128, np.uint8)


def halves(upper: float, lower: float, height: int = 256, width: int = 128) -> np.ndarray:
    return np.repeat([upper, lower], height // 2).astype(np.float32)[:, np.newaxis].repeat(width, axis=1)


def columns(*maps: np.ndarray) -> list[MapColumn]:
    return [MapColumn(f"map {place}", one[np.newaxis], signed=False) for place, one in enumerate(maps)]


def test_a_strip_shows_input_and_maps_side_by_side() -> None:
    picture = PICTURE.copy()
    picture[0] = 7
    strip = map_strip(picture, [(halves(0, 5), False), (halves(-0.3, 0.15), True)], 128)
    tile, gap = 64, 2
    assert strip.shape == (128, 3 * tile + 2 * gap, 3)
    assert strip[64, 32].tolist() == [7, 128, 128]
    assert (strip[:, tile : tile + gap] == ImageColor.getrgb(MAT)).all()
    first, second = tile + gap + 32, 2 * (tile + gap) + 32
    assert strip[2, first].tolist() == [5, 83, 83]  # 0.65 of the picture
    assert strip[125, first].tolist() == [230, 224, 116]  # of any scale: 0.1 of that and 0.9 of (255, 240, 120)
    assert strip[2, second, 2] > strip[2, second, 0]  # blue against
    assert strip[125, second, 0] > strip[125, second, 2]  # yellow for


def test_a_strip_shows_a_bright_pixel_also_when_it_is_small() -> None:
    lone = np.zeros((256, 128), np.float32)
    lone[100, 64] = 1
    strip = map_strip(PICTURE, [(lone, False)], 64)
    assert strip[:, 34:].max(axis=(0, 1)).tolist() == BRIGHTEST


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_strip_crosses_out_maps_that_are_not_finite(value: float) -> None:
    diverged, zero = (map_strip(PICTURE, [(np.full((256, 128), one, np.float32), False)], 128) for one in (value, 0.0))
    assert diverged[0, 66].tolist() == diverged[127, 129].tolist() == list(ImageColor.getrgb(SOFT))
    assert diverged[64, 70].tolist() == list(ImageColor.getrgb(MAT))
    assert (zero[:, 66:] == DARKEST).all()


@pytest.mark.parametrize(("height", "width", "strip"), [(224, 224, 192), (64, 32, 96), (32, 64, 48)])
def test_strips_keep_the_shape_of_the_input(height: int, width: int, strip: int) -> None:
    image = np.zeros((3, height, width), np.uint8)
    picture = map_strip(image, [(np.ones((height, width), np.float32), False)], strip)
    assert picture.shape == (strip, 2 * (strip * width // height) + max(2, strip // 64), 3)


def test_mean_maps_are_scaled_each_to_its_own_largest_magnitude() -> None:
    groups = [
        MeanMaps("FEMALE", 30, np.full((3, 256, 128), 99.6), columns(halves(0, 0.002), halves(0.2, 0.1))),
        MeanMaps("MALE", 1, np.full((3, 256, 128), 7.2), columns(halves(900, 0), np.zeros((256, 128)))),
    ]
    picture = mean_map_grid(groups, "Mean maps by answer", "A note.")
    bottom = picture.shape[0] - MARGIN - CAPTION_HEIGHT - 1  # of the tiles
    top, pitch, panel = bottom - 255, 128 + GAP, 3 * (128 + GAP) - GAP + 16
    assert picture[top, MARGIN].tolist() == [100] * 3
    assert picture[top, MARGIN + panel].tolist() == [7] * 3
    brightest = [236, 222, 114]  # 0.1 of the dimmed picture (65), 0.9 of (255, 240, 120)
    assert picture[bottom, MARGIN + pitch].tolist() == picture[top, MARGIN + 2 * pitch].tolist() == brightest
    assert picture[top, MARGIN + panel + pitch].tolist() == [230, 216, 108]  # on a picture of 7, dimmed to 4.6
    assert picture[top + 128, MARGIN + panel + 2 * pitch + 1].tolist() == list(ImageColor.getrgb(MAT))  # "all zero"


def test_groups_may_have_long_names_and_diverged_maps() -> None:
    def grid(name: str, value: float) -> np.ndarray:
        group = MeanMaps(name, 1, PICTURE, columns(np.full((256, 128), value)))
        return mean_map_grid([group, group], "", "")

    short, long = grid("4", 1.0), grid("камера " * 99, 1.0)
    assert short.shape == long.shape
    assert not np.array_equal(grid("4", np.nan), grid("4", 0.0))
    assert np.array_equal(grid("4", np.nan), grid("4", np.inf))


def test_tiles_share_one_colour_scale() -> None:
    grey = Image.new("L", (30, 60), 128)
    tile = density_tile(grey, halves(0, 4, 64, 32), 4.0, False, (96, 48))
    assert tile.shape == (96, 48, 3)
    assert tile[0, 0].tolist() == DARKEST
    assert tile[95, 47].tolist() == BRIGHTEST
    assert np.array_equal(tile, density_tile(grey, halves(0, 1, 64, 32), 1.0, False, (96, 48)))
    assert density_tile(grey, halves(0, 9, 64, 32), 4.0, False, (96, 48))[95, 47].tolist() == BRIGHTEST
    half = density_tile(grey, halves(2, 4, 64, 32), 4.0, False, (96, 48))[0, 0]
    assert tile[0, 0].sum() < half.sum() < tile[95, 47].sum()


def test_signed_tiles_run_from_minus_most_to_most() -> None:
    picture = Image.new("RGB", (30, 60), (128, 128, 128))
    assert density_tile(picture, halves(-3, 3, 64, 32), 3.0, True, (96, 48))[0, 0].tolist() == AGAINST
    assert density_tile(picture, halves(-3, 3, 64, 32), 3.0, True, (96, 48))[95, 0].tolist() == FOR
    weaker = density_tile(picture, halves(-3, 3, 64, 32), 6.0, True, (96, 48))
    assert weaker[95, 0].tolist() == [143, 129, 58]  # 0.35 of (255, 214, 10), 0.65 of 83.2
    for nothing in (0.0, np.nan):
        assert (density_tile(picture, np.full((64, 32), nothing), 3.0, True, (96, 48)) == NEUTRAL).all()
