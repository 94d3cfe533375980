"""A run folder as an object: its files, its lock, and how the run ended; and where runs are found.

The folder is the contract between commands: they need nothing else of a run.
"""

import contextlib
import json
import os
import platform
import re
import socket
import time
import traceback
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from gender_cls.errors import GenderClsError, error_sentence
from gender_cls.runs.files import locked, read_json, timestamp, write_atomically

TENSORBOARD = "tensorboard --logdir outputs --samples_per_plugin images=1000"

HPARAMS_SCORES = ("hp/val_balanced_accuracy", "hp/test_balanced_accuracy", "hp/test_auroc")
"""What TensorBoard's HParams tab compares runs by."""


class Run:
    """One training run's folder, and the absolute paths of its files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self.status_file = self.folder / "status.json"
        self.config_file = self.folder / ".hydra" / "config.yaml"
        self.manifest = self.folder / "manifest.csv"
        self.data_file = self.folder / "data.json"
        self.unreadable = self.folder / "unreadable.csv"
        self.checkpoints = self.folder / "checkpoints"
        self.best_checkpoint = self.checkpoints / "best.ckpt"
        self.last_checkpoint = self.checkpoints / "last.ckpt"
        self.predictions = self.folder / "predictions.csv"
        self.variants = self.folder / "variants.csv"
        self.metrics_file = self.folder / "metrics.json"
        self.plots = self.folder / "plots"
        self.report = self.folder / "report.html"
        self.model_card = self.folder / "MODEL_CARD.md"
        self.explanations = self.folder / "explanations"
        self.explained = self.folder / "explanations.csv"
        self.gallery = self.folder / "gallery.html"
        self.maps = self.explanations / "maps.npz"
        self.randomisation = self.explanations / "randomisation.csv"

    @property
    def status(self) -> dict[str, Any]:
        """The content of `status.json`; empty before the start."""
        return read_json(self.status_file)

    @property
    def data(self) -> dict[str, Any]:
        """The content of `data.json`: where the images lie, their splits, leaks and trivial baselines."""
        return read_json(self.data_file)

    @property
    def metrics(self) -> dict[str, Any]:
        """The content of `metrics.json`; empty before the end."""
        return read_json(self.metrics_file)

    def explanation_picture(self, name: str) -> Path:
        """A grid of maps of test images."""
        return self.explanations / f"{name}.png"

    @property
    def choices(self) -> dict[str, str]:
        """The file of each configuration group that Hydra took; empty if Hydra did not start the run."""
        file = self.folder / ".hydra" / "hydra.yaml"
        return dict(OmegaConf.load(file).hydra.runtime.choices) if file.is_file() else {}

    @property
    def settings(self) -> dict[Any, Any]:
        """The configuration that it was started with, as plain values; empty if it was not kept."""
        settings: Any = OmegaConf.to_container(OmegaConf.load(self.config_file)) if self.config_file.is_file() else {}
        return settings

    @property
    def finished(self) -> bool:
        """Whether the run has come to its end."""
        return self.status.get("state") == "finished"

    def note(self, **fields: Any) -> None:
        """Add these fields to `status.json`, or replace them there."""
        write_atomically(self.status_file, json.dumps({**self.status, **fields}, indent=2) + "\n")

    @contextlib.contextmanager
    def recording(self, **about: Any) -> Iterator[None]:
        """Lock the folder and write into `status.json` how the work inside ends.

        `state` is running, then finished, failed (with `error` and `traceback`) or interrupted; after a process that
        was killed it is still running. `about` are further fields.
        """
        with locked(self.folder):
            started = time.monotonic() - self.status.get("seconds", 0.0)  # earlier sessions count too

            def end(state: str, **fields: Any) -> None:
                self.note(state=state, seconds=round(time.monotonic() - started, 1), **fields)

            try:
                self.note(
                    state="running",
                    **about,
                    pid=os.getpid(),
                    host=socket.gethostname(),
                    started=timestamp(),
                    error=None,
                    traceback=None,
                )
                yield
                end("finished")
            except (KeyboardInterrupt, SystemExit):
                end("interrupted")
                raise KeyboardInterrupt from None  # Lightning turns Ctrl-C into SystemExit, which Hydra ignores
            except Exception as error:
                end("failed", error=error_sentence(error), traceback=traceback.format_exc())
                raise


def environment() -> dict[str, str]:
    """Today's date, the versions of packages, and the machine."""
    packages = ("gender_cls", "torch", "torchvision", "pytorch-lightning", "timm", "captum")
    return {
        "date": timestamp().partition("T")[0],
        "python": platform.python_version(),
        **{name: version(name) for name in packages},
        "machine": f"{platform.machine()}, {os.cpu_count()} CPUs",
    }


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
