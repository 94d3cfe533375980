import copy
import pickle
import random

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from gender_cls.config.explain import Method
from gender_cls.explain import isolation
from gender_cls.explain.attribution import attribute, grad_cam_cells, predict
from gender_cls.explain.isolation import in_chunks
from gender_cls.models.feature_map import FeatureMap


class Restless(nn.Module):
    """Changes a buffer and the global random states on every pass, whatever its mode, and fails on demand."""

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


def explain(what: str, network: nn.Module, inputs: Tensor, targets: Tensor | None) -> list[Tensor]:
    """Everything that one of the public functions gives."""
    if what == "predict":
        return [predict(network, inputs)]
    if what == "cells":
        return [grad_cam_cells(network, inputs, FEATURES, TARGETS if targets is None else targets)]
    methods = list(Method) if what == "all" else [Method(what)]
    result = attribute(network, inputs, methods, FEATURES, targets)
    return [result.probabilities, result.targets, *result.maps.values()]


WHAT = ["predict", "cells", "all", *(method.value for method in Method)]


def equal(ours: list[Tensor], theirs: list[Tensor]) -> bool:
    return len(ours) == len(theirs) and all(torch.equal(one, other) for one, other in zip(ours, theirs, strict=True))


def everything(network: nn.Module) -> list[object]:
    """All that must not change, as plain values."""
    hooks = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    return [
        {name: value.tolist() for name, value in network.state_dict().items()},
        [(name, id(value), value.data_ptr()) for name, value in network.named_parameters()],
        [(value.requires_grad, None if value.grad is None else value.grad.tolist()) for value in network.parameters()],
        [(name, module.training) for name, module in network.named_modules()],
        [len(getattr(module, hook)) for module in network.modules() for hook in hooks],
        torch.get_rng_state().tolist(),
        random.getstate(),
        pickle.dumps(np.random.get_state()),  # noqa: NPY002 - the global state
        (torch.is_grad_enabled(), torch.is_inference_mode_enabled(), torch.is_autocast_enabled("cpu")),
        (torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.benchmark, torch.get_default_dtype()),
    ]


@pytest.mark.parametrize("targets", [None, TARGETS])
@pytest.mark.parametrize("what", WHAT)
def test_network_and_random_states_stay_bit_identical(what: str, targets: Tensor | None) -> None:
    network, inputs = network_in_training(), batch()
    before = everything(network)
    explain(what, network, inputs, targets)
    assert everything(network) == before
    assert not inputs.requires_grad


@pytest.mark.parametrize(
    ("what", "fail_at"),
    [(what, 2) for what in WHAT]  # in the first pass, after one of training
    + [(what, 4) for what in ("smoothgrad", "integrated_gradients", "occlusion")],  # in Captum's second
)
def test_network_and_random_states_stay_bit_identical_after_an_error(what: str, fail_at: int) -> None:
    network = network_in_training()
    network[8].fail_at = fail_at
    before = everything(network)
    with pytest.raises(RuntimeError, match="out of order"):
        explain(what, network, batch(), TARGETS)
    assert everything(network) == before


def test_no_random_generator_but_the_network_s_own_is_seeded(monkeypatch: pytest.MonkeyPatch) -> None:
    # `torch.manual_seed` on the CPU seeds the generators of every GPU too, or asks for it once there is one.
    network = network_in_training()
    monkeypatch.setattr(torch, "manual_seed", None)
    explain("all", network, batch(), None)


def test_modes_inside_and_after() -> None:
    network = network_in_training()
    before = everything(network)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16), isolation.isolated(network) as forward:
        assert torch.is_grad_enabled()
        assert not torch.is_autocast_enabled("cpu")
        assert not any(module.training for module in network.modules())
        assert forward(torch.zeros(1, 3, 8, 8)).dtype == torch.float32
    assert everything(network) == before


@pytest.mark.parametrize("what", WHAT)
def test_maps_do_not_depend_on_the_state_of_training(what: str) -> None:
    network, inputs = network_in_training(), batch()
    expected = explain(what, copy.deepcopy(network).eval(), inputs, TARGETS)
    assert all(one.dtype in (torch.float32, torch.int64) and one.any() for one in expected)

    assert equal(explain(what, network, inputs, TARGETS), expected)
    with torch.inference_mode():
        assert equal(explain(what, network, inputs.clone(), TARGETS.clone()), expected)
    with torch.autocast("cpu", torch.bfloat16):
        assert equal(explain(what, network, inputs, TARGETS), expected)
    assert equal(explain(what, network.requires_grad_(False), inputs, TARGETS), expected)


@pytest.mark.parametrize("what", WHAT)
def test_half_precision_weights_give_float32_maps(what: str) -> None:
    network, inputs = network_in_training().bfloat16(), batch().bfloat16()
    expected = explain(what, copy.deepcopy(network).float(), inputs.float(), TARGETS)
    assert equal(explain(what, network, inputs, TARGETS), expected)
    assert {weight.dtype for weight in network.parameters()} == {torch.bfloat16}


@pytest.mark.parametrize("what", WHAT)
def test_chunks_do_not_show(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    network, inputs, targets = network_in_training(), batch(7), torch.arange(7) % 2
    whole = explain(what, network, inputs, targets)
    monkeypatch.setattr(isolation, "IMAGES_PER_PASS", 3)
    for ours, theirs in zip(explain(what, network, inputs, targets), whole, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_no_pass_has_more_images_than_a_chunk() -> None:
    network, seen = network_in_training(), []
    network[0].register_forward_pre_hook(lambda module, arguments: seen.append(len(arguments[0])))
    for count in (1, 3, 8, 11):
        explain("all", network, batch(count), None)
    assert max(seen) == isolation.IMAGES_PER_PASS


def test_results_of_chunks_are_joined_with_the_rows_that_belong_to_them() -> None:
    inputs = torch.arange(19.0).view(19, 1, 1, 1).half()
    seen = []

    def function(images: Tensor, factors: Tensor) -> Tensor:
        seen.append(len(images))
        assert images.requires_grad
        return images.flatten() * factors

    result = in_chunks(function, inputs, torch.arange(19))
    assert result.tolist() == [float(index**2) for index in range(19)]
    assert result.dtype == torch.float32
    assert not result.requires_grad
    assert seen == [8, 8, 3]


@pytest.mark.parametrize("wrapped", [False, True])
def test_compiled_network_is_explained_uncompiled(wrapped: bool) -> None:
    compilations = []

    def backend(graph: torch.fx.GraphModule, examples: list[Tensor]) -> object:
        compilations.append(graph)
        return graph.forward

    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.Softplus(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    network, inputs = nn.Sequential(*layers, nn.Linear(4, 2)), batch()
    everywhere = FeatureMap("3", "NCHW", (4, 4))
    expected = attribute(network, inputs, list(Method), everywhere)
    if wrapped:
        compiled = torch.compile(network, backend=backend)
    else:
        compiled = network
        compiled.compile(backend=backend)
    compiled(inputs)
    assert len(compilations) == 1
    result = attribute(compiled, inputs, list(Method), everywhere)
    assert equal([*result.maps.values()], [*expected.maps.values()])
    assert torch.equal(predict(compiled, inputs), result.probabilities)
    compiled(inputs)
    assert len(compilations) == 1
    torch._dynamo.reset()
