"""Predict with a trained network, on any rows of a manifest and through any distortion."""

import logging
import traceback
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Self

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
from gender_cls.errors import error_sentence, plural
from gender_cls.runs.run import Run
from gender_cls.system.memory import is_out_of_memory, release_memory
from gender_cls.system.processes import fork_context
from gender_cls.system.resources import Resources, choose_resources
from gender_cls.system.signals import stop_behind
from gender_cls.training.batch import images_at_once, images_per_step
from gender_cls.training.classifier import GenderClassifier
from gender_cls.training.load_checkpoint import load_classifier
from gender_cls.training.resume import refuse_foreign_weights
from gender_cls.training.trainer import build_trainer

log = logging.getLogger(__name__)


def predictor_of(
    run: Run, *, accelerator: str, precision: str | None, threads: int | str, num_workers: int | str
) -> "Predictor":
    """The network of a run, in the precision of its earlier answers unless another one is asked for."""
    recorded = recorded_config(run.config_file)
    chosen = precision or run.answers_from["precision"] or recorded.trainer.precision
    kept = recorded.data.keeps_pixels
    resources = choose_resources(accelerator, chosen, threads, num_workers, pixels_at_hand=kept).apply()
    return Predictor.of_run(run, resources, recorded)


class Predictor:
    """The network of a checkpoint, read when it is first used. When memory runs out, fewer images pass at once.

    Args:
        config: of the run that the checkpoint must belong to; None: of any.
        batch_size: images that pass at once; None: as the checkpoint's configuration says.
    """

    def __init__(
        self, checkpoint: Path, resources: Resources, config: Config | None = None, batch_size: int | None = None
    ) -> None:
        self.checkpoint, self.device, self.precision = checkpoint, resources.device, resources.precision
        self._config, self._batch_size = config, batch_size
        # A test makes up to 50 passes; without fork each one would wait until its processes have imported everything.
        self.num_workers = resources.num_workers if fork_context() is not None else 0
        self.pin_memory = resources.device == "cuda"

    @classmethod
    def of_run(cls, run: Run, resources: Resources, config: Config) -> Self:
        """The network that validation chose, with as many images at once as in the run's training."""
        return cls(run.best_checkpoint, resources, config, images_at_once(config, run))

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
        return self._batch_size or images_per_step(self.classifier.settings.data.batch_size, accumulate=1)

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

        def predict() -> NDArray[np.float64]:
            options = {"num_workers": self.num_workers, "pin_memory": self.pin_memory}
            loader = crop_loader(dataset, batch_size=self.batch_size, **options)
            try:
                batches = self._trainer.predict(self.classifier, loader)
            except SystemExit as error:  # Lightning raises it on Ctrl-C
                raise (stop_behind(error) or error) from None
            return torch.cat([batch for batch in batches or [] if isinstance(batch, Tensor)]).numpy()

        return self._with_what_fits(predict)

    def answer(self, images: Tensor) -> NDArray[np.float64]:
        """Return what `probabilities` returns, for a batch (B, 3, H, W) uint8 that is resized already."""

        def predict() -> NDArray[np.float64]:
            classifier = self.device_classifier()
            with torch.inference_mode(), self._trainer.precision_plugin.forward_context():
                return torch.cat([classifier.probabilities(part) for part in images.split(self.batch_size)]).numpy()

        return self._with_what_fits(predict)

    def _with_what_fits(self, predict: Callable[[], NDArray[np.float64]]) -> NDArray[np.float64]:
        """Predict, again with half as many images at once whenever memory runs out."""
        at_first = self.batch_size
        while True:
            try:
                return predict()
            except Exception as error:
                if self.batch_size == 1 or not is_out_of_memory(error):
                    self._batch_size = at_first
                    raise
                traceback.clear_frames(error.__traceback__)
                failure = error_sentence(error)
            self.__dict__.pop("_trainer", None)  # it holds what was computed
            release_memory()  # outside `except`, where nothing refers to the images any longer
            before, self._batch_size = self.batch_size, self.batch_size // 2
            log.warning(
                f"Memory ran out with {plural(before, 'image')} at a time: prediction goes on with {self._batch_size}. "
                f"({failure})"
            )

    def pass_through(self, rows: pd.DataFrame, images: ImageStore, batches: Sequence[Sequence[int]]) -> None:
        """Pass these batches of row numbers through the network as `probabilities` does, for hooks on its layers."""
        classifier = self.device_classifier()
        dataset = CropDataset(rows, images, classifier.settings.data)
        options = {"num_workers": self.num_workers, "pin_memory": self.pin_memory}
        with torch.inference_mode(), self._trainer.precision_plugin.forward_context():
            for pixels, _ in crop_loader(dataset, batch_sampler=batches, **options):
                classifier(pixels)
