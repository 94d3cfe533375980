import numpy as np
import pytest
import torch
from helpers.crops import assert_new_image, noise
from torch import Tensor
from torch.nn import functional

from gender_cls.data.shortcuts import apply_shortcut
from gender_cls.data.variant_names import SHORTCUTS

SIZES = [(1, 1), (2, 3), (1, 50), (50, 1), (40, 16), (41, 17), (300, 120)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", SHORTCUTS)
def test_size_and_type_stay_and_the_image_is_left_alone(name: str, size: tuple[int, int]) -> None:
    assert_new_image(lambda image: apply_shortcut(image, name), noise(*size))


# A crop of 20x10: the person's box is 16x6, rows 2-17 and columns 2-7; with the margin 18x7, rows 1-18, columns 1-7.
PERSON, PERSON_AND_MARGIN = torch.zeros(2, 20, 10, dtype=torch.bool)
PERSON[2:18, 2:8] = PERSON_AND_MARGIN[1:19, 1:8] = True


def test_the_masked_person_is_one_colour_the_mean_of_what_it_hides() -> None:
    image = noise(20, 10)
    masked = apply_shortcut(image, "person_masked")
    assert torch.equal(masked[:, ~PERSON], image[:, ~PERSON])
    for channel in range(3):
        hidden = image[channel][PERSON].tolist()
        assert set(masked[channel][PERSON].tolist()) == {round(sum(hidden) / 96)}
    image = torch.full((3, 20, 10), 255, dtype=torch.uint8)
    assert (apply_shortcut(image, "person_masked") == 255).all()
    image[:, 2:5] = 254  # 18 of the 96 pixels: the mean is 254.81
    assert apply_shortcut(image, "person_masked")[0, 10, 5] == 255


@pytest.mark.parametrize(("name", "kept"), [("background_only", ~PERSON_AND_MARGIN), ("person_only", PERSON)])
def test_the_person_or_the_background_remains_and_the_rest_is_mid_grey(name: str, kept: Tensor) -> None:
    image = noise(20, 10)
    less = apply_shortcut(image, name)
    assert torch.equal(less[:, kept], image[:, kept])
    assert (less[:, ~kept] == 114).all()


def test_a_single_pixel_is_the_person() -> None:
    image = torch.tensor([10, 20, 30], dtype=torch.uint8).reshape(3, 1, 1)
    for name, left in (("person_masked", [10, 20, 30]), ("background_only", [114] * 3), ("person_only", [10, 20, 30])):
        assert apply_shortcut(image, name).flatten().tolist() == left


def test_grey_is_the_luma_of_bt_601_in_all_channels() -> None:
    image = noise(40, 16)
    grey = apply_shortcut(image, "grey")
    assert torch.equal(grey, grey[:1].expand(3, -1, -1))
    luma = np.einsum("chw,c->hw", image.numpy(), [0.299, 0.587, 0.114])
    assert np.abs(grey[0].numpy() - luma).max() <= 0.51
    assert torch.equal(apply_shortcut(grey, "grey"), grey)


def test_eight_pixels_are_means_of_areas_and_enlarged_bilinearly() -> None:
    image = noise(48, 16)
    small = functional.avg_pool2d(image.double(), (6, 2))  # 8x8 areas
    expected = functional.interpolate(small.round()[None], size=(48, 16), mode="bilinear", align_corners=False)[0]
    assert (apply_shortcut(image, "eight_pixels").double() - expected).abs().max() <= 2  # three roundings
    # What lies inside an area is forgotten.
    rows, columns = np.indices((64, 32))
    stripes = np.where(rows % 8 < 4, 0, 200).astype(np.uint8)  # 8 rows to an area: a dark and a light half in each
    image = torch.from_numpy(np.stack([stripes] * 3))
    assert (apply_shortcut(image, "eight_pixels") == 100).all()
    ramp = torch.from_numpy(np.stack([(columns * 8).astype(np.uint8)] * 3))
    difference = apply_shortcut(ramp, "eight_pixels").int() - ramp.int()
    assert difference.abs().max() <= 12  # the layout stays, except at the edge


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(KeyError, match="sepia"):
        apply_shortcut(noise(4, 4), "sepia")
