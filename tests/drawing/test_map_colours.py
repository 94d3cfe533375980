import numpy as np
import pytest

from gender_cls.drawing.map_colours import coloured, paint, ramp

MACHADO = np.array([[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]])
"""Deuteranopia in linear RGB: Machado, Oliveira, Fernandes 2009, severity 1."""
CROPS = ([0, 0, 0], [128, 128, 128], [255, 255, 255], [200, 40, 40], [40, 160, 60], [30, 40, 120])


def on(crop: list[int], value: float, signed: bool) -> np.ndarray:
    """One pixel of a map of one value on a crop of one colour."""
    values = np.full((1, 2, 2), value, np.float32)
    return paint(values, np.broadcast_to(np.uint8(crop), (1, 2, 2, 3)), signed)[0, 0, 0]


def linear(picture: np.ndarray) -> np.ndarray:
    return np.where(picture <= 0.04045 * 255, picture / 255 / 12.92, ((picture / 255 + 0.055) / 1.055) ** 2.4)


def lightness(picture: np.ndarray) -> np.ndarray:
    """L* of CIELAB, by its definition, of sRGB from 0 to 255."""
    luminance = linear(picture) @ np.array((0.2126, 0.7152, 0.0722))
    return np.where(luminance > (6 / 29) ** 3, 116 * np.cbrt(luminance) - 16, luminance * (29 / 3) ** 3)


def yellowness(picture: np.ndarray) -> np.ndarray:
    """Yellow minus blue, as people without green cones see it."""
    red, green, blue = np.moveaxis((linear(picture.astype(float)) @ MACHADO.T).clip(0, 1), -1, 0)
    return (red + green) / 2 - blue


def test_colours_lie_on_the_dimmed_crop_by_hand() -> None:
    crop = [200, 100, 40]  # dimmed to 0.65 of it: 130, 65, 26
    assert on(crop, 0, True).tolist() == on(crop, 0, False).tolist() == [130, 65, 26]
    # 0.3 of the dimmed crop and 0.7 of yellow or blue
    assert on(crop, 1, True) == pytest.approx([39 + 178.5, 19.5 + 149.8, 7.8 + 7], abs=0.5)
    assert on(crop, -1, True) == pytest.approx([39 + 14, 19.5 + 63, 7.8 + 178.5], abs=0.5)
    # 0.65 of the dimmed crop and 0.35 of yellow
    assert on(crop, 0.5, True) == pytest.approx([84.5 + 89.25, 42.25 + 74.9, 16.9 + 3.5], abs=0.5)
    # Half way from (255, 70, 20) to (255, 240, 120) is (255, 155, 70); 0.45 of it and 0.55 of the dimmed crop.
    assert on(crop, 0.5, False) == pytest.approx([71.5 + 114.75, 35.75 + 69.75, 14.3 + 31.5], abs=0.5)
    assert on(crop, 1, False) == pytest.approx([13 + 229.5, 6.5 + 216, 2.6 + 108], abs=0.5)
    assert on(crop, 9, True).tolist() == on(crop, 1, True).tolist()
    for lost in (np.nan, np.inf, -np.inf):
        assert on(crop, lost, True).tolist() == on(crop, lost, False).tolist() == [130, 65, 26]


@pytest.mark.parametrize("value", [-1.0, 1.0])
@pytest.mark.parametrize("signed", [True, False])
def test_the_person_stays_visible_below_the_strongest_colour(value: float, signed: bool) -> None:
    """A person has edges of some 100 levels; the least is kept of them where a map has its maximum."""
    dark, light = (on([level] * 3, value, signed).astype(int) for level in (50, 250))
    assert (light - dark >= (200 * 0.65 * 0.1 if not signed else 200 * 0.65 * 0.3) - 1).all()


@pytest.mark.parametrize("crop", CROPS)
def test_for_and_against_differ_without_colour_and_without_colour_vision(crop: list[int]) -> None:
    for strength in (0.4, 0.7, 1.0):
        favour, against = on(crop, strength, True), on(crop, -strength, True)
        assert lightness(favour) > lightness(against) + 10 * strength
        assert yellowness(favour) > yellowness(against) + 0.1
        assert yellowness(favour) > yellowness(on(crop, 0, True)) > yellowness(against)


@pytest.mark.parametrize("crop", CROPS)
def test_a_stronger_map_is_lighter_and_further_from_the_crop(crop: list[int]) -> None:
    steps = np.array([on(crop, value, False) for value in np.linspace(0, 1, 21)]).astype(float)
    assert lightness(steps[-1]) > lightness(steps[0]) + 15 * (crop != [255, 255, 255])
    away = np.abs(steps - steps[0]).sum(axis=1)
    assert (np.diff(away) > 0).all()


def test_a_grainy_map_is_smoothed_and_scaled_again() -> None:
    noise = np.random.default_rng(0).choice([-0.02, 0.02], (1, 256, 128)).astype(np.float32)
    noise[0, 100:110, 60:70] += 0.04
    noise[0, 10, 10] = -1  # a lone pixel that sets the scale of the unsmoothed map
    grey = np.full((1, 256, 128, 3), 128, np.uint8)
    picture = coloured(noise, grey, signed=True)[0]
    assert picture[105, 65, 0] > 120 > 100 > picture[250, 120, 0]
    steps = coloured(np.abs(noise), grey, signed=False)[0]
    assert steps[10, 10].astype(int).sum() > steps[250, 120].astype(int).sum() + 120


def test_the_scale_is_that_of_neutral_grey() -> None:
    assert ramp(3, True)[0].tolist() == [on([128] * 3, value, True).tolist() for value in (-1, 0, 1)]
    assert ramp(3, False)[0].tolist() == [on([128] * 3, value, False).tolist() for value in (0, 0.5, 1)]
