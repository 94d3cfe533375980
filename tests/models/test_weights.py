import os
import pickle
from pathlib import Path

import pytest
import timm
import torch
import torchvision
from safetensors.torch import save_file
from timm.layers import resample_abs_pos_embed
from torch import Tensor, nn

from gender_cls.config.model import Library, ModelConfig
from gender_cls.errors import GenderClsError
from gender_cls.models.backbones import build_backbone
from gender_cls.models.custom_cnn import CustomCNN
from gender_cls.models.weights import load_weights, read_weights

SHARED = Path(__file__).parents[3] / "shared" / "weights"


def small(classes: int = 2) -> CustomCNN:
    return CustomCNN(classes, widths=(4, 8))


def fit(target: nn.Module, state: dict[str, Tensor], head: str = "head") -> None:
    load_weights(target, state, (head,), source="FILE", title="TITLE")


def assert_same(left: nn.Module, right: nn.Module) -> None:
    torch.testing.assert_close(left.state_dict(), right.state_dict(), rtol=0, atol=0)


@pytest.mark.parametrize("prefix", ["", "module.", "model.", "network.", "_orig_mod.", "network._orig_mod."])
@pytest.mark.parametrize("wrapper", ["", "model", "model_ema", "state_dict", "state_dict_ema"])
def test_wrapped_and_prefixed_state_dicts_load_completely(tmp_path, wrapper, prefix) -> None:
    source, target = small(), small()
    state = {prefix + key: value for key, value in source.state_dict().items()}
    torch.save({wrapper: state, "epoch": 3} if wrapper else state, tmp_path / "weights.pth")
    fit(target, read_weights(tmp_path / "weights.pth"))
    assert_same(target, source)


def test_other_modules_of_a_checkpoint_of_this_project_are_left_out() -> None:
    source, target = small(), small()
    state = {f"network.{key}": value for key, value in source.state_dict().items()}
    fit(target, state | {"train_metrics.accuracy.tp": torch.tensor(3)})
    assert_same(target, source)


def test_averaged_weights_go_before_raw_ones(tmp_path) -> None:
    torch.save({"state_dict": {"a": torch.zeros(1)}, "state_dict_ema": {"a": torch.ones(1)}}, tmp_path / "two.pth.tar")
    assert read_weights(tmp_path / "two.pth.tar") == {"a": torch.ones(1)}


def test_safetensors_are_read(tmp_path) -> None:
    save_file({"a": torch.ones(1)}, tmp_path / "weights.safetensors")
    assert read_weights(tmp_path / "weights.safetensors") == {"a": torch.ones(1)}


def googlenet(classes: int) -> nn.Module:
    """With its auxiliary heads for a thousand classes only."""
    return torchvision.models.googlenet(
        weights=None, init_weights=False, aux_logits=classes == 1000, num_classes=classes
    )


def mnasnet(classes: int) -> nn.Module:
    """A network whose state has a version."""
    return torchvision.models.mnasnet0_5(num_classes=classes)


@pytest.mark.parametrize(("make", "head"), [(small, "head"), (googlenet, "fc"), (mnasnet, "classifier.1")])
def test_all_but_heads_of_other_classes_is_loaded(make, head) -> None:
    source, target = make(1000).state_dict(), make(2)
    own = {key: value.clone() for key, value in target.state_dict().items() if key.startswith(f"{head}.")}
    fit(target, source, head)
    for key, value in target.state_dict().items():
        assert torch.equal(value, own[key] if key in own else source[key]), key


def test_missing_batch_counts_are_harmless() -> None:
    source, target = small(), small()
    fit(target, {key: value for key, value in source.state_dict().items() if not key.endswith("num_batches_tracked")})
    assert_same(target, source)


def test_a_state_that_does_not_fit_is_refused_with_its_keys_and_nothing_is_loaded() -> None:
    source, target = small().state_dict(), small()
    before = {key: value.clone() for key, value in target.state_dict().items()}
    del source["stages.0.0.0.weight"]
    source["extra.weight"] = torch.zeros(3)
    source["stages.0.1.1.bias"] = torch.zeros(7)
    with pytest.raises(GenderClsError) as caught:
        fit(target, source)
    missing, unexpected, shapes, way_out = str(caught.value).split("; ")
    assert missing == "FILE does not fit TITLE: 1 missing (stages.0.0.0.weight)"
    assert unexpected == "1 unexpected (extra.weight)"
    assert shapes == "1 of another shape (stages.0.1.1.bias (7,) instead of (4,))"
    assert "model.name" in way_out
    torch.testing.assert_close(dict(target.state_dict()), before, rtol=0, atol=0)


def test_the_refusal_of_another_model_lists_five_keys() -> None:
    with pytest.raises(GenderClsError, match=r"20 missing \(.* and 15 more\); 16 unexpected \(.* 11 more\)") as caught:
        fit(small(), torchvision.models.alexnet(num_classes=2).state_dict())
    assert str(caught.value).count("stages.") == 5


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("missing.pth", None, r"missing\.pth does not exist: set model\.weights"),
        ("garbage.pth", b"these are no weights", "garbage.pth cannot be read"),
        ("empty.pth", b"", "empty.pth holds no weights, because it is empty"),
        ("zip.pt", b"PK\x03\x04 and then nothing", "zip.pt holds no weights, because its end is missing"),
        ("code.pth", pickle.dumps({"a": os.system}, protocol=2), "code.pth holds pickled Python objects"),
        (
            "garbage.safetensors",
            b"these are no weights",
            "garbage.safetensors holds no weights, because it has no header",
        ),
        ("nothing.pth", {}, "nothing.pth holds no tensors"),
        ("number.pth", {"epoch": 3}, "number.pth holds no tensors"),
        ("list.pth", [torch.zeros(3)], "list.pth holds no tensors"),
        ("name.pth", {"model": "resnet18"}, "name.pth holds no tensors"),
    ],
)
def test_files_without_weights_are_refused(tmp_path, name, content, words) -> None:
    if isinstance(content, bytes):
        (tmp_path / name).write_bytes(content)
    elif content is not None:
        torch.save(content, tmp_path / name)
    with pytest.raises(GenderClsError, match=words) as caught:
        read_weights(tmp_path / name)
    assert "\n" not in str(caught.value)


def test_position_embeddings_of_another_grid_are_resampled_as_timm_does() -> None:
    source = timm.create_model("test_vit", num_classes=1000)  # 160x160 pixels: 10x10 patches
    target = timm.create_model("test_vit", num_classes=2, img_size=(256, 128))
    fit(target, source.state_dict())
    torch.testing.assert_close(target.pos_embed, resample_abs_pos_embed(source.pos_embed, [16, 8]))
    assert torch.equal(target.blocks[1].mlp.fc1.weight, source.blocks[1].mlp.fc1.weight)


def test_position_embeddings_of_torchvision_are_resampled() -> None:
    tiny = {"patch_size": 16, "num_layers": 1, "num_heads": 2, "hidden_dim": 8, "mlp_dim": 8}
    source = torchvision.models.VisionTransformer(image_size=32, **tiny)
    target = torchvision.models.VisionTransformer(image_size=64, num_classes=2, **tiny)
    nn.init.ones_(source.encoder.pos_embedding)
    fit(target, source.state_dict(), "heads.head")
    torch.testing.assert_close(target.encoder.pos_embedding, torch.ones(1, 1 + 4 * 4, 8))


def test_densenet_files_of_torchvision_keep_their_old_names() -> None:
    tiny = {"growth_rate": 2, "block_config": (1, 1), "num_init_features": 4}
    source, target = torchvision.models.DenseNet(**tiny), torchvision.models.DenseNet(**tiny)
    old = {
        key.replace("norm1.", "norm.1.").replace("conv1.", "conv.1.") if "denselayer" in key else key: value
        for key, value in source.state_dict().items()
    }
    assert old.keys() != target.state_dict().keys()
    fit(target, old, "classifier")
    assert_same(target, source)


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs ../shared/weights")
@pytest.mark.parametrize(("library", "name"), [("timm", "mobilenetv2_100"), ("torchvision", "mobilenet_v2")])
def test_real_imagenet_weights_arrive_in_every_layer(library, name) -> None:
    file = SHARED / f"{name}_imagenet_{library}.pth"
    backbone = build_backbone(ModelConfig(Library[library], name, weights=str(file)), (64, 32))
    saved, loaded = torch.load(file, weights_only=True), backbone.network.state_dict()
    assert saved.keys() == loaded.keys()
    differing = {key for key in saved if not torch.equal(saved[key], loaded[key])}
    assert differing == {f"{backbone.heads[0]}.weight", f"{backbone.heads[0]}.bias"}
