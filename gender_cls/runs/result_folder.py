"""The folder of one test: what a network answered for some images, and what follows from it.

A run's own folder is one, for its final test; each folder in `elsewhere/` is one, for data that the run never saw.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gender_cls.errors import GenderClsError, require
from gender_cls.runs.files import UNFINISHED, read_json, write_atomically

RESERVE_FOR_END = 1024  # characters of an ASCII text

GONE = "is gone: it, or its disk, was moved or removed while the run was working. Put it back, or start a new run."


class ResultFolder:
    """The absolute paths of a test's files, and the content of those that hold JSON."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self.status_file = self.folder / "status.json"
        self.data_file = self.folder / "data.json"
        self.unreadable = self.folder / "unreadable.csv"
        self.begun = self.folder / "predictions_begun.csv"  # answers of a test that was interrupted
        self.predictions = self.folder / "predictions.csv"
        self.adapted = self.folder / "adapted.csv"
        self.variants = self.folder / "variants.csv"
        self.metrics_file = self.folder / "metrics.json"
        self.plots = self.folder / "plots"
        self.report = self.folder / "report.html"
        self.explanations = self.folder / "explanations"
        self.explained = self.folder / "explanations.csv"
        self.gallery = self.folder / "gallery.html"
        self.maps = self.explanations / "maps.npz"
        self.randomisation = self.explanations / "randomisation.csv"

    def refuse_links_out(self) -> None:
        """Raise GenderClsError if a folder that commands write into leads out of this folder."""
        for folder in (self.plots, self.explanations, self.explanations / "pictures"):
            if not folder.resolve().is_relative_to(self.folder):
                raise GenderClsError(
                    f"{folder} is a link out of the run's folder, and nothing is written there: replace it by a folder."
                )

    def remove_unfinished_files(self) -> None:
        """Remove what a killed process was writing; nobody else writes here while this process has the run's lock."""
        for file in self.folder.rglob(f".*{UNFINISHED}"):
            file.unlink(missing_ok=True)

    def explanation_picture(self, name: str) -> Path:
        """A grid of maps of test images."""
        return self.explanations / f"{name}.png"

    @property
    def status(self) -> dict[str, Any]:
        """The content of `status.json`; empty before the start."""
        return read_json(self.status_file)

    @property
    def answers_from(self) -> dict[str, Any]:
        """`precision` and `device` of the network's answers that the folder keeps; None where it is not known."""
        return self.status.get("answers", {"precision": None, "device": None})

    @property
    def data(self) -> dict[str, Any]:
        """The content of `data.json`: where the images lie, their splits, leaks and trivial baselines."""
        return read_json(self.data_file)

    @property
    def data_root(self) -> Path:
        """The folder of the images when they were read first."""
        root = self.data.get("root")
        require(isinstance(root, str), f"{self.data_file} names no folder of images: restore it, or give data_root.")
        return Path(str(root))

    @property
    def metrics(self) -> dict[str, Any]:
        """The content of `metrics.json`; empty before the end."""
        return read_json(self.metrics_file)

    def note(self, **fields: Any) -> None:
        """Add these fields to `status.json`, or replace them there."""
        require(self.folder.is_dir(), f"{self.folder} {GONE}")
        write_atomically(self.status_file, status_text({**self.status, **fields}))


def chosen_rule(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """`temperature`, `threshold` and `band`, which validation chose, from the content of `metrics.json`."""
    return {
        "temperature": metrics["calibration"]["temperature"],
        "threshold": metrics["operating_point"]["threshold"],
        "band": metrics["abstention"]["band"],
    }


def status_text(status: dict[str, Any]) -> str:
    """The content of `status.json`; until a run ends, blanks keep room on the disk for what its end adds."""
    return json.dumps(status, indent=2) + " " * (RESERVE_FOR_END * (status.get("state") == "running")) + "\n"
