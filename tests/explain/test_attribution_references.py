"""The maps against independent implementations: the package grad-cam, and sums written out here."""

from collections.abc import Callable
from dataclasses import dataclass, field

import cv2
import numpy as np
import pytest
import torch
from pytorch_grad_cam import GradCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torch import Tensor, nn

from gender_cls.config.explain import Method
from gender_cls.config.model import Library, ModelConfig
from gender_cls.explain import attribution
from gender_cls.explain.attribution import attribute, grad_cam_cells
from gender_cls.models.backbones import build_backbone
from gender_cls.models.feature_map import FeatureMap, find_feature_map

SIZE = (128, 64)


def channels_last(activation: Tensor) -> Tensor:
    return activation.permute(0, 3, 1, 2)


def tokens(prefix: int) -> Callable[[Tensor], Tensor]:
    """Patch tokens of 16x16 pixels, row by row, as (B, C, 8, 4)."""
    return lambda activation: activation[:, prefix:].reshape(len(activation), 8, 4, -1).permute(0, 3, 1, 2)


@dataclass(frozen=True)
class Case:
    """A network, and what a user of grad-cam would have to know about it."""

    library: str
    name: str
    layer: str
    to_nchw: Callable[[Tensor], Tensor] | None = None
    options: dict[str, object] = field(default_factory=dict)


CASES = [
    Case("timm", "resnet18", "layer4"),
    Case("timm", "mobilenetv2_050", "bn2"),
    # An in-place ReLU follows, which would overwrite what grad-cam keeps.
    Case("torchvision", "densenet121", "features", torch.clone),
    Case("timm", "convnext_atto", "stages"),
    Case("timm", "swin_tiny_patch4_window7_224", "norm", channels_last, {"depths": (2, 2, 1, 1)}),
    Case("timm", "vit_tiny_patch16_224", "blocks.3.norm1", tokens(1), {"depth": 4}),  # pools its class token
    Case("timm", "deit_tiny_distilled_patch16_224", "blocks.3.norm1", tokens(2), {"depth": 4}),
    Case("timm", "test_vit4", "blocks", tokens(1)),  # pools its patch tokens
]


def build(case: Case) -> tuple[nn.Module, FeatureMap]:
    """With weights as lively as those of a trained network, for heads and the scales of branches begin near zero."""
    torch.manual_seed(0)
    model = ModelConfig(Library[case.library], case.name, pretrained=False, options=case.options)
    backbone = build_backbone(model, SIZE)
    for name, parameter in backbone.network.named_parameters():
        if name.endswith("gamma") or any(name.startswith(f"{head}.") for head in backbone.heads):
            nn.init.normal_(parameter)
    backbone.network.train()(pictures(8, seed=1))  # running statistics that are not those of a new BatchNorm
    return backbone.network.eval(), find_feature_map(backbone.network, SIZE, backbone.heads)


def pictures(count: int, seed: int = 0) -> Tensor:
    """Smooth random colours, so that places differ in more than noise."""
    coarse = torch.randn(count, 3, 8, 4, generator=torch.Generator().manual_seed(seed))
    return nn.functional.interpolate(coarse, size=SIZE, mode="bicubic")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_grad_cam_agrees_with_the_package_grad_cam(case: Case) -> None:
    network, feature_map = build(case)
    inputs, classes = pictures(4), [0, 1, 1, 0]
    assert feature_map.layer == case.layer

    own = attribute(network, inputs, [Method.grad_cam], feature_map, torch.tensor(classes)).maps[Method.grad_cam]
    cells = grad_cam_cells(network, inputs, feature_map, torch.tensor(classes))

    targets = [ClassifierOutputTarget(one) for one in classes]
    layers = [network.get_submodule(case.layer)]
    with GradCAM(network, layers, reshape_transform=case.to_nchw) as package:
        published = package(inputs, targets)  # ReLU, scaled to [0, 1], enlarged by OpenCV
        seen = package.activations_and_grads
        signed = package.get_cam_image(
            inputs, layers[0], targets, seen.activations[0].numpy(), seen.gradients[0].numpy()
        )

    # Signed cells, in units of each map's largest magnitude.
    peaks = np.abs(signed).max(axis=(1, 2), keepdims=True)
    assert cells.shape[1:] == feature_map.grid
    assert ((signed > 0.01 * peaks).any(axis=(1, 2)) & (signed.std(axis=(1, 2)) > 0.01 * peaks[:, 0, 0])).sum() >= 2
    np.testing.assert_allclose(cells.numpy() / peaks, signed / peaks, rtol=0, atol=1e-4)
    # Signed maps, enlarged by OpenCV.
    enlarged = np.stack([cv2.resize(one, SIZE[::-1]) for one in signed])
    np.testing.assert_allclose(own.numpy() / peaks, enlarged / peaks, rtol=0, atol=1e-4)
    # The map as published, which has no negative cells, after the package's own normalisation.
    positive = cells.relu()
    positive = positive - positive.amin(dim=(1, 2), keepdim=True)
    positive = nn.functional.interpolate(positive[:, None], size=SIZE, mode="bilinear")[:, 0].numpy()
    positive -= positive.min(axis=(1, 2), keepdims=True)
    highest = positive.max(axis=(1, 2), keepdims=True)
    assert (highest > 0).sum() >= 2
    positive = np.divide(positive, highest, out=np.zeros_like(positive), where=highest > 0)
    np.testing.assert_allclose(positive, published, rtol=0, atol=1e-4)


class Small(nn.Module):
    """Smooth, far from linear, and with a logit that depends on where things are."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.features = nn.Sequential(
            nn.Conv2d(3, 6, 3, padding=1), nn.GELU(), nn.Conv2d(6, 8, 3, stride=2, padding=1), nn.Tanh()
        )
        nn.init.normal_(self.features[2].weight)  # gradients turn round between the mean colour and the picture
        self.head = nn.Linear(8 * 11 * 5, 2)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.features(images).flatten(1))


SMALL_SIZE = (21, 10)  # 16 rows of regions do not divide it: five are of two pixels
SMALL_MAP = FeatureMap("features", "NCHW", (11, 5))


def small() -> tuple[nn.Module, Tensor, Tensor]:
    inputs = torch.randn(3, 3, *SMALL_SIZE, generator=torch.Generator().manual_seed(2)) * 2
    return Small().eval(), inputs, torch.tensor([0, 1, 1])


def gradient_of(network: nn.Module, image: Tensor, target: int) -> Tensor:
    """(3, H, W), by finite differences, in double precision."""
    double = Small().double()
    double.load_state_dict(network.state_dict())
    gradient = torch.zeros_like(image, dtype=torch.float64)
    step = 1e-5
    with torch.no_grad():
        for place in np.ndindex(*image.shape):
            images = image.double().repeat(2, 1, 1, 1)
            images[0][place] += step
            images[1][place] -= step
            logits = double(images)[:, target]
            gradient[place] = (logits[0] - logits[1]) / (2 * step)
    return gradient


def test_saliency_is_the_largest_magnitude_of_finite_differences() -> None:
    network, inputs, targets = small()
    maps = attribute(network, inputs, [Method.saliency], SMALL_MAP, targets).maps[Method.saliency]
    for own, image, target in zip(maps, inputs, targets.tolist(), strict=True):
        expected = gradient_of(network, image, target).abs().amax(dim=0).float()
        torch.testing.assert_close(own, expected, rtol=1e-4, atol=1e-6)


def test_integrated_gradients_are_the_integral_along_the_straight_line_from_the_mean_colour() -> None:
    network, inputs, targets = small()
    maps = attribute(network, inputs, [Method.integrated_gradients], SMALL_MAP, targets).maps
    own = maps[Method.integrated_gradients]
    points = 500  # midpoint rule
    for number, (image, target) in enumerate(zip(inputs, targets.tolist(), strict=True)):
        total = torch.zeros(3, *SMALL_SIZE)
        for point in range(points):
            shown = (image * (point + 0.5) / points).requires_grad_()
            network(shown[None])[0, target].backward()
            assert shown.grad is not None
            total += shown.grad
        expected = (image * total / points).sum(dim=0)
        peak = expected.abs().max()
        assert expected.min() < -0.05 * peak
        assert expected.max() > 0.05 * peak
        torch.testing.assert_close(own[number] / peak, expected / peak, rtol=0, atol=1e-4)
        with torch.no_grad():
            change = (network(image[None]) - network(torch.zeros(1, 3, *SMALL_SIZE)))[0, target]
        torch.testing.assert_close(own[number].sum(), change, rtol=1e-4, atol=1e-4)


def test_smoothgrad_is_the_magnitude_of_the_mean_gradient_of_noisy_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attribution, "SAMPLES", 2000)
    network, inputs, targets = small()
    own = attribute(network, inputs, [Method.smoothgrad], SMALL_MAP, targets).maps[Method.smoothgrad]
    rng = np.random.default_rng(0)
    for number, (image, target) in enumerate(zip(inputs, targets.tolist(), strict=True)):
        spread = 0.15 * float(image.max() - image.min())
        noise = torch.from_numpy(rng.normal(scale=spread, size=(4000, *image.shape))).float()
        noisy = (image + noise).requires_grad_()
        network(noisy)[:, target].sum().backward()
        gradients = noisy.grad
        assert gradients is not None
        expected = gradients.mean(dim=0).abs().amax(dim=0)
        # Two averages over chance: of 2,000 noisy pictures there, of 4,000 here.
        allowed = 5 * gradients.std(dim=0).amax(dim=0) * (1 / 2000 + 1 / 4000) ** 0.5
        assert ((own[number] - expected).abs() < allowed).all()
        magnitudes_first = gradients.abs().mean(dim=0).amax(dim=0)
        assert ((own[number] - magnitudes_first).abs() > allowed).float().mean() > 0.5, "what it is not"
        plain = gradient_of(network, image, target).abs().amax(dim=0)
        assert ((own[number] - plain).abs() > allowed).float().mean() > 0.5


def test_occlusion_is_the_mean_change_of_the_logit_over_the_windows_that_cover_a_pixel() -> None:
    network, inputs, targets = small()
    own = attribute(network, inputs, [Method.occlusion], SMALL_MAP, targets).maps[Method.occlusion]
    # Regions of 16 rows and 8 columns (10 * 16 / 21 = 7.6); windows of two by two regions, a region apart.
    region_row = [y * 16 // 21 for y in range(21)]
    region_column = [x * 8 // 10 for x in range(10)]
    for number, (image, target) in enumerate(zip(inputs, targets.tolist(), strict=True)):
        change, windows = np.zeros(SMALL_SIZE), np.zeros(SMALL_SIZE)
        with torch.no_grad():
            before = network(image[None])[0, target].item()
            for top in range(15):
                for left in range(7):
                    ys = [y for y in range(21) if region_row[y] in (top, top + 1)]
                    xs = [x for x in range(10) if region_column[x] in (left, left + 1)]
                    hidden = image.clone()
                    hidden[:, ys[0] : ys[-1] + 1, xs[0] : xs[-1] + 1] = 0
                    change[np.ix_(ys, xs)] += before - network(hidden[None])[0, target].item()
                    windows[np.ix_(ys, xs)] += 1
        assert windows.min() == 1
        assert windows.max() == 4
        expected = change / windows
        peak = np.abs(expected).max()
        assert expected.min() < -0.05 * peak
        assert expected.max() > 0.05 * peak
        np.testing.assert_allclose(own[number].numpy() / peak, expected / peak, rtol=0, atol=1e-4)
