from dataclasses import replace

import pytest
import torch
from helpers.network_state import network_state
from torch import Tensor, nn

from gender_cls.config.model import Library, ModelConfig
from gender_cls.errors import GenderClsError
from gender_cls.models.backbones import Backbone, build_backbone
from gender_cls.models.feature_map import FeatureMap, find_feature_map

SIZE = (128, 64)


def build(library: str, name: str, size: tuple[int, int] = SIZE, **options) -> Backbone:
    return build_backbone(ModelConfig(Library[library], name, pretrained=False, options=options), size)


def find(library: str, name: str, size: tuple[int, int] = SIZE, layer: str | None = None, **options) -> FeatureMap:
    backbone = build(library, name, size, **options)
    return find_feature_map(backbone.network, size, backbone.heads, layer)


@pytest.mark.parametrize("layout", ["NCHW", "NHWC", "tokens"])
def test_layouts_are_read_row_by_row_and_written_back(layout) -> None:
    nchw = torch.arange(1, 121.0).reshape(2, 3, 4, 5)
    prefix = torch.full((2, 2, 3), -1.0)
    activation = {
        "NCHW": nchw.clone(),
        "NHWC": nchw.permute(0, 2, 3, 1).contiguous(),
        "tokens": torch.cat([prefix, torch.stack([nchw[:, :, i // 5, i % 5] for i in range(20)], dim=1)], dim=1),
    }[layout]
    feature_map = FeatureMap("layer", layout, (4, 5), prefix_tokens=2 if layout == "tokens" else 0)
    seen = feature_map.to_nchw(activation.requires_grad_())
    assert torch.equal(seen, nchw)
    written = feature_map.from_nchw(seen, activation)
    assert torch.equal(written, activation)
    (gradient,) = torch.autograd.grad(written.sum(), seen, retain_graph=True)
    assert torch.equal(gradient, torch.ones_like(seen))
    written.neg_()  # as an in-place ReLU behind the layer writes
    assert torch.equal(seen, nchw)


@pytest.mark.parametrize(
    ("model", "layer", "layout", "grid", "prefix_tokens"),
    [
        ("custom/custom_cnn", "stages", "NCHW", (8, 4), 0),
        ("timm/resnet18", "layer4", "NCHW", (4, 2), 0),
        ("timm/mobilenetv2_100", "bn2", "NCHW", (4, 2), 0),  # the 1280 channels after conv_head, not the 320 before
        ("timm/mobilenetv4_conv_small", "blocks", "NCHW", (4, 2), 0),
        ("timm/efficientnet_b0", "bn2", "NCHW", (4, 2), 0),
        ("timm/convnext_atto", "stages", "NCHW", (4, 2), 0),
        ("timm/densenet121", "features", "NCHW", (4, 2), 0),
        ("timm/repvgg_a0", "stages", "NCHW", (4, 2), 0),
        ("timm/regnety_002", "s4", "NCHW", (4, 2), 0),
        ("timm/mobilevit_xxs", "final_conv", "NCHW", (4, 2), 0),
        ("timm/test_mambaout", "stages", "NHWC", (4, 2), 0),
        ("timm/swin_tiny_patch4_window7_224", "norm", "NHWC", (4, 2), 0),
        ("timm/test_vit", "blocks.5.norm1", "tokens", (8, 4), 1),
        ("timm/test_vit4", "blocks", "tokens", (8, 4), 1),  # pools its patch tokens
        ("timm/deit_tiny_distilled_patch16_224", "blocks.11.norm1", "tokens", (8, 4), 2),
        ("timm/vit_small_patch16_dinov3_qkvb", "norm", "tokens", (8, 4), 5),
        ("timm/pit_ti_distilled_224", "transformers.2.blocks.3.norm1", "tokens", (4, 2), 2),
        ("timm/cait_xxs24_224", "blocks_token_only.1.norm1", "tokens", (8, 4), 1),
        ("timm/gmlp_ti16_224", "norm", "tokens", (8, 4), 0),
        ("torchvision/resnet18", "layer4", "NCHW", (4, 2), 0),
        ("torchvision/mobilenet_v2", "features", "NCHW", (4, 2), 0),
        ("torchvision/mobilenet_v3_small", "features", "NCHW", (4, 2), 0),
        ("torchvision/densenet121", "features", "NCHW", (4, 2), 0),
        ("torchvision/squeezenet1_1", "features", "NCHW", (7, 3), 0),  # its head is a convolution on the same grid
        ("torchvision/googlenet", "inception5b", "NCHW", (4, 2), 0),
        ("torchvision/regnet_y_400mf", "trunk_output", "NCHW", (4, 2), 0),
        ("torchvision/shufflenet_v2_x0_5", "conv5", "NCHW", (4, 2), 0),
        ("torchvision/swin_t", "permute", "NCHW", (4, 2), 0),
    ],
)
def test_the_last_map_is_found(model, layer, layout, grid, prefix_tokens) -> None:
    found = find(*model.split("/"))
    assert replace(found, centres=None) == FeatureMap(layer, layout, grid, prefix_tokens)


def test_the_last_map_of_other_image_sizes() -> None:
    assert find("torchvision", "alexnet", (256, 128)).grid == (7, 3)  # its average pooling makes 6x6 of it
    vit = FeatureMap("encoder.layers.encoder_layer_11.ln_1", "tokens", (2, 2), 1)
    assert find("torchvision", "vit_b_32", (64, 64)) == vit


@pytest.mark.parametrize(
    ("name", "layer"), [("test_vit", "blocks.0.norm1"), ("test_mambaout", "stages.0"), ("test_convnext", "stages.0")]
)
def test_a_change_of_the_image_is_seen_where_it_was_made(name, layer) -> None:
    backbone = build("timm", name)
    network = backbone.network.eval()
    where, outputs = find_feature_map(network, SIZE, backbone.heads, layer), []
    network.get_submodule(layer).register_forward_hook(lambda _, __, output: outputs.append(where.to_nchw(output)))
    images = torch.randn(1, 3, *SIZE).repeat(2, 1, 1, 1)
    images[1, :, 80:96, 16:32] += 1  # rows 5/8 to 6/8 of the height, columns 1/4 to 2/4 of the width
    network(images)
    row, column = divmod(int((outputs[0][1] - outputs[0][0]).abs().sum(dim=0).argmax()), where.grid[1])
    assert 5 / 8 <= (row + 0.5) / where.grid[0] <= 6 / 8
    assert 1 / 4 <= (column + 0.5) / where.grid[1] <= 2 / 4


@pytest.mark.parametrize(
    ("library", "name", "layer"),
    [
        ("torchvision", "densenet121", None),  # an in-place ReLU follows
        ("timm", "test_vit", None),
        ("timm", "test_mambaout", None),
        ("timm", "test_convnext", "stages.3.blocks.0.mlp.fc1"),
    ],
)
def test_a_hook_can_read_and_rewrite_the_layer(library, name, layer) -> None:
    """As Grad-CAM does: logits and map stay as they were, and the logits have a gradient."""
    backbone = build(library, name)
    network = backbone.network.eval()
    feature_map = find_feature_map(network, SIZE, backbone.heads, layer)
    images = torch.randn(2, 3, *SIZE)
    expected = network(images)
    seen: list[Tensor] = []
    copies: list[Tensor] = []

    def rewrite(_: nn.Module, __: tuple[Tensor], output: Tensor) -> Tensor:
        seen.append(feature_map.to_nchw(output))
        copies.append(seen[0].detach().clone())
        return feature_map.from_nchw(seen[0], output)

    network.get_submodule(feature_map.layer).register_forward_hook(rewrite)
    logits = network(images)
    torch.testing.assert_close(logits, expected)
    assert seen[0].shape[2:] == feature_map.grid
    assert torch.equal(seen[0], copies[0])
    (gradient,) = torch.autograd.grad(logits[:, 0].sum(), seen[0])
    assert gradient.abs().amax(dim=(1, 2, 3)).gt(0).all()


@pytest.mark.parametrize(
    ("name", "layer", "words"),
    [
        ("test_resnet", "layer5", "layer5 is not a layer of this model; it has layer4, layer3, layer2"),
        (
            "test_resnet",
            "fc",
            r"shape \(1, 2\), which is not a map of images of 128x64 pixels: .* set model\.cam_layer",
        ),
        ("test_resnet", "global_pool.pool", r"shape \(1, 96, 1, 1\), which is not a map"),
        ("resnet18", "layer4.0.drop_path", "is not a layer of this model"),
        ("test_vit", "norm", r"cam_layer=norm .* no logit depends: .* set model\.cam_layer"),
        ("test_vit", "head_drop", r"shape \(1, 64\), which is not a map"),
        ("test_vit", "blocks.0.attn.q_norm", r"shape \(1, 2, 33, 32\), which is not a map"),
        ("coat_tiny", None, r"no last feature map .* 128x64 pixels: leave grad_cam out .* or set model\.cam_layer"),
    ],
)
def test_unsuitable_layers_are_refused_with_the_names_of_suitable_ones(name, layer, words) -> None:
    with pytest.raises(GenderClsError, match=words):
        find("timm", name, layer=layer)


def test_the_names_in_the_refusal_are_suitable() -> None:
    backbone = build("timm", "coat_tiny")
    with pytest.raises(GenderClsError) as caught:
        find_feature_map(backbone.network, SIZE, backbone.heads)
    names = str(caught.value).removesuffix(".").split(" such as ")[1].split(", ")
    assert len(names) == 3
    for name in names:
        assert find_feature_map(backbone.network, SIZE, backbone.heads, name).layer == name


def test_attention_weights_are_refused_even_on_a_grid_that_would_do(monkeypatch) -> None:
    """One window of 8x8 tokens: its weights (1, heads, 64, 64) could be a map of 256x256 pixels at stride 4."""
    monkeypatch.setattr("timm.layers.config._USE_FUSED_ATTN", 0)
    small = {"window_size": 8, "embed_dim": 8, "depths": [1, 1, 1, 1], "num_heads": [1, 1, 1, 1]}
    with pytest.raises(GenderClsError, match=r"gives shape \(1, 1, 64, 64\), which is not a map"):
        find("timm", "swin_tiny_patch4_window7_224", (256, 256), "layers.3.blocks.0.attn.softmax", **small)
    layer = "layers.3.blocks.0.attn.proj"
    assert find("timm", "swin_tiny_patch4_window7_224", (256, 256), layer, **small).grid == (8, 8)


def test_a_layer_that_runs_twice_is_refused() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem = nn.Conv2d(3, 4, 3, stride=2, padding=1)
            self.relu = nn.ReLU()
            self.idle = nn.ReLU()
            self.head = nn.Linear(4, 2)

        def forward(self, images: Tensor) -> Tensor:
            return self.head(self.relu(self.relu(self.stem(images))).mean(dim=(2, 3)))

    assert find_feature_map(Twice(), (8, 8), ["head"]).layer == "stem"
    with pytest.raises(GenderClsError, match=r"cam_layer=relu runs 2 times .* stem"):
        find_feature_map(Twice(), (8, 8), ["head"], "relu")
    with pytest.raises(GenderClsError, match=r"cam_layer=idle does not run"):
        find_feature_map(Twice(), (8, 8), ["head"], "idle")


def test_a_single_cell_is_no_map() -> None:
    with pytest.raises(GenderClsError, match="Grad-CAM finds no last feature map"):
        find_feature_map(nn.Sequential(nn.Conv2d(3, 4, 8), nn.Flatten(), nn.Linear(4, 2)), (8, 8), ["2"])


@pytest.mark.parametrize("layer", [None, "fc"])
def test_nothing_is_left_behind(layer) -> None:
    backbone = build("timm", "test_resnet")
    network = backbone.network.requires_grad_(False)
    network.train()
    network.layer2.eval()  # a frozen BatchNorm must stay so
    before = network_state(network)
    try:
        with torch.inference_mode():
            find_feature_map(network, SIZE, backbone.heads, layer)
    except GenderClsError:
        assert layer == "fc"
    assert network_state(network) == before


def test_half_precision_networks_are_read_too() -> None:
    backbone = build("custom", "custom_cnn")
    assert find_feature_map(backbone.network.to(torch.bfloat16), SIZE, backbone.heads).grid == (8, 4)
