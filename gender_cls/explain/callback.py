"""Pictures while the network learns: maps of the same validation images after every epoch, and the confusion matrix."""

import time
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, cast

from PIL import Image
from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.callbacks import WeightAveraging
from pytorch_lightning.loggers import TensorBoardLogger
from pytorch_lightning.trainer.states import TrainerFn
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter

from gender_cls.data_config import CLASSES
from gender_cls.explain.attribution import grad_cam, predict, saliency, scaled
from gender_cls.explain.figures import Caption, Picture, confusion_matrix_figure, map_grid
from gender_cls.models.feature_map import FeatureMap
from gender_cls.run import write_atomically

if TYPE_CHECKING:
    from gender_cls.models.classifier import GenderClassifier


class ExplainCallback(Callback):
    """Draws saliency and Grad-CAM of the predicted class for a fixed probe set.

    At `on_validation_epoch_end` the weights are still those that the metrics were computed with, provided that this
    callback stands before one that averages weights. Training is the same with and without it, to the last bit; the
    probe set comes as a tensor, since drawing it from a data loader would use up random numbers.

    Args:
        images: (N, 3, H, W), uint8.
        labels: N true labels.
        names: N file names, for the captions.
        feature_map: where Grad-CAM looks.
        folder: where `epoch_001.png`, ... are written; epochs count from 1, as in the grid's title.
        every_n_epochs: distance between two grids; the last planned epoch gets one in any case.
    """

    def __init__(
        self,
        images: Tensor,
        labels: Sequence[str],
        names: Sequence[str],
        feature_map: FeatureMap,
        folder: Path,
        every_n_epochs: int = 1,
    ) -> None:
        self.images = images
        self.labels = labels
        self.names = names
        self.feature_map = feature_map
        self.folder = folder
        self.every_n_epochs = every_n_epochs

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw, if this is a validation during training and the epoch is due."""
        if not _validates_an_epoch(trainer):
            return
        epoch = trainer.current_epoch + 1
        if epoch % self.every_n_epochs != 0 and epoch != trainer.max_epochs:
            return
        began = time.perf_counter()
        step = trainer.global_step
        callbacks = trainer.callbacks  # type: ignore[attr-defined]  # Lightning sets it from another class
        averaged = any(isinstance(callback, WeightAveraging) for callback in callbacks)
        whose = "averaged weights" if averaged else "weights"
        grid = self._grid(cast("GenderClassifier", pl_module), f"Epoch {epoch}, step {step:,}", whose)
        png = BytesIO()
        Image.fromarray(grid).save(png, format="PNG")
        write_atomically(self.folder / f"epoch_{epoch:03d}.png", png.getvalue())
        for writer in _tensorboards(trainer):
            writer.add_image("explanations/probe_set", grid, step, dataformats="HWC")
            writer.add_scalar("explanations/seconds", time.perf_counter() - began, step)

    def _grid(self, classifier: "GenderClassifier", moment: str, whose: str) -> Picture:
        network = classifier.network
        inputs = classifier.normalise(self.images.to(classifier.device))
        confidence, predicted = predict(network, inputs).max(dim=1)
        maps = {
            "saliency": scaled(saliency(network, inputs, predicted)),
            "Grad-CAM": scaled(grad_cam(network, inputs, predicted, self.feature_map)),
        }
        captions = [
            Caption(label, CLASSES[index], probability, name)
            for label, index, probability, name in zip(
                self.labels, predicted.tolist(), confidence.tolist(), self.names, strict=True
            )
        ]
        right = sum(caption.label == caption.predicted for caption in captions)
        return map_grid(
            self.images,
            maps,
            captions,
            title=f"{moment}: {right} of {len(captions)} right",
            note=f"Maps of the predicted label with this epoch's {whose}, each scaled to its own maximum.",
        )


class ConfusionMatrixCallback(Callback):
    """Draws the validation split's confusion matrix to TensorBoard after every epoch."""

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw what the classifier counted; it does so in `on_validation_epoch_end`, after the callbacks."""
        matrix = cast("GenderClassifier", pl_module).confusion_matrix
        if matrix is None or not _validates_an_epoch(trainer):
            return
        for writer in _tensorboards(trainer):
            picture = confusion_matrix_figure(matrix, CLASSES)
            writer.add_image("confusion_matrix/val", picture, trainer.global_step, dataformats="HWC")


def _validates_an_epoch(trainer: Trainer) -> bool:
    """Whether this is a validation during training, not the sanity check, and this process the one that writes."""
    return trainer.state.fn == TrainerFn.FITTING and not trainer.sanity_checking and trainer.is_global_zero


def _tensorboards(trainer: Trainer) -> list[SummaryWriter]:
    return [logger.experiment for logger in trainer.loggers if isinstance(logger, TensorBoardLogger)]
