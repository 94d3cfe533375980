"""Features against forward passes written out here, and what the cache keeps."""

import os
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from helpers.crops import decode, resize, write_crop

from gender_cls.config.data import DataConfig, ResizeMode
from gender_cls.config.model import Library, ModelConfig
from gender_cls.data.image_store import ImageStore
from gender_cls.errors import GenderClsError
from gender_cls.models.backbones import Backbone, build_backbone
from gender_cls.quality import features
from gender_cls.quality.features import backbone_features

SIZE = (32, 16)


def features_of(paths: list[Path], model: ModelConfig, cache: Path, **changes) -> np.ndarray:
    data = DataConfig(**{"root": "", "image_size": list(SIZE), "batch_size": 4, "num_workers": 0, **changes})
    return backbone_features(ImageStore(Path("/")), [str(path) for path in paths], data, model, cache)


@pytest.fixture
def crops(tmp_path: Path) -> list[Path]:
    for index in range(7):
        write_crop(tmp_path / f"{index}.png", seed=index, size=(14 + index, 30 + index))
    return sorted(tmp_path.glob("?.png"))


@pytest.fixture
def model(tmp_path: Path) -> ModelConfig:
    """The custom network with weights in a file: two builds are the same network."""
    config = ModelConfig(library=Library.custom, name="custom_cnn", options={"widths": [4, 6]})
    torch.manual_seed(0)
    torch.save(build_backbone(config, SIZE).network.state_dict(), tmp_path / "weights.pth")
    config.weights = str(tmp_path / "weights.pth")
    return config


@pytest.fixture
def built(model: ModelConfig, monkeypatch: pytest.MonkeyPatch) -> Backbone:
    """The backbone that the features come from, to be looked at or changed."""
    backbone = build_backbone(model, SIZE)
    monkeypatch.setattr(features, "build_backbone", lambda *_, **__: backbone)
    return backbone


def normalised(paths: list[Path], backbone: Backbone, size: tuple[int, int] = SIZE) -> torch.Tensor:
    images = torch.stack([resize(decode(path), size, ResizeMode.stretch) for path in paths])
    mean, std = (torch.tensor(value)[:, None, None] for value in (backbone.mean, backbone.std))
    return (images / 255 - mean) / std


def test_features_are_means_of_four_strips_of_the_last_map(crops, model, tmp_path) -> None:
    found = features_of(crops, model, tmp_path / "cache")
    backbone = build_backbone(model, SIZE)
    with torch.no_grad():
        maps = backbone.network.eval().forward_features(normalised(crops, backbone))
    assert maps.shape == (7, 6, 8, 4)
    assert (found.shape, found.dtype) == ((7, 24), np.float16)
    for strip in range(4):
        expected = maps[:, :, 2 * strip : 2 * strip + 2].mean(dim=(2, 3))
        np.testing.assert_allclose(found[:, strip::4], expected, rtol=2e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("library", "name", "width"),
    [
        (Library.timm, "test_resnet", 4 * 96),
        (Library.timm, "swin_tiny_patch4_window7_224", 4 * 768),  # channels last
        (Library.timm, "deit_tiny_distilled_patch16_224", 192),
        (Library.torchvision, "squeezenet1_1", 4 * 512),
        (Library.torchvision, "resnet18", 4 * 512),
    ],
)
def test_any_backbone_gives_features(crops, tmp_path, library, name, width) -> None:
    config = ModelConfig(library=library, name=name, pretrained=False)
    found = features_of(crops[:3], config, tmp_path, image_size=[64, 32])
    assert found.shape == (3, width)
    assert np.isfinite(found).all()
    assert found.std(axis=0).max() > 0


def test_features_of_a_transformer_are_the_input_of_its_head(crops, tmp_path) -> None:
    config = ModelConfig(library=Library.timm, name="test_vit", pretrained=False)
    torch.manual_seed(0)
    backbone = build_backbone(config, (64, 32))
    network = backbone.network.eval()
    with torch.no_grad():
        tokens = network.forward_features(normalised(crops, backbone, (64, 32)))
        expected = network.forward_head(tokens, pre_logits=True)
    found = features_of(crops, config, tmp_path, image_size=[64, 32])
    np.testing.assert_allclose(found, expected, rtol=2e-3, atol=1e-3)


@pytest.mark.parametrize("kind", ["vector", "tokens", "map"])
def test_no_feature_map_means_the_input_of_the_head(crops, model, built, tmp_path, monkeypatch, kind) -> None:
    strips = features_of(crops, model, tmp_path / "strips")
    monkeypatch.setattr(features, "find_feature_map", Mock(side_effect=GenderClsError("no last feature map")))
    if kind != "vector":
        network = built.network
        network.head = torch.nn.Flatten()
        to_head = (lambda maps: maps.flatten(2).transpose(1, 2)) if kind == "tokens" else (lambda maps: maps)
        network.forward = lambda images: network.head(to_head(network.forward_features(images)))
    found = features_of(crops, model, tmp_path / "head")
    np.testing.assert_allclose(found, strips.reshape(7, 6, 4).astype(float).mean(axis=2), rtol=2e-3, atol=1e-4)


def test_random_weights_are_those_of_the_features_that_were_kept(crops, tmp_path) -> None:
    config = ModelConfig(library=Library.custom, name="custom_cnn", options={"widths": [4, 6]}, pretrained=False)
    torch.manual_seed(1)
    found = features_of(crops, config, tmp_path / "cache1")
    torch.manual_seed(2)
    assert (features_of(crops, config, tmp_path / "cache2") == found).all()


def test_numbers_too_large_for_two_bytes_stay_finite_and_no_hook_is_left(crops, model, built, tmp_path) -> None:
    torch.nn.init.constant_(built.network.stages[1][1][1].weight, 1e7)  # the last BatchNorm
    assert features_of(crops, model, tmp_path / "cache").max() == np.finfo(np.float16).max
    assert not any(module._forward_pre_hooks or module._forward_hooks for module in built.network.modules())


def test_only_chunks_with_a_changed_image_are_computed_again(crops, model, tmp_path, monkeypatch) -> None:
    def kept() -> set[str]:
        return {path.name for path in (tmp_path / "cache").iterdir()}

    monkeypatch.setattr(features, "IMAGES_PER_FILE", 3)
    first = features_of(crops, model, tmp_path / "cache")
    files = kept()
    assert [Path(name).suffix for name in files] == [".npy"] * 3  # no temporary file is left
    with monkeypatch.context() as patch:
        patch.setattr(features, "build_backbone", lambda *_, **__: pytest.fail("nothing is missing"))
        np.testing.assert_array_equal(features_of(crops, model, tmp_path / "cache"), first)
    write_crop(crops[4], seed=99)
    second = features_of(crops, model, tmp_path / "cache")
    assert len(kept() - files) == 1
    assert np.flatnonzero((second != first).any(axis=1)).tolist() == [4]


def test_everything_that_changes_the_features_makes_a_new_file(crops, model, tmp_path) -> None:
    def files_after(paths: list[Path] = crops, **changes) -> int:
        features_of(paths, model, tmp_path / "cache", **changes)
        return len(list((tmp_path / "cache").iterdir()))

    assert files_after() == files_after(batch_size=2) == 1
    assert files_after(crops[:-1]) == 2
    assert files_after(crops[::-1]) == 3
    assert files_after(image_size=[16, 32]) == 4
    assert files_after(resize_mode=ResizeMode.letterbox) == 5
    model.dropout = 0.5
    assert files_after() == 6
    state = os.stat(str(model.weights))
    os.utime(str(model.weights), ns=(state.st_atime_ns, state.st_mtime_ns + 1))
    assert files_after() == 7


def test_a_crash_keeps_the_chunks_before_it_and_a_full_disk_is_told(crops, model, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(features, "IMAGES_PER_FILE", 3)
    (tmp_path / "full").write_text("in the way")
    with pytest.raises(GenderClsError, match=r"full .*audit\.suspects=false"):
        features_of(crops, model, tmp_path / "full")
    crops[5].write_bytes(b"no image")
    with pytest.raises(GenderClsError, match=r"5\.png"):
        features_of(crops, model, tmp_path / "cache")
    assert len(list((tmp_path / "cache").iterdir())) == 1


def test_a_head_that_is_not_called_is_an_error(crops, model, built, tmp_path) -> None:
    built.network.unused = torch.nn.Linear(6, 2)
    built.heads = ("unused",)
    with pytest.raises(GenderClsError, match=r"custom/custom_cnn .* unused"):
        features_of(crops, model, tmp_path / "cache")
