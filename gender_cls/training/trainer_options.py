"""The keys of `trainer` that Lightning's Trainer gets as they are, and what they mean for a run."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning import Trainer
from pytorch_lightning.callbacks import Timer
from pytorch_lightning.profilers import AdvancedProfiler, Profiler, PyTorchProfiler, SimpleProfiler

from gender_cls.config.train import Config
from gender_cls.config.trainer import TrainerConfig
from gender_cls.errors import GenderClsError, count, plural

log = logging.getLogger(__name__)

PROFILED_STEPS = 20  # of the first ones, by torch's profiler: its traces are large


def for_fast_dev_run(config: Config) -> Config:
    """The configuration; with `fast_dev_run`, its few batches train all that a training learns, without a cache."""
    if not config.trainer.fast_dev_run:
        return config
    frozen = None if config.recipe.frozen_epochs is None else 0
    return replace(config, recipe=replace(config.recipe, frozen_epochs=frozen, views=0))


def passed_on(settings: TrainerConfig, batches: dict[str, int], folder: Path) -> dict[str, Any]:
    """Options of Lightning's Trainer.

    Args:
        batches: in an epoch of `train` and in a validation of `val`, on each device.
        folder: for what a profiler writes.

    Raises:
        GenderClsError: an interval or a limit does not fit the number of batches.
    """
    train = batches_of(settings, "train", batches["train"])
    batches_of(settings, "val", batches["val"])
    interval = settings.val_check_interval
    if isinstance(interval, int) and interval > train:
        raise GenderClsError(
            f"trainer.val_check_interval={interval} is more than the {plural(train, 'batch', 'batches')} of an epoch: "
            "lower it, or leave it out for one validation per epoch."
        )
    # Lightning's overfit_batches is these limits, and a sampler in which no epoch differs: the data module has its own.
    both = settings.overfit_batches
    return {
        "max_epochs": settings.max_epochs,
        "max_time": settings.max_time,
        "fast_dev_run": settings.fast_dev_run,
        "limit_train_batches": both if both is not None else settings.limit_train_batches,
        "limit_val_batches": both if both is not None else settings.limit_val_batches,
        "val_check_interval": interval,
        "deterministic": settings.deterministic,
        "profiler": _profiler(settings.profiler, folder),
    }


def _profiler(name: str | None, folder: Path) -> Profiler | None:
    """Lightning's profiler of this name, which writes a table into the folder; torch's also a trace."""
    where: dict[str, Any] = {"dirpath": folder, "filename": str(name)}
    if name == "pytorch":
        # Lightning's own schedule needs five steps, and torch ends the process if fewer come.
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Profiler won't be using warmup")  # which needs a step more
            schedule = torch.profiler.schedule(wait=0, warmup=0, active=PROFILED_STEPS, repeat=1)
        return PyTorchProfiler(**where, schedule=schedule)
    return None if name is None else {"simple": SimpleProfiler, "advanced": AdvancedProfiler}[name](**where)


def batches_of(settings: TrainerConfig, split: str, batches: int) -> int:
    """How many of the batches of train or val a run sees; GenderClsError if a share of them is less than one."""
    if settings.fast_dev_run:
        return min(batches, int(settings.fast_dev_run))
    key = "overfit_batches" if settings.overfit_batches is not None else f"limit_{split}_batches"
    limit = getattr(settings, key)
    if limit is None:
        return batches
    if isinstance(limit, int):
        return min(batches, limit)
    if int(batches * limit) == 0:
        raise GenderClsError(
            f"trainer.{key}={limit} of {plural(batches, 'batch', 'batches')} of {split} is less than one batch: name "
            "the number of batches instead, such as 1."
        )
    return int(batches * limit)


@contextmanager
def deterministic_algorithms(setting: bool | str) -> Iterator[None]:
    """Leave torch's choice of algorithms afterwards as it was; a Trainer with `deterministic` changes it in between.

    Raises:
        GenderClsError: something inside has no deterministic form.
    """
    chosen = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    try:
        yield
    except RuntimeError as error:
        if setting is not True or "determinis" not in str(error):
            raise
        what = str(error).split(". ")[0].split(", but")[0]
        raise GenderClsError(
            f"trainer.deterministic=true cannot be kept: {what}. trainer.deterministic=warn goes on with a warning."
        ) from error
    finally:
        torch.use_deterministic_algorithms(chosen, warn_only=warn_only)


def ended_early(trainer: Trainer) -> str | None:
    """Where `max_time` ended a training; None if it did not."""
    timers = [one for one in trainer.callbacks if isinstance(one, Timer)]  # type: ignore[attr-defined]  # Lightning sets it
    is_over = any((left := timer.time_remaining()) is not None and left <= 0 for timer in timers)
    steps, planned = trainer.global_step, int(trainer.estimated_stepping_batches)
    if not is_over or steps >= planned:
        return None
    rate = max(group["lr"] for group in trainer.optimizers[0].param_groups)
    return f"after {count(steps)} of {count(planned)} steps, with the learning rate still at {rate:.2g}"
