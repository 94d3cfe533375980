"""Which settings and machines may change when a run is resumed. Imports no torch."""

import logging
import os
from pathlib import Path
from typing import Any

from gender_cls.config.checks import AUTO, absolute
from gender_cls.config.parsing import by_dotted_key, to_plain
from gender_cls.config.train import Config
from gender_cls.errors import GenderClsError
from gender_cls.runs.run import Run
from gender_cls.system.resources import Resources
from gender_cls.training.batch import images_per_step

log = logging.getLogger(__name__)

MAY_CHANGE = {
    *("name", "output_dir", "tags", "notes", "loggers"),
    *("explain", "evaluation", "search", "model.weights", "recipe.grad_checkpointing"),
    *("data.batch_size", "data.num_workers", "data.cache", "data.cache_gigabytes", "data.cache_days"),
    *("trainer.accumulate", "trainer.accelerator", "trainer.devices", "trainer.num_nodes", "trainer.threads"),
    *("trainer.channels_last", "trainer.compile"),
    *("trainer.precision", "trainer.resume", "trainer.progress_bar"),
    *("trainer.max_time", "trainer.deterministic", "trainer.profiler"),
}
"""Keys, or whole sections, that change no result. The images per step and the precision that is used must stay."""

PATHS = ("data.root", "data.csv", "data.corrections")


def refuse_other_settings(run: Run, began: dict[str, Any], config: Config) -> None:
    """Raise GenderClsError if a setting that changes results differs from the run's first session.

    Args:
        began: the configuration of that session as plain values; keys that an earlier version lacked have defaults.
    """
    then, now = map(by_dotted_key, (began, to_plain(config)))
    then = {**by_dotted_key(to_plain(Config())), **then}
    for key in PATHS:
        if then.get(key) is not None:  # an earlier version recorded paths as they were typed
            then[key] = absolute(then[key])
    if now["trainer.precision"] != AUTO:
        check_precision(run, now["trainer.precision"])
    for key in sorted(then.keys() | now.keys()):
        if then.get(key) != now.get(key) and not _may_change(key) and not _moved(key, then.get(key), now.get(key)):
            raise GenderClsError(f"{_started_with(run, key, then.get(key), now.get(key))}{_WAY_OUT.get(key, '')}")
    steps = [images_per_step(one["data.batch_size"], one.get("trainer.accumulate", 1)) for one in (then, now)]
    if steps[0] != steps[1]:
        raise GenderClsError(
            f"{run.folder} was started with {steps[0]} images per step, not {steps[1]}: resume it with the same "
            "product of data.batch_size and trainer.accumulate, or start a new run."
        )


def refuse_foreign_weights(checkpoint: Path, saved: dict[str, Any], config: Config) -> None:
    """Raise GenderClsError if a checkpoint was put into this run's folder from a training with other settings.

    Args:
        saved: the configuration in the checkpoint as plain values; keys that an earlier version lacked do not count.
        config: of the run.
    """
    then, now = map(by_dotted_key, (saved, to_plain(config)))
    for key in sorted(then.keys() & now.keys()):
        typed = key in PATHS and then[key] is not None and not os.path.isabs(then[key])  # by an earlier version
        if then[key] != now[key] and not typed and not _may_change(key) and not _moved(key, then[key], now[key]):
            raise GenderClsError(
                f"{checkpoint} belongs to another training: it has {key}={then[key]}, and this run has {now[key]}. "
                "Restore the run's own, or train the run again."
            )


def _moved(key: str, before: object, now: object) -> bool:
    """Whether the data lie elsewhere now; whether they are the same is found out when they are read (`data.record`)."""
    return key in PATHS and None not in (before, now) and not Path(str(before)).exists() and Path(str(now)).exists()


def _may_change(key: str) -> bool:
    return any(key == one or key.startswith(f"{one}.") for one in MAY_CHANGE)


def check_precision(run: Run, precision: str) -> None:
    """Raise GenderClsError unless the run was trained in this precision; `auto` may be another one on each machine."""
    before = run.status.get("resources", {}).get("precision", precision)
    if before != precision:
        raise GenderClsError(_started_with(run, "trainer.precision", before, precision))


def check_machine(run: Run, resources: Resources) -> None:
    """Refuse another precision, which changes results; warn of another device, which changes them a little."""
    check_precision(run, resources.precision)
    before = run.status.get("resources", {}).get("device", resources.device)
    if before != resources.device:
        log.warning(
            f"{run.folder.name} was trained on {before} so far and continues on {resources.device}: random numbers and "
            "rounding differ there, so the scores will not be exactly those of a run on one device."
        )


_WAY_OUT = {
    "trainer.max_epochs": " (The learning rate falls to zero over all epochs, so adding epochs later is not the same "
    "as more epochs from the start. model.weights=.../best.ckpt lets the new run begin with these weights.)"
}


def _started_with(run: Run, key: str, before: object, now: object) -> str:
    started = f"{run.folder} was started with {key}={before}, not {now}"
    return f"{started}: resume it with that value, or start a new run."
