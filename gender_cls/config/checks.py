"""Checks that several sections of the configuration share. Imports no torch."""

import re
from pathlib import Path

from gender_cls.errors import require

AUTO = "auto"
PRECISIONS = (AUTO, "32-true", "bf16-mixed", "16-mixed", "bf16-true", "64-true")
ACCELERATORS = ("auto", "cpu", "gpu", "cuda", "mps")


def check_seed(key: str, seed: int) -> None:
    """Raise unless a seed fits every generator of random numbers."""
    require(0 <= seed < 2**32, f"{key} must lie between 0 and 2**32 - 1, not {seed}.")


def check_name(name: str | None) -> None:
    """Raise unless a name can be a folder's."""
    require(
        name is None or re.fullmatch(r"[\w.+-]+", name) is not None,
        f"name becomes a folder: letters, digits and _ . + - only, not '{name}'.",
    )


def require_share(key: str, value: float) -> None:
    """Raise unless a value lies between 0 and 1."""
    require(0 <= value <= 1, f"{key} must lie between 0 and 1, not {value}.")


def require_choice(key: str, value: str, choices: tuple[str, ...]) -> None:
    """Raise unless a value is one of the choices."""
    require(value in choices, f"{key} must be one of {', '.join(choices)}, not {value}.")


def require_count(key: str, value: int | str, least: int) -> None:
    """Raise unless a value is a whole number of at least `least`, or `auto`."""
    fits = value == AUTO if isinstance(value, str) else value >= least
    require(fits, f"{key} must be at least {least}, or auto, not {value}.")


def check_run(run: str | None) -> None:
    """Raise unless a folder is named."""
    require(run is not None, "No run is named: give run=FOLDER, a run's folder or a sweep's.")
    require(Path(str(run)).is_dir(), f"run names no folder: {run}")


def check_data_root(data_root: str | None) -> None:
    """Raise unless it is a folder, where it is given."""
    require(data_root is None or Path(data_root).is_dir(), f"data_root names no folder: {data_root}")
