"""The schema of the section `trainer`: what Lightning's Trainer gets, and where it trains. Imports no torch."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gender_cls.config.checks import ACCELERATORS, AUTO, MOST_THREADS, PRECISIONS, setting
from gender_cls.errors import require

PROFILERS = ("simple", "advanced", "pytorch")

DEBUGGING = ("fast_dev_run", "overfit_batches", "limit_train_batches", "limit_val_batches")
"""Keys that let a run see a part of its batches."""

_TIMES = ("weeks", "days", "hours", "minutes", "seconds")


@dataclass
class TrainerConfig:
    """Keys with the names of Lightning's are passed through to its Trainer, and mean the same."""

    max_epochs: int = setting(20, least=1)
    max_time: Any = None
    accumulate: int = setting(1, least=1)
    val_check_interval: int | float = setting(1.0, above=0)
    accelerator: str = setting(AUTO, choices=ACCELERATORS)
    devices: int | str = setting(1, least=1, auto=True)
    num_nodes: int = setting(1, least=1)
    precision: str = setting(AUTO, choices=PRECISIONS)
    threads: int | str = setting(AUTO, least=1, most=MOST_THREADS, auto=True)
    channels_last: bool = True
    compile: bool = False
    deterministic: bool | str = False
    resume: bool = False
    progress_bar: bool = True
    fast_dev_run: bool | int = setting(False, least=0)
    overfit_batches: int | float | None = setting(above=0)
    limit_train_batches: int | float | None = setting(above=0)
    limit_val_batches: int | float | None = setting(above=0)
    profiler: str | None = setting(choices=PROFILERS)

    def check(self) -> None:
        for key in ("val_check_interval", *DEBUGGING[1:]):
            value = getattr(self, key)
            require(
                value is None or isinstance(value, int) or value <= 1,
                f"trainer.{key}={value} must be a whole number of batches, or a share of them up to 1.0.",
            )
        require(
            isinstance(self.deterministic, bool) or self.deterministic == "warn",
            f"trainer.deterministic must be true, false or warn, not {self.deterministic}.",
        )
        require(
            _is_duration(self.max_time),
            f"trainer.max_time must be DD:HH:MM:SS in quotes, such as '00:01:30:00', or {{hours: 1.5}}, not "
            f"{self.max_time}.",
        )


def _is_duration(value: Any) -> bool:
    if isinstance(value, dict):
        amounts = [amount for amount in value.values() if isinstance(amount, int | float) and amount >= 0]
        return value.keys() <= {*_TIMES} and len(amounts) == len(value) and sum(amounts) > 0
    return value is None or (isinstance(value, str) and re.fullmatch(r"\d+:\d\d:\d\d:\d\d", value) is not None)


def debugging(trainer: Mapping[str, Any]) -> str | None:
    """The settings that make a run a debugging run, such as `trainer.limit_val_batches=2`; None for a real run.

    Args:
        trainer: the section as plain values; an earlier version's lacks keys.
    """
    values = {key: trainer.get(key) for key in DEBUGGING}
    given = [f"trainer.{key}={value}" for key, value in values.items() if value and str(value) != "1.0"]
    return " and ".join(given) or None
