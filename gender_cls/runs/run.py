"""A run folder as an object: what lies where, who writes in it, and how the run ended.

The folder is the contract between commands: whoever has it needs nothing else.
"""

import contextlib
import json
import os
import platform
import socket
import time
import traceback
from collections.abc import Iterator
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from gender_cls.errors import error_sentence
from gender_cls.runs.files import locked, read_json, write_atomically


class Run:
    """One training run's folder.

    Attributes:
        folder: absolute.
    """

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
        """What `status.json` says; empty before the start."""
        return read_json(self.status_file)

    @property
    def data(self) -> dict[str, Any]:
        """What `data.json` says: where the images lie, their splits, leaks and trivial baselines."""
        return read_json(self.data_file)

    @property
    def metrics(self) -> dict[str, Any]:
        """What `metrics.json` says; empty before the end."""
        return read_json(self.metrics_file)

    def explanation_picture(self, name: str) -> Path:
        """A grid of maps of test images."""
        return self.explanations / f"{name}.png"

    @property
    def choices(self) -> dict[str, str]:
        """Which file of each configuration group Hydra took; empty where the run was not started by Hydra."""
        file = self.folder / ".hydra" / "hydra.yaml"
        return dict(OmegaConf.load(file).hydra.runtime.choices) if file.is_file() else {}

    @property
    def settings(self) -> dict[Any, Any]:
        """The configuration it was started with, as plain values; empty where it was not kept."""
        settings = OmegaConf.to_container(OmegaConf.load(self.config_file)) if self.config_file.is_file() else {}
        assert isinstance(settings, dict)
        return settings

    @property
    def finished(self) -> bool:
        """Whether the run has come to its end."""
        return self.status.get("state") == "finished"

    def note(self, **fields: Any) -> None:
        """Write these fields into `status.json`, beside those already there."""
        write_atomically(self.status_file, json.dumps({**self.status, **fields}, indent=2) + "\n")

    @contextlib.contextmanager
    def recording(self, **about: Any) -> Iterator[None]:
        """Hold the folder for this process and say in `status.json` how the work inside ended.

        `state` is running, then finished, failed (with `error` and `traceback`) or interrupted. A process that the
        kernel kills leaves running behind; the lock goes with it.

        Args:
            about: fields that say what the run is.

        Raises:
            GenderClsError: another process is at work in this folder.
        """
        with locked(self.folder):
            started = time.monotonic() - self.status.get("seconds", 0.0)  # an earlier session's count too
            try:
                self.note(
                    state="running",
                    **about,
                    pid=os.getpid(),
                    host=socket.gethostname(),
                    started=datetime.now().astimezone().isoformat(timespec="seconds"),
                    error=None,
                    traceback=None,
                )
                yield
                self.note(state="finished", seconds=round(time.monotonic() - started, 1))
            except (KeyboardInterrupt, SystemExit):
                self.note(state="interrupted", seconds=round(time.monotonic() - started, 1))
                raise KeyboardInterrupt from None  # Lightning makes Ctrl-C an exit, which Hydra would take for an end
            except Exception as error:
                self.note(
                    state="failed",
                    seconds=round(time.monotonic() - started, 1),
                    error=error_sentence(error),
                    traceback=traceback.format_exc(),
                )
                raise


def environment() -> dict[str, str]:
    """Day, versions and machine, for the record."""
    packages = ("gender_cls", "torch", "torchvision", "pytorch-lightning", "timm", "captum")
    return {
        "date": datetime.now().astimezone().date().isoformat(),
        "python": platform.python_version(),
        **{name: version(name) for name in packages},
        "machine": f"{platform.machine()}, {os.cpu_count()} CPUs",
    }
