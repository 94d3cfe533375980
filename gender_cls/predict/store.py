"""The folder of one `predict`: what was answered so far, and the table in the end. A killed command goes on."""

import json
import logging
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from gender_cls.config.predict import TableFormat
from gender_cls.errors import first_few
from gender_cls.predict.table import read_table, write_table
from gender_cls.runs.files import UNFINISHED, read_json, write_atomically

log = logging.getLogger(__name__)


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

    def begin(self, request: dict[str, Any]) -> None:
        """Go on with this request, or start over if what the folder holds follows from another one."""
        for file in self.folder.rglob(f".*{UNFINISHED}"):  # of a killed process
            file.unlink(missing_ok=True)
        text = json.dumps(request, indent=2) + "\n"
        before, request = read_json(self.request_file), json.loads(text)  # a band is a tuple until it is written
        if before == request:
            return
        if before:
            other = [name for name in request if before.get(name) != request[name]]
            log.warning(
                f"{self.folder} holds answers of a command with other {first_few(other)}: they are removed, and this "
                "one starts over. With another name, both stay."
            )
        self._remove_answers()
        write_atomically(self.request_file, text)

    def _remove_answers(self) -> None:
        for path in self.folder.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
            elif not path.name.startswith(".lock"):
                path.unlink()

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
