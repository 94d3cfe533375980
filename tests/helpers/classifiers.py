"""A small classifier's settings, random batches, and a Trainer that says nothing."""

from typing import Any

import torch
from pytorch_lightning import LightningModule, Trainer
from torch.utils.data import DataLoader, TensorDataset

from gender_cls.config.parsing import parse_config, to_plain
from gender_cls.config.train import Config


def settings(**sections: dict[str, Any]) -> dict[str, Any]:
    least = {
        "data": {"root": "x", "image_size": [32, 16]},
        "model": {"library": "custom", "name": "custom_cnn", "options": {"widths": [4, 8]}},
        "trainer": {"max_epochs": 2, "accelerator": "cpu"},
    }
    return to_plain(parse_config({**least, **sections}, Config))


def batches(count: int = 3, seed: int = 0) -> DataLoader:
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 256, (count * 4, 3, 32, 16), dtype=torch.uint8, generator=generator)
    return DataLoader(TensorDataset(images, torch.arange(count * 4) % 2), batch_size=4)


def trainer_for(classifier: LightningModule, **changes: Any) -> Trainer:
    quiet = {
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
    }
    return Trainer(max_epochs=2, accelerator="cpu", num_sanity_val_steps=0, **{**quiet, **changes})
