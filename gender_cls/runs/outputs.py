"""Where outputs lie, and which runs there are."""

import re
from collections.abc import Sequence
from pathlib import Path

from gender_cls.errors import GenderClsError
from gender_cls.runs.run import Run

TENSORBOARD = "tensorboard --logdir outputs --samples_per_plugin images=1000"

HPARAMS_SCORES = ("hp/val_balanced_accuracy", "hp/test_balanced_accuracy", "hp/test_auroc")
"""What TensorBoard's HParams tab compares runs by."""


def image_cache(output_dir: str) -> Path:
    """The folder that keeps what was read from images; without it, they are read again."""
    return Path(output_dir) / "cache"


def find_runs(folders: Sequence[Path]) -> list[Run]:
    """The runs at any depth in these folders, each once, sorted by path with numbers in numerical order.

    Raises:
        GenderClsError: there is no run in one of them.
    """
    found: dict[Path, Run] = {}
    for folder in folders:
        if not folder.is_dir():
            raise GenderClsError(f"{folder} is not a folder: name a run, a sweep, or a folder with runs inside.")
        found_here = [Run(file.parent) for file in folder.rglob("status.json")]  # audits too
        runs = [run for run in found_here if "model" in run.status or "trainer" in run.settings]
        if not runs:
            raise GenderClsError(f"There is no run in {folder}: name a run, a sweep, or a folder with runs inside.")
        found.update((run.folder, run) for run in runs)
    return sorted(found.values(), key=lambda run: _natural(str(run.folder)))


def _natural(text: str) -> list[tuple[int, str]]:
    """A key that sorts 2_x before 10_x."""
    return [(int(digits or 0), other) for digits, other in re.findall(r"(\d*)(\D*)", text)]
