"""Callbacks that explain during training: maps of the same validation images after every epoch, with their scores, and
the confusion matrix."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, product
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray
from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.callbacks import WeightAveraging
from pytorch_lightning.loggers import TensorBoardLogger
from pytorch_lightning.trainer.states import TrainerFn
from torch.utils.tensorboard import SummaryWriter

from gender_cls.config.data import CLASSES
from gender_cls.config.explain import ExplainConfig
from gender_cls.config.train import Config
from gender_cls.data.crops import Crops
from gender_cls.data.datamodule import CropDataModule
from gender_cls.drawing.canvas import jpeg_bytes, png_bytes
from gender_cls.drawing.confusion_matrix import confusion_matrix_figure
from gender_cls.drawing.map_card import map_cards
from gender_cls.explain.attribution import Attribution, feature_map_for
from gender_cls.explain.explanation_grid import (
    explain_classes,
    explained_label,
    explanation_grid,
    make_captions,
    map_columns,
)
from gender_cls.explain.map_regions import rank_correlation
from gender_cls.explain.mass_shares import cue_scores, mass_shares
from gender_cls.runs.files import write_atomically
from gender_cls.runs.run import Run
from gender_cls.system.signals import unless_stopped
from gender_cls.training.classifier import GenderClassifier
from gender_cls.training.run_events import add_picture, add_scalar

READING = (
    "The lighter and denser the colour on the image, the larger the map. Saliency (orange) has no direction; of signed "
    "maps, yellow speaks for the class and blue against it. Each map has its own scale."
)
DESCRIPTIONS = {
    "outside": "Mean share of the maps' mass outside the person's box. A high share means that the background counts.",
    "stability": "Mean rank correlation with the maps of the grid before: 1 is no change.",
    "cue_hit": "Share of the images of a label whose map has its highest point in the box of the known cue.",
    "cue_mass": "Mean share of the maps' mass in the box of the known cue, of the images of a label.",
    "agreement": "Mean rank correlation between the maps of two methods: 1 is the same order of pixels, 0 is chance.",
    "seconds": "What explaining took in this epoch.",
    "confusion_matrix": "Validation images by true and predicted label, at the threshold 0.5.",
}
"""What TensorBoard says about the tags."""


def explain_callbacks(
    config: Config, run: Run, classifier: GenderClassifier, datamodule: CropDataModule
) -> list[Callback]:
    """The callbacks that `training.fit` runs after each validation: the confusion matrix, and maps of the probe set."""
    callbacks: list[Callback] = [ConfusionMatrixCallback()]
    if config.explain.enabled:
        crops, rows = datamodule.probe_set(config.explain.images)
        labels, names = list(rows["label"]), list(rows["path"])
        callbacks.append(ExplainCallback(crops, labels, names, run.explanations, config.explain))
        feature_map_for(config.explain.methods, classifier)  # or raise before training starts
    return callbacks


@dataclass(eq=False)
class ExplainCallback(Callback):
    """Draws and scores maps of a fixed probe set of N images.

    At `on_validation_epoch_end` the weights are those that the metrics were computed with, if this callback stands
    before one that averages weights. Training is bit-identical with and without it; the probe set comes as tensors,
    because reading a data loader would use up random numbers. Checkpoints hold nothing of it: in a resumed run the
    budget starts again, and the first grid has no earlier one to be compared with.

    TensorBoard gets one picture per image, the seconds that all of this took, and means over the images: the share of a
    map's mass outside the person; by label, where the table knows the box of the cue, whether its highest point and how
    much of its mass is in the box; its rank correlation with the map of the previous grid (stability) and with the maps
    of the other methods (agreement). All stand at the step of the epoch's metrics.
    """

    crops: Crops  # the probe set
    labels: Sequence[str]
    names: Sequence[str]  # of the files, for the captions
    folder: Path  # for `epoch_001.png`, ...; epochs count from 1, as in the title of the grid
    settings: ExplainConfig  # which maps, and how often

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start to count the time."""
        self._began = time.perf_counter()
        self._spent = 0.0
        self._last_cost: float | None = None
        self._previous: dict[str, Attribution] = {}

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw and score if this is a validation during training, and the epoch is due and within the budget.

        If the run is asked to stop, it validates this epoch again when it is resumed.
        """
        began = time.perf_counter()
        if _validates_an_epoch(trainer) and self._is_due(trainer, began):
            unless_stopped(lambda: self._explain(trainer, cast("GenderClassifier", pl_module), began))

    def _explain(self, trainer: Trainer, classifier: GenderClassifier, began: float) -> None:
        explained = explain_classes(classifier, self.crops.images, self.labels, self.settings)
        scores = _map_scores(explained, self.crops, self.labels, self._previous)
        callbacks = trainer.callbacks  # type: ignore[attr-defined]  # Lightning sets it from another class
        averaged = any(isinstance(callback, WeightAveraging) for callback in callbacks)
        epoch, step = trainer.current_epoch + 1, trainer.global_step
        p_female = next(iter(explained.values())).probabilities[:, 0].tolist()
        captions = make_captions(self.labels, self.names, p_female)
        weights = "this epoch's averaged weights" if averaged else "this epoch's weights"
        png = png_bytes(explanation_grid(self.crops, captions, explained, f"Epoch {epoch}, step {step:,}", weights))
        self._previous = explained
        write_atomically(self.folder / f"epoch_{epoch:03d}.png", png)
        writers = _tensorboards(trainer)
        if writers:
            cards = map_cards(self.crops.images, map_columns(explained), captions, f"epoch {epoch}")
            about = f"Maps of {explained_label(explained)} with {weights}. {READING}"
            for number, (card, caption) in enumerate(zip(map(jpeg_bytes, cards), captions, strict=True), start=1):
                for writer in writers:
                    add_picture(
                        writer, f"explanations/{number}_{caption.label}", card, step, f"{caption.name}. {about}"
                    )
        for name, values in scores.items():
            if np.isfinite(values).any():
                description = DESCRIPTIONS[name.split("/")[0].removesuffix("_true")]
                for writer in writers:
                    mean = float(values[np.isfinite(values)].mean())
                    add_scalar(writer, f"explanations_scores/{name}", mean, step, description)
        self._last_cost = time.perf_counter() - began
        self._spent += self._last_cost
        for writer in writers:
            add_scalar(writer, "speed/explanation_seconds", self._last_cost, step, DESCRIPTIONS["seconds"])

    def _is_due(self, trainer: Trainer, now: float) -> bool:
        """The last planned epoch always is; the cost of the first due one is the estimate for the next."""
        epoch = trainer.current_epoch + 1
        if epoch == trainer.max_epochs:
            return True
        if epoch % self.settings.every_n_epochs != 0:
            return False
        if self.settings.budget is None or self._last_cost is None:
            return True
        return self._spent + self._last_cost <= self.settings.budget * (now - self._began)


class ConfusionMatrixCallback(Callback):
    """Draws the confusion matrix of the validation split to TensorBoard after every epoch."""

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw; the classifier counts in `on_validation_epoch_end`, which runs after that of the callbacks."""
        matrix = cast("GenderClassifier", pl_module).confusion_matrix
        if matrix is None or not _validates_an_epoch(trainer):
            return
        for writer in _tensorboards(trainer):
            png = png_bytes(confusion_matrix_figure(matrix, CLASSES))
            add_picture(
                writer, "validation_confusion_matrix", png, trainer.global_step, DESCRIPTIONS["confusion_matrix"]
            )


def _map_scores(
    explained: dict[str, Attribution], crops: Crops, labels: Sequence[str], previous: dict[str, Attribution]
) -> dict[str, NDArray[np.float64]]:
    """By name, one value per image, NaN if it is not defined. Of two explained classes, `_true` marks the true one."""
    scores: dict[str, NDArray[np.float64]] = {}
    for role, now in explained.items():
        ending = "_true" if role == "true" and len(explained) > 1 else ""
        for method, maps in now.maps.items():
            scores[f"outside{ending}/{method.value}"] = mass_shares(maps, crops.boxes)["outside"]
            for (name, values), label in product(cue_scores(maps, crops.cues).items(), CLASSES):
                of_label = np.where(np.array(labels) == label, values, np.nan)
                scores[f"{name}{ending}/{method.value}_{label}"] = of_label
            if role in previous:
                stability = rank_correlation(maps, previous[role].maps[method])
                stability[now.targets != previous[role].targets] = np.nan  # another class has another map
                scores[f"stability{ending}/{method.value}"] = stability
        for a, b in combinations(now.maps, 2):
            scores[f"agreement{ending}/{a.value}_{b.value}"] = rank_correlation(now.maps[a], now.maps[b])
    return scores


def _validates_an_epoch(trainer: Trainer) -> bool:
    """Whether this is a validation during training, not the sanity check, in the process that writes files."""
    return trainer.state.fn == TrainerFn.FITTING and not trainer.sanity_checking and trainer.is_global_zero


def _tensorboards(trainer: Trainer) -> list[SummaryWriter]:
    return [logger.experiment for logger in trainer.loggers if isinstance(logger, TensorBoardLogger)]
