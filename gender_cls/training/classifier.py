"""The only LightningModule: any backbone, two logits, cross-entropy."""

import time
from functools import cached_property
from typing import Any

import torch
from pytorch_lightning import LightningModule
from pytorch_lightning.callbacks import WeightAveraging
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from timm.layers import convert_sync_batchnorm
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim import Optimizer

from gender_cls.config.data import CLASSES
from gender_cls.config.parsing import typed_config
from gender_cls.config.train import Config
from gender_cls.data.augmentation import Augmentation
from gender_cls.data.samplers import derived_seed
from gender_cls.errors import GenderClsError, first_few
from gender_cls.models.backbones import Backbone, build_backbone
from gender_cls.models.convolutions import normalise
from gender_cls.models.feature_map import FeatureMap, find_feature_map
from gender_cls.training import ranks
from gender_cls.training.accumulation import Accumulation, TrainingTotals, scores_of_answers
from gender_cls.training.checkpoints import KeepCheckpoints, non_finite_weights
from gender_cls.training.mixing import build_mixing
from gender_cls.training.optimizer import build_optimizer
from gender_cls.training.recipe import (
    learning_statistics,
    parameter_groups,
    rate_factors,
    set_trainable,
    trains_backbone,
)  # fmt: skip
from gender_cls.training.step_input import FeatureBatch, PixelBatch
from gender_cls.training.trainer import expect_gradients


class GenderClassifier(LightningModule):
    """A backbone that gives the logits of CLASSES for uint8 crops.

    It learns in any Trainer with one device, from batches `(images (B, 3, H, W) uint8, labels (B,) int64)`, and logs
    `train/`, `val/` and `test/` `loss`, `accuracy` and `balanced_accuracy`, the last two also `auroc`, `f1_FEMALE` and
    `f1_MALE`, each of a whole epoch. `build_classifier` makes one from a name or a network.

    Args:
        config: the whole configuration as plain values (`parsing.to_plain`); it is kept in the checkpoint.
        class_weights: weights of the loss, one per class.
        load: whether to load pretrained or local weights; False when a checkpoint follows.
        backbone: taken instead of the one that the configuration names; a checkpoint keeps its weights alone.
    """

    def __init__(
        self,
        config: dict[str, Any],
        class_weights: list[float] | None = None,
        *,
        load: bool = True,
        backbone: Backbone | None = None,
    ) -> None:
        super().__init__()
        kept = {"config": config, "class_weights": class_weights, "classes": list(CLASSES)}
        self.save_hyperparameters(kept, logger=False)
        self.settings = settings = typed_config(config, Config)  # paths are not checked: the files may be gone
        if backbone is None:
            options = {"load": load, "channels_last": settings.trainer.channels_last}
            backbone = build_backbone(settings.model, self.image_size, **options)
        self.network: nn.Module = backbone.network
        self.heads, self.layout = backbone.heads, backbone.layout
        self.trainable = {name for name, parameter in self.network.named_parameters() if parameter.requires_grad}
        self.mean = nn.Buffer(torch.tensor(backbone.mean).view(3, 1, 1), persistent=False)
        self.std = nn.Buffer(torch.tensor(backbone.std).view(3, 1, 1), persistent=False)
        weights = None if class_weights is None else torch.tensor(class_weights)
        self.class_weights = None if weights is None else nn.Buffer(weights, persistent=False)
        self.augmentation: Augmentation | None = None  # of training batches; None if the loader does all of it
        self.mix = build_mixing(settings.augment, self.layout)
        self.accumulation = Accumulation()
        self.totals = TrainingTotals()
        self._answered: list[tuple[Tensor, Tensor]] = []  # logits and labels of each batch of a validation or a test
        self.confusion_matrix: Tensor | None = None  # of the last validation or test

    @property
    def image_size(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        height, width = self.settings.data.image_size
        return height, width

    @property
    def head(self) -> nn.Module:
        """The module that makes the logits; the first one of a distilled model."""
        return self.network.get_submodule(self.heads[0])

    @cached_property
    def feature_map(self) -> FeatureMap:
        """The layer where Grad-CAM looks; see `models.feature_map.find_feature_map`."""
        return find_feature_map(self.network, self.image_size, self.heads, self.settings.model.cam_layer)

    def normalise(self, images: Tensor) -> Tensor:
        """Return uint8 images (B, 3, H, W) as the backbone expects them: on its device, in its dtype and layout."""
        return normalise(images.to(self.mean.device), self.mean, self.std, self.layout)

    def forward(self, images: Tensor) -> Tensor:
        """Images (B, 3, H, W) uint8 -> logits (B, 2)."""
        return self.network(self.normalise(images))

    def setup(self, stage: str) -> None:
        """On several GPUs, let BatchNorm normalise over the images of all of them."""
        if stage == "fit" and ranks.number() > 1 and self.trainer.strategy.root_device.type == "cuda":
            # Lightning's own option would drop the activations that timm's BatchNorm layers hold.
            self.network = convert_sync_batchnorm(self.network)

    def on_train_start(self) -> None:
        """Note how many batches make a step; after memory ran out it differs from the configuration."""
        self.accumulation = Accumulation(self.trainer.accumulate_grad_batches)

    def on_train_epoch_start(self) -> None:
        """Freeze the backbone or let it learn, as the recipe says for this epoch."""
        backbone = trains_backbone(self.settings.recipe, self.current_epoch)
        learned = [parameter.requires_grad for parameter in self.parameters()]
        set_trainable(self.network, self.heads, self.trainable, backbone)
        if learned != [parameter.requires_grad for parameter in self.parameters()]:
            expect_gradients(self.trainer)
        self._statistics = learning_statistics(self.network)
        self.epoch_began, self.totals, self.on_features = time.perf_counter(), TrainingTotals(), False
        self.paused = 0.0  # seconds of validations in the middle of the epoch

    def on_train_batch_start(self, batch: PixelBatch | FeatureBatch, batch_index: int) -> None:
        """Seed each step's dropout, mixing and augmentation: data loaders use global random numbers in between."""
        further = () if ranks.rank() == 0 else (ranks.rank(),)
        torch.manual_seed(derived_seed(self.settings.seed, self.current_epoch, batch_index, *further))

    def training_step(self, batch: PixelBatch | FeatureBatch, batch_index: int) -> Tensor:
        """Return the loss of one batch."""
        inputs, labels = batch
        targets = labels
        self.on_features = isinstance(batch, FeatureBatch)
        if self.on_features:
            logits = self.head(inputs)
        else:
            inputs = self.normalise(inputs if self.augmentation is None else self.augmentation(inputs))
            if self.mix is not None:
                inputs, targets = self.mix(inputs, labels)
            logits = self.network(inputs)
        logits, smoothing = logits[: len(labels)], self.settings.recipe.label_smoothing
        loss = cross_entropy(logits, targets, weight=self.class_weights, label_smoothing=smoothing)
        if len(labels) == 0:  # the last step has fewer images than ranks
            loss = logits.sum()
        checked, logged = batch_index % 50 == 0, self._is_logged(batch_index)  # checking it waits for the device
        weight = self._total_weight(labels)
        mean = ranks.mean_over_ranks(loss.detach(), weight) if checked or logged else loss
        if checked:
            self._refuse_non_finite(mean)
        self.totals.add(loss, logits, labels, weight)
        if logged:
            self.log("train/loss_step", mean.detach())
            self.log_dict(self._rates())
        return self.accumulation.scale(loss, weight, batch_index)

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        """Make the gradients those of one large batch; clipping follows."""
        self.accumulation.finish(optimizer)
        ranks.average_over_ranks(self._statistics)

    def on_train_batch_end(self, *_: Any) -> None:
        """Note when the last batch ended, because validation runs before the end of the epoch."""
        if self.trainer.is_last_batch and self.device.type != "cpu":
            torch.accelerator.synchronize(self.device)
        self.last_batch_ended = time.perf_counter()
        if self.trainer.is_last_batch:
            self.totals.sum_over_ranks()

    def on_train_epoch_end(self) -> None:
        """Log the means over the epoch."""
        if not self.totals.summed:  # it ended early
            self.totals.sum_over_ranks()
        self._refuse_non_finite(self.totals.loss)
        accuracy, balanced_accuracy = self.totals.accuracies()
        speed = "head" if self.on_features else "train"  # the head alone learns without passes of the network
        seconds = self.last_batch_ended - self.epoch_began - self.paused
        self._log_epoch(
            {
                "train/loss": self.totals.loss,
                "train/accuracy": accuracy,
                "train/balanced_accuracy": balanced_accuracy,
                f"speed/{speed}_images_per_second": self.totals.images / seconds,
            }
        )

    def on_validation_start(self) -> None:
        """Refuse weights that are no numbers before anything is drawn, kept or chosen with them."""
        if self.totals.images:  # not in a validation by itself
            self._refuse_non_finite(self.totals.loss)
            if broken := non_finite_weights(self.network):
                self._refuse(f"The weights {first_few(broken)} became infinite or nan")

    def validation_step(self, batch: PixelBatch | FeatureBatch, batch_index: int) -> None:
        """Keep the logits of one batch; computing metrics here would wait for the device each time."""
        inputs, labels = batch
        answer = self.head if isinstance(batch, FeatureBatch) else self
        self._answered.append((answer(inputs).float(), labels))

    def test_step(self, batch: PixelBatch, batch_index: int) -> None:
        """As in validation. Our own runs are not tested here: `reports/final_test.py` does it, with intervals."""
        self.validation_step(batch, batch_index)

    def on_test_epoch_end(self) -> None:
        """Log the same metrics as in validation."""
        self.on_validation_epoch_end("test")

    def on_validation_epoch_end(self, split: str = "val") -> None:
        """Log validation metrics, on which early stopping and the choice of the checkpoint depend."""
        answered, self._answered = self._answered, []
        if self.trainer.sanity_checking:  # of the first batches, which may have one label only
            return
        logits, labels = (ranks.gather_rows(torch.cat(parts)) for parts in zip(*answered, strict=True))
        if self.totals.images and not torch.isfinite(logits).all():
            self._refuse("The answers for validation images became infinite or nan")
        scores, confusion = scores_of_answers(logits, labels)
        self.confusion_matrix = confusion.cpu()
        self._log_epoch({f"{split}/{name}": value for name, value in scores.items()})

    def predict_step(self, batch: PixelBatch, batch_index: int, dataloader_idx: int = 0) -> Tensor:
        """Return `probabilities` of the images."""
        images, _ = batch
        return self.probabilities(images)

    def probabilities(self, images: Tensor) -> Tensor:
        """Images (B, 3, H, W) uint8 -> probabilities (B, 2), float64, on the CPU: some devices have no float64."""
        return self(images).cpu().double().softmax(dim=1)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """The recipe's optimizer, with warm-up and cosine by step; for the backbone they begin when it learns."""
        recipe = self.settings.recipe
        groups = parameter_groups(self.network, self.heads, recipe)
        optimizer = build_optimizer(groups, recipe, scaled_gradients=self.trainer.scaler is not None)
        steps = self.trainer.estimated_stepping_batches  # this prepares the loaders, so that their batches are known
        per_epoch = -(-self.trainer.num_training_batches // self.trainer.accumulate_grad_batches)
        factors = rate_factors(recipe, steps, per_epoch)
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, [factors[group["part"]] for group in groups])
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def configure_gradient_clipping(
        self, optimizer: Optimizer, gradient_clip_val: float | None = None, *_: Any, **__: Any
    ) -> None:
        """Clip by the norm of all gradients; Lightning refuses a fused optimizer even if no gradient is scaled."""
        limit = self.settings.recipe.gradient_clip if gradient_clip_val is None else gradient_clip_val
        if limit:
            parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
            nn.utils.clip_grad_norm_(parameters, limit)

    def _total_weight(self, labels: Tensor) -> float | Tensor:
        """The number by which torch divided the loss."""
        if self.class_weights is None or self.mix is not None:  # for mixed targets, torch divides by the batch size
            return float(len(labels))
        return self.class_weights[labels].float().sum()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """In a checkpoint without an optimizer, save the averaged weights instead of the raw ones, and their score."""
        if "optimizer_states" in checkpoint:
            return
        for callback in self.trainer.callbacks:  # type: ignore[attr-defined]  # Lightning sets it from another class
            if isinstance(callback, KeepCheckpoints):
                checkpoint["score"] = callback.best_score
                checkpoint["balanced_accuracy"] = float(self.trainer.callback_metrics["val/balanced_accuracy"])
            if isinstance(callback, WeightAveraging):
                callback.on_save_checkpoint(self.trainer, self, checkpoint)
                checkpoint.pop("current_model_state", None)  # only a resumed training needs the raw weights

    def _log_epoch(self, values: dict[str, float | Tensor]) -> None:
        """Log the numbers of an epoch at the step of its last weights; Lightning takes one less.

        All ranks have the same ones. That Lightning averages them keeps the ranks together when they choose by them.
        """
        self.log_dict({"step": float(self.global_step), **values}, sync_dist=True)

    def _is_logged(self, batch_index: int) -> bool:
        """Whether Lightning writes this step; a number that it drops costs time and makes a GPU wait."""
        every = self.trainer.log_every_n_steps  # type: ignore[attr-defined]  # Lightning sets it from another class
        return batch_index == 0 or (self.global_step + 1) % every == 0

    def _rates(self) -> dict[str, float]:
        """The highest learning rate of the head and of the backbone."""
        groups = sorted(self.trainer.optimizers[0].param_groups, key=lambda group: group["lr"])
        return {f"lr/{group['part']}": group["lr"] for group in groups}

    def _refuse_non_finite(self, loss: Tensor) -> None:
        if not torch.isfinite(loss):
            self._refuse(f"The training loss became {loss.item()}")

    def _refuse(self, what: str) -> None:
        precise = "" if self.trainer.precision in ("32-true", "64-true") else ", or use trainer.precision=32-true"
        raise GenderClsError(
            f"{what} in epoch {self.current_epoch + 1}, by step {self.global_step}: lower recipe.lr or "
            f"recipe.gradient_clip{precise}."
        )
