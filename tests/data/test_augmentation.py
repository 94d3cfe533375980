"""Random changes of a picture, against pixels written down by hand and against torchvision's own."""

import pickle
import random
from io import BytesIO

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from PIL import Image
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as F

from gender_cls.config.checks import check_config
from gender_cls.config.data import ResizeMode
from gender_cls.config.parsing import CONFIG_FOLDER
from gender_cls.config.train import AugmentConfig
from gender_cls.data import augmentation
from gender_cls.data.augmentation import build_augmentation
from gender_cls.data.transforms import MID_GREY, resize


def noise(height: int, width: int) -> torch.Tensor:
    return torch.randint(0, 256, (3, height, width), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def flat(value: int, height: int = 64, width: int = 32) -> torch.Tensor:
    return torch.full((3, height, width), value, dtype=torch.uint8)


def augmented(image: torch.Tensor, seed: int = 0, **changes: float) -> torch.Tensor:
    augment = build_augmentation(AugmentConfig(**changes))
    assert augment is not None
    torch.manual_seed(seed)
    return augment(image)


def group(name: str) -> AugmentConfig:
    values = OmegaConf.load(CONFIG_FOLDER / "augment" / f"{name}.yaml")
    config = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(AugmentConfig), values))
    assert isinstance(config, AugmentConfig)
    check_config(config, "augment.")
    return config


def photo(height: int = 64, width: int = 32) -> torch.Tensor:
    """Smooth enough that a pixel's neighbours resemble it."""
    return F.gaussian_blur(noise(height, width), [9, 9], [2.5, 2.5])


def differences(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    return (one.int() - other.int()).abs()


@pytest.mark.parametrize(("degrees", "down", "across", "scale"), [(7, 0, 0, 1), (-5, 3, -2, 0.9), (10, -6, 3, 1.2)])
def test_moving_is_torchvisions_affine(monkeypatch, degrees, down, across, scale):
    drawn = iter([degrees, down, across, scale])
    monkeypatch.setattr(augmentation, "_drawn", lambda low, high: next(drawn))
    image = photo()
    moved = augmentation._moved(image, AugmentConfig(rotate_degrees=10, translate=0.1, zoom=0.2))
    monkeypatch.undo()
    expected = F.affine(image, degrees, [across, down], scale, [0, 0], InterpolationMode.BILINEAR, fill=MID_GREY)
    beyond = F.affine(torch.full_like(image, 255), degrees, [across, down], scale, [0, 0], InterpolationMode.BILINEAR)
    inside, outside = beyond == 255, beyond == 0
    assert inside.float().mean() > 0.6
    assert differences(moved, expected)[inside].max() <= 1
    assert (moved[outside] == MID_GREY).all()


@pytest.mark.parametrize("order", [[0, 1, 2], [2, 1, 0], [1, 2, 0]])
def test_colours_are_torchvisions_up_to_rounding(monkeypatch, order):
    factors = {0: 1.2, 1: 0.75, 2: 1.3}
    drawn = iter([factors[which] for which in order])
    monkeypatch.setattr(augmentation, "_drawn", lambda low, high: next(drawn))
    monkeypatch.setattr(torch, "randperm", lambda number: torch.tensor(order))
    image = noise(32, 16)
    changed = augmentation._jittered(image, AugmentConfig(brightness=0.5, contrast=0.5, saturation=0.5))
    expected = image
    for which in order:
        expected = (F.adjust_brightness, F.adjust_contrast, F.adjust_saturation)[which](expected, factors[which])
    assert differences(changed, expected).max() <= 3  # torchvision cuts decimals off after each of the three
    assert differences(changed, expected).float().mean() < 1.6


@pytest.mark.parametrize("sigma", [0.3, 0.8, 1.5])
def test_blur_is_torchvisions(sigma):
    image = noise(32, 16)
    blurred = augmentation._blurred(image, sigma)
    assert differences(blurred, F.gaussian_blur(image, [7, 7], [sigma, sigma])).max() <= 1


def test_grey_is_torchvisions():
    assert differences(augmented(noise(8, 8), grey=1.0), F.rgb_to_grayscale(noise(8, 8), 3)).max() <= 1


@pytest.mark.parametrize("name", ["light", "cctv", "strong"])
def test_the_layout_in_memory_changes_nothing(name):
    augment = build_augmentation(group(name))
    planes = noise(48, 24)
    beside = planes.permute(1, 2, 0).contiguous().permute(2, 0, 1)
    for seed in range(15):
        torch.manual_seed(seed)
        first = augment(planes)
        torch.manual_seed(seed)
        assert torch.equal(augment(beside), first)
    assert torch.equal(planes, noise(48, 24)), "the picture itself was changed"


@pytest.mark.parametrize(
    "changes",
    [{}, {"mixup": 0.2, "cutmix": 1.0}, {"affine": 1.0}, {"rotate_degrees": 10.0, "zoom": 0.1}],
    ids=["default", "batch only", "affine without a range", "ranges without affine"],
)
def test_nothing_to_do_is_none(changes):
    assert build_augmentation(AugmentConfig(**changes)) is None


def test_flip_mirrors_left_and_right_as_often_as_asked():
    image = noise(8, 4)
    assert torch.equal(augmented(image, flip=1.0), image.flip(2))
    augment = build_augmentation(AugmentConfig(flip=0.3))
    torch.manual_seed(0)
    mirrored = sum(torch.equal(augment(image), image.flip(2)) for _ in range(500))
    assert 110 < mirrored < 190  # 150 +- 4 standard deviations of 10.2


def test_translation_shifts_by_at_most_the_share_and_fills_with_mid_grey():
    image, shifts = flat(255, 40, 20), set()
    for seed in range(40):
        shifted = augmented(image, seed, affine=1.0, translate=0.1)
        assert set(shifted.unique().tolist()) <= {MID_GREY, 255}
        shifts.add((int((shifted[0] == MID_GREY).all(1).sum()), int((shifted[0] == MID_GREY).all(0).sum())))
    assert {rows for rows, _ in shifts} == {0, 1, 2, 3, 4}  # 10 % of 40
    assert {columns for _, columns in shifts} == {0, 1, 2}  # 10 % of 20


def test_zoom_shrinks_and_enlarges_within_its_range():
    image = flat(0, 80, 80)
    image[:, 20:60, 20:60] = 255  # a light square of side 40
    sides = [(augmented(image, seed, affine=1.0, zoom=0.25) > 127)[0].any(0).sum().item() for seed in range(40)]
    assert 29 <= min(sides) < 33  # 0.75 x 40 = 30, and a pixel for the interpolation
    assert 47 < max(sides) <= 51  # 1.25 x 40 = 50


def test_rotation_moves_the_corners_only_so_far():
    image = flat(255, 64, 64)
    grey = [(augmented(image, seed, affine=1.0, rotate_degrees=10) < 200)[0].sum().item() for seed in range(20)]
    # Four corner triangles of a square of side 64 turned by 10 degrees cover 9.0 % of it.
    assert 0.04 * 64**2 < max(grey) < 0.1 * 64**2


def test_brightness_scales_a_flat_picture_within_its_range():
    values = {augmented(flat(100), seed, brightness=0.2)[0, 0, 0].item() for seed in range(60)}
    assert 80 <= min(values) < 86
    assert 114 < max(values) <= 120


def test_contrast_keeps_a_flat_picture_and_saturation_a_grey_one():
    grey_noise = noise(16, 16)[:1].expand(3, -1, -1).contiguous()
    assert (augmented(flat(100), contrast=0.5).int() - 100).abs().max() <= 1
    assert (augmented(grey_noise, saturation=0.5).int() - grey_noise.int()).abs().max() <= 1
    assert not torch.equal(augmented(grey_noise, contrast=0.5), grey_noise)
    assert not torch.equal(augmented(noise(16, 16), saturation=0.5), noise(16, 16))


def test_grey_is_luma_in_three_equal_channels():
    image = flat(0)
    image[1] = 200
    assert set(augmented(image, grey=1.0).unique().tolist()) <= {117, 118}  # 0.587 x 200 = 117.4


@pytest.mark.parametrize("change", ["low_resolution", "blur"])
def test_a_far_or_unsharp_camera_loses_detail_but_no_light(change):
    board = (torch.arange(64)[:, None] + torch.arange(32)) % 2 * 200
    board = board.expand(3, -1, -1).to(torch.uint8).contiguous()
    results = [augmented(board, seed, **{change: 1.0}).float() for seed in range(10)]
    assert all(result.mean().item() == pytest.approx(100, abs=3) for result in results)
    assert min(result.std().item() for result in results) < 10  # 100 before
    assert len({result.std().item() for result in results}) > 4  # the strength is drawn anew
    assert torch.equal(augmented(flat(77), **{change: 1.0}), flat(77))


def test_low_resolution_is_a_detour_over_a_side_4_to_1_5_times_smaller():
    image = noise(24, 24)
    detours = {
        side: resize(resize(image, (side, side), ResizeMode.stretch), (24, 24), ResizeMode.stretch)
        for side in range(2, 24)
    }
    sides = set()
    for seed in range(60):
        result = augmented(image, seed, low_resolution=1.0)
        sides |= {side for side, detour in detours.items() if torch.equal(result, detour)}
    assert min(sides) == 6
    assert max(sides) in {15, 16}


def test_jpeg_is_pillows_at_a_quality_from_30_to_90():
    image = noise(16, 16)
    candidates = []
    for quality in range(30, 91):
        buffer = BytesIO()
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(buffer, format="JPEG", quality=quality)
        candidates.append(torch.from_numpy(np.array(Image.open(buffer))).permute(2, 0, 1))
    for seed in range(10):
        result = augmented(image, seed, jpeg=1.0)
        assert any(torch.equal(result, candidate) for candidate in candidates)


def test_erasing_fills_one_rectangle_of_2_to_20_percent():
    areas = []
    for seed in range(40):
        erased = augmented(flat(0, 64, 64), seed, erase=1.0)[0] == MID_GREY
        rows, columns = erased.any(1).sum().item(), erased.any(0).sum().item()
        assert erased.sum().item() == rows * columns
        areas.append(rows * columns / 64**2)
    assert 0.015 < min(areas) < 0.06
    assert 0.15 < max(areas) < 0.21


def test_erasing_comes_last():
    changes = dict.fromkeys(("low_resolution", "blur", "jpeg", "grey", "erase"), 1.0)
    erased = augmented(flat(0, 64, 64), brightness=0.5, rand_augment=2, **changes)[0] == MID_GREY
    assert erased.sum() == erased.any(1).sum() * erased.any(0).sum()


def test_geometry_comes_before_colour():
    darkened = augmented(flat(0), 1, affine=1.0, translate=0.2, brightness=0.9)
    filled = darkened[darkened > 0]
    assert filled.numel() > 0
    assert (filled != MID_GREY).all()


@pytest.mark.parametrize("name", ["light", "cctv", "strong"])
def test_groups_keep_shape_and_type_and_follow_the_seed_of_torch_alone(name):
    augment = pickle.loads(pickle.dumps(build_augmentation(group(name))))  # spawned workers pickle it
    pictures = []
    for disturbance in (1, 2):
        random.seed(disturbance)
        np.random.seed(disturbance)  # noqa: NPY002 - the global generator is what must not matter
        torch.manual_seed(0)
        pictures.append([augment(noise(48, 24)) for _ in range(15)])
    for first, second in zip(*pictures, strict=True):
        assert first.shape == (3, 48, 24)
        assert first.dtype == torch.uint8
        assert torch.equal(first, second)
    assert len({picture.numpy().tobytes() for picture in pictures[0]}) > 10
    assert augment(noise(16, 16)).shape == (3, 16, 16)  # the smallest data.image_size


def test_groups_grow_from_none_to_strong():
    names = sorted(path.stem for path in (CONFIG_FOLDER / "augment").glob("*.yaml"))
    assert names == ["cctv", "light", "none", "strong"]
    assert build_augmentation(group("none")) is None
    weaker = group("none")
    for stronger in (group("light"), group("cctv"), group("strong")):
        assert all(getattr(stronger, key) >= value for key, value in vars(weaker).items())
        weaker = stronger
