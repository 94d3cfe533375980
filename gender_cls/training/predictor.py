"""Predict with a trained network, on any rows of a manifest and through any distortion."""

from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from pytorch_lightning import Trainer
from torch import Tensor

from gender_cls.config.parsing import recorded_config, to_plain
from gender_cls.config.train import Config
from gender_cls.data.datamodule import CropDataset, crop_loader
from gender_cls.data.image_store import ImageStore
from gender_cls.runs.run import Run
from gender_cls.system.processes import fork_context
from gender_cls.system.resources import Resources, choose_resources
from gender_cls.system.signals import stop_behind
from gender_cls.training.batch import images_per_step
from gender_cls.training.classifier import GenderClassifier
from gender_cls.training.load_checkpoint import load_classifier
from gender_cls.training.resume import refuse_foreign_weights
from gender_cls.training.trainer import build_trainer


def predictor_of(
    run: Run, *, accelerator: str, precision: str | None, threads: int | str, num_workers: int | str
) -> "Predictor":
    """The network of a run, in the precision of its earlier answers unless another one is asked for."""
    recorded = recorded_config(run.config_file)
    chosen = precision or run.answers_from["precision"] or recorded.trainer.precision
    kept = recorded.data.keeps_pixels
    resources = choose_resources(accelerator, chosen, threads, num_workers, pixels_at_hand=kept).apply()
    return Predictor(run.best_checkpoint, resources, recorded)


class Predictor:
    """The network of a checkpoint, read when it is first used.

    Args:
        config: of the run that the checkpoint must belong to; None: of any.
    """

    def __init__(self, checkpoint: Path, resources: Resources, config: Config | None = None) -> None:
        self.checkpoint, self.device, self.precision = checkpoint, resources.device, resources.precision
        self._config = config
        # A test makes up to 50 passes; without fork each one would wait until its processes have imported everything.
        self.num_workers = resources.num_workers if fork_context() is not None else 0
        self.pin_memory = resources.device == "cuda"

    @cached_property
    def classifier(self) -> GenderClassifier:
        """The classifier in eval mode."""
        classifier = load_classifier(self.checkpoint)
        if self._config is not None:
            refuse_foreign_weights(self.checkpoint, to_plain(classifier.settings), self._config)
        return classifier

    @cached_property
    def _trainer(self) -> Trainer:
        return build_trainer(self.device, self.precision)

    @property
    def batch_size(self) -> int:
        """How many images pass at once; predictions do not depend on it."""
        return images_per_step(self.classifier.settings.data.batch_size, accumulate=1)

    def device_classifier(self) -> GenderClassifier:
        """Return the classifier on the device and in the dtype that `probabilities` computes with."""
        self._trainer.precision_plugin.convert_module(self.classifier)
        return self.classifier.to(self._trainer.strategy.root_device)

    def probabilities(
        self, rows: pd.DataFrame, images: ImageStore, distort: Callable[[Tensor, str], Tensor] | None = None
    ) -> NDArray[np.float64]:
        """Return softmax probabilities (rows, 2) in the order of CLASSES for these rows of the manifest.

        `distort` changes the native crop (3, H, W) uint8 of a path before it is resized.
        """
        data = self.classifier.settings.data
        dataset = CropDataset(rows, images, data, distort=distort)
        loader = crop_loader(
            dataset, batch_size=self.batch_size, num_workers=self.num_workers, pin_memory=self.pin_memory
        )
        try:
            batches = self._trainer.predict(self.classifier, loader)
        except SystemExit as error:  # Lightning raises it on Ctrl-C
            raise (stop_behind(error) or error) from None
        return torch.cat([batch for batch in batches or [] if isinstance(batch, Tensor)]).numpy()

    def answer(self, images: Tensor) -> NDArray[np.float64]:
        """Return what `probabilities` returns, for a batch (B, 3, H, W) uint8 that is resized already."""
        classifier = self.device_classifier()
        with torch.inference_mode(), self._trainer.precision_plugin.forward_context():
            return classifier.probabilities(images).numpy()

    def pass_through(self, rows: pd.DataFrame, images: ImageStore, batches: Sequence[Sequence[int]]) -> None:
        """Pass these batches of row numbers through the network as `probabilities` does, for hooks on its layers."""
        classifier = self.device_classifier()
        dataset = CropDataset(rows, images, classifier.settings.data)
        options = {"num_workers": self.num_workers, "pin_memory": self.pin_memory}
        with torch.inference_mode(), self._trainer.precision_plugin.forward_context():
            for pixels, _ in crop_loader(dataset, batch_sampler=batches, **options):
                classifier(pixels)
