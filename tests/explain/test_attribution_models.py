"""Every method on every shipped model, and on further families of timm and torchvision.

Weights are random and images small; SmoothGrad takes fewer samples, Integrated Gradients fewer points, and Occlusion
fewer and larger windows than usual. The tests check that a map is one of the image, not how good it is.
"""

import pytest
import torch
from helpers.shipped_models import SHIPPED, shipped
from helpers.small_network import smooth_images
from torch.nn.modules.batchnorm import _BatchNorm

from gender_cls.config.explain import Method
from gender_cls.config.model import Library, ModelConfig
from gender_cls.explain import attribution, map_regions
from gender_cls.explain.attribution import attribute
from gender_cls.models.backbones import build_backbone
from gender_cls.models.feature_map import find_feature_map

STRIDE_16 = ("custom_cnn", "vit_small_dinov2")  # the last feature map of the others has a stride of 32

SIZE = (128, 64)
SMALLER = dict.fromkeys(("convnext_xlarge", "resnet152", "resnet152_tv"), (64, 32))
SHALLOWER = {  # drawing and passing all layers would take longer than all else here; resnet152_tv has its 152
    "convnext_xlarge": {"depths": (1, 1, 1, 1)},
    "resnet152": {"layers": (1, 1, 1, 1)},
}

FURTHER: list[tuple[str, str, int, dict[str, object]]] = [
    ("timm", "densenet121", 32, {}),
    ("timm", "regnety_002", 32, {}),
    ("timm", "repvgg_a0", 32, {}),
    ("timm", "mobilevit_xxs", 32, {}),
    ("timm", "maxvit_rmlp_pico_rw_256", 32, {}),
    ("timm", "deit_tiny_distilled_patch16_224", 16, {"depth": 4}),
    ("timm", "vit_tiny_patch16_224", 16, {"depth": 4}),
    ("timm", "vit_base_patch32_siglip_256", 32, {"depth": 2, "embed_dim": 192, "num_heads": 3}),  # attention pooling
    ("timm", "swin_tiny_patch4_window7_224", 32, {"depths": (2, 2, 2, 1)}),
    ("timm", "swinv2_tiny_window8_256", 32, {"depths": (1, 1, 2, 1)}),
    ("torchvision", "efficientnet_b0", 32, {}),
    ("torchvision", "convnext_tiny", 32, {}),
    ("torchvision", "swin_t", 32, {}),
    ("torchvision", "shufflenet_v2_x0_5", 32, {}),
    ("torchvision", "vgg11", 32, {"init_weights": False}),
]


@pytest.fixture(autouse=True)
def fewer_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attribution, "SAMPLES", 2)
    monkeypatch.setattr(attribution, "INTEGRATION_POINTS", 3)
    monkeypatch.setattr(map_regions, "ROWS", 5)


def check_maps(model: ModelConfig, size: tuple[int, int], stride: int) -> None:
    torch.manual_seed(0)
    backbone = build_backbone(model, size, load=False)
    network, inputs, targets = backbone.network, smooth_images(2, size), torch.tensor([0, 1])
    for module in network.modules():
        if isinstance(module, _BatchNorm):
            module.momentum = None  # one batch sets the statistics: with those of the start, deep networks are constant
    with torch.no_grad():
        network.train()(smooth_images(8, size, seed=1))
    network.eval()
    feature_map = find_feature_map(network, size, backbone.heads)
    assert feature_map.grid == (size[0] // stride, size[1] // stride)
    result = attribute(network, inputs, list(Method), feature_map, targets)
    assert result.probabilities.shape == (2, 2)
    assert set(result.maps) == set(Method)
    for method, maps in result.maps.items():
        assert maps.shape == (2, *size), method
        assert maps.dtype == torch.float32, method
        assert maps.isfinite().all(), method
        assert (maps.amax(dim=(1, 2)) > maps.amin(dim=(1, 2))).all(), f"{method} is constant"
        assert method.signed or maps.min() >= 0, method

    pixels = inputs.clone().requires_grad_()
    logits = network(pixels)
    margins = logits[range(2), targets] - logits[range(2), 1 - targets]
    (gradients,) = torch.autograd.grad(margins.sum(), pixels)
    torch.testing.assert_close(result.maps[Method.saliency], gradients.abs().amax(dim=1))


@pytest.mark.parametrize("name", SHIPPED)
def test_every_method_gives_maps_of_the_image_for_every_shipped_model(name) -> None:
    model = shipped(name)
    model.options |= SHALLOWER.get(name, {})
    check_maps(model, SMALLER.get(name, SIZE), 16 if name in STRIDE_16 else 32)


@pytest.mark.parametrize(("library", "name", "stride", "options"), FURTHER, ids=lambda value: str(value))
def test_every_method_gives_maps_of_the_image_for_further_families(library, name, stride, options) -> None:
    check_maps(ModelConfig(Library[library], name, pretrained=False, options=options), SIZE, stride)
