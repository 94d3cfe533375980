"""The one LightningModule: any backbone, two logits, cross-entropy."""

import time
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning import LightningModule
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torchmetrics import MetricCollection
from torchmetrics.classification import (
    MulticlassAccuracy,
    MulticlassAUROC,
    MulticlassConfusionMatrix,
    MulticlassF1Score,
)
from torchvision.transforms import v2

from gender_cls.config import Config
from gender_cls.data.datamodule import derived_seed
from gender_cls.data.device_augmentation import DeviceAugmentation
from gender_cls.data_config import CLASSES
from gender_cls.errors import GenderClsError
from gender_cls.models.backbones import build_backbone
from gender_cls.models.recipe import lr_factor, parameter_groups, set_trainable, trains_backbone
from gender_cls.models.totals import TrainingTotals
from gender_cls.parsing import parse_config

Batch = tuple[Tensor, Tensor]
"""Images (B, 3, H, W) uint8 and labels (B,) int64."""

CHECK_EVERY_N_STEPS = 50  # a look at the loss waits for the device


class GenderClassifier(LightningModule):
    """A backbone that gives the logits of CLASSES for uint8 crops.

    Args:
        config: the whole configuration as plain values (`parsing.to_plain`); it travels in the checkpoint.
        class_weights: of the loss, one per class.
        load: whether to load pretrained or local weights; False when a checkpoint follows.

    Attributes:
        augmentation: of training batches on their device; None where the data loader has done all of it.
    """

    def __init__(self, config: dict[str, Any], class_weights: list[float] | None = None, *, load: bool = True) -> None:
        super().__init__()
        self.save_hyperparameters(
            {"config": config, "class_weights": class_weights, "classes": list(CLASSES)}, logger=False
        )
        settings = parse_config(config, Config)
        self.settings = settings
        backbone = build_backbone(settings.model, self.image_size, load=load)
        self.network: nn.Module = backbone.network
        self.heads = backbone.heads
        self.trainable = {name for name, parameter in self.network.named_parameters() if parameter.requires_grad}
        self.mean: Tensor
        self.std: Tensor
        self.class_weights: Tensor | None
        self.register_buffer("mean", torch.tensor(backbone.mean).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(backbone.std).view(3, 1, 1), persistent=False)
        weights = torch.tensor(class_weights) if class_weights is not None else None
        self.register_buffer("class_weights", weights, persistent=False)
        self.augmentation: DeviceAugmentation | None = None
        self.mix = _mixing(settings)
        self.totals = TrainingTotals()
        self.validation_metrics = _metrics("val/")
        self.confusion = MulticlassConfusionMatrix(len(CLASSES))
        self._validated: list[tuple[Tensor, Tensor]] = []
        self.confusion_matrix: Tensor | None = None

    @property
    def image_size(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        height, width = self.settings.data.image_size
        return height, width

    def normalise(self, images: Tensor) -> Tensor:
        """uint8 (B, 3, H, W) -> what the backbone was trained on, in its own dtype."""
        return (images.to(self.mean.dtype) / 255 - self.mean) / self.std

    def forward(self, images: Tensor) -> Tensor:
        """Images (B, 3, H, W) uint8 -> logits (B, 2)."""
        return self.network(self.normalise(images))

    def on_train_epoch_start(self) -> None:
        """Freeze what this epoch freezes."""
        backbone = trains_backbone(self.settings.recipe, self.current_epoch)
        set_trainable(self.network, self.heads, self.trainable, backbone)
        self._epoch_began, self.totals = time.perf_counter(), TrainingTotals()

    def on_train_batch_start(self, batch: Batch, batch_index: int) -> None:
        """Give each step's dropout, mixing and augmentation on the device a seed of its own.

        Data loaders draw from the global random numbers too, more or less often with workers or after a resume.
        """
        torch.manual_seed(derived_seed(self.settings.seed, self.current_epoch, batch_index))

    def training_step(self, batch: Batch, batch_index: int) -> Tensor:
        """Loss of one batch."""
        images, labels = batch
        if self.augmentation is not None:
            images = self.augmentation(images)
        inputs = self.normalise(images)
        targets = labels
        if self.mix is not None:
            inputs, targets = self.mix(inputs, labels)
        logits = self.network(inputs)
        loss = cross_entropy(
            logits, targets, weight=self.class_weights, label_smoothing=self.settings.recipe.label_smoothing
        )
        if batch_index % CHECK_EVERY_N_STEPS == 0:
            self._refuse_non_finite(loss)
        self.totals.add(loss, logits, labels)
        if self._is_logged(batch_index):
            self.log("train/loss_step", loss.detach(), prog_bar=True)
            self.log_dict(self._rates())
        return loss

    def on_train_batch_end(self, *_: Any) -> None:
        """Note when the last batch ended; validation follows before the epoch does."""
        if self.trainer.is_last_batch and self.device.type != "cpu":
            torch.accelerator.synchronize(self.device)
        self._last_batch_ended = time.perf_counter()

    def on_train_epoch_end(self) -> None:
        """Log the epoch's means."""
        self._refuse_non_finite(self.totals.loss)
        accuracy, balanced_accuracy = self.totals.accuracies()
        self.log("train/loss", self.totals.loss)
        self.log_dict({"train/accuracy": accuracy, "train/balanced_accuracy": balanced_accuracy})
        self.log("speed/train_images_per_second", self.totals.images / (self._last_batch_ended - self._epoch_began))

    def on_validation_epoch_start(self) -> None:
        """Begin anew, after an interrupted one too."""
        self._validated = []

    def validation_step(self, batch: Batch, batch_index: int) -> None:
        """Keep the answers to one batch; counting them would wait for the device each time."""
        images, labels = batch
        self._validated.append((self(images).float(), labels))

    def on_validation_epoch_end(self) -> None:
        """Log validation metrics: what early stopping and the choice of the checkpoint look at."""
        logits, labels = (torch.cat(parts) for parts in zip(*self._validated, strict=True))
        self._validated = []
        metrics = self.validation_metrics(logits, labels)
        f1 = metrics.pop("val/f1")
        self.log("val/loss", cross_entropy(logits, labels))
        self.log("val/balanced_accuracy", metrics.pop("val/balanced_accuracy"), prog_bar=True)
        self.log_dict(metrics)
        self.log_dict({f"val/f1_{name}": value for name, value in zip(CLASSES, f1, strict=True)})
        self.confusion_matrix = self.confusion(logits, labels).cpu()
        self.validation_metrics.reset()
        self.confusion.reset()

    def predict_step(self, batch: Batch, batch_index: int, dataloader_idx: int = 0) -> Tensor:
        """Probabilities (B, 2), float64."""
        images, _ = batch
        return self(images).double().softmax(dim=1)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """AdamW; warm-up and cosine by step, for the backbone from the step at which it wakes."""
        recipe = self.settings.recipe
        groups = parameter_groups(self.network, self.heads, recipe)
        total = int(self.trainer.estimated_stepping_batches)
        per_epoch = max(total // self.settings.trainer.max_epochs, 1)
        warmup = round(recipe.warmup_epochs * per_epoch)
        frozen = total if recipe.frozen_epochs is None else recipe.frozen_epochs * per_epoch

        def schedule(first_step: int) -> Any:
            return lambda step: lr_factor(step, first_step, warmup, total)

        optimizer = torch.optim.AdamW(groups)
        scheduler = torch.optim.lr_scheduler.LambdaLR(
            optimizer, [schedule(frozen if group["part"] == "backbone" else 0) for group in groups]
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def _is_logged(self, batch_index: int) -> bool:
        """Whether Lightning writes this step down; a number that it would drop costs time, and a wait on a GPU."""
        every = self.trainer.log_every_n_steps  # type: ignore[attr-defined]  # Lightning sets it from another class
        return batch_index == 0 or (self.global_step + 1) % every == 0

    def _rates(self) -> dict[str, float]:
        """The highest learning rate of the head and of the backbone."""
        rates: dict[str, float] = {}
        for group in self.trainer.optimizers[0].param_groups:
            name = f"lr/{group['part']}"
            rates[name] = max(rates.get(name, 0.0), group["lr"])
        return rates

    def _refuse_non_finite(self, loss: Tensor) -> None:
        if not torch.isfinite(loss):
            raise GenderClsError(
                f"The training loss became {loss.item()} in epoch {self.current_epoch + 1}, by step "
                f"{self.global_step}: lower recipe.lr or recipe.gradient_clip, or use trainer.precision=32-true."
            )


def load_classifier(checkpoint: Path) -> GenderClassifier:
    """A trained classifier from its checkpoint, on the CPU and in eval mode; needs no other file and no network."""
    content = torch.load(checkpoint, map_location="cpu", weights_only=True)
    saved = content["hyper_parameters"]
    if saved["classes"] != list(CLASSES):
        raise GenderClsError(f"{checkpoint} was trained for the classes {', '.join(saved['classes'])}.")
    config = {**saved["config"], "model": {**saved["config"]["model"], "weights": None}}  # the file may be elsewhere
    classifier = GenderClassifier(config, saved["class_weights"], load=False)
    classifier.load_state_dict(content["state_dict"])
    return classifier.eval()


def _metrics(prefix: str) -> MetricCollection:
    classes = len(CLASSES)
    metrics: dict[str, Any] = {
        "accuracy": MulticlassAccuracy(classes, average="micro"),
        "balanced_accuracy": MulticlassAccuracy(classes, average="macro"),
        "auroc": MulticlassAUROC(classes),
        "f1": MulticlassF1Score(classes, average="none"),
    }
    return MetricCollection(metrics, prefix=prefix)


def _mixing(settings: Config) -> v2.Transform | None:
    """Mixup (Zhang et al. 2018) or CutMix (Yun et al. 2019) of a normalised batch, one of the two by chance if both."""
    augment = settings.augment
    choices = [
        kind(alpha=alpha, num_classes=len(CLASSES))
        for kind, alpha in ((v2.MixUp, augment.mixup), (v2.CutMix, augment.cutmix))
        if alpha > 0
    ]
    return v2.RandomChoice(choices) if choices else None
