"""Grad-CAM against an independent implementation: the package grad-cam."""

from collections.abc import Callable
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from helpers.small_network import smooth_images
from pytorch_grad_cam import GradCAM
from pytorch_grad_cam.utils.image import scale_cam_image
from torch import Tensor, nn

from gender_cls.config.explain import Method
from gender_cls.config.model import Library, ModelConfig
from gender_cls.explain.attribution import attribute
from gender_cls.models.backbones import build_backbone
from gender_cls.models.feature_map import FeatureMap, find_feature_map

SIZE = (128, 64)


def channels_last(activation: Tensor) -> Tensor:
    return activation.permute(0, 3, 1, 2)


def tokens(prefix: int) -> Callable[[Tensor], Tensor]:
    """Patch tokens of 16x16 pixels, row by row, as (B, C, 8, 4)."""
    return lambda activation: activation[:, prefix:].reshape(len(activation), 8, 4, -1).permute(0, 3, 1, 2)


# A network, and what a user of grad-cam must know about it
CASES: list[tuple[str, str, str, Callable[[Tensor], Tensor] | None, dict[str, object]]] = [
    ("timm", "resnet18", "layer4", None, {}),
    ("timm", "mobilenetv2_050", "bn2", None, {}),
    # An in-place ReLU follows, which would overwrite what grad-cam keeps.
    ("torchvision", "densenet121", "features", torch.clone, {}),
    ("timm", "convnext_atto", "stages", None, {}),
    ("timm", "swin_tiny_patch4_window7_224", "norm", channels_last, {"depths": (2, 2, 1, 1)}),
    ("timm", "vit_tiny_patch16_224", "blocks.3.norm1", tokens(1), {"depth": 4}),  # pools its class token
    ("timm", "deit_tiny_distilled_patch16_224", "blocks.3.norm1", tokens(2), {"depth": 4}),
    ("timm", "test_vit4", "blocks", tokens(1), {}),  # pools its patch tokens
]


def build(library: str, name: str, options: dict[str, object]) -> tuple[nn.Module, FeatureMap]:
    """With larger weights where heads and scales of branches begin near zero, as if it were trained."""
    torch.manual_seed(0)
    model = ModelConfig(Library[library], name, pretrained=False, options=options)
    backbone = build_backbone(model, SIZE)
    for name, parameter in backbone.network.named_parameters():
        if name.endswith("gamma") or any(name.startswith(f"{head}.") for head in backbone.heads):
            nn.init.normal_(parameter)
    backbone.network.train()(smooth_images(8, SIZE, seed=1))  # running statistics unlike those of a new BatchNorm
    found = find_feature_map(backbone.network, SIZE, backbone.heads)
    return backbone.network.eval(), replace(found, centres=None)  # grad-cam takes cells for even parts of the image


@pytest.mark.parametrize(("library", "name", "layer", "to_nchw", "options"), CASES, ids=[case[1] for case in CASES])
def test_grad_cam_agrees_with_the_package_grad_cam(library, name, layer, to_nchw, options) -> None:
    network, feature_map = build(library, name, options)
    inputs, classes = smooth_images(4, SIZE), [0, 1, 1, 0]
    assert feature_map.layer == layer
    own = attribute(network, inputs, [Method.grad_cam], feature_map, torch.tensor(classes)).maps[Method.grad_cam]

    def difference(of: int) -> Callable[[Tensor], Tensor]:
        return lambda logits: logits[of] - logits[1 - of]

    targets = [difference(one) for one in classes]
    layers = [network.get_submodule(layer)]
    with GradCAM(network, layers, reshape_transform=to_nchw) as package:
        published = package(inputs, targets)  # ReLU, each map from 0 to 1, enlarged
        seen = package.activations_and_grads
        signed = package.get_cam_image(
            inputs, layers[0], targets, seen.activations[0].numpy(), seen.gradients[0].numpy()
        )
    assert signed.shape[1:] == feature_map.grid
    peaks = np.abs(signed).max(axis=(1, 2), keepdims=True)
    assert ((signed > 0.01 * peaks).any(axis=(1, 2)) & (signed.std(axis=(1, 2)) > 0.01 * peaks[:, 0, 0])).sum() >= 2
    enlarged = np.stack([cv2.resize(one, SIZE[::-1]) for one in signed])
    np.testing.assert_allclose(own.numpy() / peaks, enlarged / peaks, rtol=0, atol=1e-4)
    positive = scale_cam_image(scale_cam_image(np.maximum(signed, 0), SIZE[::-1]))
    np.testing.assert_allclose(positive, published, rtol=0, atol=1e-4)
    assert (published.max(axis=(1, 2)) > 0).sum() >= 2
