"""Frozen features against forward passes written out here, and what the cache keeps."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.crops import decode, write_crop

from gender_cls.config.data import DataConfig, ResizeMode
from gender_cls.config.model import Library, ModelConfig
from gender_cls.data.image_store import ImageSequence, ImageStore
from gender_cls.data.transforms import resize
from gender_cls.errors import GenderClsError
from gender_cls.models import backbones
from gender_cls.models.backbones import Backbone, build_backbone
from gender_cls.quality import features
from gender_cls.quality.features import frozen_features

SIZE = (32, 16)


def of(paths: list[Path]) -> ImageSequence:
    return ImageStore(Path("/")).at([str(path) for path in paths])


def settings(**changes) -> DataConfig:
    return DataConfig(**{"root": "", "image_size": list(SIZE), "batch_size": 4, "num_workers": 0, **changes})


@pytest.fixture
def crops(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / f"{index}.png" for index in range(7)]
    for index, path in enumerate(paths):
        write_crop(path, seed=index, size=(14 + index, 30 + index))
    return paths


@pytest.fixture
def model(tmp_path: Path) -> ModelConfig:
    """The custom network with weights in a file: two builds are the same network."""
    config = ModelConfig(library=Library.custom, name="custom_cnn", options={"widths": [4, 6]})
    torch.manual_seed(0)
    torch.save(build_backbone(config, SIZE).network.state_dict(), tmp_path / "weights.pth")
    config.weights = str(tmp_path / "weights.pth")
    return config


def normalised(paths: list[Path], backbone: Backbone, size: tuple[int, int] = SIZE) -> torch.Tensor:
    images = torch.stack([resize(decode(path), size, ResizeMode.stretch) for path in paths])
    mean, std = (torch.tensor(value)[:, None, None] for value in (backbone.mean, backbone.std))
    return (images / 255 - mean) / std


def test_features_are_means_of_four_strips_of_the_last_map(
    crops: list[Path], model: ModelConfig, tmp_path: Path
) -> None:
    found = frozen_features(of(crops), settings(), model, tmp_path / "cache")
    backbone = build_backbone(model, SIZE)
    with torch.no_grad():
        maps = backbone.network.eval().forward_features(normalised(crops, backbone))
    assert maps.shape == (7, 6, 8, 4)
    assert found.shape == (7, 24)
    assert found.dtype == np.float16
    for strip in range(4):
        expected = maps[:, :, 2 * strip : 2 * strip + 2].mean(dim=(2, 3))
        np.testing.assert_allclose(found[:, strip::4], expected, rtol=2e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("library", "name", "width"),
    [
        ("timm", "test_vit", 64),
        ("timm", "test_resnet", 4 * 96),
        ("timm", "swin_tiny_patch4_window7_224", 4 * 768),  # channels last
        ("timm", "deit_tiny_distilled_patch16_224", 192),
        ("torchvision", "squeezenet1_1", 4 * 512),
        ("torchvision", "resnet18", 4 * 512),
    ],
)
def test_any_backbone_gives_features(crops: list[Path], tmp_path: Path, library: str, name: str, width: int) -> None:
    config = ModelConfig(library=Library[library], name=name, pretrained=False)
    found = frozen_features(of(crops[:3]), settings(image_size=[64, 32]), config, tmp_path)
    assert found.shape == (3, width)
    assert np.isfinite(found).all()
    assert found.std(axis=0).max() > 0


def test_features_of_a_transformer_are_what_its_head_is_given(crops: list[Path], tmp_path: Path) -> None:
    config = ModelConfig(library=Library.timm, name="test_vit", pretrained=False)
    torch.manual_seed(0)
    backbone = build_backbone(config, (64, 32))
    with torch.no_grad():
        network = backbone.network.eval()
        expected = network.forward_head(
            network.forward_features(normalised(crops, backbone, (64, 32))), pre_logits=True
        )
    found = frozen_features(of(crops), settings(image_size=[64, 32]), config, tmp_path)
    np.testing.assert_allclose(found, expected, rtol=2e-3, atol=1e-3)


def test_without_a_feature_map_the_input_of_the_head_does(
    crops: list[Path], model: ModelConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nothing(*_):
        raise GenderClsError("Grad-CAM finds no last feature map.")

    strips = frozen_features(of(crops), settings(), model, tmp_path / "strips")
    monkeypatch.setattr(features, "find_feature_map", nothing)
    found = frozen_features(of(crops), settings(), model, tmp_path / "head")
    np.testing.assert_allclose(found, strips.reshape(7, 6, 4).astype(float).mean(axis=2), rtol=2e-3, atol=1e-4)


def test_random_weights_are_those_of_the_features_that_were_kept(crops: list[Path], tmp_path: Path) -> None:
    config = ModelConfig(library=Library.custom, name="custom_cnn", options={"widths": [4, 6]}, pretrained=False)
    found = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        found.append(frozen_features(of(crops), settings(), config, tmp_path / f"cache{seed}"))
    assert (found[0] == found[1]).all()


def test_tokens_and_maps_are_averaged() -> None:
    tokens = torch.arange(12.0).view(1, 3, 4)
    assert features._flat(tokens).tolist() == [[4, 5, 6, 7]]
    assert features._flat(torch.arange(8.0).view(1, 2, 2, 2)).tolist() == [[1.5, 5.5]]
    assert features._flat(tokens[:, 0]).tolist() == [[0, 1, 2, 3]]


def test_numbers_too_large_for_two_bytes_stay_finite(
    crops: list[Path], model: ModelConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backbone = build_backbone(model, SIZE)
    torch.nn.init.constant_(backbone.network.stages[1][1][1].weight, 1e7)  # the last BatchNorm
    monkeypatch.setattr(features, "build_backbone", lambda *_: backbone)
    found = frozen_features(of(crops), settings(), model, tmp_path / "cache")
    assert found.max() == np.finfo(np.float16).max


def test_chunks_are_kept_and_only_changed_ones_computed_again(
    crops: list[Path], model: ModelConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(features, "IMAGES_PER_FILE", 3)
    cache = tmp_path / "cache"
    asked = []
    keep = features._keep
    monkeypatch.setattr(features, "_keep", lambda file, found: asked.append(len(found)) or keep(file, found))
    first = frozen_features(of(crops), settings(), model, cache)
    assert asked == [3, 3, 1]
    assert sorted(path.suffix for path in cache.iterdir()) == [".npy"] * 3  # no temporary file is left
    monkeypatch.setattr(features, "build_backbone", lambda *_: pytest.fail("nothing is missing"))
    np.testing.assert_array_equal(frozen_features(of(crops), settings(), model, cache), first)
    monkeypatch.setattr(features, "build_backbone", backbones.build_backbone)
    write_crop(crops[4], seed=99)
    second = frozen_features(of(crops), settings(), model, cache)
    assert asked == [3, 3, 1, 3]
    assert [bool((row != old).any()) for row, old in zip(second, first, strict=True)] == [
        index == 4 for index in range(7)
    ]


def test_whatever_changes_the_features_changes_their_name(crops: list[Path], model: ModelConfig) -> None:
    name = features._key(of(crops), settings(), model)
    assert features._key(of(crops), settings(batch_size=2, num_workers=3), model) == name
    others = [
        features._key(of(crops[:-1]), settings(), model),
        features._key(of(crops[::-1]), settings(), model),
        features._key(of(crops), settings(image_size=[16, 32]), model),
        features._key(of(crops), settings(resize_mode=ResizeMode.letterbox), model),
        features._key(of(crops), settings(), ModelConfig(**{**vars(model), "options": {"widths": [4, 8]}})),
    ]
    state = os.stat(str(model.weights))
    os.utime(str(model.weights), ns=(state.st_atime_ns, state.st_mtime_ns + 1))
    others.append(features._key(of(crops), settings(), model))
    assert len({name, *others}) == 1 + len(others) == 7


def test_a_crash_keeps_the_chunks_before_it(
    crops: list[Path], model: ModelConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(features, "IMAGES_PER_FILE", 3)
    crops[5].write_bytes(b"no picture")
    with pytest.raises(GenderClsError, match=r"Cannot read .*5\.png"):
        frozen_features(of(crops), settings(), model, tmp_path / "cache")
    assert len(list((tmp_path / "cache").iterdir())) == 1


def test_a_network_is_left_without_hooks(crops: list[Path], model: ModelConfig, tmp_path: Path, monkeypatch) -> None:
    built: list[Backbone] = []
    monkeypatch.setattr(features, "build_backbone", lambda *a: built.append(build_backbone(*a)) or built[0])
    frozen_features(of(crops), settings(), model, tmp_path / "cache")
    modules = list(built[0].network.modules())
    assert not any(module._forward_pre_hooks or module._forward_hooks for module in modules)


def test_a_head_that_is_not_called_is_an_error(
    crops: list[Path], model: ModelConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backbone = build_backbone(model, SIZE)
    backbone.network.unused = torch.nn.Linear(6, 2)
    backbone.heads = ("unused",)
    monkeypatch.setattr(features, "build_backbone", lambda *_: backbone)
    with pytest.raises(GenderClsError, match="custom/custom_cnn gives no features: its head unused is not called once"):
        frozen_features(of(crops), settings(), model, tmp_path / "cache")


def test_a_full_disk_is_told(crops: list[Path], model: ModelConfig, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("in the way")
    with pytest.raises(
        GenderClsError, match=r"cache cannot keep features \(.*\): make room, or set audit\.suspects=false"
    ):
        frozen_features(of(crops), settings(), model, tmp_path / "cache")
