"""Networks that keep tensors between passes, have two heads, or put channels last; bench_families.py tries them all."""

from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.classifiers import config_of, random_images
from helpers.family_walk import walk

from gender_cls.config.explain import Method
from gender_cls.config.model import Library, ModelConfig
from gender_cls.config.parsing import to_plain
from gender_cls.errors import GenderClsError
from gender_cls.explain.attribution import attribute, feature_map_for
from gender_cls.models.backbones import build_backbone
from gender_cls.system.resources import silence_lightning
from gender_cls.training.classifier import GenderClassifier

SAMPLE = [
    ("timm", "levit_128s", 128, {}),
    (
        "timm",
        "tiny_vit_5m_224",
        64,
        {"depths": [1, 1, 1, 1], "embed_dims": [16, 32, 48, 64], "num_heads": [1, 1, 2, 2]},
    ),
    ("timm", "efficientvit_m0", 128, {}),
    ("timm", "efficientformerv2_s0", 64, {"depths": [1, 1, 2, 2]}),
    ("timm", "deit_tiny_distilled_patch16_224", 64, {"depth": 2}),
    ("timm", "swin_tiny_patch4_window7_224", 64, {"depths": [1, 1, 1, 1], "embed_dim": 24}),
    ("torchvision", "shufflenet_v2_x0_5", 64, {}),
]


COAT = {
    "library": "timm", "name": "coat_tiny", "pretrained": False,
    "options": {"embed_dims": [64, 64, 64, 64], "serial_depths": [1, 1, 1, 1], "parallel_depth": 1},
}  # fmt: skip
"""The tokens of three scales are mixed at its end, so it has no last map."""


@pytest.mark.parametrize(("library", "name", "side", "options"), SAMPLE, ids=[name for _, name, _, _ in SAMPLE])
def test_a_family_goes_all_the_way(library: str, name: str, side: int, options: dict[str, Any], tmp_path: Path) -> None:
    silence_lightning()
    for _, work in walk(library, name, (side, side), tmp_path, **options):
        work()


def test_a_network_does_not_answer_with_what_it_kept_before_its_weights_changed() -> None:
    network = build_backbone(ModelConfig(Library.timm, "levit_128s", pretrained=False), (64, 64)).network.eval()
    image = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.nn.init.normal_(network.head.linear.weight)
        before = network(image)
        for name, weight in network.named_parameters():
            if name.endswith("attention_biases"):
                weight.normal_(generator=torch.Generator().manual_seed(0))
        assert not torch.allclose(network(image), before)


def test_saliency_needs_no_layer_for_grad_cam() -> None:
    classifier = GenderClassifier(to_plain(config_of(data={"image_size": [64, 64]}, model=COAT))).eval()
    with pytest.raises(GenderClsError, match=r"leave grad_cam out of explain\.methods"):
        feature_map_for([Method.saliency, Method.grad_cam], classifier)
    feature_map = feature_map_for([Method.saliency], classifier)
    inputs = classifier.normalise(random_images(1, (64, 64)))
    assert attribute(classifier.network, inputs, [Method.saliency], feature_map).maps[Method.saliency].isfinite().all()
