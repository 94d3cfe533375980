"""Gradient checkpointing changes memory and time, and no number."""

import copy
from itertools import product
from typing import Any

import pytest
import timm
import torch
from helpers.small_network import little
from helpers.tiny_training import Tiny, fit
from timm.layers import convert_sync_batchnorm
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.checkpoint import checkpoint
from torchvision.models import resnet18

from gender_cls.config.explain import Method
from gender_cls.errors import GenderClsError
from gender_cls.explain.attribution import attribute
from gender_cls.models.feature_map import FeatureMap
from gender_cls.training.gradient_checkpointing import GradientCheckpointing, keep_statistics, switch_checkpointing

SIZE = (64, 32)
MODELS = {
    "convnext_atto": ("stages.0.blocks.0", {}),
    "vit_tiny_patch16_224": ("blocks.0", {"img_size": SIZE, "drop_rate": 0.1}),
    "resnet18": ("layer1.0", {"drop_path_rate": 0.2}),
}
"""With a module that runs twice."""


def step(network: nn.Module, images: torch.Tensor) -> dict[str, torch.Tensor]:
    """Gradients after one forward and backward pass."""
    torch.manual_seed(1)  # dropout's
    loss = cross_entropy(network(images), torch.arange(len(images)) % 2)
    with keep_statistics(network):
        loss.backward()
    return {name: parameter.grad for name, parameter in network.named_parameters() if parameter.grad is not None}


@pytest.mark.parametrize(
    ("name", "prepared"), [*product(MODELS, [nn.Identity()]), ("resnet18", convert_sync_batchnorm)]
)
def test_gradients_and_statistics_are_the_same(name, prepared) -> None:
    torch.manual_seed(0)
    block, options = MODELS[name]
    plain = prepared(timm.create_model(name, num_classes=2, **options)).train()
    checkpointed = copy.deepcopy(plain)
    switch_checkpointing(checkpointed, True, name)
    images = torch.randn(4, 3, *SIZE)
    passes = []
    checkpointed.get_submodule(block).register_forward_pre_hook(lambda *_: passes.append(1))
    cross_entropy(plain(images), torch.arange(4) % 2)  # so that the statistics are no longer those of the start
    checkpointed.load_state_dict(plain.state_dict())
    expected, found = step(plain, images), step(checkpointed, images)
    largest = max(gradient.abs().max().item() for gradient in expected.values())
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6 * largest)
    torch.testing.assert_close(checkpointed.state_dict(), plain.state_dict(), rtol=0, atol=0)
    assert len(passes) == 2


def test_maps_between_two_steps_are_the_same() -> None:
    torch.manual_seed(0)
    network = timm.create_model("resnet18", num_classes=2)
    images, where = torch.randn(2, 3, *SIZE), FeatureMap("layer4", "NCHW", (2, 1))
    methods = [Method.saliency, Method.grad_cam]
    expected = attribute(network, images, methods, where)
    callback: Any = GradientCheckpointing(network, "ours")
    callback.on_train_batch_start(None, None, None, 0)
    assert network.grad_checkpointing
    callback.on_train_batch_end(None, None, None, None, 0)
    torch.testing.assert_close(attribute(network, images, methods, where).maps, expected.maps, rtol=0, atol=0)


class Recomputed(nn.Module):
    """A small network with timm's flag; it notes in which state it is asked."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 6, 3, stride=2, padding=1), nn.BatchNorm2d(6, momentum=None), nn.ReLU())
        self.head = nn.Linear(6, 2)
        self.flag = False
        self.asked: set[tuple[bool, bool]] = set()

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        self.flag = enable

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.asked.add((self.training, self.flag))
        features = checkpoint(self.body, images, use_reentrant=False) if self.flag else self.body(images)
        return self.head(features.mean((2, 3)))


class Module(Tiny):
    def __init__(self) -> None:
        super().__init__()
        self.network = Recomputed()

    def normalise(self, images: torch.Tensor) -> torch.Tensor:
        return images / 255


def test_it_is_on_in_training_steps_alone(tmp_path) -> None:
    plain, _ = fit(tmp_path, [], Module)

    class Checkpointed(Module):
        def configure_callbacks(self) -> list[Any]:
            return [GradientCheckpointing(self.network, "ours")]

    checkpointed, _ = fit(tmp_path, [], Checkpointed)
    assert plain.network.asked == {(True, False), (False, False)}
    assert checkpointed.network.asked == {(True, True), (False, False)}
    assert checkpointed.network.body[1].momentum is None
    torch.testing.assert_close(checkpointed.state_dict(), plain.state_dict(), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize(
    "network", [resnet18(num_classes=2), little(), timm.create_model("vgg11", num_classes=2, pretrained=False)]
)
def test_networks_without_checkpoints_are_refused(network) -> None:
    with pytest.raises(GenderClsError, match=r"recipe\.grad_checkpointing=true .*library/name.* data\.batch_size"):
        GradientCheckpointing(network, "library/name")
