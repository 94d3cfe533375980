import copy
import random

import numpy as np
import pytest
import torch
from helpers.network_state import network_state
from helpers.small_network import Layers
from torch import Tensor, nn

from gender_cls.config.explain import Method
from gender_cls.explain.attribution import attribute, predict
from gender_cls.explain.isolation import IMAGES_PER_PASS, isolated
from gender_cls.models.feature_map import FeatureMap


class Restless(nn.Module):
    """Changes a buffer and the random states in every pass, whatever its mode, and fails on demand."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("passes", torch.zeros(()))
        self.fail_at = 10**9

    def forward(self, tensor: Tensor) -> Tensor:
        self.passes += 1
        if self.passes >= self.fail_at:
            raise RuntimeError("out of order")
        return tensor + 0 * torch.rand(1) * random.random() * np.random.random()  # noqa: NPY002 - the global state


def network_in_training() -> nn.Sequential:
    """In the middle of everything: a frozen layer and BatchNorm, dropout, accumulated gradients."""
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3),
        nn.BatchNorm2d(4),
        nn.Conv2d(4, 4, 3),
        nn.BatchNorm2d(4),
        nn.ReLU(inplace=True),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Dropout(),
        Restless(),
        nn.Linear(4, 2),
    )
    network.train()
    network[0].requires_grad_(False)
    network[1].eval()
    network(torch.randn(4, 3, 8, 8)).sum().backward()
    return network


FEATURES = FeatureMap("3", "NCHW", (4, 4))
TARGETS = torch.tensor([0, 1, 0, 1])


def batch(count: int = 4) -> Tensor:
    return torch.randn(count, 3, 8, 8, generator=torch.Generator().manual_seed(1))


def explain(what: str, network: nn.Module, inputs: Tensor, targets: Tensor | None = TARGETS) -> list[Tensor]:
    """Everything that one of the public functions returns."""
    if what == "predict":
        return [predict(network, inputs)]
    methods = list(Method) if what == "all" else [Method(what)]
    result = attribute(network, inputs, methods, FEATURES, targets)
    return [result.probabilities, result.targets, *result.maps.values()]


def equal(ours: list[Tensor], theirs: list[Tensor]) -> bool:
    return all(torch.equal(one, other) for one, other in zip(ours, theirs, strict=True))


@pytest.mark.parametrize(("what", "targets"), [("predict", None), ("all", None), ("all", TARGETS)])
def test_network_and_random_states_stay_bit_identical(what: str, targets: Tensor | None) -> None:
    network, inputs = network_in_training(), batch()
    before = network_state(network)
    explain(what, network, inputs, targets)
    assert network_state(network) == before
    assert not inputs.requires_grad


@pytest.mark.parametrize(
    ("what", "fail_at"),  # one pass has been one of training: 2 is the first, 4 the second that Captum makes itself
    [("predict", 2), *((method.value, 2) for method in Method)]
    + [(what, 4) for what in ("smoothgrad", "integrated_gradients", "occlusion")],
)
def test_network_and_random_states_stay_bit_identical_after_an_error(what: str, fail_at: int) -> None:
    network = network_in_training()
    network[8].fail_at = fail_at
    before = network_state(network)
    with pytest.raises(RuntimeError, match="out of order"):
        explain(what, network, batch())
    assert network_state(network) == before


def test_only_the_generator_of_the_network_s_device_is_seeded(monkeypatch: pytest.MonkeyPatch) -> None:
    network = network_in_training()
    monkeypatch.setattr(torch, "manual_seed", None)  # it also seeds the generators of every GPU
    explain("all", network, batch(), None)


def test_modes_inside_and_after() -> None:
    network = network_in_training()
    before = network_state(network)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16), isolated(network) as forward:
        assert torch.is_grad_enabled()
        assert not torch.is_autocast_enabled("cpu")
        assert not any(module.training for module in network.modules())
        assert forward(torch.zeros(1, 3, 8, 8)).dtype == torch.float32
    assert network_state(network) == before


@pytest.mark.parametrize("what", ["predict", "all"])
def test_maps_do_not_depend_on_the_state_of_training(what: str) -> None:
    network, inputs = network_in_training(), batch()
    expected = explain(what, copy.deepcopy(network).eval(), inputs)
    assert all(one.dtype in (torch.float32, torch.int64) and one.any() for one in expected)

    assert equal(explain(what, network, inputs), expected)
    with torch.inference_mode():
        assert equal(explain(what, network, inputs.clone(), TARGETS.clone()), expected)
    with torch.autocast("cpu", torch.bfloat16):
        assert equal(explain(what, network, inputs), expected)
    assert equal(explain(what, network.requires_grad_(False), inputs), expected)


@pytest.mark.parametrize("what", ["predict", "all"])
def test_half_precision_weights_give_float32_maps(what: str) -> None:
    network, inputs = network_in_training().bfloat16(), batch().bfloat16()
    expected = explain(what, copy.deepcopy(network).float(), inputs.float())
    assert equal(explain(what, network, inputs), expected)
    assert {weight.dtype for weight in network.parameters()} == {torch.bfloat16}


def test_no_pass_has_more_images_than_the_limit() -> None:
    network, seen = network_in_training(), []
    network[0].register_forward_pre_hook(lambda module, arguments: seen.append(len(arguments[0])))
    for count in (1, 3, 8, 11):
        explain("all", network, batch(count), None)
    assert max(seen) == IMAGES_PER_PASS


@pytest.mark.parametrize("wrapped", [False, True])
def test_compiled_network_is_explained_uncompiled(wrapped: bool) -> None:
    compilations = []

    def backend(graph: torch.fx.GraphModule, examples: list[Tensor]) -> object:
        compilations.append(graph)
        return graph.forward

    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.Softplus(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    network, inputs = Layers(*layers, nn.Linear(4, 2)), batch()
    expected = explain("all", network, inputs)
    compiled = torch.compile(network, backend=backend) if wrapped else network
    if not wrapped:
        network.compile(backend=backend)
    compiled(inputs)
    assert len(compilations) == 1
    assert equal(explain("all", compiled, inputs), expected)
    assert torch.equal(predict(compiled, inputs), expected[0])
    compiled(inputs)
    assert len(compilations) == 1
    torch._dynamo.reset()
