import os
import pickle
import ssl
import time
import urllib.error
from pathlib import Path

import huggingface_hub
import pytest
import timm
import torch
import torchvision
from safetensors.torch import save_file
from timm.layers import resample_abs_pos_embed
from torch import nn

from gender_cls.config.model import Library, ModelConfig
from gender_cls.errors import GenderClsError
from gender_cls.models.backbones import build_backbone
from gender_cls.models.custom_cnn import CustomCNN
from gender_cls.models.pretrained import require_weights
from gender_cls.models.weights import fit_weights, load_weights

SHARED = Path(__file__).parents[3] / "shared" / "weights"
WIDTHS = (4, 8)
CLOSED_PORT = "http://127.0.0.1:9"


def network(classes: int = 2) -> CustomCNN:
    return CustomCNN(classes, widths=WIDTHS)


def load(target: nn.Module, content: object, path: Path, heads: tuple[str, ...] = ("head",)) -> nn.Module:
    torch.save(content, path)
    load_weights(target, path, heads, "custom/custom_cnn")
    return target


def assert_same(left: nn.Module, right: nn.Module) -> None:
    torch.testing.assert_close(left.state_dict(), right.state_dict(), rtol=0, atol=0)


@pytest.mark.parametrize("wrapper", [None, "state_dict", "model", "state_dict_ema", "model_ema"])
@pytest.mark.parametrize("prefix", ["", "module.", "model.", "network.", "_orig_mod.", "network._orig_mod."])
def test_wrapped_and_prefixed_state_dicts_load_completely(tmp_path, wrapper, prefix):
    source = network()
    state = {prefix + key: value for key, value in source.state_dict().items()}
    content = {wrapper: state, "epoch": 3} if wrapper else state
    assert_same(load(network(), content, tmp_path / "weights.pth"), source)


def test_a_checkpoint_of_this_project_loads(tmp_path):
    source = network()
    state = {f"network.{key}": value for key, value in source.state_dict().items()}
    state["train_metrics.accuracy.tp"] = torch.tensor(3)
    content = {"state_dict": state, "hyper_parameters": {"classes": ["FEMALE", "MALE"]}, "epoch": 4}
    assert_same(load(network(), content, tmp_path / "best.ckpt"), source)


def test_averaged_weights_go_before_raw_ones(tmp_path):
    raw, averaged = network(), network()
    content = {"state_dict": raw.state_dict(), "state_dict_ema": averaged.state_dict()}
    assert_same(load(network(), content, tmp_path / "weights.pth.tar"), averaged)


def test_safetensors_load(tmp_path):
    source = network()
    save_file(source.state_dict(), tmp_path / "weights.safetensors")
    target = network()
    load_weights(target, tmp_path / "weights.safetensors", ("head",), "custom/custom_cnn")
    assert_same(target, source)


def test_a_head_of_other_classes_is_left_out(tmp_path):
    source, target = network(1000), network()
    head = target.head.weight.clone()
    load(target, source.state_dict(), tmp_path / "weights.pth")
    assert torch.equal(target.head.weight, head)
    assert torch.equal(target.stages[1][1][0].weight, source.stages[1][1][0].weight)


def test_missing_batch_counts_are_harmless(tmp_path):
    source, target = network(), network()
    state = {key: value for key, value in source.state_dict().items() if not key.endswith("num_batches_tracked")}
    assert_same(load(target, state, tmp_path / "weights.pth"), source)


def test_a_file_that_does_not_fit_is_refused_and_nothing_is_loaded(tmp_path):
    source, target = network().state_dict(), network()
    before = {key: value.clone() for key, value in target.state_dict().items()}
    del source["stages.0.0.0.weight"]
    source["extra.weight"] = torch.zeros(3)
    source["stages.0.1.1.bias"] = torch.zeros(7)
    with pytest.raises(GenderClsError) as caught:
        load(target, source, tmp_path / "weights.pth")
    assert str(caught.value) == (
        f"{tmp_path / 'weights.pth'} does not fit custom/custom_cnn: 1 missing (stages.0.0.0.weight); "
        "1 unexpected (extra.weight); 1 of another shape (stages.0.1.1.bias (7,) instead of (4,)); "
        "set model.name to the model it was saved from."
    )
    torch.testing.assert_close(dict(target.state_dict()), before, rtol=0, atol=0)


def test_the_refusal_of_another_model_lists_five_keys(tmp_path):
    with pytest.raises(GenderClsError, match=r"20 missing \(.*, \.\.\.\); 16 unexpected \(.*, \.\.\.\)") as caught:
        load(network(), torchvision.models.alexnet(num_classes=2).state_dict(), tmp_path / "weights.pth")
    assert str(caught.value).count("stages.") == 5


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("garbage.pth", b"these are no weights", "garbage.pth is no readable PyTorch checkpoint: "),
        ("empty.pth", b"", "empty.pth is no readable PyTorch checkpoint: "),
        ("zip.pt", b"PK\x03\x04 and then nothing", "zip.pt is no readable PyTorch checkpoint: "),
        (
            "code.pth",
            pickle.dumps({"a": os.system}, protocol=2),
            "code.pth holds pickled Python objects, which could run",
        ),
        ("garbage.safetensors", b"these are no weights", "garbage.safetensors is no readable safetensors file: "),
    ],
)
def test_files_that_are_no_checkpoint(tmp_path, name, content, words):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(GenderClsError) as caught:
        load_weights(network(), tmp_path / name, ("head",), "custom/custom_cnn")
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [{}, {"epoch": 3}, [torch.zeros(3)], {"model": "resnet18"}])
def test_checkpoints_without_a_state_dict(tmp_path, content):
    with pytest.raises(GenderClsError, match="holds no state dict"):
        load(network(), content, tmp_path / "weights.pth")


def test_position_embeddings_of_another_grid_are_resampled_as_timm_does(tmp_path):
    source = timm.create_model("test_vit", num_classes=1000)  # 160x160 pixels: 10x10 patches
    target = timm.create_model("test_vit", num_classes=2, img_size=(256, 128))
    load(target, source.state_dict(), tmp_path / "vit.pth")
    torch.testing.assert_close(target.pos_embed, resample_abs_pos_embed(source.pos_embed, [16, 8]))
    assert torch.equal(target.blocks[1].mlp.fc1.weight, source.blocks[1].mlp.fc1.weight)


def test_position_embeddings_of_torchvision_are_resampled(tmp_path):
    tiny = {"patch_size": 16, "num_layers": 1, "num_heads": 2, "hidden_dim": 8, "mlp_dim": 8}
    source = torchvision.models.VisionTransformer(image_size=32, **tiny)
    target = torchvision.models.VisionTransformer(image_size=64, num_classes=2, **tiny)
    nn.init.ones_(source.encoder.pos_embedding)
    load(target, source.state_dict(), tmp_path / "vit.pth", heads=("heads.head",))
    torch.testing.assert_close(target.encoder.pos_embedding, torch.ones(1, 1 + 4 * 4, 8))


def test_densenet_files_of_torchvision_keep_their_old_names(tmp_path):
    source = torchvision.models.DenseNet(growth_rate=2, block_config=(1, 1), num_init_features=4)
    old = {
        key.replace("norm1.", "norm.1.").replace("conv1.", "conv.1.") if "denselayer" in key else key: value
        for key, value in source.state_dict().items()
    }
    target = torchvision.models.DenseNet(growth_rate=2, block_config=(1, 1), num_init_features=4)
    assert old.keys() != target.state_dict().keys()
    assert_same(load(target, old, tmp_path / "densenet.pth", heads=("classifier",)), source)


def test_auxiliary_heads_are_left_out():
    source = torchvision.models.googlenet(weights=None, init_weights=False, aux_logits=True).state_dict()
    target = torchvision.models.googlenet(weights=None, init_weights=False, aux_logits=False, num_classes=2)
    fit_weights(target, source, ("fc",), "googlenet.pth", "torchvision/googlenet")
    assert torch.equal(target.conv1.conv.weight, source["conv1.conv.weight"])


def test_the_versioned_mnasnet_loads():
    source = torchvision.models.mnasnet0_5(num_classes=1000)
    target = torchvision.models.mnasnet0_5(num_classes=2)
    fit_weights(target, dict(source.state_dict()), ("classifier.1",), "mnasnet.pth", "torchvision/mnasnet0_5")
    assert torch.equal(target.layers[0].weight, source.layers[0].weight)


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs ../shared/weights")
@pytest.mark.parametrize(
    ("library", "name", "file"),
    [
        ("timm", "mobilenetv2_100", "mobilenetv2_100_imagenet_timm.pth"),
        ("torchvision", "mobilenet_v2", "mobilenet_v2_imagenet_torchvision.pth"),
    ],
)
def test_real_imagenet_weights_arrive_in_every_layer(library, name, file):
    config = ModelConfig(library=Library[library], name=name, weights=str(SHARED / file))
    backbone = build_backbone(config, (64, 32))
    saved = torch.load(SHARED / file, weights_only=True)
    loaded = backbone.network.state_dict()
    assert saved.keys() == loaded.keys()
    differing = {key for key in saved if not torch.equal(saved[key], loaded[key])}
    assert differing == {f"{backbone.heads[0]}.weight", f"{backbone.heads[0]}.bias"}


@pytest.fixture
def empty_caches(tmp_path, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(
        huggingface_hub.constants, "HUGGINGFACE_CO_URL_TEMPLATE", f"{CLOSED_PORT}/{{repo_id}}/{{filename}}"
    )
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    return tmp_path


def pretrained(library: str, name: str) -> ModelConfig:
    return ModelConfig(library=Library[library], name=name, pretrained=True)


def test_an_unreachable_hub_is_reported_within_seconds(empty_caches):
    start = time.monotonic()
    with pytest.raises(GenderClsError) as caught:
        build_backbone(pretrained("timm", "test_resnet.r160_in1k"), (64, 32))
    assert time.monotonic() - start < 3
    message = str(caught.value)
    assert message.startswith(
        "The pretrained weights of timm/test_resnet.r160_in1k cannot be had from "
        f"{CLOSED_PORT}/timm/test_resnet.r160_in1k/config.json ("
    )
    assert message.endswith(
        "Connection refused): name a local file with model.weights=PATH, "
        "or start from random weights with model.pretrained=false."
    )


def test_the_hub_s_offline_switch_is_named(empty_caches, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(
        GenderClsError, match=r"timm/test_resnet.* \(HF_HUB_OFFLINE is set, and they are not in the local"
    ):
        build_backbone(pretrained("timm", "test_resnet"), (64, 32))


def test_torchvision_s_download_is_reported_too(empty_caches, monkeypatch):
    monkeypatch.setattr("urllib.request.urlopen", raising(urllib.error.URLError("no route to host")))
    with pytest.raises(GenderClsError, match=r"of torchvision/alexnet cannot be had from https://\S+ \(no route to"):
        build_backbone(pretrained("torchvision", "alexnet"), (64, 64))


def raising(error: Exception):
    def function(*_, **__):
        raise error

    return function


def http_error(code: int) -> urllib.error.HTTPError:
    return urllib.error.HTTPError("https://example.org", code, "said the server", None, None)


@pytest.mark.parametrize("error", [http_error(503), urllib.error.URLError("down"), TimeoutError("timed out")])
def test_what_counts_as_unreachable(empty_caches, monkeypatch, error):
    monkeypatch.setattr("urllib.request.urlopen", raising(error))
    with pytest.raises(GenderClsError, match=r"cannot be had from https://example\.org/a\.pth \("):
        require_weights("https://example.org/a.pth", "timm/a")


@pytest.mark.parametrize("error", [http_error(404), urllib.error.URLError(ssl.SSLError("no certificate"))])
def test_a_server_that_answers_leaves_the_verdict_to_the_loader(empty_caches, monkeypatch, error):
    monkeypatch.setattr("urllib.request.urlopen", raising(error))
    assert require_weights("https://example.org/a.pth", "timm/a") is None


@pytest.mark.parametrize(
    ("library", "loader"),
    [
        ("timm", "timm.models._builder.load_state_dict_from_hf"),
        ("torchvision", "torchvision.models.ResNet18_Weights.get_state_dict"),
    ],
)
def test_a_download_that_breaks_off_is_reported(empty_caches, monkeypatch, library, loader):
    monkeypatch.setattr("urllib.request.urlopen", raising(http_error(404)))
    monkeypatch.setattr(loader, raising(ConnectionResetError("reset by peer\n  and more.")))
    with pytest.raises(
        GenderClsError, match=rf"of {library}/resnet18 cannot be had from .* \(reset by peer and more\): n"
    ):
        build_backbone(pretrained(library, "resnet18"), (64, 32))


def test_timm_weights_come_from_the_hub_s_cache_without_a_network(empty_caches, monkeypatch):
    monkeypatch.setattr("urllib.request.urlopen", raising(AssertionError("asked the network")))
    source = timm.create_model("test_vit", num_classes=1000)
    repository = empty_caches / "hub" / "models--timm--test_vit.r160_in1k"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("0" * 40)
    (repository / "snapshots" / ("0" * 40)).mkdir(parents=True)
    save_file(source.state_dict(), repository / "snapshots" / ("0" * 40) / "model.safetensors")

    backbone = build_backbone(pretrained("timm", "test_vit"), (256, 128))
    torch.testing.assert_close(backbone.network.pos_embed, resample_abs_pos_embed(source.pos_embed, [16, 8]))
    assert torch.equal(backbone.network.blocks[2].attn.qkv.weight, source.blocks[2].attn.qkv.weight)
    assert backbone.network.head.weight.shape == (2, 64)


def test_torchvision_weights_come_from_torch_s_cache_without_a_network(empty_caches, monkeypatch):
    monkeypatch.setattr("urllib.request.urlopen", raising(AssertionError("asked the network")))
    source = torchvision.models.shufflenet_v2_x0_5()
    url = torchvision.models.ShuffleNet_V2_X0_5_Weights.DEFAULT.url
    checkpoints = empty_caches / "torch" / "hub" / "checkpoints"
    checkpoints.mkdir(parents=True)
    torch.save(source.state_dict(), checkpoints / url.rsplit("/", 1)[1])

    network = build_backbone(pretrained("torchvision", "shufflenet_v2_x0_5"), (64, 32)).network
    assert torch.equal(network.conv5[0].weight, source.conv5[0].weight)
    assert network.fc.weight.shape == (2, 1024)
