"""What answers: the networks of finished runs, or an exported model."""

import hashlib
from pathlib import Path
from typing import Protocol

from numpy import float64
from numpy.typing import NDArray
from torch import Tensor

from gender_cls.config.data import SPLITS
from gender_cls.config.parsing import recorded_config
from gender_cls.data.input_form import InputForm
from gender_cls.data.run_images import recorded_rows
from gender_cls.evaluation.decisions import DecisionRule
from gender_cls.evaluation.evaluated import require_evaluated
from gender_cls.models.onnx_model import OnnxModel
from gender_cls.runs.run import Run
from gender_cls.training.batch import LARGEST_AUTO_BATCH, images_per_step
from gender_cls.training.predictor import Predictor


class Answering(Protocol):
    """A network that answers, and how its probabilities become answers."""

    name: str
    form: InputForm
    rule: DecisionRule
    batch_size: int  # images that pass at once
    run: Run | None  # that it comes from; None if that is not known

    def probabilities(self, images: Tensor) -> NDArray[float64]:
        """Images (B, 3, H, W) uint8 of the size of `form` -> (B, 2), in the order of CLASSES, not calibrated."""
        ...

    def origin(self) -> dict[str, str]:
        """All that its probabilities follow from, next to the images."""
        ...


class RunModel:
    """The network of a run, in the precision and with the batches of its own test.

    Raises:
        GenderClsError: this version has not evaluated the run.
    """

    def __init__(self, run: Run, predictor: Predictor) -> None:
        require_evaluated(run)
        data = recorded_config(run.config_file).data
        self.run, self.predictor, self.name = run, predictor, run.folder.name
        self.form, self.rule = InputForm.of(data), DecisionRule.from_metrics(run.metrics)
        self.batch_size = images_per_step(data.batch_size, accumulate=1)

    def probabilities(self, images: Tensor) -> NDArray[float64]:
        """See Answering."""
        return self.predictor.answer(images)

    def origin(self) -> dict[str, str]:
        """See Answering."""
        return {
            "file": str(self.predictor.checkpoint),
            "sha256": _sha256(self.predictor.checkpoint),
            "precision": self.predictor.precision,
            "device": self.predictor.device,
        }


class ExportedModel:
    """A file that `python -m gender_cls.export` wrote."""

    batch_size = LARGEST_AUTO_BATCH

    def __init__(self, file: Path, threads: int) -> None:
        self._model = OnnxModel(file, threads)
        metadata, folder = self._model.metadata, file.parent.parent
        self.file, self.name, self.form = file, file.name, self._model.form
        low_high = metadata.band
        band = None if low_high is None else (low_high[0], low_high[1])
        self.rule = DecisionRule(metadata.temperature, metadata.threshold, band)
        self.run = Run(folder) if (folder / "manifest.csv").is_file() else None

    def probabilities(self, images: Tensor) -> NDArray[float64]:
        """See Answering."""
        return self._model.probabilities(images)

    def origin(self) -> dict[str, str]:
        """See Answering."""
        return {"file": str(self.file), "sha256": _sha256(self.file), "precision": "onnx", "device": "cpu"}


def known_splits(runs: list[Run]) -> dict[str, str]:
    """Hash of an image's pixels -> its split in the manifests of these runs: train before val, val before test."""
    known: dict[str, str] = {}
    manifests = [recorded_rows(run) for run in runs]
    for split in reversed(SPLITS):
        for manifest in manifests:
            known |= dict.fromkeys(manifest["pixels"][manifest["split"] == split], split)
    known.pop("", None)
    return known


def _sha256(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
