"""Channels last and wide depthwise convolutions: the same numbers up to rounding."""

import copy
import io
import logging
import re
from typing import Any

import pytest
import timm
import torch
from helpers.classifiers import random_images, settings
from torch import Tensor, nn

from gender_cls.config.explain import Method
from gender_cls.explain.attribution import attribute
from gender_cls.models.convolutions import normalise, run_in_layout, set_layout, widen_depthwise
from gender_cls.training.classifier import GenderClassifier

MODELS = {
    ("custom", "custom_cnn"): (64, 32),
    ("timm", "mobilenetv2_100"): (128, 64),  # its norms need pixels to stand on
    ("timm", "resnet18"): (64, 32),
    ("timm", "convnext_atto"): (64, 32),
    ("timm", "vit_tiny_patch16_224"): (64, 32),
    ("timm", "swin_tiny_patch4_window7_224"): (56, 56),
}


def classifier(library: str, name: str, size: tuple[int, int], channels_last: bool) -> GenderClassifier:
    torch.manual_seed(0)
    model = {"library": library, "name": name, "pretrained": False}
    sections = {"data": {"image_size": list(size)}, "trainer": {"channels_last": channels_last}}
    made = GenderClassifier(settings(model=model, **sections))
    for head in made.heads:  # else so small that every answer is alike
        nn.init.normal_(made.network.get_submodule(head).weight, std=0.1)
    return made


def both(library: str, name: str) -> tuple[GenderClassifier, GenderClassifier]:
    """The same classifier contiguous and channels last."""
    size = MODELS[library, name]
    return classifier(library, name, size, False), classifier(library, name, size, True)


def is_channels_last(images: Tensor) -> bool:
    return images.is_contiguous(memory_format=torch.channels_last) and not images.is_contiguous()


@pytest.mark.parametrize(("library", "name"), MODELS)
def test_a_training_step_and_maps_are_the_same(library, name) -> None:
    plain, last = both(library, name)
    assert (plain.layout, last.layout) == (torch.contiguous_format, torch.channels_last)
    images, labels = random_images(4, plain.image_size, seed=1), torch.arange(4) % 2
    assert is_channels_last(last.normalise(images))
    found: list[dict[str, Any]] = []
    for one in (plain, last):
        methods = [Method.saliency, Method.grad_cam]
        explained = attribute(one.network, one.normalise(images), methods, one.feature_map)
        one.network.train()
        torch.manual_seed(3)  # of what is dropped
        optimizer = torch.optim.SGD(one.network.parameters(), lr=0.1)
        logits = one(images)
        nn.functional.cross_entropy(logits, labels).backward()
        nn.utils.clip_grad_norm_(one.network.parameters(), 1.0)
        optimizer.step()
        found.append({**explained.maps, "logits": logits.detach(), **one.network.state_dict()})
    contiguous, channels_last = found
    assert contiguous.keys() == channels_last.keys()
    for key, expected in contiguous.items():
        largest = expected.abs().max().item()
        error = (channels_last[key] - expected).abs().max().item()
        bound = 5e-5 * largest if key in explained.maps else 2e-4 * max(largest, 1)
        assert error <= bound, f"{key}: {error}"


def test_checkpoints_do_not_depend_on_the_layout(tmp_path) -> None:
    plain, last = both("custom", "custom_cnn")
    for one, other in ((plain, last), (last, plain)):
        nn.init.normal_(one.network.head.bias)
        torch.save(one.state_dict(), tmp_path / "weights.pt")
        other.load_state_dict(torch.load(tmp_path / "weights.pt", weights_only=True))
        assert not is_channels_last(plain.network.stages[0][1][0].weight)
        assert is_channels_last(last.network.stages[0][1][0].weight)
        for key, value in one.state_dict().items():
            assert torch.equal(value, other.state_dict()[key]), key


class Viewing(nn.Module):
    """Runs only with contiguous images."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, 2, 3, padding=1)
        self.head = nn.Linear(2 * 32 * 16, 2)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.convolution(images).view(len(images), -1))


def test_a_network_that_needs_contiguous_images_gets_them_and_the_log_says_so(caplog) -> None:
    caplog.set_level(logging.INFO)
    network, images = Viewing(), torch.rand(1, 3, 32, 16)
    assert run_in_layout(nn.Conv2d(3, 4, 3), images, "TITLE", channels_last=True)[1] is torch.channels_last
    assert not caplog.messages
    answer, layout = run_in_layout(network, images, "TITLE", channels_last=True)
    assert layout is torch.contiguous_format
    assert torch.equal(answer, network(images))
    assert network.convolution.weight.is_contiguous()
    assert re.fullmatch(r"TITLE .*channels_last.*: view size.*", caplog.messages[0])
    assert "trainer." not in caplog.text  # the audit has no such key


def test_only_convolutions_change_their_layout() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ConvTranspose2d(4, 3, 3))
    network.position = nn.Parameter(torch.rand(1, 4, 5, 6))
    set_layout(network, torch.channels_last)
    assert is_channels_last(network[0].weight)
    assert is_channels_last(network[1].weight)
    assert network.position.is_contiguous()
    set_layout(network, torch.contiguous_format)
    assert network[0].weight.is_contiguous()


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("given", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize(("mean", "std"), [((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)), ((0.0,) * 3, (1.0,) * 3)])
def test_pixels_are_normalised_in_any_layout(mean, std, given, layout) -> None:
    images = torch.arange(256, dtype=torch.uint8).repeat(6).view(2, 3, 16, 16).contiguous(memory_format=given)
    before = images.clone()
    centre, spread = torch.tensor(mean).view(3, 1, 1), torch.tensor(std).view(3, 1, 1)
    normalised = normalise(images, centre, spread, layout)
    assert normalised.is_contiguous(memory_format=layout)
    assert (normalised.double() - (images.double() / 255 - centre) / spread).abs().max() < 1e-6
    assert (normalised - (images / 255 - centre) / spread).abs().max() < 1e-6
    assert torch.equal(images, before)


@pytest.mark.parametrize(("dtype", "error"), [(torch.float64, 1e-12), (torch.bfloat16, 0.02)])
def test_pixels_get_the_type_of_the_network(dtype, error) -> None:
    images = random_images(4, (8, 4))
    mean, std = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1), torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
    normalised = normalise(images, mean.to(dtype), std.to(dtype), torch.channels_last)
    assert normalised.dtype is dtype
    expected = (images.double() / 255 - mean.to(dtype).double()) / std.to(dtype).double()
    assert (normalised.double() - expected).abs().max() < error


def depthwise(network: nn.Module) -> list[nn.Conv2d]:
    return [one for one in network.modules() if isinstance(one, nn.Conv2d) and one.groups == one.in_channels > 1]


@pytest.mark.parametrize("name", ["test_efficientnet", "test_convnext", "mobilenetv2_100"])
def test_only_depthwise_convolutions_change_and_only_under_autocast_by_as_much_as_bf16_rounds(name) -> None:
    torch.manual_seed(0)
    options = {"pad_type": "same"} if name == "mobilenetv2_100" else {}
    plain = timm.create_model(name, num_classes=2, **options).eval()
    widened = copy.deepcopy(plain)
    widen_depthwise(widened)
    assert list(widened.state_dict()) == list(plain.state_dict())
    assert len(depthwise(widened)) == len(depthwise(plain)) > 0
    images = torch.randn(4, 3, 64, 64)

    def answers(network: nn.Module, mixed: bool) -> tuple[torch.Tensor, torch.Tensor]:
        network.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=mixed):
            logits = network(images)
        logits.float().square().sum().backward()
        return logits.detach().float(), depthwise(network)[0].weight.grad.clone()

    exact = answers(plain, mixed=False)
    for one, other in zip(answers(widened, mixed=False), exact, strict=True):
        assert torch.equal(one, other), "without autocast it is the same network"
    for one, other, right in zip(answers(widened, mixed=True), answers(plain, mixed=True), exact, strict=True):
        assert (one - right).norm() < 2 * (other - right).norm(), "no farther from float32 than plain bf16 is"


def test_depthwise_convolutions_compute_in_float32_and_answer_in_bfloat16() -> None:
    convolution, grouped, pointwise = nn.Conv2d(8, 8, 3, groups=8), nn.Conv2d(8, 8, 3, groups=4), nn.Conv2d(8, 8, 1)
    features = torch.randn(2, 8, 9, 9, requires_grad=True)
    back = torch.randn(2, 8, 7, 7).to(torch.bfloat16)
    exact = convolution(features)
    exact.backward(back.float())
    gradients = [features.grad, convolution.weight.grad]
    features.grad = convolution.weight.grad = None
    widen_depthwise(nn.Sequential(convolution, grouped, pointwise))
    assert type(grouped) is type(pointwise) is nn.Conv2d
    with torch.autocast("cpu", torch.bfloat16):
        answer = convolution(features)
    assert torch.equal(answer, exact.to(torch.bfloat16))
    answer.backward(back)
    assert torch.equal(features.grad, gradients[0])
    assert torch.equal(convolution.weight.grad, gradients[1])
    with torch.autocast("cpu", torch.float16):
        assert convolution(features).dtype is torch.float16


def test_a_copy_and_the_weights_of_a_widened_network_are_whole() -> None:
    network = nn.Sequential(nn.Conv2d(4, 4, 3, groups=4))
    widen_depthwise(network)
    widen_depthwise(network)  # as for a network that was built before
    twin = copy.deepcopy(network)
    features = torch.randn(1, 4, 5, 5)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(twin(features), network(features))
    twin[0].weight.data.zero_()
    assert network[0].weight.any(), "a copy has weights of its own"
    torch.save(network.state_dict(), file := io.BytesIO())
    file.seek(0)
    nn.Sequential(nn.Conv2d(4, 4, 3, groups=4)).load_state_dict(torch.load(file, weights_only=True))
