from collections.abc import Mapping
from itertools import pairwise

import numpy as np
import pytest
import torch
from helpers.network_state import network_state
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from torch import Tensor, nn

from gender_cls.config.explain import Method
from gender_cls.explain.faithfulness import score_faithfulness
from gender_cls.models.custom_cnn import CustomCNN

A, B = Method.grad_cam, Method.saliency
COLUMNS = ["deletion_blurred", "deletion_mean", "insertion_blurred", "insertion_mean"]


class FirstPixel(nn.Module):
    """The probability of class 0 is the red of the first pixel; it counts the images that pass."""

    def __init__(self) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.ones(()))
        self.batches: list[int] = []

    def forward(self, images: Tensor) -> Tensor:
        self.batches.append(len(images))
        probability = images[:, 0, 0, 0] * self.factor
        return torch.stack([probability, 1 - probability], dim=1).log()


def first_pixel_bright() -> Tensor:
    """4 x 2 pixels are 8 regions of one pixel; the mean of each channel is 0.2."""
    image = torch.full((1, 3, 4, 2), 0.1)
    image[:, :, 0, 0] = 0.9
    return image


def first_pixel_first() -> Tensor:
    return torch.arange(8, 0, -1.0).view(1, 4, 2)


def test_control_is_a_function_of_the_name_alone() -> None:
    names = [f"MALE/{number:04d}.png" for number in range(200)]
    inputs, targets = first_pixel_bright().expand(200, -1, -1, -1), torch.zeros(200, dtype=torch.int64)
    maps = {A: first_pixel_first().expand(200, -1, -1)}
    _, control = score_faithfulness(FirstPixel(), inputs, targets, maps, names)
    _, backwards = score_faithfulness(FirstPixel(), inputs, targets, {}, names[::-1])
    assert control["random_mean"].tolist() == backwards["random_mean"][::-1].tolist()
    # When the first pixel goes at step k, the area is 0.2 + 0.7 (k - 0.5) / 8; all k are as likely.
    steps = (control["random_mean"] - 0.2) / 0.7 * 8 + 0.5
    assert steps == pytest.approx(steps.round(), abs=1e-5)
    counts = np.bincount(steps.round().astype(int), minlength=9)
    assert counts[0] == 0
    assert ((counts[1:] - 25) ** 2 / 25).sum() < 24.3  # chi-squared with 7 degrees of freedom, 0.999
    assert steps[:6].round().astype(int).tolist() == [5, 5, 5, 2, 3, 7]  # the same in every run and process


Question = tuple[nn.Module, Tensor, Tensor, dict[Method, Tensor], list[str]]
"""Network, inputs, targets, maps and names."""


def uneven_images(count: int) -> Question:
    """22 x 13 pixels: 16 x 9 regions of one or two pixels a side, 18 a step."""
    torch.manual_seed(0)
    network, generator = CustomCNN(widths=(4, 6)).eval(), torch.Generator().manual_seed(1)
    inputs = 2 * torch.randn(count, 3, 22, 13, generator=generator)
    maps = {A: torch.randn(count, 22, 13, generator=generator), B: torch.rand(count, 22, 13, generator=generator)}
    return network, inputs, torch.arange(count) % 2, maps, [f"{number}.png" for number in range(count)]


def listed(scores: Mapping[str, NDArray[np.float64]]) -> dict[str, list[float]]:
    """To be compared to the last bit."""
    return {column: values.tolist() for column, values in scores.items()}


def by_loop(network: nn.Module, image: NDArray[np.float32], target: int, evidence: NDArray[np.float32]) -> list[float]:
    """The four scores again, one picture at a time: deletion and insertion on the blurred image, then on the mean."""
    pixels = [(y, x) for y in range(22) for x in range(13)]
    members: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for y, x in pixels:
        members.setdefault((y * 16 // 22, x * 9 // 13), []).append((y, x))
    mean = {region: np.mean([evidence[at] for at in inside]) for region, inside in members.items()}
    order = sorted(members, key=lambda region: -mean[region])
    blur = {"sigma": 22 / 16, "mode": "constant", "truncate": 20}
    weight = gaussian_filter(np.ones((22, 13)), **blur)
    blurred = np.stack([gaussian_filter(channel.astype(float), **blur) / weight for channel in image])
    grey = np.ones_like(image) * image.mean(axis=(1, 2), keepdims=True)
    areas = []
    for baseline in (blurred, grey):
        for start, end in ((image, baseline), (baseline, image)):
            curve = []
            for count in range(0, 145, 18):
                picture = start.astype(np.float32).copy()
                for region in order[:count]:
                    for y, x in members[region]:
                        picture[:, y, x] = end[:, y, x]
                with torch.no_grad():
                    curve.append(network(torch.from_numpy(picture)[None]).softmax(dim=1)[0, target].item())
            areas.append(sum((left + right) / 2 / 8 for left, right in pairwise(curve)))
    return areas


def test_scores_equal_a_plain_loop_over_pixels() -> None:
    network, inputs, targets, maps, names = uneven_images(3)
    scores, _ = score_faithfulness(network, inputs, targets, maps, names)
    for method, values in maps.items():
        for index in range(3):
            expected = by_loop(network, inputs[index].numpy(), int(targets[index]), values[index].numpy())
            columns = ("deletion_blurred", "insertion_blurred", "deletion_mean", "insertion_mean")
            assert [scores[method][column][index] for column in columns] == pytest.approx(expected, abs=1e-5)
    assert np.ptp(scores[A]["deletion_mean"]) > 0.01


def test_neither_the_other_images_nor_the_other_methods_have_a_say() -> None:
    network, inputs, targets, maps, names = uneven_images(5)
    scores, control = score_faithfulness(network, inputs, targets, maps, names)
    for one in (slice(0, 1), slice(3, 4)):
        alone, chance = score_faithfulness(network, inputs[one], targets[one], {B: maps[B][one]}, names[one])
        assert listed(alone[B]) == {column: values[one].tolist() for column, values in scores[B].items()}
        assert chance["random_blurred"].tolist() == control["random_blurred"][one].tolist()


def test_every_image_costs_so_many_forward_passes_and_one_game_is_a_batch() -> None:
    inputs, one = first_pixel_bright().repeat(3, 1, 1, 1), {A: first_pixel_first().repeat(3, 1, 1)}
    for maps in (one, one | {B: torch.full((3, 4, 2), torch.nan)}):  # a map that is none costs nothing
        network = FirstPixel()
        score_faithfulness(network, inputs, torch.zeros(3, dtype=torch.int64), maps, ["a", "b", "c"])
        assert (sum(network.batches), max(network.batches)) == (3 * (3 + 14 + 28), 7)


def test_map_without_evidence_scores_as_the_control_does() -> None:
    network, inputs, targets, maps, names = uneven_images(3)
    scores, control = score_faithfulness(network, inputs, targets, {A: torch.zeros_like(maps[A])}, names)
    for baseline in ("blurred", "mean"):
        assert scores[A][f"deletion_{baseline}"].tolist() == control[f"random_{baseline}"].tolist()
        assert np.isfinite(scores[A][f"insertion_{baseline}"]).all()


@pytest.mark.parametrize("damage", [torch.nan, torch.inf])
def test_map_that_is_not_finite_has_no_scores(damage: float) -> None:
    network, inputs, targets, maps, names = uneven_images(3)
    whole, control = score_faithfulness(network, inputs, targets, maps, names)
    maps[A][1, 5, 5] = damage
    scores, same_control = score_faithfulness(network, inputs, targets, maps, names)
    assert [np.isnan(scores[A][column]).tolist() for column in COLUMNS] == [[False, True, False]] * 4
    assert (listed(scores[B]), listed(same_control)) == (listed(whole[B]), listed(control))


def test_network_that_diverged_has_no_scores() -> None:
    network, inputs, targets, maps, names = uneven_images(2)
    with torch.no_grad():
        network.head.weight.fill_(torch.nan)
    scores, control = score_faithfulness(network, inputs, targets, maps, names)
    assert np.isnan([*scores[A].values(), *scores[B].values(), *control.values()]).all()


@pytest.mark.parametrize("size", [(2, 2), (3, 3), (16, 8), (20, 40)])
def test_any_size_has_scores(size: tuple[int, int]) -> None:
    inputs = torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(0))
    maps = {A: inputs.sum(dim=1)}
    scores, control = score_faithfulness(FirstPixel(), inputs, torch.tensor([0, 1]), maps, ["a", "b"])
    assert list(scores[A]) == COLUMNS
    assert list(control) == ["random_blurred", "random_mean"]
    for values in (*scores[A].values(), *control.values()):
        assert values.shape == (2,)
        assert ((values > 0) & (values < 1)).all()


def test_network_and_random_states_stay_bit_identical() -> None:
    network, inputs, targets, maps, names = uneven_images(2)
    before, given = network_state(network.train()), inputs.clone()
    straight, _ = score_faithfulness(network, inputs, targets, maps, names)
    with torch.inference_mode():
        inside, _ = score_faithfulness(network, inputs.clone(), targets, maps, names)
    assert network_state(network) == before
    assert torch.equal(inputs, given)
    assert listed(inside[A]) == listed(straight[A])
