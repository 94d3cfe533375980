import re
from pathlib import Path

import pytest
import timm
import torch
from helpers.shipped_models import ANY_MODEL, SHIPPED, shipped
from torch import nn

from gender_cls.config.checks import check_config
from gender_cls.config.model import Library, ModelConfig
from gender_cls.config.parsing import CONFIG_FOLDER
from gender_cls.errors import GenderClsError
from gender_cls.models import backbones
from gender_cls.models.backbones import build_backbone
from gender_cls.models.custom_cnn import CustomCNN

SIZE = (64, 32)


def config(library: str, name: str, **settings) -> ModelConfig:
    return ModelConfig(library=Library[library], name=name, **{"pretrained": False, **settings})


def parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def test_the_custom_cnn_is_small_and_splits_as_timm_models_do() -> None:
    network = CustomCNN().eval()
    pairs = [(3, 32), (32, 32), (32, 64), (64, 64), (64, 128), (128, 128), (128, 256), (256, 256)]
    convolutions = sum(9 * before * after + 2 * after for before, after in pairs)  # with BatchNorm's scale and shift
    assert parameters(network) == convolutions + 256 * 2 + 2 == 1_173_730
    images = torch.randn(2, 3, 256, 128)
    features = network.forward_features(images)
    assert features.shape == (2, network.num_features, 16, 8)
    assert network.forward_features(images[:, :, :128, :64]).shape[2:] == (8, 4)
    torch.testing.assert_close(network(images), network.head(features.mean(dim=(2, 3))))


def test_the_custom_cnn_starts_with_kaiming_weights() -> None:
    convolution = CustomCNN().stages[3][1][0]  # 256 -> 256 channels
    assert convolution.weight.std().item() == pytest.approx((2 / (9 * 256)) ** 0.5, rel=0.01)


@pytest.mark.parametrize("name", SHIPPED)
def test_every_shipped_model_builds_at_the_default_size_with_the_parameters_its_comment_states(name) -> None:
    with torch.device("meta"):
        backbone = build_backbone(shipped(name), (256, 128), load=False)
        assert backbone.network.eval()(torch.zeros(1, 3, 256, 128)).shape == (1, 2)
    comment = (CONFIG_FOLDER / "model" / f"{name}.yaml").read_text()
    stated = re.search(r"([\d.]+) M parameters", comment)
    assert stated is not None
    assert parameters(backbone.network) / 1e6 == pytest.approx(float(stated[1]), abs=0.06)


@pytest.mark.parametrize("name", ANY_MODEL)
def test_a_configuration_for_any_model_asks_for_a_name(name) -> None:
    model = shipped(name)
    assert model.library.value == name
    with pytest.raises(GenderClsError, match=r"model\.name is not set"):
        check_config(model, "model.")


@pytest.mark.parametrize(
    ("library", "name", "heads"),
    [
        ("custom", "custom_cnn", ("head",)),
        ("timm", "resnet18", ("fc",)),
        ("timm", "convnext_atto", ("head.fc",)),
        ("timm", "deit_tiny_distilled_patch16_224", ("head", "head_dist")),
        ("timm", "levit_128s", ("head", "head_dist")),
        ("timm", "volo_d1_224", ("head", "aux_head")),
        ("torchvision", "resnet18", ("fc",)),
        ("torchvision", "mobilenet_v3_small", ("classifier.3",)),
        ("torchvision", "squeezenet1_1", ("classifier.1",)),
    ],
)
def test_the_heads_are_all_that_depends_on_the_number_of_classes(library, name, heads, monkeypatch) -> None:
    with torch.device("meta"):
        backbone = build_backbone(config(library, name), (224, 224))
        monkeypatch.setattr(backbones, "CLASSES", ("FEMALE", "MALE", "unknown"))
        three = build_backbone(config(library, name), (224, 224)).network.state_dict()
    two = backbone.network.state_dict()
    differing = {key for key, value in three.items() if value.shape != two[key].shape}
    assert backbone.heads == heads
    assert all(any(key.startswith(f"{head}.") for key in differing) for head in heads)
    assert all(any(key.startswith(f"{head}.") for head in heads) for key in differing)


@pytest.mark.parametrize(
    ("library", "name", "mean", "std"),
    [
        ("timm", "resnet18", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        ("timm", "vit_tiny_patch16_224", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
        ("torchvision", "mobilenet_v2", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        ("torchvision", "efficientnet_v2_l", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    ],
)
def test_mean_and_std_are_those_of_the_published_weights(library, name, mean, std) -> None:
    with torch.device("meta"):
        backbone = build_backbone(config(library, name), (224, 224))
    assert (backbone.mean, backbone.std) == (mean, std)


@pytest.mark.parametrize("name", ["googlenet", "inception_v3"])
def test_networks_with_auxiliary_heads_give_plain_logits_in_training(name) -> None:
    with torch.device("meta"):
        network = build_backbone(config("torchvision", name), (128, 128)).network
        assert network.training
        assert network(torch.zeros(2, 3, 128, 128)).shape == (2, 2)


def test_dropout_reaches_each_library() -> None:
    assert build_backbone(config("custom", "custom_cnn", dropout=0.3), SIZE).network.dropout.p == 0.3
    assert build_backbone(config("timm", "resnet18", dropout=0.3), SIZE).network.drop_rate == 0.3
    mobilenet = build_backbone(config("torchvision", "mobilenet_v2", dropout=0.3), SIZE).network
    [dropout] = [module for module in mobilenet.modules() if isinstance(module, nn.Dropout)]  # its own, not a second
    assert dropout.p == 0.3


def test_dropout_before_a_bare_head_leaves_the_keys_alone() -> None:
    plain = build_backbone(config("torchvision", "shufflenet_v2_x0_5"), SIZE).network
    dropped = build_backbone(config("torchvision", "shufflenet_v2_x0_5", dropout=0.5), SIZE).network
    assert dropped.state_dict().keys() == plain.state_dict().keys()
    features = torch.ones(1, dropped.fc.in_features)
    dropped.load_state_dict(plain.state_dict())
    dropped.eval()
    torch.testing.assert_close(dropped.fc(features), plain.fc(features))
    dropped.train()
    torch.nn.init.ones_(dropped.fc.weight)
    torch.nn.init.zeros_(dropped.fc.bias)
    kept = dropped.fc(features)[0, 0] / 2  # survivors are doubled
    assert 0.4 * features.numel() < kept < 0.6 * features.numel()


def test_options_reach_the_constructor() -> None:
    network = build_backbone(config("custom", "custom_cnn", options={"widths": [8, 16]}), SIZE).network
    assert network.forward_features(torch.zeros(1, 3, *SIZE)).shape == (1, 16, 16, 8)
    tiny = build_backbone(config("timm", "test_vit", options={"depth": 2}), SIZE).network
    assert len(tiny.blocks) == 2


def test_a_vit_takes_the_shape_of_the_crops() -> None:
    network = build_backbone(config("timm", "test_vit"), (64, 32)).network
    assert network.pos_embed.shape[1] == 1 + 4 * 2


@pytest.mark.parametrize(
    ("model", "settings", "words"),
    [
        ("timm/resnet81", {}, r"model\.name=resnet81 .*model\.library=timm; it has resnet18"),
        ("timm/hf-hub:timm/resnet18", {}, "it has resnet18"),
        ("timm/resnet18.imagenet", {}, "weights that timm does not have; it has resnet18"),
        ("timm/tf_efficientnet_b0_ns", {}, r"set model\.name=tf_efficientnet_b0\.ns_jft_in1k"),
        ("torchvision/mobilenetv2", {}, r"model\.library=torchvision; it has mobilenet_v2"),
        ("torchvision/fcn_resnet50", {}, r"no model of model\.library=torchvision"),
        ("custom/resnet18", {}, r"no model of model\.library=custom; timm has it: set model\.library=timm"),
        ("custom/own_cnn", {}, r"no model of model\.library=custom; it has custom_cnn"),
        ("timm/mobilenet_v2", {}, r"torchvision has it: set model\.library=torchvision"),
        ("timm/mobilenetv2", {}, r"it has mobilenetv2_035"),
        ("timm/nonsense", {}, r"no model of model\.library=timm; it has 1,\d+ others"),
        ("timm/resnet18", {"options": {"depht": 1}}, r"timm/resnet18 .* model\.options={'depht': 1}: "),
        ("torchvision/alexnet", {"options": {"depht": 1}}, r"torchvision/alexnet .* model\.options="),
        ("custom/custom_cnn", {"options": {"depht": 1}}, r"custom/custom_cnn .* model\.options="),
        ("timm/resnet18", {"options": {"num_classes": 5}}, r"\(1, 5\) .*\(1, 2\)"),
        ("timm/resnet18", {"options": {"features_only": True}}, "timm/resnet18 has no classifier"),
        ("timm/test_vit", {"options": {"patch_size": 14}}, r"14x14 .*\[64,32\]: set data\.image_size=\[56,28\]"),
        ("timm/crossvit_tiny_240", {}, r"set data\.image_size=\[240,240\], which it was made for"),
        ("torchvision/vit_b_16", {}, r"square .*data\.image_size=\[224,224\]"),
        ("torchvision/inception_v3", {}, r"torchvision/inception_v3 .* data\.image_size=\[64,32\]: "),
        ("timm/test_convnext2", {"pretrained": True}, "model.pretrained=false"),
    ],
)
def test_wrong_input_fails_with_one_sentence(model, settings, words, monkeypatch) -> None:
    monkeypatch.setattr("urllib.request.urlopen", _no_network)
    with pytest.raises(GenderClsError, match=words) as caught, torch.device("meta"):
        build_backbone(config(*model.split("/", 1), **settings), SIZE)
    assert str(caught.value).endswith(".")
    assert "\n" not in str(caught.value)


def test_a_model_without_published_weights_says_so() -> None:
    name = next(name for name in timm.list_models("vit_small*") if not timm.models.get_pretrained_cfg(name).has_weights)
    with pytest.raises(GenderClsError, match=rf"timm/{name} .*model\.pretrained=false"):
        build_backbone(config("timm", name, pretrained=True), SIZE)


def test_load_false_touches_neither_the_network_nor_the_weights_file(monkeypatch) -> None:
    monkeypatch.setattr("urllib.request.urlopen", _no_network)
    monkeypatch.setattr(backbones, "read_weights", _no_network)
    with torch.device("meta"):
        for library, name in (("timm", "resnet18"), ("torchvision", "resnet18")):
            build_backbone(config(library, name, pretrained=True), SIZE, load=False)
            build_backbone(config(library, name, weights="gone.pth"), SIZE, load=False)


def test_a_local_file_wins_over_the_download(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("urllib.request.urlopen", _no_network)
    weights = tmp_path / "resnet.pth"
    saved = timm.create_model("test_resnet", num_classes=2).state_dict()
    torch.save(saved, weights)
    network = build_backbone(config("timm", "test_resnet", pretrained=True, weights=str(weights)), SIZE).network
    assert torch.equal(network.state_dict()["fc.weight"], saved["fc.weight"])


def _no_network(*_, **__):
    raise ConnectionRefusedError("refused by the test")


@pytest.mark.parametrize(
    ("library", "name"),
    [("timm", "mobilenetv2_100"), ("timm", "deit_tiny_distilled_patch16_224"), ("torchvision", "squeezenet1_1")],
)
def test_a_new_head_starts_near_zero(library, name) -> None:
    backbone = build_backbone(config(library, name), (64, 64), load=False)
    for head in backbone.heads:
        for key, parameter in backbone.network.get_submodule(head).named_parameters():
            largest = parameter.abs().max()
            assert 0 < largest < 0.06 if key.endswith("weight") else largest == 0, (head, key)
