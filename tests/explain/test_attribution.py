import pytest
import timm
import torch
from captum.attr import LayerAttribution, LayerGradCam, Saliency
from helpers.small_network import LITTLE_MAP, little, little_batch, with_differences
from torch import Tensor, nn

from gender_cls.config.explain import Method
from gender_cls.errors import GenderClsError
from gender_cls.explain.attribution import INTEGRATION_POINTS, SAMPLES, attribute, predict, scaled
from gender_cls.models.feature_map import FeatureMap

BOTH = [Method.saliency, Method.grad_cam]


@pytest.fixture(scope="module")
def resnet() -> nn.Module:
    torch.manual_seed(0)
    return timm.create_model("resnet18", num_classes=2).eval()


RESNET_MAP = FeatureMap("layer4", "NCHW", (2, 2))


def resnet_batch() -> tuple[Tensor, Tensor]:
    return torch.randn(3, 3, 64, 64, generator=torch.Generator().manual_seed(1)), torch.tensor([0, 1, 1])


@pytest.mark.parametrize("explained", ["given", "predicted"])
@pytest.mark.parametrize("methods", [BOTH, BOTH[:1], BOTH[1:]])
def test_one_pass_is_bit_identical_to_calls_of_captum(explained, methods, resnet) -> None:
    inputs, targets = resnet_batch()
    if explained == "predicted":
        targets = resnet(inputs).argmax(dim=1)
    explained_network = with_differences(resnet)
    cells = LayerGradCam(explained_network, resnet.layer4).attribute(inputs, targets)
    expected = {
        Method.saliency: Saliency(explained_network).attribute(inputs.clone().requires_grad_(), targets).amax(dim=1),
        Method.grad_cam: LayerAttribution.interpolate(cells, (64, 64), interpolate_mode="bilinear").squeeze(1),
    }
    result = attribute(resnet, inputs, methods, RESNET_MAP, targets if explained == "given" else None)
    assert list(result.maps) == methods
    assert all(torch.equal(maps, expected[method]) for method, maps in result.maps.items())
    assert torch.equal(result.probabilities, resnet(inputs).softmax(dim=1))
    assert torch.equal(result.probabilities, predict(resnet, inputs))
    assert torch.equal(result.targets, targets)


@pytest.mark.parametrize("targets", [None, torch.arange(11) % 2])
def test_saliency_and_grad_cam_share_one_pass_forward_and_one_backward(targets) -> None:
    network, forward, backward = little(), [], []

    def count(module: nn.Module, arguments: tuple[Tensor, ...], output: Tensor) -> None:
        forward.append(len(output))
        output.register_hook(lambda gradient: backward.append(len(gradient)))

    network.register_forward_hook(count)
    attribute(network, little_batch(11), BOTH, LITTLE_MAP, targets)
    assert forward == backward == [8, 3]


@pytest.mark.parametrize(
    ("methods", "passes"),
    [
        ([], 1),
        (BOTH, 1),
        ([Method.smoothgrad], 1 + SAMPLES),
        ([Method.integrated_gradients], 1 + INTEGRATION_POINTS),
        ([Method.occlusion], 1 + 1 + 7 * 7),  # Captum reads the whole image's logit once more
        (list(Method), 1 + SAMPLES + INTEGRATION_POINTS + 1 + 7 * 7),
    ],
)
def test_cost_in_forward_passes_of_an_image(methods, passes) -> None:
    network, seen = little(), []
    network.register_forward_pre_hook(lambda module, arguments: seen.append(len(arguments[0])))
    attribute(network, little_batch(3), methods, LITTLE_MAP)
    assert sum(seen) == 3 * passes


def test_predicted_class_is_explained_unless_another_is_given() -> None:
    network, inputs = little(), little_batch(6)
    network[6].bias.data -= network(inputs).mean(dim=0)  # so that both classes are predicted
    result = attribute(network, inputs, list(Method), LITTLE_MAP)
    assert result.targets.unique().tolist() == [0, 1]
    assert torch.equal(result.targets, network(inputs).argmax(dim=1))
    given = attribute(network, inputs, list(Method), LITTLE_MAP, result.targets)
    other = attribute(network, inputs, list(Method), LITTLE_MAP, 1 - result.targets)
    assert list(result.maps) == list(Method)
    for method in Method:
        assert torch.equal(given.maps[method], result.maps[method])
        against = -result.maps[method] if method.signed else result.maps[method]
        torch.testing.assert_close(other.maps[method], against)  # what speaks for one class speaks against the other
        assert method.signed == bool((result.maps[method] < 0).any())


@pytest.mark.parametrize("method", Method)
def test_map_of_an_image_does_not_depend_on_its_place_in_the_batch(method) -> None:
    inputs = little_batch(11)
    maps = attribute(little(), inputs, [method], LITTLE_MAP).maps[method]
    torch.testing.assert_close(attribute(little(), inputs[9:10], [method], LITTLE_MAP).maps[method], maps[9:10])
    torch.testing.assert_close(attribute(little(), inputs.flip(0), [method], LITTLE_MAP).maps[method], maps.flip(0))


@pytest.mark.parametrize("broken", [["6.bias"], ["0.weight"], None])
def test_diverged_network_gives_maps_of_nan_without_a_word(broken) -> None:
    network = little()
    for name, weight in network.named_parameters():
        if broken is None or name in broken:
            nn.init.constant_(weight, torch.nan)
    result = attribute(network, little_batch(), list(Method), LITTLE_MAP)
    assert result.probabilities.isnan().all()
    assert all(maps.isnan().all() for maps in result.maps.values())
    assert all(scaled(maps).isnan().all() for maps in result.maps.values())


def test_network_without_weights_gives_maps_of_zero() -> None:
    network = little()
    for weight in network.parameters():
        nn.init.zeros_(weight)
    result = attribute(network, little_batch(), list(Method), LITTLE_MAP)
    assert (result.probabilities == 0.5).all()
    assert all((scaled(maps) == 0).all() and maps.shape == (4, 8, 8) for maps in result.maps.values())


def test_wrong_grid_is_refused_where_grad_cam_looks_at_it(resnet) -> None:
    inputs, _ = resnet_batch()
    wrong = FeatureMap("layer4", "NCHW", (4, 2))
    with pytest.raises(GenderClsError, match=r"layer4 .*\(2, 2\) .*\(4, 2\).*model\.cam_layer"):
        attribute(resnet, inputs, BOTH, wrong)
    assert attribute(resnet, inputs, BOTH[:1], wrong).maps[Method.saliency].any()


def test_scaled_by_hand() -> None:
    nan, inf = float("nan"), float("inf")
    maps = torch.tensor(
        [[[1.0, 2], [0, 4]], [[1, -4], [0, 2]], [[0, 0], [0, 0]], [[1, nan], [0, 2]], [[1, -inf], [0, 2]]]
    )
    result = scaled(maps)
    assert result[:2].tolist() == [[[0.25, 0.5], [0.0, 1.0]], [[0.25, -1.0], [0.0, 0.5]]]
    assert result[2].tolist() == [[0.0, 0.0], [0.0, 0.0]]
    assert result[3:].isnan().all()
    assert scaled(torch.full((1, 2, 2), -1e-40)).min() == -1  # however small the gradients are
