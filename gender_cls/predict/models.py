"""What answers: the networks of finished runs, or an exported model."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import pandas as pd
from numpy import float64
from numpy.typing import NDArray
from torch import Tensor

from gender_cls.config.data import SPLITS
from gender_cls.data.input_form import InputForm
from gender_cls.data.run_images import recorded_rows
from gender_cls.evaluation.combined import Member
from gender_cls.evaluation.decisions import DecisionRule
from gender_cls.evaluation.predictions import answers_of, read_predictions
from gender_cls.models.onnx_model import OnnxModel
from gender_cls.runs.exported_run import answers_file, outdated_sentence
from gender_cls.runs.files import file_sha256
from gender_cls.runs.run import Run
from gender_cls.system.resources import choose_resources
from gender_cls.training.batch import LARGEST_AUTO_BATCH
from gender_cls.training.predictor import predictor_of

log = logging.getLogger(__name__)


class Model(Protocol):
    """A network that answers, and how its probabilities become answers."""

    form: InputForm
    batch_size: int  # images that pass at once
    member: Member  # its rule, and its answers on validation
    run: Run | None  # that it comes from; None if that is not known

    def probabilities(self, images: Tensor) -> NDArray[float64]:
        """Images (B, 3, H, W) uint8 of the size of `form` -> (B, 2), in the order of CLASSES, not calibrated."""
        ...

    def origin(self) -> dict[str, str]:
        """All that its probabilities follow from, except the images."""
        ...


class RunModel:
    """The network of an evaluated run, in the precision of its own test unless another one is asked for.

    Raises:
        GenderClsError: its checkpoint is missing, damaged or that of another run.
    """

    def __init__(self, run: Run, *, accelerator: str, precision: str | None, threads: int | str) -> None:
        self.run: Run | None = run
        self.predictor = predictor_of(run, accelerator=accelerator, precision=precision, threads=threads, num_workers=0)
        # This reads the checkpoint: if it is damaged, earlier results stay.
        self.form, self.batch_size = InputForm.of(self.predictor.classifier.settings.data), self.predictor.batch_size
        self.member = Member.of_run(run.metrics, answers_of(run))

    def probabilities(self, images: Tensor) -> NDArray[float64]:
        """See Model."""
        return self.predictor.answer(images)

    def origin(self) -> dict[str, str]:
        """See Model."""
        return {
            "sha256": file_sha256(self.predictor.checkpoint),
            "precision": self.predictor.precision,
            "device": self.predictor.device,
        }


class ExportedModel:
    """A file that `python -m gender_cls.export` wrote."""

    batch_size = LARGEST_AUTO_BATCH

    def __init__(self, file: Path, threads: int | str) -> None:
        resources = choose_resources("cpu", "32-true", threads, 0, pixels_at_hand=True).apply()
        self._model = OnnxModel(file, resources.threads)
        metadata = self._model.metadata
        self.file, self.form = file, self._model.form
        rule = DecisionRule.from_values(metadata.temperature, metadata.threshold, metadata.band)
        kept = answers_file(file)  # the exported model's answers for the run's images
        answers = read_predictions(kept) if kept.is_file() else None
        self.member = Member(rule, _of(answers, "val"), test=_of(answers, "test"))
        origin = Run(file.parent.parent)  # export writes into a folder of the run's
        self.run = origin if origin.manifest.is_file() and origin.config_file.is_file() else None
        if self.run and (sentence := outdated_sentence(file, self.run)):
            log.warning(sentence)

    def probabilities(self, images: Tensor) -> NDArray[float64]:
        """See Model."""
        return self._model.probabilities(images)

    def origin(self) -> dict[str, str]:
        """See Model."""
        return {"sha256": file_sha256(self.file)}


def _of(predictions: pd.DataFrame | None, split: str) -> pd.DataFrame | None:
    return None if predictions is None else predictions[predictions["split"] == split].reset_index(drop=True)


def known_splits(runs: Sequence[Run]) -> dict[str, str]:
    """Hash of an image's pixels -> its split in the manifests of these runs: train before val, val before test."""
    known: dict[str, str] = {}
    manifests = [recorded_rows(run) for run in runs]
    for split in reversed(SPLITS):
        for manifest in manifests:
            known |= dict.fromkeys(manifest["pixels"][manifest["split"] == split], split)
    known.pop("", None)  # earlier versions did not record it
    return known
