"""A run folder as an object: what lies where, who writes in it, and how the run ended.

The folder is the contract between commands: whoever has it needs nothing else.
"""

import contextlib
import json
import os
import platform
import socket
import tempfile
import time
import traceback
from collections.abc import Iterator
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from omegaconf import OmegaConf

from gender_cls.errors import GenderClsError
from gender_cls.evaluation.estimate import best_baseline, stated

TENSORBOARD = "tensorboard --logdir outputs --samples_per_plugin images=1000"


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
    def finished(self) -> bool:
        """Whether the run has come to its end."""
        return self.status.get("state") == "finished"

    def summary(self) -> str:
        """How the run ended, in a few lines for the terminal."""
        metrics = self.metrics
        test, best = metrics["test"], best_baseline(metrics["baselines"])
        assert best is not None, "the majority baseline always has a score"
        score, auroc = test["scores"]["balanced_accuracy"], test["scores"]["auroc"]
        leaky = " LEAKY: see data.leaks in metrics.json." if metrics["data"]["leaky"] else ""
        return (
            f"\nBest epoch {metrics['best_epoch']}: validation {metrics['monitor']} {metrics['best_validation']:.3f}.\n"
            f"Test ({test['images']} images, {test['identities'] or 'unknown'} identities): "
            f"balanced accuracy {stated(score)}, AUROC {stated(auroc)}.{leaky}\n"
            f"The best trivial baseline, {best['title']}, scores {best['balanced_accuracy']:.3f}.\n"
            f"Open {self.report}. Watch: {TENSORBOARD}"
        )

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
        with held(self.folder):
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


@contextlib.contextmanager
def held(folder: Path) -> Iterator[None]:
    """Hold a folder for this process; the lock goes with the process, however that ends.

    Raises:
        GenderClsError: another process holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise GenderClsError(f"{folder} is in use by another process: wait for it or choose another name.") from None
    try:
        yield
    finally:
        lock.release()


def error_sentence(error: BaseException) -> str:
    """Our own errors as they are; others on one line, with their type."""
    text = " ".join(str(error).split())
    return text if isinstance(error, GenderClsError) else f"{type(error).__name__}: {text}"


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write a file so that a reader, or a crash, finds the old one or the new one but never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    data = content.encode() if isinstance(content, str) else content
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file; empty when there is no such file."""
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        return {}
    except json.JSONDecodeError as error:
        raise GenderClsError(f"{path} is no JSON file ({error}): restore or remove it.") from None


def environment() -> dict[str, str]:
    """Day, versions and machine, for the record."""
    packages = ("gender_cls", "torch", "torchvision", "pytorch-lightning", "timm", "captum")
    return {
        "date": datetime.now().astimezone().date().isoformat(),
        "python": platform.python_version(),
        **{name: version(name) for name in packages},
        "machine": f"{platform.machine()}, {os.cpu_count()} CPUs",
    }
