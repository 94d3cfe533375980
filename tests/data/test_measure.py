from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter

from gender_cls.data.measure import measure

CROPS = Path(__file__).parents[3] / "shared" / "data" / "cctv"


def grey(luma: np.ndarray) -> Image.Image:
    return Image.fromarray(luma.astype(np.uint8)).convert("RGB")


def person(height: int = 96) -> Image.Image:
    """A figure with edges, cloth texture and grain, drawn at 96 pixels and enlarged without blur."""
    rng = np.random.default_rng(0)
    luma = np.full((96, 48), 150.0)
    luma[8:22, 18:30], luma[22:56, 12:36], luma[56:92, 15:33] = 190, 60, 100
    luma[22:56:4, 12:36] += 40
    return grey((luma + rng.normal(0, 6, luma.shape)).clip(0, 255)).resize((height // 2, height), Image.Resampling.BOX)


def test_colours_are_means_and_brightness_is_their_luma() -> None:
    pixels = np.array([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [0, 0, 0]]], dtype=np.uint8)
    measures = measure(Image.fromarray(pixels))
    assert (measures.red, measures.green, measures.blue) == (63.75, 63.75, 63.75)
    assert measures.brightness == pytest.approx(63.75)  # 0.299 + 0.587 + 0.114 = 1
    assert measure(Image.new("RGB", (3, 5), (200, 100, 50))).brightness == pytest.approx(59.8 + 58.7 + 5.7)


def test_sharpness_worked_out_by_hand() -> None:
    for size in ((1, 1), (2, 2), (1, 200), (200, 1), (40, 60)):
        assert measure(Image.new("RGB", size, (90, 120, 30))).sharpness == 0
    # Down the columns 0, 10, 40: slopes 10 and 30, change 20, so 20 / (20 + 0.3); along the rows nothing changes: the
    # smaller of the two is 0 until the image is also sharp that way.
    columns = np.tile([[0], [10], [40]], (1, 3))
    assert measure(grey(columns)).sharpness == 0
    # Rows and columns alike: outer sums of 0, 10, 40 have the same slopes both ways.
    assert measure(grey(columns + columns.T)).sharpness == pytest.approx(20 / 20.3, rel=1e-6)
    # A chessboard: slopes of 100, each undone by the next, 200.
    assert measure(grey(100 * (np.indices((8, 8)).sum(axis=0) % 2))).sharpness == pytest.approx(200 / 100.3, rel=1e-6)


def test_white_noise_has_the_sharpness_of_independent_pixels() -> None:
    noise = np.random.default_rng(0).normal(128, 20, (96, 200)).clip(0, 255)
    assert measure(grey(noise)).sharpness == pytest.approx(np.sqrt(3), rel=0.02)  # sd of differences: sqrt(6) / sqrt(2)


def test_sharpness_falls_with_blur_in_every_direction() -> None:
    crop = person()
    sharpness = [measure(crop.filter(ImageFilter.GaussianBlur(sigma))).sharpness for sigma in (0, 0.7, 1.5, 3)]
    assert sharpness == sorted(sharpness, reverse=True)
    assert sharpness[0] > 1.2
    assert sharpness[2] < 0.7
    for size in ((15, 1), (1, 15)):  # a moving person: smeared along one axis, sharp along the other
        kernel = np.pad(np.asarray(crop.convert("L"), dtype=float), ((size[1] // 2,) * 2, (size[0] // 2,) * 2), "edge")
        windows = np.lib.stride_tricks.sliding_window_view(kernel, size[::-1])
        assert measure(grey(windows.mean(axis=(2, 3)))).sharpness < 0.7


def test_sharpness_does_not_depend_on_contrast_or_size() -> None:
    sharpness = measure(person()).sharpness
    assert measure(Image.eval(person(), lambda value: value // 3 + 80)).sharpness == pytest.approx(sharpness, rel=0.1)
    assert measure(person(288)).sharpness == pytest.approx(sharpness, rel=1e-6)


@pytest.mark.skipif(not CROPS.is_dir(), reason="the shared crops are not here")
def test_real_crops_are_told_from_their_blurred_copies() -> None:
    crops = [Image.open(path).convert("RGB") for path in sorted(CROPS.glob("*/*"))[::150]]
    originals = np.array([measure(crop).sharpness for crop in crops])
    copies = [crop.filter(ImageFilter.GaussianBlur(crop.height / 64)) for crop in crops]
    blurred = np.array([measure(copy).sharpness for copy in copies])
    assert (originals[:, None] > blurred).mean() > 0.99  # the AUROC
    assert (originals < 0.8).mean() < 0.05
    assert (blurred < 0.8).mean() > 0.95
