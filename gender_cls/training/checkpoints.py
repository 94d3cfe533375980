"""A run's checkpoints: `best.ckpt` with the weights that validation chose; `last.ckpt`, `previous.ckpt` to resume."""

import logging
import time
import zipfile
from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from lightning_fabric.plugins import TorchCheckpointIO
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import Checkpoint
from torch import nn

from gender_cls.config.train import Config
from gender_cls.errors import GenderClsError, require
from gender_cls.runs.files import replacing
from gender_cls.runs.run import Run
from gender_cls.system.memory import peak_memory
from gender_cls.training.resume import refuse_foreign_weights

log = logging.getLogger(__name__)


class WholeFiles(TorchCheckpointIO):
    """Writes a checkpoint next to its target and renames it when it is whole.

    Lightning writes into the system's temporary folder: from another file system it would then be copied over the
    target, and a process that is killed meanwhile leaves half a file.

    Args:
        earlier: for some targets, the name that their earlier content gets.
    """

    def __init__(self, earlier: Mapping[Path, Path]) -> None:
        super().__init__()
        self._earlier = earlier

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        """Save it; GenderClsError if the folder is gone, OSError if the disk is full."""
        target = Path(path)
        earlier = self._earlier.get(target)
        if earlier is not None:
            earlier.unlink(missing_ok=True)  # so that the disk never has to hold three of them
        with replacing(target) as file:
            torch.save(checkpoint, file)
            file.flush()
            if earlier is not None and target.exists():
                try:
                    earlier.hardlink_to(target)  # so that the target is there at every moment
                except OSError:  # a file system without hard links
                    target.replace(earlier)


class KeepCheckpoints(Checkpoint):
    """Saves the last state after every epoch, and after a validation the weights alone if they are the best so far.

    The score is kept in `best.ckpt` itself, so that both stay together when the run's folder is moved.

    Args:
        monitor: the metric's name in the log; the highest is best, of `val/loss` the lowest.
        best_score: of the `best.ckpt` that an earlier session left.
    """

    def __init__(self, run: Run, monitor: str, best_score: float | None = None) -> None:
        self.run, self.monitor, self.best_score = run, monitor, best_score
        self._seconds, self._peak = 0.0, 0  # of earlier sessions, until their last checkpoint
        self._began = time.monotonic()

    @property
    def seconds(self) -> float:
        """How long the training has taken, with earlier sessions."""
        return self._seconds + time.monotonic() - self._began

    def peak_memory(self, device: str) -> int | None:
        """The most bytes that any session took; None if the system does not tell."""
        return max(peak_memory(device) or 0, self._peak) or None

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Make the folder, once: if it is removed later, that is an error."""
        self._began = time.monotonic()
        self._device = trainer.strategy.root_device.type
        self.run.checkpoints.mkdir(exist_ok=True)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save the weights, averaged ones if there are, if they are the best; nothing with Lightning's fast_dev_run."""
        if trainer.sanity_checking or trainer.fast_dev_run:  # type: ignore[attr-defined]  # Lightning sets it elsewhere
            return
        score = float(trainer.callback_metrics[self.monitor])
        sign = -1 if self.monitor == "val/loss" else 1
        if self.best_score is None or sign * score > sign * self.best_score:
            self.best_score = score
            trainer.save_checkpoint(self.run.best_checkpoint, weights_only=True)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save the state; the epoch has been validated."""
        if not trainer.fast_dev_run:  # type: ignore[attr-defined]  # Lightning sets it elsewhere
            trainer.save_checkpoint(self.run.last_checkpoint)

    def state_dict(self) -> dict[str, Any]:
        """What the training took so far."""
        return {"seconds": self.seconds, "peak_memory": self.peak_memory(self._device) or 0}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Count on from an earlier session."""
        self._seconds, self._peak = state_dict["seconds"], state_dict["peak_memory"]


def read_checkpoint(file: Path) -> dict[str, Any]:
    """The content of a checkpoint, its tensors mapped from the file; GenderClsError if any byte of it is damaged."""
    try:
        with zipfile.ZipFile(file) as archive:  # torch itself does not compare the sums
            whole = archive.testzip() is None
        if whole:
            content = torch.load(file, map_location="cpu", weights_only=True, mmap=True)
            if isinstance(content, dict):
                return content
    except PermissionError:
        raise
    except (zipfile.BadZipFile, RuntimeError, EOFError, UnpicklingError, OSError, KeyError, ValueError):
        pass  # each kind of damage has its own error
    raise GenderClsError(f"{file} is damaged.")


def last_whole_checkpoint(run: Run) -> tuple[Path, dict[str, Any]] | None:
    """The newest checkpoint that a training can go on from, and its content; a damaged one is renamed."""
    for file in (run.last_checkpoint, run.previous_checkpoint):
        if not file.exists():
            continue
        try:
            content = read_checkpoint(file)
            require("optimizer_states" in content, f"{file} holds no state of a training that could go on.")
        except GenderClsError as error:
            aside = file.with_name(f"{file.name}.damaged")
            file.replace(aside)
            log.warning(f"{error} It was renamed to {aside.name}; training continues without it.")
            continue
        if file == run.previous_checkpoint:
            log.warning(f"Training continues from {file}, which is older.")
        return file, content
    return None


def has_validated(checkpoint: Path) -> bool:
    """Whether an epoch had come to its end when a checkpoint to resume was written."""
    content = torch.load(checkpoint, map_location="cpu", weights_only=True, mmap=True)
    return content["loops"]["fit_loop"]["epoch_progress"]["current"]["processed"] > 0


def best_score(run: Run, config: Config) -> float:
    """The validation score of `best.ckpt`; GenderClsError if the file is not whole or of other settings."""
    try:
        content = read_checkpoint(run.best_checkpoint)
        score, saved = float(content["score"]), content["hyper_parameters"]["config"]
    except (GenderClsError, KeyError):
        raise GenderClsError(
            f"{run.best_checkpoint} is missing or damaged (or an earlier version wrote it), and nothing else holds the "
            f"best weights so far: restore it, or remove {run.checkpoints} to train this run from the beginning."
        ) from None
    refuse_foreign_weights(run.best_checkpoint, saved, config)
    return score


def non_finite_weights(network: nn.Module) -> list[str]:
    """The names of parameters that hold an infinity or NaN, and of running statistics that hold NaN."""
    parameters = [name for name, value in network.named_parameters() if not torch.isfinite(value).all()]
    return parameters + [name for name, value in network.named_buffers() if torch.isnan(value).any()]
