import copy
import pickle
import random

import numpy as np
import pytest
import timm
import torch
from captum.attr import LayerAttribution, LayerGradCam
from torch import Tensor, nn
from torch.nn.functional import interpolate

from gender_cls.errors import GenderClsError
from gender_cls.explain import attribution
from gender_cls.explain.attribution import grad_cam, predict, saliency, scaled, untouched
from gender_cls.models.feature_map import FeatureMap

METHODS = {
    "predict": lambda network, inputs, targets, feature_map: predict(network, inputs),
    "saliency": lambda network, inputs, targets, feature_map: saliency(network, inputs, targets),
    "grad_cam": grad_cam,
}


class ByHand(nn.Module):
    """Two feature maps, red and minus green; an in-place ReLU; the mean of each; two logits."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Conv2d(3, 2, 1, bias=False)
        self.head = nn.Linear(2, 2, bias=False)
        with torch.no_grad():
            self.features.weight.copy_(torch.tensor([[1.0, 0, 0], [0, -1, 0]]).view(2, 3, 1, 1))
            self.head.weight.copy_(torch.tensor([[1.0, 2], [-1, 4]]))

    def forward(self, images: Tensor) -> Tensor:
        return self.head(nn.functional.relu(self.features(images), inplace=True).mean(dim=(2, 3)))


def by_hand_inputs() -> Tensor:
    red, green = [[1.0, 2], [3, 4]], [[0.0, -1], [0, 1]]
    return torch.tensor([[red, green, [[0.0, 0], [0, 0]]]])


def test_predict_gives_softmax_of_logits() -> None:
    # The means are 2.5 and 0.25, so the logits are 3 and -1.5.
    assert predict(ByHand(), by_hand_inputs())[0, 0].item() == pytest.approx(1 / (1 + np.exp(-4.5)))


def test_saliency_by_hand() -> None:
    inputs = by_hand_inputs().repeat(2, 1, 1, 1)
    maps = saliency(ByHand(), inputs, torch.tensor([0, 1]))
    # d logit / d red = head / 4 everywhere; d logit / d green = head / 4 only where minus green passes the ReLU.
    assert maps.tolist() == [[[0.25, 0.5], [0.25, 0.25]], [[0.25, 1.0], [0.25, 0.25]]]
    assert maps.dtype == torch.float32


def test_grad_cam_by_hand_with_in_place_relu_behind_the_layer() -> None:
    inputs = by_hand_inputs().repeat(2, 1, 1, 1)
    maps = grad_cam(ByHand(), inputs, torch.tensor([0, 1]), FeatureMap("features", "NCHW", (2, 2)))
    # Channel weights for logit 0: 1/4 and (2/4)/4, on the maps [1 2 3 4] and [0 1 0 -1] before the ReLU.
    # For logit 1 they are -1/4 and 1/4: nothing above zero.
    assert maps.tolist() == [[[0.25, 0.625], [0.75, 0.875]], [[0.0, 0.0], [0.0, 0.0]]]


def test_grad_cam_is_enlarged_bilinearly() -> None:
    network = nn.Sequential(nn.AvgPool2d(2), ByHand())
    inputs = torch.zeros(1, 3, 2, 4)
    inputs[:, 0, :, :2], inputs[:, 0, :, 2:] = 1, 5
    maps = grad_cam(network, inputs, torch.tensor([0]), FeatureMap("1.features", "NCHW", (1, 2)))
    assert maps.tolist() == [[[0.5, 1.0, 2.0, 2.5]] * 2]  # cells 1/2 and 5/2, their centres a quarter from the edge


class Tokens(nn.Module):
    """One attention of a class token over patch tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 6, 4, stride=4)
        self.class_token = nn.Parameter(torch.randn(1, 1, 6))
        self.norm = nn.LayerNorm(6)
        self.attention = nn.MultiheadAttention(6, 2, batch_first=True)
        self.head = nn.Linear(6, 2)

    def embed(self, images: Tensor) -> Tensor:
        patches = self.patches(images).flatten(2).transpose(1, 2)
        return self.norm(torch.cat([self.class_token.expand(len(images), -1, -1), patches], dim=1))

    def classify(self, tokens: Tensor) -> Tensor:
        return self.head(self.attention(tokens[:, :1], tokens, tokens)[0][:, 0])

    def forward(self, images: Tensor) -> Tensor:
        return self.classify(self.embed(images))


def test_grad_cam_of_tokens_equals_own_computation() -> None:
    torch.manual_seed(0)
    network, inputs, targets = Tokens().eval(), torch.randn(3, 3, 8, 12), torch.tensor([0, 1, 1])
    maps = grad_cam(network, inputs, targets, FeatureMap("norm", "tokens", (2, 3), prefix_tokens=1))

    tokens = network.embed(inputs).detach().requires_grad_()
    (gradient,) = torch.autograd.grad(network.classify(tokens)[range(3), targets].sum(), tokens)
    cells = (tokens[:, 1:] * gradient[:, 1:].mean(dim=1, keepdim=True)).sum(dim=2).relu().view(3, 1, 2, 3)
    assert cells.max() > 0
    torch.testing.assert_close(maps, interpolate(cells.detach(), size=(8, 12), mode="bilinear").squeeze(1))


class Permute(nn.Module):
    def __init__(self, *order: int) -> None:
        super().__init__()
        self.order = order

    def forward(self, tensor: Tensor) -> Tensor:
        return tensor.permute(self.order)


def test_channels_last_layer_gives_the_map_of_the_channels_first_layer() -> None:
    torch.manual_seed(0)
    convolution = nn.Conv2d(3, 5, 2, stride=2)
    head = nn.Sequential(nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, 2))
    network = nn.Sequential(convolution, Permute(0, 2, 3, 1), Permute(0, 3, 1, 2), head)
    inputs, targets = torch.randn(2, 3, 6, 8), torch.tensor([0, 1])
    last = grad_cam(network, inputs, targets, FeatureMap("1", "NHWC", (3, 4)))
    assert last.max() > 0
    torch.testing.assert_close(last, grad_cam(network, inputs, targets, FeatureMap("0", "NCHW", (3, 4))))


@pytest.fixture(scope="module")
def resnet() -> nn.Module:
    torch.manual_seed(0)
    return timm.create_model("resnet18", num_classes=2).eval()


RESNET_MAP = FeatureMap("layer4", "NCHW", (2, 2))


def resnet_batch(count: int = 3) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(count, 3, 64, 64, generator=generator), torch.arange(count) % 2


def test_grad_cam_equals_a_direct_call_of_captum(resnet: nn.Module) -> None:
    inputs, targets = resnet_batch()
    cam = LayerGradCam(resnet, resnet.layer4).attribute(
        inputs.clone().requires_grad_(), targets, relu_attributions=True
    )
    expected = LayerAttribution.interpolate(cam, (64, 64), interpolate_mode="bilinear").squeeze(1).detach()
    assert expected.max() > 0
    torch.testing.assert_close(grad_cam(resnet, inputs, targets, RESNET_MAP), expected)


def test_mirrored_input_gives_mirrored_maps() -> None:
    torch.manual_seed(0)
    convolution = nn.Conv2d(3, 8, 3, padding=1)
    with torch.no_grad():
        convolution.weight.add_(convolution.weight.flip(3))
    network = nn.Sequential(convolution, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 2))
    inputs, targets, feature_map = torch.randn(2, 3, 6, 7), torch.tensor([0, 1]), FeatureMap("0", "NCHW", (6, 7))
    for method in (METHODS["saliency"], METHODS["grad_cam"]):
        straight = method(network, inputs, targets, feature_map)
        assert not torch.equal(straight, straight.flip(2))
        torch.testing.assert_close(method(network, inputs.flip(3), targets, feature_map).flip(2), straight)


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


TRAINING_MAP = FeatureMap("3", "NCHW", (4, 4))


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


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("fail_at", [10**9, 2])
def test_network_and_random_states_stay_bit_identical(method: str, fail_at: int) -> None:
    network = network_in_training()
    network[8].fail_at = fail_at
    before = everything(network)
    arguments = network, torch.randn(4, 3, 8, 8, generator=torch.Generator()), torch.tensor([0, 1, 0, 1]), TRAINING_MAP
    if fail_at == 2:
        with pytest.raises(RuntimeError, match="out of order"):
            METHODS[method](*arguments)
    else:
        METHODS[method](*arguments)
    assert everything(network) == before


def test_modes_inside_and_after() -> None:
    network = network_in_training()
    before = everything(network)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16), untouched(network) as forward:
        assert torch.is_grad_enabled()
        assert not torch.is_autocast_enabled("cpu")
        assert not any(module.training for module in network.modules())
        assert forward(torch.zeros(1, 3, 8, 8)).dtype == torch.float32
    assert everything(network) == before


@pytest.mark.parametrize("method", METHODS)
def test_maps_do_not_depend_on_the_state_of_training(method: str) -> None:
    explain, network = METHODS[method], network_in_training()
    inputs, targets = torch.randn(4, 3, 8, 8), torch.tensor([0, 1, 0, 1])
    expected = explain(copy.deepcopy(network).eval(), inputs, targets, TRAINING_MAP)
    assert expected.max() > 0

    assert torch.equal(explain(network, inputs, targets, TRAINING_MAP), expected)
    with torch.inference_mode():
        assert torch.equal(explain(network, inputs.clone(), targets.clone(), TRAINING_MAP), expected)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(explain(network, inputs, targets, TRAINING_MAP), expected)
    assert torch.equal(explain(network.requires_grad_(False), inputs, targets, TRAINING_MAP), expected)


@pytest.mark.parametrize("method", METHODS)
def test_half_precision_weights_give_float32_maps(method: str, resnet: nn.Module) -> None:
    network = copy.deepcopy(resnet).bfloat16()
    inputs, targets = resnet_batch()
    maps = METHODS[method](network, inputs.bfloat16(), targets, RESNET_MAP)
    expected = METHODS[method](copy.deepcopy(network).float(), inputs.bfloat16().float(), targets, RESNET_MAP)
    assert maps.dtype == torch.float32
    assert torch.equal(maps, expected)
    assert {weight.dtype for weight in network.parameters()} == {torch.bfloat16}


@pytest.mark.parametrize("method", METHODS)
def test_chunks_do_not_show(method: str, resnet: nn.Module, monkeypatch: pytest.MonkeyPatch) -> None:
    inputs, targets = resnet_batch(7)
    whole = METHODS[method](resnet, inputs, targets, RESNET_MAP)
    monkeypatch.setattr(attribution, "CHUNK", 3)
    torch.testing.assert_close(METHODS[method](resnet, inputs, targets, RESNET_MAP), whole)


@pytest.mark.parametrize("wrapped", [False, True])
def test_compiled_network_is_explained_uncompiled(wrapped: bool) -> None:
    compilations = []

    def backend(graph: torch.fx.GraphModule, examples: list[Tensor]) -> object:
        compilations.append(graph)
        return graph.forward

    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
    inputs, targets, feature_map = torch.randn(2, 3, 8, 8), torch.tensor([0, 1]), FeatureMap("0", "NCHW", (6, 6))
    expected = [method(network, inputs, targets, feature_map) for method in METHODS.values()]
    if wrapped:
        compiled = torch.compile(network, backend=backend)
    else:
        compiled = network
        compiled.compile(backend=backend)
    compiled(inputs)
    assert len(compilations) == 1
    for method, maps in zip(METHODS.values(), expected, strict=True):
        assert torch.equal(method(compiled, inputs, targets, feature_map), maps)
    compiled(inputs)
    assert len(compilations) == 1
    torch._dynamo.reset()


def test_wrong_grid_is_refused(resnet: nn.Module) -> None:
    inputs, targets = resnet_batch()
    with pytest.raises(
        GenderClsError,
        match=r"Layer layer4 gave a map of shape \(1, 2, 2\) where \(1, 4, 2\) was expected: name another layer with "
        r"model.cam_layer\.",
    ):
        grad_cam(resnet, inputs, targets, FeatureMap("layer4", "NCHW", (4, 2)))


def test_scaled_by_hand() -> None:
    nan, inf = float("nan"), float("inf")
    maps = torch.tensor([[[1.0, 2], [0, 4]], [[0, 0], [0, 0]], [[1, nan], [0, 2]], [[1, inf], [0, 2]]])
    result = scaled(maps)
    assert result[:2].tolist() == [[[0.25, 0.5], [0.0, 1.0]], [[0.0, 0.0], [0.0, 0.0]]]
    assert result[2:].isnan().all()
    assert scaled(torch.full((1, 2, 2), 1e-40)).max() == 1  # however small the gradients are
