"""What is known of the images below a folder, an image a row, in a small SQLite database."""

import contextlib
import hashlib
import os
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gender_cls.errors import GenderClsError

VERSION = 2
"""Of what the facts mean. Raise it when a hash or a measure changes: databases of another version are made anew."""

STAMP: dict[str, type] = {"bytes": np.int64, "modified": np.int64}

FACTS: dict[str, type] = {
    "format": object,
    "frames": np.int32,
    "width": np.int32,
    "height": np.int32,
    "pixels": object,
    "perceptual_hash": np.int64,  # SQLite has no unsigned numbers
    "brightness": np.float32,
    "sharpness": np.float32,
    "red": np.float32,
    "green": np.float32,
    "blue": np.float32,
    "fault": object,
    "reason": object,
}

PLACE: dict[str, type] = {"place": np.int64}
"""Where the picture begins in the file of pixels; -1 where it is not in there."""

ROWS_AT_ONCE = 20_000


def stamp(file: str) -> tuple[int, int]:
    """Size and time of the last change in nanoseconds: what tells an unchanged file."""
    try:
        status = os.stat(file)
    except OSError:
        return 0, -1  # unlike an image that is not in the database
    return status.st_size, status.st_mtime_ns


class FactsDatabase:
    """An open database.

    Attributes:
        file: where it lies; the pixels lie beside it.
    """

    def __init__(self, file: Path, connection: sqlite3.Connection) -> None:
        self.file, self._connection = file, connection

    def store(self, records: Sequence[tuple]) -> None:
        """Write rows of path, STAMP, FACTS and PLACE, in the place of older ones."""
        if records:
            marks = ", ".join("?" * len(records[0]))
            with self._connection:
                self._connection.executemany(f"INSERT OR REPLACE INTO images VALUES ({marks})", records)

    def put(self, places: Sequence[tuple[int, str]]) -> None:
        """Note the places of paths that have a row."""
        with self._connection:
            self._connection.executemany("UPDATE images SET place = ? WHERE path = ?", places)

    def load(self, row_of: dict[str, int]) -> pd.DataFrame:
        """STAMP, FACTS and PLACE of the images in `row_of`, in its order; 0 or empty for images that are not there."""
        columns = STAMP | FACTS | PLACE
        values: dict[str, NDArray[Any]] = {
            name: np.full(len(row_of), "", object) if kind is object else np.zeros(len(row_of), kind)
            for name, kind in columns.items()
        }
        values["place"] -= 1
        cursor = self._connection.execute(f"SELECT path, {', '.join(columns)} FROM images")
        while found := cursor.fetchmany(ROWS_AT_ONCE):
            wanted = [record for record in found if record[0] in row_of]
            if wanted:
                paths, *of_columns = zip(*wanted, strict=True)
                rows = [row_of[path] for path in paths]
                for name, of_column in zip(columns, of_columns, strict=True):
                    values[name][rows] = of_column
        return pd.DataFrame(values)

    @property
    def pixels_identity(self) -> str:
        """Of the file of pixels that the places belong to; empty when there was none yet."""
        found = self._connection.execute("SELECT identity FROM pixels_file").fetchone()
        return found[0] if found else ""

    def begin_pixels(self, identity: str, moved: Sequence[tuple[int, str]] = ()) -> None:
        """Another file of pixels counts from now on, which holds these places of paths and no others."""
        with self._connection as connection:
            connection.execute("DELETE FROM pixels_file")
            connection.execute("INSERT INTO pixels_file VALUES (?)", (identity,))
            connection.execute("UPDATE images SET place = -1")
            connection.executemany("UPDATE images SET place = ? WHERE path = ?", moved)

    def forget_places_beyond(self, size: int) -> None:
        """Of pictures that are not whole within `size` bytes: what comes there later is of others."""
        with self._connection as connection:
            connection.execute("UPDATE images SET place = -1 WHERE place + 3 * width * height > ?", (size,))

    def kept(self) -> pd.DataFrame:
        """`path`, `place` and `length` in bytes of all pictures in the file of pixels, in its order."""
        rows = self._connection.execute(
            "SELECT path, place, 3 * width * height FROM images WHERE place >= 0 ORDER BY place"
        ).fetchall()
        return pd.DataFrame(rows, columns=["path", "place", "length"]).astype({"place": "int64", "length": "int64"})


@contextlib.contextmanager
def open_database(root: Path, cache: Path) -> Iterator[FactsDatabase]:
    """The database of the images below `root`, made if need be.

    Raises:
        GenderClsError: it cannot be read or written, also later.
    """
    name = hashlib.blake2b(str(root).encode(), digest_size=8).hexdigest()
    file = cache / f"scan_{root.name}_{name}.sqlite"
    columns = ", ".join(f"{name} {_sqlite_type(kind)} NOT NULL" for name, kind in {**STAMP, **FACTS, **PLACE}.items())
    try:
        cache.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise GenderClsError(f"{cache}, the folder for what is known of the images, cannot be made: {error}.") from None
    try:
        with contextlib.closing(sqlite3.connect(file, timeout=60)) as connection:
            connection.execute("BEGIN IMMEDIATE")  # another scan may be about to do the same
            if connection.execute("PRAGMA user_version").fetchone()[0] != VERSION:
                connection.execute("DROP TABLE IF EXISTS images")
                connection.execute("DROP TABLE IF EXISTS pixels_file")
                connection.execute(f"CREATE TABLE images (path TEXT PRIMARY KEY, {columns}) WITHOUT ROWID")
                connection.execute("CREATE TABLE pixels_file (identity TEXT NOT NULL)")
                connection.execute(f"PRAGMA user_version = {VERSION}")
            connection.commit()
            yield FactsDatabase(file, connection)
    except sqlite3.Error as error:
        raise GenderClsError(
            f"{file}, which keeps what is known of the images, cannot be used ({error}): make room, or remove it."
        ) from None


def _sqlite_type(kind: type) -> str:
    return "TEXT" if kind is object else "REAL" if kind is np.float32 else "INTEGER"
