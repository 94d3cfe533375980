import math

import pytest
import timm
import torch
import torchvision

from gender_cls.config.train import RecipeConfig
from gender_cls.training.recipe import lr_factor, parameter_groups, set_trainable, trains_backbone


def test_the_freeze_schedule_is_a_function_of_the_epoch() -> None:
    assert [trains_backbone(RecipeConfig(frozen_epochs=2), epoch) for epoch in range(4)] == [False, False, True, True]
    assert trains_backbone(RecipeConfig(frozen_epochs=0), 0)
    assert not trains_backbone(RecipeConfig(frozen_epochs=None), 1000)


def test_a_frozen_backbone_keeps_its_batchnorm_statistics() -> None:
    network = timm.create_model("resnet10t", num_classes=2)
    names = {name for name, _ in network.named_parameters()}
    before = {name: value.clone() for name, value in network.state_dict().items()}
    set_trainable(network, ["fc"], names, backbone=False)
    assert [name for name, p in network.named_parameters() if p.requires_grad] == ["fc.weight", "fc.bias"]
    network(torch.rand(4, 3, 32, 32)).sum().backward()
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert not network.bn1.training
    assert network.fc.training

    set_trainable(network, ["fc"], names - {"conv1.0.weight"}, backbone=True)
    network(torch.rand(4, 3, 32, 32))
    assert not torch.equal(network.bn1.running_mean, before["bn1.running_mean"])
    assert not network.conv1[0].weight.requires_grad  # what the architecture fixes stays fixed


def test_groups_hold_every_parameter_once_with_its_own_rate_and_decay() -> None:
    network = torchvision.models.resnet18(num_classes=2)
    recipe = RecipeConfig(lr=1e-2, backbone_lr_factor=0.1, weight_decay=0.3)
    groups = parameter_groups(network, ["fc"], recipe)
    assert sum(p.numel() for g in groups for p in g["params"]) == sum(p.numel() for p in network.parameters())
    found = {(g["part"], g["lr"], g["weight_decay"]) for g in groups}
    assert found == {(part, lr, decay) for part, lr in (("backbone", 1e-3), ("head", 1e-2)) for decay in (0.3, 0.0)}
    undecayed = {id(p) for g in groups if g["weight_decay"] == 0 for p in g["params"]}
    assert undecayed == {id(p) for p in network.parameters() if p.ndim == 1}


def test_layer_decay_multiplies_the_rates_themselves() -> None:
    network = timm.create_model("vit_tiny_patch16_224", num_classes=2, depth=2, img_size=32)
    groups = parameter_groups(network, ["head"], RecipeConfig(lr=1.0, layer_decay=0.5))
    rate = {id(p): g["lr"] for g in groups for p in g["params"]}
    # from the top: head 1, last norm and blocks.1, blocks.0, embeddings
    assert rate[id(network.head.weight)] == 1
    assert rate[id(network.blocks[1].mlp.fc1.weight)] == 2 * rate[id(network.blocks[0].mlp.fc1.weight)]
    assert rate[id(network.blocks[0].mlp.fc1.weight)] == 2 * rate[id(network.patch_embed.proj.weight)]
    decay = {id(p): g["weight_decay"] for g in groups for p in g["params"]}
    assert decay[id(network.pos_embed)] == decay[id(network.cls_token)] == 0


def test_layer_decay_also_works_for_networks_that_are_not_timms() -> None:
    network = torchvision.models.resnet18(num_classes=2)
    groups = parameter_groups(network, ["fc"], RecipeConfig(lr=1.0, layer_decay=0.5))
    rate = {id(p): g["lr"] for g in groups for p in g["params"]}
    assert rate[id(network.fc.weight)] == 1
    layers = (network.conv1, network.layer2[0].conv1, network.layer4[1].conv2)
    first, middle, last = (rate[id(layer.weight)] for layer in layers)
    assert first < middle < last


def test_rates_warm_up_then_fall_to_zero_like_a_cosine() -> None:
    factors = [lr_factor(step, 0, 4, 12) for step in range(13)]
    assert factors[:5] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert factors[8] == pytest.approx(0.5)
    assert factors[12] == pytest.approx(0)
    assert factors[6] == pytest.approx(0.5 * (1 + math.cos(math.pi / 4)))


def test_the_backbone_warms_up_when_it_starts_to_learn() -> None:
    factors = [lr_factor(step, 6, 2, 12) for step in range(13)]
    assert factors[:6] == [0] * 6
    assert factors[6:9] == pytest.approx([1 / 3, 2 / 3, 1])
    assert factors[12] == pytest.approx(0)
    assert lr_factor(3, 5, 2, 5) == 0  # it never learns: linear probe
