"""Channels last: the same numbers as with contiguous images, up to rounding."""

import logging
from typing import Any

import pytest
import torch
from helpers.classifiers import batches, settings, trainer_for
from torch import Tensor, nn

from gender_cls.config.explain import Method
from gender_cls.config.model import Library, ModelConfig
from gender_cls.explain.attribution import attribute
from gender_cls.models import backbones
from gender_cls.models.feature_map import find_feature_map
from gender_cls.models.layout import lay_out, normalise
from gender_cls.training.classifier import GenderClassifier, load_classifier

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
    data, trainer = {"root": "x", "image_size": list(size)}, {"channels_last": channels_last}
    made = GenderClassifier(settings(data=data, model=model, trainer=trainer))
    for head in made.heads:  # else so small that every answer is alike
        nn.init.normal_(made.network.get_submodule(head).weight, std=0.1)
    return made


def both(library: str, name: str) -> tuple[GenderClassifier, GenderClassifier]:
    """With the same weights, contiguous and channels last."""
    size = MODELS[library, name]
    return classifier(library, name, size, False), classifier(library, name, size, True)


def pictures(size: tuple[int, int], count: int = 4) -> Tensor:
    return torch.randint(0, 256, (count, 3, *size), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


def is_channels_last(images: Tensor) -> bool:
    return images.is_contiguous(memory_format=torch.channels_last) and not images.is_contiguous()


@pytest.mark.parametrize(("library", "name"), MODELS)
def test_a_training_step_and_maps_are_the_same(library: str, name: str) -> None:
    plain, last = both(library, name)
    assert (plain.layout, last.layout) == (torch.contiguous_format, torch.channels_last)
    images, labels = pictures(plain.image_size), torch.arange(4) % 2
    assert is_channels_last(last.normalise(images))
    found: list[dict[str, Any]] = []
    for one in (plain, last):
        feature_map = find_feature_map(one.network, one.image_size, one.heads)
        explained = attribute(one.network, one.normalise(images), [Method.saliency, Method.grad_cam], feature_map)
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


def test_checkpoints_do_not_say_how_they_were_laid_out(tmp_path: Any) -> None:
    plain, last = both("custom", "custom_cnn")
    for one, other in ((plain, last), (last, plain)):
        nn.init.normal_(one.network.head.bias)
        torch.save(one.state_dict(), tmp_path / "weights.pt")
        other.load_state_dict(torch.load(tmp_path / "weights.pt", weights_only=True))
        assert [is_channels_last(value.stages[0][1][0].weight) for value in (plain.network, last.network)] == [
            False,
            True,
        ]
        for key, value in one.state_dict().items():
            assert torch.equal(value, other.state_dict()[key]), key


def test_a_trained_checkpoint_predicts_channels_last(tmp_path: Any) -> None:
    made = GenderClassifier(settings())
    trainer = trainer_for(made)
    trainer.fit(made, batches(), batches())
    trainer.save_checkpoint(tmp_path / "one.ckpt")
    loaded = load_classifier(tmp_path / "one.ckpt")
    assert loaded.layout is torch.channels_last
    assert is_channels_last(loaded.network.stages[0][1][0].weight)


class Viewing(nn.Module):
    """Runs with contiguous images alone."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, 2, 3, padding=1)
        self.head = nn.Linear(2 * 32 * 16, 2)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.convolution(images).view(len(images), -1))


def test_a_network_that_views_its_maps_goes_without_and_says_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(backbones, "CustomCNN", lambda **_: Viewing())
    model = ModelConfig(Library.custom, "custom_cnn", pretrained=False)
    with caplog.at_level(logging.INFO):
        backbone = backbones.build_backbone(model, (32, 16), channels_last=True)
    assert backbone.layout is torch.contiguous_format
    assert backbone.network.convolution.weight.is_contiguous()
    [message] = caplog.messages
    assert message.startswith("custom/custom_cnn does not run with trainer.channels_last, and goes without: view size")


def test_a_network_that_fails_either_way_is_refused_without_a_word_on_its_layout(
    caplog: pytest.LogCaptureFixture,
) -> None:
    model = ModelConfig(Library.custom, "custom_cnn", pretrained=False, options={"widths": [4] * 9})
    monkeyed = backbones.build_backbone(model, (64, 32), channels_last=True)
    assert monkeyed.layout is torch.channels_last
    assert not caplog.messages


def test_only_convolutions_are_laid_out() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ConvTranspose2d(4, 3, 3))
    network.position = nn.Parameter(torch.rand(1, 4, 5, 6))
    lay_out(network, torch.channels_last)
    assert is_channels_last(network[0].weight)
    assert is_channels_last(network[1].weight)
    assert network.position.is_contiguous()
    lay_out(network, torch.contiguous_format)
    assert network[0].weight.is_contiguous()


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("given", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize(("mean", "std"), [((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)), ((0.0,) * 3, (1.0,) * 3)])
def test_pixels_are_normalised_in_any_layout(
    mean: tuple[float, ...], std: tuple[float, ...], given: torch.memory_format, layout: torch.memory_format
) -> None:
    images = torch.arange(256, dtype=torch.uint8).repeat(6).view(2, 3, 16, 16).contiguous(memory_format=given)
    before = images.clone()
    centre, spread = torch.tensor(mean).view(3, 1, 1), torch.tensor(std).view(3, 1, 1)
    normalised = normalise(images, centre, spread, layout)
    assert normalised.is_contiguous(memory_format=layout)
    assert (normalised.double() - (images.double() / 255 - centre) / spread).abs().max() < 1e-6
    assert (normalised - (images / 255 - centre) / spread).abs().max() < 1e-6
    assert torch.equal(images, before)


@pytest.mark.parametrize(("dtype", "error"), [(torch.float64, 1e-12), (torch.bfloat16, 0.02)])
def test_pixels_get_the_type_of_the_network(dtype: torch.dtype, error: float) -> None:
    images = pictures((8, 4))
    mean, std = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1), torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
    normalised = normalise(images, mean.to(dtype), std.to(dtype), torch.channels_last)
    assert normalised.dtype is dtype
    expected = (images.double() / 255 - mean.to(dtype).double()) / std.to(dtype).double()
    assert (normalised.double() - expected).abs().max() < error
