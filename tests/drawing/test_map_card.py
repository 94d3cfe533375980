import numpy as np
import pytest
from PIL import ImageColor

from gender_cls.drawing.canvas import ALARM, MAT
from gender_cls.drawing.map_card import BAND, BAR, CARD, GAP, NAME, map_cards
from gender_cls.drawing.map_colours import ramp
from gender_cls.drawing.map_grid import Caption, MapColumn

RIGHT, WRONG = Caption("MALE", "MALE", 0.09, "crop.png"), Caption("MALE", "FEMALE", 0.91, "crop.png")


def cards(
    maps: int = 2, size: tuple[int, int] = (256, 128), value: float = 0.5, below: str = "epoch 3", count: int = 2
) -> list[np.ndarray]:
    """Of grey images; the first answer is right, the second wrong."""
    images = np.full((count, 3, *size), 100, np.uint8)
    values = np.full((count, *size), value, np.float32)
    columns = [MapColumn("Grad-CAM", values, signed=place % 2 == 1) for place in range(maps)]
    return map_cards(images, columns, [RIGHT, WRONG][:count], below)


def colour(name: str) -> list[int]:
    return list(ImageColor.getrgb(name))


@pytest.mark.parametrize("size", [(256, 128), (224, 224), (64, 32), (128, 256)])
def test_the_usual_card_fits_into_that_of_tensorboard_at_half_its_size(size: tuple[int, int]) -> None:
    height, width, _ = cards(size=size)[0].shape
    assert width <= CARD[0] == 2 * 350
    assert height <= CARD[1] == 2 * 215
    assert width > CARD[0] - 10 or height > CARD[1] - 10  # as large as possible


def test_image_and_maps_stand_in_one_row_with_their_colours_below() -> None:
    card = cards()[0]
    height, width = CARD[1] - BAND - BAR - NAME, (CARD[1] - BAND - BAR - NAME) // 2
    left = [(card.shape[1] - 3 * width - 2 * GAP) // 2 + place * (width + GAP) for place in range(3)]
    tiles = [card[BAND : BAND + height, x : x + width] for x in left]
    assert (tiles[0] == 100).all()
    # The largest value on a crop of 65: 0.1 of it and 0.9 of (255, 240, 120); 0.3 of it and 0.7 of (255, 214, 10).
    assert tiles[1].reshape(-1, 3) == pytest.approx(np.tile([236, 222.5, 114.5], (width * height, 1)), abs=0.5)
    assert tiles[2].reshape(-1, 3) == pytest.approx(np.tile([198, 169.3, 26.5], (width * height, 1)), abs=0.5)
    for place, signed in ((1, False), (2, True)):
        bar = card[BAND + height + BAR // 2, left[place] : left[place] + width]
        assert np.array_equal(bar, ramp(width, signed)[0])
    assert (card[BAND + height + BAR // 2, left[0] : left[0] + width] == colour(MAT)).all()


def test_a_wrong_answer_is_seen_when_the_card_is_small() -> None:
    right, wrong = cards()
    for card, ground in ((right, MAT), (wrong, ALARM)):
        small = card[::8, ::8]
        assert (small[: BAND // 8] == colour(ground)).all(axis=2).mean() > 0.5
    assert np.array_equal(right[BAND:], wrong[BAND:])


def test_the_epoch_stands_below_the_image() -> None:
    third, fourth = (cards(below=f"epoch {epoch}")[0] for epoch in (3, 4))
    changed = np.argwhere((third != fourth).any(axis=2))
    assert (changed[:, 0] > CARD[1] - NAME).all()
    assert (changed[:, 1] < third.shape[1] / 3).all()


def test_many_maps_take_more_rows_of_tiles_of_the_same_size() -> None:
    few, many = cards(maps=3)[0], cards(maps=5)[0]  # 4 tiles, 6 tiles
    assert many.shape[0] > 1.8 * few.shape[0]
    assert max(few.shape[1], many.shape[1]) <= CARD[0]


@pytest.mark.parametrize("value", [0.0, np.nan])
def test_maps_that_show_nothing_say_so(value: float) -> None:
    some, nothing = cards(value=0.5)[0], cards(value=value)[0]
    middle = BAND + (CARD[1] - BAND - BAR - NAME) // 2
    assert (some[middle] == colour(MAT)).all(axis=1).sum() < (nothing[middle] == colour(MAT)).all(axis=1).sum() - 100
