"""What is known about the images below a folder, one row per image, in a small SQLite database."""

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

DATABASE_VERSION = 3
"""Raise it when the meaning of a fact changes: a database of another version is made anew."""

STAMP: dict[str, type] = {"bytes": np.int64, "modified": np.int64}

FACTS: dict[str, type] = {
    "format": object,
    "frames": np.int32,
    "width": np.int32,
    "height": np.int32,
    "transparency": np.float32,
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

IMAGE_COLUMNS = {**STAMP, **FACTS, "place": np.int64}
"""`place` is where an image begins in the file of pixels, -1 if it is not there."""


def stamp(file: str) -> tuple[int, int]:
    """Size in bytes and time of the last change in nanoseconds; a file with the same stamp has not changed."""
    try:
        status = os.stat(file)
    except OSError:
        return 0, -1  # differs from the stamp of an image that is not in the database
    return status.st_size, status.st_mtime_ns


class Database:
    """An open database; its `file` may have a file of pixels next to it."""

    def __init__(self, file: Path, connection: sqlite3.Connection) -> None:
        self.file, self._connection = file, connection

    def store(self, rows: Sequence[tuple], places: Sequence[tuple[int, str]] = ()) -> None:
        """Write rows of path and IMAGE_COLUMNS, which replace older rows; then the places of paths."""
        with self._connection as connection:
            marks = ", ".join("?" * (1 + len(IMAGE_COLUMNS)))
            connection.executemany(f"INSERT OR REPLACE INTO images VALUES ({marks})", rows)
            connection.executemany("UPDATE images SET place = ? WHERE path = ?", places)

    def load(self, row_of: dict[str, int]) -> pd.DataFrame:
        """IMAGE_COLUMNS of the images in `row_of`, in its order; 0 or empty for images that are not there."""
        values: dict[str, NDArray[Any]] = {
            name: np.full(len(row_of), "", object) if kind is object else np.zeros(len(row_of), kind)
            for name, kind in IMAGE_COLUMNS.items()
        }
        values["place"] -= 1
        cursor = self._connection.execute(f"SELECT path, {', '.join(IMAGE_COLUMNS)} FROM images")
        while found := cursor.fetchmany(20_000):
            wanted = [record for record in found if record[0] in row_of]
            if wanted:
                paths, *columns = zip(*wanted, strict=True)
                rows = [row_of[path] for path in paths]
                for name, column in zip(IMAGE_COLUMNS, columns, strict=True):
                    values[name][rows] = column
        return pd.DataFrame(values)

    @property
    def pixels_identity(self) -> str:
        """Identity of the file of pixels that the places belong to; empty if there was none yet."""
        found = self._connection.execute("SELECT identity FROM pixels_file").fetchone()
        return found[0] if found else ""

    def begin_pixels(self, identity: str) -> None:
        """From now on the places belong to another file, which is empty."""
        with self._connection as connection:
            connection.execute("DELETE FROM pixels_file")
            connection.execute("INSERT INTO pixels_file VALUES (?)", (identity,))
            connection.execute("UPDATE images SET place = -1")

    def forget_places_beyond(self, size: int) -> None:
        """Forget images that are not whole within the first `size` bytes, before others are written there."""
        with self._connection as connection:
            connection.execute("UPDATE images SET place = -1 WHERE place + 3 * width * height > ?", (size,))

    def bytes_kept(self) -> int:
        """Bytes of all images that have a place."""
        query = "SELECT COALESCE(SUM(3 * width * height), 0) FROM images WHERE place >= 0"
        return self._connection.execute(query).fetchone()[0]


@contextlib.contextmanager
def open_database(root: Path, cache: Path) -> Iterator[Database]:
    """The database of the images below `root`, which is made if it does not exist.

    Raises:
        GenderClsError: it cannot be read or written, now or while it is open.
    """
    digest = hashlib.blake2b(str(root).encode(), digest_size=8).hexdigest()
    file = cache / f"scan_{root.name}_{digest}.sqlite"
    types: dict[object, str] = {object: "TEXT", np.float32: "REAL"}
    columns = ", ".join(f"{name} {types.get(kind, 'INTEGER')} NOT NULL" for name, kind in IMAGE_COLUMNS.items())
    try:
        cache.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise GenderClsError(f"{cache}, the folder for facts about images, cannot be made: {error}.") from None
    try:
        with contextlib.closing(sqlite3.connect(file, timeout=60)) as connection:
            connection.execute("BEGIN IMMEDIATE")  # another process may be about to do the same
            if connection.execute("PRAGMA user_version").fetchone()[0] != DATABASE_VERSION:
                connection.execute("DROP TABLE IF EXISTS images")
                connection.execute("DROP TABLE IF EXISTS pixels_file")
                connection.execute(f"CREATE TABLE images (path TEXT PRIMARY KEY, {columns}) WITHOUT ROWID")
                connection.execute("CREATE TABLE pixels_file (identity TEXT NOT NULL)")
                connection.execute(f"PRAGMA user_version = {DATABASE_VERSION}")
            connection.commit()
            yield Database(file, connection)
    except sqlite3.Error as error:
        raise GenderClsError(
            f"{file}, which keeps facts about images, cannot be used ({error}): make room, or remove it."
        ) from None
