"""Settings of a small classifier, random batches, drawn crops, and a Trainer that prints nothing."""

from pathlib import Path
from typing import Any

import torch
from helpers.crops import PATTERN
from pytorch_lightning import Trainer
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from gender_cls.config.parsing import parse_config, to_plain
from gender_cls.config.train import Config
from gender_cls.data.datamodule import CropDataModule
from gender_cls.data.prepare import PreparedData, prepare_data
from gender_cls.training.trainer import build_trainer

TINY_CONVNEXT = {
    "library": "timm", "name": "convnext_atto", "pretrained": False,
    "options": {"depths": [1, 1, 1, 1], "dims": [8, 12, 16, 24]},
}  # fmt: skip
"""A network without BatchNorm."""

TINY_VIT = {
    "library": "timm", "name": "vit_tiny_patch16_224", "pretrained": False,
    "options": {"patch_size": 8, "depth": 1, "embed_dim": 12, "num_heads": 2, "qkv_bias": False},
}  # fmt: skip
"""Another one, for small images."""


def config_of(root: Path | str = "x", **sections: dict[str, Any]) -> Config:
    """A small configuration; `sections` change single keys of it, but replace the model as a whole."""
    least: dict[str, dict[str, Any]] = {
        "data": {"root": str(root), "pattern": PATTERN, "image_size": [32, 16], "batch_size": 8, "num_workers": 0},
        "model": {"library": "custom", "name": "custom_cnn", "options": {"widths": [4, 8]}},
        "trainer": {"max_epochs": 2, "accelerator": "cpu", "progress_bar": False},
        "explain": {"enabled": False},
    }
    model = sections.get("model", least["model"])
    merged = {key: {**least.get(key, {}), **sections.get(key, {})} for key in least | sections}
    return parse_config({**merged, "model": model}, Config)


def settings(**sections: dict[str, Any]) -> dict[str, Any]:
    """The same configuration as a checkpoint keeps it."""
    return to_plain(config_of(**sections))


def prepare(folders: Path, **data: Any) -> PreparedData:
    return prepare_data(config_of(folders, data=data).data, folders.parent / "cache")


def datamodule_of(prepared: PreparedData, config: Config, **options: Any) -> CropDataModule:
    numbers = {"batch_size": 8, "num_workers": 0, "accumulate": 1, **options}
    return CropDataModule(
        prepared.manifest, prepared.images, config.data, augment=config.augment, seed=config.seed, **numbers
    )


def random_images(count: int, size: tuple[int, int] = (32, 16), seed: int = 0) -> Tensor:
    return torch.randint(0, 256, (count, 3, *size), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


def batches(images: int = 12) -> DataLoader:
    """Batches of four."""
    return DataLoader(TensorDataset(random_images(images), torch.arange(images) % 2), batch_size=4)


def trainer_for(**changes: Any) -> Trainer:
    """A trainer for two epochs on the CPU that prints and writes nothing, unless `changes` say so."""
    options = {"max_epochs": 2, "num_sanity_val_steps": 0, "precision": "32-true", **changes}
    return build_trainer("cpu", **options)
