import hashlib
import os
import random
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.commands import python
from helpers.crops import assert_new_image, jpeg
from PIL import Image
from torch import Tensor
from torch.nn import functional

from gender_cls.data.corruptions import apply_corruption
from gender_cls.data.variant_names import CORRUPTIONS, SEVERITIES

SIZES = [(1, 1), (2, 3), (1, 40), (40, 1), (40, 16), (1200, 500)]
PATHS = [f"MALE/{number}.jpg" for number in range(30)]


def person(height: int = 160, width: int = 64, seed: int = 0) -> Tensor:
    """A figure with head, coat, legs and cloth texture before a wall, and some grain."""
    rng = np.random.default_rng(seed)
    canvas = np.empty((160, 64, 3))
    canvas[:] = np.linspace(120, 190, 160)[:, None, None] * rng.uniform(0.8, 1.2, 3)
    canvas[12:36, 24:40], canvas[36:96, 16:48], canvas[96:152, 20:44] = rng.uniform(20, 235, (3, 3))
    canvas[36:96:6, 16:48] += 40
    canvas += rng.normal(0, 4, canvas.shape)
    image = Image.fromarray(canvas.clip(0, 255).astype(np.uint8)).resize((width, height), Image.Resampling.BOX)
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous()


def worse(image: Tensor, name: str, severity: int, path: str = "a.jpg") -> Tensor:
    return apply_corruption(image, name, severity, path)


def worse_and_worse(image: Tensor, name: str, path: str = "a.jpg") -> list[Tensor]:
    """At each severity."""
    return [worse(image, name, severity, path) for severity in SEVERITIES]


def flat(colour: tuple[int, int, int], height: int = 100, width: int = 40) -> Tensor:
    return torch.tensor(colour, dtype=torch.uint8)[:, None, None].expand(3, height, width)


def all_bytes(order: int = 1) -> str:
    """A hash of every corruption and severity of one image, computed in this order or backwards (-1)."""
    each = [(name, severity) for name in CORRUPTIONS for severity in SEVERITIES][::order]
    results = [worse(person(), name, severity, "FEMALE/ann.jpg").numpy().tobytes() for name, severity in each]
    return hashlib.sha256(b"".join(results[::order])).hexdigest()


# what holds for all of them


@pytest.mark.parametrize("severity", SEVERITIES)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", CORRUPTIONS)
def test_size_and_type_stay_and_the_image_is_left_alone(name: str, size: tuple[int, int], severity: int) -> None:
    assert_new_image(lambda image: worse(image, name, severity), person(*size))


@pytest.mark.parametrize("name", CORRUPTIONS)
@pytest.mark.parametrize("height", [100, 250])
def test_severity_takes_the_picture_farther_from_the_clean_one(name: str, height: int) -> None:
    distance = np.zeros(5)
    for seed, path in enumerate(PATHS[:10]):
        image = person(height, height * 2 // 5, seed)
        distance += [(seen - image.float()).abs().mean().item() for seen in worse_and_worse(image, name, path)]
    assert distance[0] > 0
    assert (np.diff(distance) > 0).all(), distance


def global_states() -> tuple[list[int], list[int], object]:
    legacy = np.random.get_state()[1]  # noqa: NPY002  # it must not be touched
    return torch.get_rng_state().tolist(), legacy.tolist(), random.getstate()


def test_order_and_the_global_random_numbers_do_not_matter() -> None:
    states = global_states()
    first = all_bytes()
    assert global_states() == states
    torch.manual_seed(5)
    random.seed(5)
    assert all_bytes(order=-1) == first


def test_another_process_gives_the_same_bytes() -> None:
    code = "from test_corruptions import all_bytes; print(all_bytes())"
    here, path = Path(__file__).parent, os.pathsep.join(sys.path)
    other = python("-c", code, cwd=here, PYTHONHASHSEED="7", PYTHONPATH=path, OMP_NUM_THREADS="2")
    assert other.stdout.strip() == all_bytes()


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_images_differ_in_what_happens_to_them_where_it_is_random(name: str) -> None:
    results = {worse(person(), name, 4, path).numpy().tobytes() for path in PATHS}
    assert len(results) == 1 if name in ("low_resolution", "defocus", "jpeg") else len(results) > 25


@pytest.mark.parametrize("name", sorted(CORRUPTIONS.keys() - {"low_light", "occlusion"}))
def test_grey_pictures_stay_grey(name: str) -> None:
    grey = person()[:1].expand(3, -1, -1)
    for seen in worse_and_worse(grey, name):
        assert (seen.int() - seen[:1].int()).abs().max() <= (1 if name == "jpeg" else 0)


@pytest.mark.parametrize("name", ["low_resolution", "motion_blur", "defocus", "box_shift"])
def test_a_picture_of_one_colour_keeps_it_up_to_its_edges(name: str) -> None:
    assert all(torch.equal(seen, flat((90, 120, 33))) for seen in worse_and_worse(flat((90, 120, 33)), name))


def test_unknown_names_and_severities_are_refused() -> None:
    with pytest.raises(KeyError, match="rain"):
        worse(person(), "rain", 1)
    for severity in (0, 6, -1):
        with pytest.raises(ValueError, match="not in tuple"):
            worse(person(), "fog", severity)


# each by itself


def test_low_resolution_leaves_80_to_20_rows() -> None:
    image = person(160, 64)
    for severity, (rows, columns) in enumerate([(80, 32), (56, 22), (40, 16), (28, 11), (20, 8)], start=1):
        if 160 % rows == 0:  # else areas overlap, and torch and Pillow divide them differently
            small = functional.avg_pool2d(image.double(), 160 // rows).round()
            assert small.shape[1:] == (rows, columns)
            large = functional.interpolate(small[None], size=(160, 64), mode="bicubic", antialias=True)[0].clamp(0, 255)
            assert (worse(image, "low_resolution", severity).double() - large).abs().max() <= 3
    low = person(40, 16)
    unchanged = [torch.equal(seen, low) for seen in worse_and_worse(low, "low_resolution")]
    assert unchanged == [True, True, True, False, False]


def edge(side: int) -> Tensor:
    """Black on the left, white on the right."""
    image = torch.zeros(3, side, side, dtype=torch.uint8)
    image[:, :, side // 2 :] = 255
    return image


@pytest.mark.parametrize(("severity", "share"), [(2, 0.015), (5, 0.035)])
def test_defocus_makes_of_an_edge_what_a_disc_makes_of_it(severity: int, share: float) -> None:
    blurred = worse(edge(300), "defocus", severity)
    radius = share * 300
    offset = np.arange(300) - 149.5
    t = np.clip(offset / radius, -1, 1)
    white = 0.5 + (t * np.sqrt(1 - t**2) + np.arcsin(t)) / np.pi  # share of the disc that lies right of the edge
    assert (blurred == blurred[:, :1]).all()  # no row is darker at the top or the bottom
    assert np.abs(blurred[0, 0].numpy() - 255 * white).max() < 5
    assert torch.equal(worse(edge(300).mT, "defocus", severity), blurred.mT)


def spread(smeared: Tensor) -> float:
    """Standard deviation, in pixels, of the step of a vertical edge, in the middle row."""
    step = np.diff(smeared[0, 150].double().numpy()) / 255
    at = np.arange(len(step)) - 149
    return float(np.sqrt((step * at**2).sum() - (step * at).sum() ** 2))


@pytest.mark.parametrize("path", PATHS[:6])
def test_motion_blur_smears_over_a_line_of_one_direction(path: str) -> None:
    across = np.array([spread(worse(edge(300), "motion_blur", severity, path)) for severity in (3, 4, 5)])
    down = np.array([spread(worse(edge(300).mT, "motion_blur", severity, path).mT) for severity in (3, 4, 5)])
    lengths = np.sqrt(12) * np.hypot(across, down)  # a line of length L has variance L^2 / 12
    assert lengths == pytest.approx([0.07 * 300, 0.09 * 300, 0.12 * 300], rel=0.06)
    assert np.ptp(np.degrees(np.arctan2(down, across))) < 4


def test_motion_blur_goes_in_all_directions() -> None:
    spreads = [spread(worse(edge(300), "motion_blur", 5, path)) for path in PATHS]
    assert min(spreads) < 2 < 9 < max(spreads) < 36 / np.sqrt(12) + 1


@pytest.mark.parametrize("size", [(1, 1), (45, 23), (160, 64)])
def test_jpeg_is_pillows(size: tuple[int, int]) -> None:
    expected = [jpeg(person(*size), quality) for quality in (40, 28, 20, 14, 9)]
    assert all(map(torch.equal, worse_and_worse(person(*size), "jpeg"), expected))


@pytest.mark.parametrize(("severity", "exposure"), [(1, 0.6), (3, 0.2), (5, 0.07)])
def test_low_light_is_as_dark_and_as_noisy_as_counted_photons(severity: int, exposure: float) -> None:
    for value in (255, 128):
        dark = worse(flat((value,) * 3, 200, 200), "low_light", severity).double()
        photons = np.random.default_rng(0).poisson(250 * exposure * (value / 255) ** 2.2, 100_000)
        light = photons / 250 + np.random.default_rng(1).normal(0, 0.002, 100_000)
        expected = 255 * np.clip(light, 0, None) ** (1 / 2.2)
        assert dark.mean().item() == pytest.approx(expected.mean(), abs=1.5)
        assert dark.std().item() == pytest.approx(expected.std(), rel=0.15)
    shared = [worse(flat((160,) * 3), "low_light", at).flatten().double().numpy() for at in (3, 5)]
    assert np.corrcoef(shared)[0, 1] > 0.95


def test_infrared_takes_colour_away_and_sees_reds_and_the_middle_bright() -> None:
    shares = (0.3, 0.5, 0.7, 0.85, 1.0)
    for share, seen in zip(shares, worse_and_worse(flat((120, 60, 30)), "infrared"), strict=True):
        assert ((seen[0].int() - seen[2].int()) - (1 - share) * 90).abs().max() <= 1
    colours = (flat((150, 60, 60), 100, 100), flat((60, 60, 150), 100, 100))
    red, blue = (worse(colour, "infrared", 5)[0].double() for colour in colours)
    assert red.mean() > blue.mean() + 40
    corners = torch.stack([red[:15, :15], red[:15, -15:], red[-15:, :15], red[-15:, -15:]])
    assert red[35:65, 35:65].mean() > corners.mean() + 20


def test_fog_lets_through_what_its_depth_allows() -> None:
    blacks, whites = (worse_and_worse(flat((value,) * 3), "fog") for value in (0, 255))
    for depth, black, white in zip((0.3, 0.55, 0.85, 1.2, 1.6), blacks, whites, strict=True):
        through = (white.double() - black) / 255
        assert through.min() > np.exp(-1.4 * depth) - 0.01  # the density varies between 0.7 and 1.3, and overshoots
        assert through.max() < np.exp(-0.6 * depth) + 0.01
        veil = black / (1 - through)
        assert 180 < veil.min() <= veil.max() < min(240, veil.min() + 6)  # uneven by rounding only


def test_occlusion_hides_its_share_of_the_person_from_one_side() -> None:
    white = flat((255, 255, 255), 120, 60)
    sides = set()
    for path in PATHS:
        before, colours = torch.zeros(120, 60, dtype=torch.bool), set()
        for severity, occluded in enumerate(worse_and_worse(white, "occlusion", path), start=1):
            hidden = (occluded < 255).all(dim=0)
            colours |= {tuple(pixel) for pixel in occluded[:, hidden].T.tolist()}
            share = hidden[12:108, 12:48].double().mean().item()
            assert share == pytest.approx(severity / 10, abs=0.5 / 36)
            assert (hidden | ~before).all()  # it grows
            rows, columns = hidden.any(dim=1), hidden.any(dim=0)
            assert hidden.sum() == rows.sum() * columns.sum()  # a rectangle
            side = "bottom" if columns.all() else "left" if columns[0] else "right"
            assert rows.all() if side != "bottom" else rows[-1] and not rows[0]
            before = hidden
        assert len(colours) == 1
        sides.add(side)
    assert sides == {"bottom", "left", "right"}


def test_box_shift_moves_and_scales_by_its_share_and_repeats_the_edge() -> None:
    ramp = torch.arange(200, dtype=torch.uint8).expand(3, 200, 200).clone()  # a pixel's value is its column
    ramp[1] = ramp[1].T.clone()  # and, in the second channel, its row
    growths, directions = [], set()
    for path in PATHS:
        angles = []
        for share, seen in zip((0.03, 0.06, 0.09, 0.12, 0.16), worse_and_worse(ramp, "box_shift", path), strict=True):
            shifted = seen.double()
            right, down = (shifted[channel, 99:101, 99:101].mean().item() - 99.5 for channel in (0, 1))
            assert np.hypot(right, down) == pytest.approx(share * 200, abs=1)
            angles.append(np.arctan2(down, right))
            growth = (shifted[0, 100, 120] - shifted[0, 100, 80]).item() / 40
            assert abs(np.log(growth)) < share + 0.04
        assert np.abs(np.exp(1j * np.array(angles)) - np.exp(1j * angles[-1])).max() < 0.15  # one direction
        growths.append(growth)
        directions.add((right > 0, down > 0))
        assert shifted[0].min() >= 0
        assert (shifted[0] == shifted[0, :1]).all()  # nothing but columns, to the top and the bottom
    assert min(growths) < 0.92 < 1.08 < max(growths)
    assert len(directions) == 4
