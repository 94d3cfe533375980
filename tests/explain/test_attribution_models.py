"""Every method on every shipped model, and on further families of timm and torchvision.

Weights are random and images small; SmoothGrad takes fewer samples, Integrated Gradients fewer points, and Occlusion
fewer and larger windows than usual. The tests check that a map is one of the image, not how good it is.
"""

import pytest
import torch
from helpers.small_network import smooth_images
from omegaconf import OmegaConf

from gender_cls.config.explain import Method
from gender_cls.config.model import Library, ModelConfig
from gender_cls.config.parsing import CONFIG_FOLDER
from gender_cls.explain import attribution, map_regions
from gender_cls.explain.attribution import attribute
from gender_cls.models.backbones import Backbone, build_backbone
from gender_cls.models.feature_map import find_feature_map

ANY_MODEL = ("timm", "torchvision")  # files of conf/model that name no model
SHIPPED = sorted(path.stem for path in (CONFIG_FOLDER / "model").glob("*.yaml") if path.stem not in ANY_MODEL)
STRIDE_16 = ("custom_cnn", "vit_small_dinov2")  # the last feature map of the others has a stride of 32

SIZE = (128, 64)
SMALLER = {"convnext_xlarge": (64, 32), "resnet152": (64, 32), "resnet152_tv": (64, 32)}
TOO_MANY_WEIGHTS = ("convnext_xlarge.fb_in22k_ft_in1k", "vgg11")
"""The libraries take longer to draw up to 348 million weights than everything else in these tests."""

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
    ("torchvision", "vgg11", 32, {}),
]


def shipped(name: str) -> ModelConfig:
    content = OmegaConf.load(CONFIG_FOLDER / "model" / f"{name}.yaml")
    content = content.get("model", content)  # custom_cnn chooses its recipe too, and so is a global file
    model = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(ModelConfig), content))
    assert isinstance(model, ModelConfig)
    model.pretrained = False
    return model


def build_cheaply(model: ModelConfig, size: tuple[int, int]) -> Backbone:
    """A million random numbers, used again and again."""
    with torch.device("meta"):
        backbone = build_backbone(model, size)
    network = backbone.network.to_empty(device="cpu")
    assert not list(network.buffers()), "their values would be lost"
    drawn = torch.randn(999_983)  # a prime number, so that no two rows are equal
    for module in network.modules():
        for name, parameter in module.named_parameters(recurse=False):
            if parameter.ndim > 1:
                flat = parameter.data.view(-1)
                for start in range(0, len(flat), len(drawn)):
                    flat[start : start + len(drawn)] = drawn[: len(flat) - start]
                flat.mul_((2 / parameter[0].numel()) ** 0.5)
            else:
                parameter.data.fill_(0 if name == "bias" else 1)
    return backbone


@pytest.fixture(autouse=True)
def fewer_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attribution, "SAMPLES", 2)
    monkeypatch.setattr(attribution, "INTEGRATION_POINTS", 3)
    monkeypatch.setattr(map_regions, "ROWS", 5)


def check_maps(model: ModelConfig, size: tuple[int, int], stride: int) -> None:
    torch.manual_seed(0)
    backbone = (build_cheaply if model.name in TOO_MANY_WEIGHTS else build_backbone)(model, size)
    network, inputs, targets = backbone.network.eval(), smooth_images(2, size), torch.tensor([0, 1])
    for name, parameter in network.named_parameters():
        if any(name.startswith(f"{head}.") for head in backbone.heads):
            torch.nn.init.normal_(parameter)  # heads begin so near zero that a logit hardly changes
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
    (gradients,) = torch.autograd.grad(network(pixels)[range(2), targets].sum(), pixels)
    torch.testing.assert_close(result.maps[Method.saliency], gradients.abs().amax(dim=1))


@pytest.mark.parametrize("name", SHIPPED)
def test_every_method_gives_maps_of_the_image_for_every_shipped_model(name: str) -> None:
    check_maps(shipped(name), SMALLER.get(name, SIZE), 16 if name in STRIDE_16 else 32)


@pytest.mark.parametrize(("library", "name", "stride", "options"), FURTHER, ids=lambda value: str(value))
def test_every_method_gives_maps_of_the_image_for_further_families(
    library: str, name: str, stride: int, options: dict[str, object]
) -> None:
    check_maps(ModelConfig(Library[library], name, pretrained=False, options=options), SIZE, stride)
