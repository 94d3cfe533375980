"""The folder of one `predict`: what was answered so far, and the table in the end. A killed command goes on."""

import contextlib
import itertools
import json
import logging
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from gender_cls.config.predict import TableFormat
from gender_cls.predict.table import read_table, write_table
from gender_cls.runs.files import UNFINISHED, read_json, write_atomically
from gender_cls.runs.locks import locked

log = logging.getLogger(__name__)


@contextlib.contextmanager
def folder_of(request: dict[str, Any], parent: Path, name: str) -> Iterator["PredictionFolder"]:
    """The locked folder in `parent` where this request was begun, or the first free one of name, name_2, name_3, ...

    So the same request goes on, and the answers to another one stay.

    Raises:
        GenderClsError: another process works on this request.
    """
    request = json.loads(json.dumps(request))  # as a file gives it back: a tuple becomes a list
    for number in itertools.count(1):
        folder = PredictionFolder(parent / (name if number == 1 else f"{name}_{number}"))
        if read_json(folder.request_file) in ({}, request):
            with locked(folder.folder):
                if folder.begin(request):
                    if number > 1:
                        log.info(
                            f"{parent / name} holds the answers to another request: these are in {folder.folder.name}."
                        )
                    yield folder
                    return


class PredictionFolder:
    """The files of a `predict`. The process that writes has the folder's lock."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.request_file = folder / "request.json"  # what the answers follow from
        self.begun = folder / "begun"  # answered rows; each file is named by its first row and the row after its last
        self.tracks = folder / "tracks.csv"
        self.summary = folder / "summary.json"
        self.scores = folder / "scores.json"

    def table(self, kind: TableFormat) -> Path:
        """The table in this format, when all rows are answered."""
        return self.folder / f"predictions.{kind.value}"

    @property
    def finished(self) -> Path | None:
        """A table with all rows, in any format; None until then."""
        return next(filter(Path.is_file, map(self.table, TableFormat)), None)

    def begin(self, request: dict[str, Any]) -> bool:
        """Whether the folder is this request's: it was begun for it, or it was empty and is now."""
        for file in self.folder.rglob(f".*{UNFINISHED}"):  # of a killed process
            file.unlink(missing_ok=True)
        if not self._is_free:
            return read_json(self.request_file) == request
        write_atomically(self.request_file, json.dumps(request, indent=2) + "\n")
        return True

    @property
    def _is_free(self) -> bool:
        """Whether nothing but a lock is in it."""
        return all(path.name.startswith(".") for path in self.folder.glob("*"))

    def _parts(self) -> list[tuple[int, int, Path]]:
        """First row, row after the last and file of the parts that follow one another from row 0 on."""
        found, end = [], 0
        for file in sorted(self.begun.glob("*.csv")):
            first, last = map(int, file.stem.split("-"))
            if first == end:
                found.append((first, last, file))
                end = last
        return found

    @property
    def rows_done(self) -> int:
        """How many rows, from the first on, are answered."""
        parts = self._parts()
        return parts[-1][1] if parts else 0

    def keep(self, first: int, rows: pd.DataFrame) -> None:
        """Keep answered rows, of which the first is number `first` of the request."""
        write_table([rows], self.begun / f"{first:09}-{first + len(rows):09}.csv")

    def answered(self) -> Iterator[pd.DataFrame]:
        """All answered rows, in parts."""
        if self.finished is not None:
            yield from read_table(self.finished)
        else:
            for _, _, file in self._parts():
                yield from read_table(file)

    def finish(self, kind: TableFormat) -> Path:
        """Write the table of all rows, which are answered, unless it is there."""
        file = self.table(kind)
        if not file.exists():
            write_table(self.answered(), file)
        shutil.rmtree(self.begun, ignore_errors=True)
        return file
