"""Random changes of images: the operations against torchvision's, and the distribution of what is drawn."""

import math
import pickle
import random
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from helpers.crops import jpeg
from omegaconf import OmegaConf
from scipy.stats import chisquare
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as F

from gender_cls.config.checks import check_config
from gender_cls.config.parsing import CONFIG_FOLDER
from gender_cls.config.train import AugmentConfig
from gender_cls.data import augmentation_operations as operations
from gender_cls.data.augmentation import Augmentation, build_augmentation, move_to, split_by_device
from gender_cls.data.pixel_modes import MID_GREY

EVERYTHING = AugmentConfig(
    flip=0.5, affine=0.5, rotate_degrees=10, translate=0.1, zoom=0.2, brightness=0.4, contrast=0.4, saturation=0.4,
    low_resolution=0.3, blur=0.2, grey=0.1, erase=0.3,
)  # fmt: skip


def noise(count: int = 6, height: int = 40, width: int = 20) -> Tensor:
    """Coarse and fine structure, (count, 3, height, width) uint8."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(count, 3, 5, 4, generator=generator)
    coarse = torch.nn.functional.interpolate(coarse, (height, width), mode="bicubic").clamp(0, 1)
    return (255 * (0.7 * coarse + 0.3 * torch.rand(count, 3, height, width, generator=generator))).to(torch.uint8)


def augmented(images: Tensor, seed: int = 0, **changes: float) -> Tensor:
    torch.manual_seed(seed)
    return Augmentation(AugmentConfig(**changes))(images.clone())


def group(name: str) -> AugmentConfig:
    values = OmegaConf.load(CONFIG_FOLDER / "augment" / f"{name}.yaml")
    config = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(AugmentConfig), values))
    assert isinstance(config, AugmentConfig)
    check_config(config, "augment.")
    return config


def assert_close(ours: Tensor, theirs: list[Tensor], equal: float) -> None:
    """Whole numbers, at most one grey level apart, and a share of `equal` identical."""
    difference = (ours.float() - torch.stack(theirs).float()).abs()
    assert torch.equal(ours.float(), ours.float().round())
    assert difference.max() <= 1
    assert (difference == 0).float().mean() >= equal


# The operations.


def moved(image: Tensor, cosine: float, sine: float, right: int, down: int) -> Tensor:
    angle, scale = math.degrees(math.atan2(sine, cosine)), 1 / math.hypot(sine, cosine)
    # Around mid-grey, where torchvision fills with zeros; what it does with another fill darkens the border.
    image = image.float() - MID_GREY
    return F.affine(image, angle, [right, down], scale, [0.0], InterpolationMode.BILINEAR).add(MID_GREY).round()


def by_detour(image: Tensor, *small: int) -> Tensor:
    return F.resize(F.resize(image, list(small), antialias=True), list(image.shape[1:]), antialias=True)


def erased(image: Tensor, top: int, left: int, height: int, width: int) -> Tensor:
    image = image.clone()
    image[:, top : top + height, left : left + width] = MID_GREY
    return image


MOVES = [(0, 1, 0, 0), (7, 0.9, 3, -2), (-33, 1.2, -4, 5), (90, 1, 0, 0), (0, 0.8, 1, 0), (180, 1.1, 0, 7)]
MATRICES = [
    [math.cos(math.radians(angle)) / scale, math.sin(math.radians(angle)) / scale, *shift]
    for angle, scale, *shift in MOVES
]
BOXES = [[0, 0, 5, 20], [30, 7, 10, 1], [3, 2, 0, 0]]
OPERATIONS = [
    ("affine", (40, 20), MATRICES, moved, 0.999),
    ("flip", (40, 20), [[]] * 6, F.horizontal_flip, 1),
    ("grey", (40, 20), [[]] * 6, lambda image: F.rgb_to_grayscale(image.float(), 3).round(), 0.97),
    *(
        (name, size, [[round(side / factor) for side in size] for factor in (1.5, 2.0, 2.9, 4.0)], by_detour, 0.97)
        for name in ("lower_resolution", "lower_resolution_by_matrices")
        for size in ((40, 20), (37, 33), (16, 16))
    ),
    *(
        ("blur", size, [[0.3], [0.8], [1.5]], lambda image, sigma: F.gaussian_blur(image, [7, 7], [sigma] * 2), 0.97)
        for size in ((40, 20), (16, 17))
    ),
    ("compress", (40, 20), [[30], [61], [90]], jpeg, 1),
    ("erase", (40, 20), BOXES, erased, 1),
    ("erase_by_mask", (40, 20), BOXES, erased, 1),
]
TYPES = pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])


@TYPES
@pytest.mark.parametrize(("name", "size", "parameters", "reference", "equal"), OPERATIONS)
def test_a_batch_is_changed_as_others_change_one_image(
    name: str, size: tuple[int, int], parameters: list, reference: Callable, equal: float, dtype: torch.dtype
) -> None:
    images = noise(len(parameters), *size)
    theirs = [reference(image, *drawn) for image, drawn in zip(images, parameters, strict=True)]
    ours = getattr(operations, name)(images.clone().to(dtype), torch.tensor(parameters, dtype=torch.float32))
    assert_close(ours, theirs, equal)


@TYPES
@pytest.mark.parametrize(("name", "nothing"), [("affine", [1.0, 0, 0, 0]), ("jitter", [1.0, 1, 1])])
def test_parameters_that_change_nothing(name: str, nothing: list[float], dtype: torch.dtype) -> None:
    assert torch.equal(getattr(operations, name)(noise().to(dtype), torch.tensor([nothing] * 6)), noise().float())


@TYPES
def test_jitter_is_torchvisions_in_any_order_where_nothing_is_clipped(dtype: torch.dtype) -> None:
    images = noise() // 3 + 60
    drawn = torch.tensor([[0.6, 1.3, 1.4], [1.3, 0.7, 0.5], [1, 1, 1], [1, 1, 0.3], [0.5, 1.2, 1], [1.1, 0.9, 1.5]])
    functions = (F.adjust_brightness, F.adjust_contrast, F.adjust_saturation)
    for order in ([0, 1, 2], [2, 1, 0], [1, 0, 2]):
        theirs = []
        for image, factors in zip(images.double() / 255, drawn.tolist(), strict=True):
            for kind in order:
                image = functions[kind](image, factors[kind])
            theirs.append((255 * image).round())
        assert_close(operations.jitter(images.clone().to(dtype), drawn), theirs, equal=0.97)
    assert (operations.jitter(images.clone().to(dtype), torch.tensor([[9.0, 1, 1]] * 6)) == 255).all(), "clipped"


# What is drawn.


def test_parameters_are_drawn_for_each_image_within_the_ranges_of_the_configuration() -> None:
    torch.manual_seed(0)
    changes = Augmentation(replace(EVERYTHING, jpeg=0.3)).draw(6000, (256, 128))
    drawn = {change.operation: change for change in changes}
    shares = {operation.__name__: len(change.rows) / 6000 for operation, change in drawn.items()}
    expected = {"flip": 0.5, "affine": 0.5, "jitter": 1, "grey": 0.1, "lower_resolution": 0.3, "blur": 0.2}
    assert shares == pytest.approx({**expected, "compress": 0.3, "erase": 0.3}, abs=0.02)
    cosine, sine, right, down = drawn[operations.affine].parameters.T
    angle, scale = torch.atan2(sine, cosine).rad2deg(), 1 / torch.hypot(sine, cosine)
    small_height, small_width = drawn[operations.lower_resolution].parameters.T
    ranges = [(angle, -10, 10), (scale, 0.8, 1.2), (right, -13, 13), (down, -26, 26)]
    ranges += [(factor, 0.6, 1.4) for factor in drawn[operations.jitter].parameters.T]
    ranges += [(small_height, 64, 171), (small_width, 32, 85), (drawn[operations.blur].parameters, 0.3, 1.5)]
    for values, least, most in ranges:
        assert least - 1e-3 <= values.min() < least + 0.06 * (most - least)
        assert most - 0.06 * (most - least) < values.max() <= most + 1e-3
    for whole in (right, down, small_height, small_width):
        assert torch.equal(whole, whole.round())
    qualities, counts = drawn[operations.compress].parameters.unique(return_counts=True)
    assert qualities.tolist() == list(range(30, 91))
    assert chisquare(counts).pvalue > 0.01
    top, left, height, width = drawn[operations.erase].parameters.T
    assert ((top >= 0) & (left >= 0) & (top + height <= 256) & (left + width <= 128) & (height > 0)).all()
    assert (height * width / (256 * 128)).aminmax() == pytest.approx((0.02, 0.2), abs=0.005)
    assert 0.29 < (height / width).min() < 0.35 < 2.9 < (height / width).max() < 3.5
    for values, spans in ((top, 256 - height), (left, 128 - width)):
        assert (values / spans).mean() == pytest.approx(0.5, abs=0.03)


def test_a_rectangle_that_never_fits_is_left_out() -> None:
    torch.manual_seed(0)
    [change] = Augmentation(AugmentConfig(erase=1.0)).draw(2000, (300, 16))
    height, width = change.parameters[:, 2:].T
    assert ((width < 16) & ((height > 0) == (width > 0))).all()
    assert 0 < (height == 0).float().mean() < 0.1


@pytest.mark.parametrize(
    "changes",
    [{}, {"mixup": 0.2, "cutmix": 1.0}, {"affine": 1.0}, {"rotate_degrees": 10.0, "zoom": 0.1}],
)
def test_nothing_to_do_is_none(changes: dict[str, float]) -> None:
    assert build_augmentation(AugmentConfig(**changes)) is None


def test_loader_and_device_share_the_changes() -> None:
    both = replace(EVERYTHING, jpeg=0.3, rand_augment=2, mixup=0.2)
    assert split_by_device(both) == (AugmentConfig(jpeg=0.3, rand_augment=2), replace(EVERYTHING, mixup=0.2))
    assert split_by_device(AugmentConfig())[0] == AugmentConfig()


# All changes together.


@pytest.mark.parametrize("count", [1, 16])
def test_a_batch_is_changed_in_place_as_the_seed_says_in_any_layout(count: int) -> None:
    original, results = noise(count, 32, 16), []
    for layout in (torch.contiguous_format, torch.contiguous_format, torch.channels_last):
        images = original.clone(memory_format=layout)
        torch.manual_seed(5)
        assert Augmentation(EVERYTHING)(images) is images
        assert images.is_contiguous(memory_format=layout)
        results.append(images)
    assert all(torch.equal(result, results[0]) for result in results)
    assert not torch.equal(results[0], original)


def test_images_without_a_change_stay_as_they_are() -> None:
    images = noise(64, 32, 16)
    changed = augmented(images, affine=0.3, rotate_degrees=20, blur=0.2)
    same = (changed == images).flatten(1).all(dim=1).float().mean().item()
    assert same == pytest.approx(0.7 * 0.8, abs=0.15)


@pytest.mark.parametrize("name", ["light", "cctv", "strong"])
def test_groups_follow_the_seed_of_torch_alone(name: str) -> None:
    augment = pickle.loads(pickle.dumps(build_augmentation(group(name))))  # spawned workers pickle it
    results = []
    for disturbance in (1, 2):
        random.seed(disturbance)
        np.random.seed(disturbance)  # noqa: NPY002 - the global generator is what must not matter
        torch.manual_seed(0)
        results.append([augment(noise(1, 48, 24)) for _ in range(15)])
    assert all(torch.equal(first, second) for first, second in zip(*results, strict=True))
    assert len({image.numpy().tobytes() for image in results[0]}) > 10
    assert augment(noise(1, 16, 16)).shape == (1, 3, 16, 16)  # the smallest data.image_size


def test_geometry_comes_before_colour_and_erasing_last() -> None:
    black = torch.zeros(1, 3, 64, 32, dtype=torch.uint8)
    darkened = augmented(black, 1, affine=1.0, translate=0.2, brightness=0.9)
    assert darkened.any()
    assert (darkened != MID_GREY).all()
    changes = dict.fromkeys(("low_resolution", "blur", "jpeg", "grey", "erase"), 1.0)
    grey = augmented(black, brightness=0.5, rand_augment=2, **changes)[0, 0] == MID_GREY
    assert grey.sum() == grey.any(1).sum() * grey.any(0).sum() > 0


def test_autocast_does_not_reach_the_pixels() -> None:
    images, small = noise(16, 32, 16), torch.tensor([[13.0, 9.0]] * 16)
    results = []
    for enabled in (False, True):
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            results += [augmented(images, **vars(EVERYTHING)), operations.lower_resolution_by_matrices(images, small)]
    assert all(map(torch.equal, results[:2], results[2:]))


def test_no_operation_asks_the_device_for_a_value(monkeypatch: pytest.MonkeyPatch) -> None:
    """On the device `meta` there are no values: `.item()`, or a mask as an index, raises an error."""
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())  # there is none for `meta`
    torch.manual_seed(0)
    assert len(Augmentation(EVERYTHING).draw(32, (32, 16))) == 7
    images = torch.empty(32, 3, 32, 16, dtype=torch.uint8, device="meta")
    assert Augmentation(EVERYTHING)(images) is images


def test_what_moves_to_the_device_arrives_in_the_right_place(monkeypatch: pytest.MonkeyPatch) -> None:
    changes = Augmentation(EVERYTHING).draw(32, (32, 16))

    to, elsewhere = Tensor.to, SimpleNamespace(type="elsewhere")  # the CPU under another name
    monkeypatch.setattr(Tensor, "to", lambda self, device, **_: to(self, "cpu"))
    moved = move_to(elsewhere, changes)  # type: ignore[arg-type]  # a stand-in for a torch.device
    monkeypatch.undo()
    for (operation, *tensors), after in zip(changes, moved, strict=True):
        assert after.operation is operation
        assert all(torch.equal(old, new) for old, new in zip(tensors, after[1:], strict=True))


def test_groups_grow_from_none_to_strong() -> None:
    names = sorted(path.stem for path in (CONFIG_FOLDER / "augment").glob("*.yaml"))
    assert names == ["cctv", "light", "none", "shift_and_mirror", "strong"], "one of them is of a published protocol"
    assert build_augmentation(group("none")) is None
    weaker = group("none")
    for stronger in (group("light"), group("cctv"), group("strong")):
        assert all(getattr(stronger, key) >= value for key, value in vars(weaker).items())
        weaker = stronger
