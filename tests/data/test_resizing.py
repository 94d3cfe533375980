"""Resizing, against pixels written down by hand, Pillow and torchvision."""

import numpy as np
import pytest
import torch
from helpers.crops import noise, resize
from PIL import Image
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as F

from gender_cls.config.data import ResizeMode
from gender_cls.data import resizing
from gender_cls.data.pixel_modes import MID_GREY
from gender_cls.data.resizing import place_in_input, resize_into

Size = tuple[int, int]


def flat(value: int, height: int, width: int) -> Tensor:
    return torch.full((3, height, width), value, dtype=torch.uint8)


def by_pillow(image: Tensor, height: int, width: int) -> Tensor:
    pixels = Image.fromarray(image.permute(1, 2, 0).numpy()).resize((width, height), Image.Resampling.BILINEAR)
    return torch.from_numpy(np.array(pixels)).permute(2, 0, 1)


def by_torchvision(image: Tensor, size: Size, mode: ResizeMode) -> Tensor:
    fit = resizing._fit((image.shape[1], image.shape[2]), size, mode)
    image = image[:, fit.top : fit.top + fit.height, fit.left : fit.left + fit.width]
    image = F.resize(image, list(fit.size), interpolation=InterpolationMode.BILINEAR, antialias=True)
    return F.pad(image, list(fit.padding), fill=MID_GREY).contiguous()


def test_letterbox_pads_the_odd_pixel_on_the_right_or_the_bottom() -> None:
    image = resize(flat(200, 60, 20), (120, 61), ResizeMode.letterbox)  # twice as large: 120x40, 21 columns over
    expected = flat(MID_GREY, 120, 61)
    expected[:, :, 10:50] = 200
    assert torch.equal(image, expected)
    assert torch.equal(resize(flat(200, 20, 60), (61, 120), ResizeMode.letterbox), expected.mT)


def test_crop_keeps_the_centre() -> None:
    image = noise(101, 50)
    centre = image[:, 25:75]  # 25 rows off the top, 26 off the bottom
    assert torch.equal(resize(image, (50, 50), ResizeMode.crop), centre)
    assert torch.equal(resize(image.mT, (50, 50), ResizeMode.crop), centre.mT)
    light_middle = torch.cat([flat(0, 30, 60), flat(200, 60, 60), flat(0, 30, 60)], dim=1)
    assert (resize(light_middle, (32, 32), ResizeMode.crop) == 200).all()


@pytest.mark.parametrize("mode", ResizeMode)
@pytest.mark.parametrize("shape", [(300, 1), (1, 300), (1, 1), (2, 3)])
def test_thin_and_tiny_images_keep_their_colour(shape: Size, mode: ResizeMode) -> None:
    image = resize(flat(9, *shape), (256, 128), mode)
    assert set(image.unique().tolist()) <= ({9, MID_GREY} if mode is ResizeMode.letterbox else {9})
    assert (image == 9).any()


def test_the_right_size_is_left_alone_and_the_letterbox_of_a_line_is_a_line() -> None:
    assert all(torch.equal(resize(noise(32, 16), (32, 16), mode), noise(32, 16)) for mode in ResizeMode)
    line = noise(300, 1)
    image = resize(line, (256, 128), ResizeMode.letterbox)  # 2 columns, 126 over
    assert (image[:, :, [*range(63), *range(65, 128)]] == MID_GREY).all()
    assert (image[:, :, 63:65].int() - by_pillow(line, 256, 1).int()).abs().max() <= 1


@pytest.mark.parametrize("shape", [(1, 1), (300, 1), (1, 300), (40, 30), (20, 50), (600, 200)])
def test_stretch_agrees_with_pillow(shape: Size) -> None:
    image = noise(*shape)
    assert (resize(image, (32, 16), ResizeMode.stretch).int() - by_pillow(image, 32, 16).int()).abs().max() <= 1


@pytest.mark.parametrize(
    ("native", "mode", "box"),
    [
        ((50, 10), ResizeMode.stretch, (0, 0, 20, 40)),
        ((50, 10), ResizeMode.letterbox, (6, 0, 14, 40)),  # 40 x 8 in the middle of 40 x 20
        ((20, 20), ResizeMode.letterbox, (0, 10, 20, 30)),
        ((50, 10), ResizeMode.crop, (0, -30, 20, 70)),  # at twice its size, of 100 rows the middle 40 are seen
        ((20, 20), ResizeMode.crop, (-10, 0, 30, 40)),
    ],
)
def test_an_image_is_where_it_is_said_to_be(native: Size, mode: ResizeMode, box: tuple[int, ...]) -> None:
    assert place_in_input(native, (40, 20), mode) == pytest.approx(box)
    image = flat(0, *native)
    image[:, : native[0] // 2, : native[1] // 2] = 250  # light in the upper left quarter
    shown = resize(image, (40, 20), mode)
    middle, centre = (box[1] + box[3]) // 2, (box[0] + box[2]) // 2
    assert (shown[0, middle - 3, centre - 3], shown[0, middle + 3, centre + 3]) == (250, 0)


def test_pixels_do_not_depend_on_the_number_of_threads() -> None:
    threads, results = torch.get_num_threads(), []
    try:
        for number in (1, 2, 3):
            torch.set_num_threads(number)
            results.append(resize(noise(300, 200), (256, 128), ResizeMode.stretch))
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(result, results[0]) for result in results)


@pytest.mark.parametrize("with_kernel", [True, False], ids=["kernel", "torchvision"])
@pytest.mark.parametrize("mode", ResizeMode)
def test_a_batch_gets_the_same_pixels(mode: ResizeMode, with_kernel: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not with_kernel:
        monkeypatch.setattr(resizing, "_RESIZES_BYTES", False)
    sizes = [(1, 1), (1, 40), (40, 1), (2, 3), (32, 16), (64, 20), (150, 63), (300, 130), (31, 200)]
    batch = torch.full((len(sizes), 32, 16, 3), 7, dtype=torch.uint8)
    for into, shape in zip(batch, sizes, strict=True):
        planes = noise(*shape)
        channels_last = planes.permute(1, 2, 0).contiguous().permute(2, 0, 1)  # as kept pixels and Pillow have them
        for image in (planes, channels_last):
            resize_into(into, image, mode)
            assert torch.equal(into.permute(2, 0, 1), by_torchvision(image, (32, 16), mode))
