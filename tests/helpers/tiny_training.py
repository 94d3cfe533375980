"""A very short training: a tiny network, tiny random images, and a callback that explains three of them."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from helpers.classifiers import random_images, trainer_for
from helpers.small_network import Layers
from pytorch_lightning import Callback, LightningModule, Trainer, seed_everything
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from gender_cls.config.explain import ExplainConfig
from gender_cls.data.crops import Crops
from gender_cls.explain.callback import ExplainCallback
from gender_cls.models.feature_map import FeatureMap

LABELS = ["MALE", "FEMALE", "MALE"]


class Tiny(LightningModule):
    feature_map = FeatureMap("0", "NCHW", (8, 4))

    def __init__(self) -> None:
        super().__init__()
        self.network = Layers(
            nn.Conv2d(3, 6, 3, stride=2, padding=1),
            nn.BatchNorm2d(6),
            nn.ReLU(inplace=True),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Dropout(),
            nn.Linear(6, 2),
        )
        self.confusion_matrix: Tensor | None = None

    def normalise(self, images: Tensor) -> Tensor:
        return images.to(self.network[0].weight.dtype) / 255

    def training_step(self, batch: list[Tensor], batch_index: int) -> Tensor:
        return nn.functional.cross_entropy(self.network(self.normalise(batch[0])), batch[1])

    def validation_step(self, batch: list[Tensor], batch_index: int) -> None:
        self.log("val_loss", self.training_step(batch, batch_index), sync_dist=True)

    def on_validation_epoch_end(self) -> None:
        self.confusion_matrix = torch.tensor([[self.current_epoch + 1, 0], [1, 3]])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1, momentum=0.9)


def pictures(count: int, size: tuple[int, int] = (16, 8)) -> Tensor:
    return random_images(count, size)


def explain(folder: Path, size: tuple[int, int] = (16, 8), **settings: Any) -> ExplainCallback:
    """For three images."""
    return ExplainCallback(
        crops=Crops(pictures(3, size), np.array([[0.0, 0.0, *size[::-1]]] * 3), np.full((3, 4), np.nan)),
        labels=LABELS,
        names=[f"crop_{index}.png" for index in range(3)],
        folder=folder,
        settings=ExplainConfig(**settings),
    )


def fit(
    folder: Path,
    callbacks: Sequence[Callback],
    make: Callable[[], LightningModule] = Tiny,
    size: tuple[int, int] = (16, 8),
    resume: Path | None = None,
    **options: Any,
) -> tuple[Any, Trainer]:
    """Two epochs of four steps, from the same seed each time."""
    seed_everything(3, verbose=False)
    model = make()
    dataset = TensorDataset(pictures(16, size), torch.arange(16) % 2)
    defaults = {"num_sanity_val_steps": 2, "log_every_n_steps": 1, "default_root_dir": folder}
    trainer = trainer_for(callbacks=list(callbacks), **{**defaults, **options})
    training, validation = DataLoader(dataset, batch_size=4, shuffle=True), DataLoader(dataset, batch_size=8)
    trainer.fit(model, training, validation, ckpt_path=resume, weights_only=True)
    return model, trainer
