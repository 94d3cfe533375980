import pytest
import timm
import torch
from helpers.small_network import LITTLE_MAP, little, little_batch, with_differences
from torch import Tensor, nn

from gender_cls.config.explain import Method
from gender_cls.explain.attribution import NOISE_SEED, SAMPLES, attribute
from gender_cls.explain.isolation import IMAGES_PER_PASS
from gender_cls.explain.map_regions import region_grid
from gender_cls.models.feature_map import FeatureMap


class ByHand(nn.Module):
    """Two feature maps, red and minus green; an in-place ReLU; the mean of each; two logits."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Conv2d(3, 2, 1, bias=False)
        self.head = nn.Linear(2, 2, bias=False)
        with torch.no_grad():
            self.features.weight.copy_(torch.tensor([[1.0, 0, 0], [0, -1, 0]]).view(2, 3, 1, 1))
            self.head.weight.copy_(torch.tensor([[1.0, 2], [-1, -3]]))

    def forward(self, images: Tensor) -> Tensor:
        return self.head(nn.functional.relu(self.features(images), inplace=True).mean(dim=(2, 3)))


BY_HAND_MAP = FeatureMap("features", "NCHW", (2, 2))


def by_hand(method: Method) -> list[list[list[float]]]:
    """The maps of class 0 and class 1."""
    red, green, blue = [[1.0, 2], [3, 4]], [[0.0, -1], [0, 1]], [[0.0, 0], [0, 0]]
    inputs = torch.tensor([[red, green, blue]] * 2)
    result = attribute(ByHand(), inputs, [method], BY_HAND_MAP, torch.tensor([0, 1]))
    assert list(result.maps) == [method]
    assert result.maps[method].dtype == torch.float32
    return result.maps[method].tolist()


def test_saliency_by_hand() -> None:
    # Logit 0 minus logit 1 is 2 * red + 5 * minus green, both the mean over 4 pixels. Its derivative by red is 2 / 4
    # everywhere, that by green 5 / 4 where minus green passes the ReLU. The other difference changes the sign alone.
    assert by_hand(Method.saliency) == [[[0.5, 1.25], [0.5, 0.5]]] * 2


def test_grad_cam_by_hand_with_in_place_relu_behind_the_layer() -> None:
    # Channel weights for class 0: 2/4 and (5/4)/4, on the maps [1 2 3 4] and [0 1 0 -1] before the ReLU.
    # For class 1 they are below zero: evidence against it.
    for_class_0 = [[0.5, 1.3125], [1.5, 1.6875]]
    assert by_hand(Method.grad_cam) == [for_class_0, [[-value for value in row] for row in for_class_0]]


def test_what_raises_both_logits_is_no_evidence() -> None:
    # Each logit is a weighted sum of red. The left column raises both by 3, the right one only the first.
    network = nn.Sequential(nn.Conv2d(3, 1, 1, bias=False), nn.Flatten(), nn.Linear(4, 2, bias=False))
    with torch.no_grad():
        network[0].weight.copy_(torch.tensor([1.0, 0, 0]).view(1, 3, 1, 1))
        network[2].weight.copy_(torch.tensor([[3.0, 2, 3, 2], [3, 0, 3, -1]]))
    red = torch.tensor([[1.0, 2], [4, 8]])
    inputs = torch.stack([red, torch.zeros(2, 2), torch.zeros(2, 2)])[None]
    result = attribute(network, inputs, list(Method), FeatureMap("0", "NCHW", (2, 2)), torch.tensor([0]))
    maps = {method: values[0].tolist() for method, values in result.maps.items()}
    assert maps[Method.saliency] == maps[Method.smoothgrad] == [[0, 2], [0, 3]]
    assert maps[Method.integrated_gradients] == [[0, pytest.approx(4)], [0, pytest.approx(24)]]  # times the value
    assert maps[Method.occlusion] == [[28, 28], [28, 28]], "one window covers all: 2 * 2 + 3 * 8"
    assert maps[Method.grad_cam] == [[1.25, 2.5], [5, 10]], "one channel, whose mean weight is 5 / 4"


def test_smoothgrad_is_the_gradient_averaged_over_noisy_samples() -> None:
    network, inputs, targets = little(), little_batch(2), torch.tensor([0, 1])
    maps = attribute(network, inputs, [Method.smoothgrad], LITTLE_MAP, targets).maps[Method.smoothgrad]
    for image, target, own in zip(inputs, targets, maps, strict=True):
        generator = torch.Generator().manual_seed(NOISE_SEED)
        spread = (0.15 * (image.max() - image.min())).expand(IMAGES_PER_PASS, 3, 8, 8)
        noise = [torch.normal(0, spread, generator=generator) for _ in range(SAMPLES // IMAGES_PER_PASS)]
        samples = (image + torch.cat(noise)).requires_grad_()
        (gradients,) = torch.autograd.grad(with_differences(network)(samples)[:, target].sum(), samples)
        torch.testing.assert_close(own, gradients.mean(dim=0).abs().amax(dim=0))


def test_smoothgrad_of_an_even_image_has_no_noise() -> None:
    maps = attribute(little(), torch.ones(1, 3, 8, 8), [Method.saliency, Method.smoothgrad], LITTLE_MAP).maps
    torch.testing.assert_close(maps[Method.smoothgrad], maps[Method.saliency])


def test_occlusion_where_the_regions_do_not_divide_the_image_equals_own_computation() -> None:
    network, inputs, targets = little(), torch.randn(2, 3, 20, 11), torch.tensor([0, 1])
    explained = with_differences(network)
    assert region_grid((20, 11)) == (16, 9)
    lost, covered = torch.zeros(2, 20, 11), torch.zeros(20, 11)
    row, column = torch.arange(20) * 16 // 20, torch.arange(11) * 9 // 11
    with torch.no_grad():
        whole = explained(inputs)[range(2), targets]
        for top in range(15):
            for left in range(8):
                window = ((row == top) | (row == top + 1))[:, None] & ((column == left) | (column == left + 1))
                drop = whole - explained(inputs.masked_fill(window, 0))[range(2), targets]
                lost += drop.view(2, 1, 1) * window
                covered += window
    maps = attribute(network, inputs, [Method.occlusion], LITTLE_MAP, targets).maps[Method.occlusion]
    torch.testing.assert_close(maps, lost / covered)


def test_integrated_gradients_are_the_mean_gradient_on_the_way_from_the_mean_colour() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 6, 3), nn.Softplus(), nn.Flatten(), nn.Linear(216, 2), nn.Tanh())
    explained = with_differences(network)
    inputs, targets = little_batch(), torch.tensor([0, 1, 1, 0])
    maps = attribute(network, inputs, [Method.integrated_gradients], LITTLE_MAP, targets).maps
    for own, image, target in zip(maps[Method.integrated_gradients], inputs, targets, strict=True):
        on_the_way = (image * ((torch.arange(500) + 0.5) / 500).view(-1, 1, 1, 1)).requires_grad_()
        (gradients,) = torch.autograd.grad(explained(on_the_way)[:, target].sum(), on_the_way)
        expected = (image * gradients.mean(dim=0)).sum(dim=0)
        assert expected.min() < 0 < expected.max()
        torch.testing.assert_close(own, expected, rtol=0, atol=1e-4 * expected.abs().max().item())
        rise = (explained(image[None]) - explained(torch.zeros(1, 3, 8, 8)))[0, target]
        torch.testing.assert_close(own.sum(), rise, rtol=1e-4, atol=1e-4)


def test_integrated_gradients_sum_to_the_rise_of_the_difference() -> None:
    torch.manual_seed(0)
    network = timm.create_model("mobilenetv3_small_050", num_classes=2).eval()
    inputs = torch.randn(4, 3, 64, 64)
    result, explained = attribute(network, inputs, [Method.integrated_gradients], LITTLE_MAP), with_differences(network)
    with torch.no_grad():
        rise = (explained(inputs) - explained(torch.zeros_like(inputs))).gather(1, result.targets.view(-1, 1)).flatten()
    total, most = result.maps[Method.integrated_gradients].sum(dim=(1, 2)), rise.abs().max().item()
    assert most > 0.01
    torch.testing.assert_close(total, rise, rtol=0, atol=0.01 * most)
