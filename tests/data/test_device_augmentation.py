"""Augmentation of a batch on its device: each operation against torchvision's on single pictures, and both ways'
distributions. Run on the CPU, which a GPU's operations are the same as."""

import math
from typing import Any

import pytest
import torch
from scipy.stats import chisquare, ks_2samp
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as F

from gender_cls.config.train import AugmentConfig
from gender_cls.data import device_augmentation as on_device
from gender_cls.data.augmentation import build_augmentation
from gender_cls.data.device_augmentation import DeviceAugmentation, divide
from gender_cls.data.transforms import MID_GREY

EVERYTHING = AugmentConfig(
    flip=0.5,
    affine=0.5,
    rotate_degrees=10,
    translate=0.1,
    zoom=0.2,
    brightness=0.4,
    contrast=0.4,
    saturation=0.4,
    low_resolution=0.3,
    blur=0.2,
    grey=0.1,
    erase=0.3,
)


def noise(count: int = 6, height: int = 40, width: int = 20) -> Tensor:
    """Coarse and fine structure, (count, 3, height, width) uint8."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(count, 3, 5, 4, generator=generator)
    coarse = torch.nn.functional.interpolate(coarse, (height, width), mode="bicubic").clamp(0, 1)
    return (255 * (0.7 * coarse + 0.3 * torch.rand(count, 3, height, width, generator=generator))).to(torch.uint8)


def worst(ours: Tensor, theirs: list[Tensor]) -> float:
    """The largest difference in grey levels."""
    assert torch.equal(ours, ours.round())
    return (ours - torch.stack(theirs).float()).abs().max().item()


def test_affine_is_torchvisions_to_a_grey_level_also_at_the_border() -> None:
    images = noise()
    angles, scales = [0.0, 7.0, -33.0, 90.0, 0.0, 180.0], [1.0, 0.9, 1.2, 1.0, 0.8, 1.1]
    shifts = [(0, 0), (3, -2), (-4, 5), (0, 0), (1, 0), (0, 7)]
    parameters = torch.tensor(
        [[math.radians(a), s, *shift] for a, s, shift in zip(angles, scales, shifts, strict=True)]
    )
    # Around mid-grey, where torchvision fills with zeros; what it does with another fill darkens the border.
    theirs = [
        F.affine(image - MID_GREY, a, list(shift), s, [0.0], InterpolationMode.BILINEAR).add(MID_GREY).round()
        for image, a, s, shift in zip(images.float(), angles, scales, shifts, strict=True)
    ]
    ours = on_device.affine(images.float(), parameters)
    assert worst(ours, theirs) <= 1
    assert (ours == torch.stack(theirs)).float().mean() > 0.999
    assert torch.equal(ours[0], images[0].float())


@pytest.mark.parametrize("order", [[0, 1, 2], [2, 1, 0], [1, 0, 2], [1, 2, 0]])
def test_jitter_is_torchvisions_in_the_order_of_each_picture(order: list[int]) -> None:
    images = noise()
    functions = (F.adjust_brightness, F.adjust_contrast, F.adjust_saturation)
    drawn = [[0.6, 1.3, 1.4], [1.4, 0.7, 0.5], [1, 1, 1], [1, 1, 0.3], [0.2, 1.9, 1], [1.1, 0.9, 1.9]]
    factors = torch.tensor(drawn).tolist()
    orders = [order, order[::-1], [2, 0, 1], [0, 2, 1], order, order]
    theirs = []
    for image, own, of_image in zip(images.double() / 255, factors, orders, strict=True):
        for kind in of_image:
            image = functions[kind](image, own[kind])
        theirs.append((255 * image).round())
    ours = on_device.jitter(images.float(), torch.cat([torch.tensor(orders), torch.tensor(factors)], dim=1))
    assert worst(ours, theirs) <= 1
    assert (ours == torch.stack(theirs)).float().mean() > 0.99
    assert torch.equal(ours[2], images[2].float())


def test_flip_and_grey_are_torchvisions_to_a_grey_level() -> None:
    images = noise()
    none = torch.empty(6, 0)
    assert worst(on_device.flip(images.float(), none), list(F.horizontal_flip(images))) == 0
    assert worst(on_device.grey(images.float(), none), list(F.rgb_to_grayscale(images.float(), 3).round())) <= 1


@pytest.mark.parametrize("size", [(40, 20), (37, 33), (16, 16)])
def test_lower_resolution_is_torchvisions_to_a_grey_level(size: tuple[int, int]) -> None:
    images = noise(4, *size)
    small = [[round(side / factor) for side in size] for factor in (1.5, 2.0, 2.9, 4.0)]
    theirs = [
        F.resize(F.resize(image, sides, antialias=True), list(size), antialias=True)
        for image, sides in zip(images, small, strict=True)
    ]
    ours = on_device.lower_resolution(images.float(), torch.tensor(small).float())
    assert worst(ours, theirs) <= 1
    assert (ours == torch.stack(theirs)).float().mean() > 0.97


@pytest.mark.parametrize("size", [(40, 20), (16, 17)])
def test_blur_is_torchvisions_to_a_grey_level(size: tuple[int, int]) -> None:
    images = noise(3, *size)
    sigmas = [0.3, 0.8, 1.5]
    theirs = [F.gaussian_blur(image, [7, 7], [sigma] * 2) for image, sigma in zip(images, sigmas, strict=True)]
    assert worst(on_device.blur(images.float(), torch.tensor(sigmas)[:, None]), theirs) <= 1


def test_erase_is_torchvisions() -> None:
    images = noise(3)
    boxes = [[0, 0, 5, 20], [30, 7, 10, 1], [3, 2, 0, 0]]
    grey = torch.tensor([MID_GREY], dtype=torch.uint8)[:, None, None]
    theirs = [F.erase(image, *box, grey) for image, box in zip(images, boxes, strict=True)]
    assert worst(on_device.erase(images.float(), torch.tensor(boxes).float()), theirs) == 0


def apart(image: Tensor) -> tuple[float, ...]:
    """What tells changed pictures of `target` apart: position, colours, sharpness, area of mid-grey."""
    pixels = image.float()
    weight = (pixels[0] - MID_GREY).abs() + 1e-3
    columns, rows = torch.arange(pixels.shape[2]), torch.arange(pixels.shape[1])
    return (
        (weight.sum(0) * columns).sum().item() / weight.sum().item(),
        (weight.sum(1) * rows).sum().item() / weight.sum().item(),
        pixels[0].mean().item(),
        (pixels[0] - pixels[2]).mean().item(),
        pixels.std().item(),
        (pixels.diff(dim=2)).abs().mean().item(),
        (pixels == MID_GREY).all(0).float().mean().item(),
    )


def target() -> Tensor:
    """One lopsided, coloured picture (3, 32, 16)."""
    picture = noise(1, 32, 16)[0].float() * torch.tensor([1.0, 0.7, 0.4])[:, None, None]
    picture[:, :10, :5] = 250
    return picture.to(torch.uint8)


@pytest.mark.parametrize(
    "changes",
    [
        {"flip": 0.3},
        {"affine": 0.6, "rotate_degrees": 20.0, "translate": 0.2, "zoom": 0.3},
        {"brightness": 0.5, "contrast": 0.5, "saturation": 0.9},
        {"contrast": 0.9},
        {"grey": 0.4},
        {"low_resolution": 0.5},
        {"blur": 0.5},
        {"erase": 0.6},
        vars(EVERYTHING),
    ],
    ids=lambda changes: next(iter(changes)) if len(changes) < 16 else "everything",
)
def test_both_ways_have_the_same_distribution(changes: dict[str, float]) -> None:
    config = AugmentConfig(**changes)
    count, image = 500, target()
    torch.manual_seed(1)
    single = build_augmentation(config)
    assert single is not None
    one_by_one = torch.tensor([apart(single(image)) for _ in range(count)])
    batch = DeviceAugmentation(config)(image.expand(count, -1, -1, -1))
    at_once = torch.tensor([apart(changed) for changed in batch])
    for one, other in zip(one_by_one.T, at_once.T, strict=True):
        # To a grey level: what is discrete (flipped or not) must not differ in its last digit.
        assert ks_2samp(one.round(decimals=1), other.round(decimals=1)).pvalue > 0.01


def test_parameters_are_drawn_for_each_picture_with_the_ranges_of_the_configuration() -> None:
    torch.manual_seed(0)
    drawn = {change.operation: change for change in DeviceAugmentation(EVERYTHING).draw(6000, (256, 128))}
    shares = {operation.__name__: len(change.rows) / 6000 for operation, change in drawn.items()}
    expected = {"flip": 0.5, "affine": 0.5, "jitter": 1, "grey": 0.1, "lower_resolution": 0.3, "blur": 0.2}
    assert shares == pytest.approx({**expected, "erase": 0.3}, abs=0.02)
    angle, scale, right, down = drawn[on_device.affine].parameters.T
    for values, least, most in ((angle.rad2deg(), -10, 10), (scale, 0.8, 1.2), (right, -13, 13), (down, -26, 26)):
        assert least <= values.min() < least + 0.06 * (most - least)
        assert most - 0.06 * (most - least) < values.max() <= most
    assert torch.equal(right, right.round())
    orders = drawn[on_device.jitter].parameters[:, :3] @ torch.tensor([100.0, 10.0, 1.0])
    kinds, counts = orders.unique(return_counts=True)
    assert kinds.tolist() == [12, 21, 102, 120, 201, 210]
    assert chisquare(counts).pvalue > 0.01
    top, left, height, width = drawn[on_device.erase].parameters.T
    assert ((top + height <= 256) & (left + width <= 128) & (height > 0)).all()
    assert (height * width / (256 * 128)).aminmax() == pytest.approx((0.02, 0.2), abs=0.005)


def test_a_seed_gives_the_same_batch_in_the_layout_that_came_and_leaves_that_alone() -> None:
    images = noise(16, 32, 16)
    before = images.clone()
    augment = DeviceAugmentation(EVERYTHING)
    results = []
    for given in (images, images, images.contiguous(memory_format=torch.channels_last)):
        torch.manual_seed(5)
        results.append(augment(given))
        assert results[-1].stride() == given.stride()
    assert results[0].dtype == torch.uint8
    assert torch.equal(results[0], results[1])
    assert torch.equal(results[0], results[2])
    assert torch.equal(images, before)
    assert not torch.equal(augment(images), results[0])


def test_autocast_does_not_reach_the_pixels() -> None:
    images, augment = noise(16, 32, 16), DeviceAugmentation(EVERYTHING)
    torch.manual_seed(5)
    plain = augment(images)
    torch.manual_seed(5)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(augment(images), plain)


def test_no_operation_asks_the_device_for_a_value() -> None:
    """On the device `meta` there are no values: `.item()`, or a mask as an index, raises an error."""
    torch.manual_seed(0)
    changes = DeviceAugmentation(EVERYTHING).draw(32, (32, 16))
    assert len(changes) == 7
    for change, moved in zip(changes, on_device._moved(changes, torch.device("meta")), strict=True):
        images = torch.empty(len(change.rows), 3, 32, 16, device="meta")
        assert moved.rows.shape == change.rows.shape
        result = change.operation(images, moved.parameters)
        assert result.device.type == "meta"
        assert result.shape == images.shape


def test_what_moves_to_the_device_arrives_in_the_right_place(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    changes = DeviceAugmentation(EVERYTHING).draw(32, (32, 16))

    class Elsewhere:
        """The CPU under another name."""

        type = "elsewhere"

    to = Tensor.to
    monkeypatch.setattr(Tensor, "to", lambda self, device, **_: to(self, "cpu"))
    moved: Any = on_device._moved(changes, Elsewhere())  # type: ignore[arg-type]
    monkeypatch.undo()
    for before, after in zip(changes, moved, strict=True):
        assert before.operation is after.operation
        assert torch.equal(before.rows, after.rows)
        assert torch.equal(before.parameters, after.parameters)


def test_a_picture_that_nothing_changes_stays_to_the_last_bit() -> None:
    images = noise(64, 32, 16)
    torch.manual_seed(0)
    augmented = DeviceAugmentation(AugmentConfig(affine=0.3, rotate_degrees=20, blur=0.2))(images)
    same = (augmented == images).flatten(1).all(dim=1).float().mean().item()
    assert same == pytest.approx(0.7 * 0.8, abs=0.15)
    assert DeviceAugmentation(AugmentConfig())(images) is images


def test_loader_and_device_share_the_changes() -> None:
    in_loader, device = divide(AugmentConfig(**{**vars(EVERYTHING), "jpeg": 0.3, "rand_augment": 2, "mixup": 0.2}))
    assert in_loader == AugmentConfig(jpeg=0.3, rand_augment=2)
    assert device == AugmentConfig(**{**vars(EVERYTHING), "mixup": 0.2})
    assert divide(AugmentConfig())[0] == AugmentConfig()
