"""What is known about the images below a folder, one row per image, in a small SQLite database."""

import contextlib
import errno
import hashlib
import os
import sqlite3
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gender_cls.data.image_files import Fault
from gender_cls.errors import GenderClsError, one_line
from gender_cls.runs.locks import has_record_locks, lacks_locks

DATABASE_VERSION = 4
"""Raise it when the meaning of a fact changes: a database of another version is made anew."""

STAMP: dict[str, type] = {"bytes": np.int64, "modified": np.int64, "changed": np.int64, "inode": np.int64}

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

FAULTS = {"", *get_args(Fault)}

IMAGE_COLUMNS = {**STAMP, **FACTS, "place": np.int64}
"""`place` is where an image begins in the file of pixels, -1 if it is not there."""


_DAMAGED = {
    *(sqlite3.SQLITE_ERROR, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_CONSTRAINT, sqlite3.SQLITE_MISMATCH),
    sqlite3.SQLITE_NOTADB,
}
_LOCKS = {sqlite3.SQLITE_IOERR, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_PROTOCOL, sqlite3.SQLITE_NOLFS}


def stamp(file: str) -> tuple[int, int, int, int]:
    """Size in bytes, time of the last change and of the last change of its status in nanoseconds, and inode.

    A file with the same stamp has not changed. Size and time alone may stay the same when two files swap their names,
    or when a tool that keeps times overwrites a file.
    """
    try:
        status = os.stat(file)
    except OSError:
        return 0, -1, 0, 0  # not the zeros that `Database.load` gives for an image that is not there
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino & 2**63 - 1


class CacheError(GenderClsError):
    """What was read from images cannot be kept or read again where the configuration says."""


class DamagedError(CacheError):
    """The database holds something that no version of this program writes."""


class Database:
    """An open database; its `file` may have a file of pixels next to it.

    Args:
        file: None: nothing is kept when the process ends.
    """

    def __init__(self, file: Path | None, connection: sqlite3.Connection) -> None:
        self.file, self._connection = file, connection

    def store(self, rows: Sequence[tuple], places: Sequence[tuple[int, str]] = ()) -> None:
        """Write rows of path and IMAGE_COLUMNS, which replace older rows; then the places of paths."""
        with self._connection as connection:
            marks = ", ".join("?" * (1 + len(IMAGE_COLUMNS)))
            connection.executemany(f"INSERT OR REPLACE INTO images VALUES ({marks})", rows)
            connection.executemany("UPDATE images SET place = ? WHERE path = ?", places)

    def load(self, row_of: dict[str, int]) -> pd.DataFrame:
        """IMAGE_COLUMNS of the images in `row_of`, in its order; 0 or empty for images that are not there.

        Raises:
            DamagedError: there is text in place of a number, or the other way round, or an unknown fault.
        """
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
                for (name, kind), column in zip(IMAGE_COLUMNS.items(), columns, strict=True):
                    try:
                        if kind is object and set(map(type, column)) != {str}:
                            raise TypeError("a number in place of a text")
                        if name == "fault" and not FAULTS.issuperset(column):
                            raise ValueError("an unknown fault")
                        values[name][rows] = column
                    except (ValueError, TypeError, OverflowError) as error:
                        raise DamagedError(f"{self.file} is damaged ({name}: {one_line(error)}).") from None
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


def database_file(root: Path, cache: Path) -> Path:
    """The file of the database of the images below `root`."""
    digest = hashlib.blake2b(os.fsencode(root), digest_size=8).hexdigest()
    return cache / f"scan_{root.name[:40]}_{digest}.sqlite"


def make_folder(cache: Path) -> int:
    """Make the folder of a cache, and return the permissions of the folder above, where the outputs lie."""
    cache.parent.mkdir(parents=True, exist_ok=True)
    mode = stat.S_IMODE(cache.parent.stat().st_mode)
    cache.mkdir(mode & 0o777, exist_ok=True)
    return mode


@contextlib.contextmanager
def open_database(root: Path, cache: Path) -> Iterator[Database]:
    """The database of the images below `root`, which is made if it does not exist; for a process with its lock.

    The folder and its files give nobody more permissions than the folder above `cache`, where the outputs lie: pixels
    of people are in them.

    Raises:
        DamagedError: it is no database, or that of another program.
        CacheError: it cannot be read or written, now or while it is open.
    """
    file = database_file(root, cache)
    try:
        mode = make_folder(cache)
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT | getattr(os, "O_NONBLOCK", 0), mode & 0o666)
        try:
            regular, has_locks = stat.S_ISREG(os.fstat(descriptor).st_mode), has_record_locks(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise CacheError(cannot_keep(file, error)) from None
    if not regular:
        raise CacheError(f"{file} is no regular file: remove it.")
    with _connected(file, "mode=rw" if has_locks else "mode=rw&nolock=1") as connection:
        _make_tables(connection)
        yield Database(file, connection)


@contextlib.contextmanager
def look_into_database(root: Path, cache: Path) -> Iterator[Database]:
    """The database as it is, only to read, for a process without its lock: another one may change it meanwhile.

    What is found in it is right, but something may be missing.

    Raises:
        CacheError: there is none, or it cannot be read: because it is being changed, or for another reason.
    """
    file = database_file(root, cache)
    if not file.is_file():
        raise CacheError(f"There is no {file} yet.")
    # Immutable: a journal in which another process keeps what it is changing is left alone.
    with _connected(file, "mode=ro&immutable=1") as connection:
        if connection.execute("PRAGMA user_version").fetchone()[0] != DATABASE_VERSION:
            raise CacheError(f"{file} is not of this version.")
        yield Database(file, connection)


@contextlib.contextmanager
def _connected(file: Path, how: str) -> Iterator[sqlite3.Connection]:
    try:
        with contextlib.closing(sqlite3.connect(f"{file.absolute().as_uri()}?{how}", uri=True, timeout=60)) as opened:
            yield opened
    except sqlite3.ProgrammingError:  # a mistake in this program, not in the file
        raise
    except sqlite3.Error as error:
        # The error has no code if Python could not decode a text.
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF
        if code in _DAMAGED:
            raise DamagedError(f"{file} is damaged ({one_line(error)}).") from None
        raise CacheError(cannot_keep(file, error, locks=code in _LOCKS)) from None


@contextlib.contextmanager
def database_in_memory() -> Iterator[Database]:
    """An empty database that is gone afterwards."""
    with contextlib.closing(sqlite3.connect(":memory:")) as connection:
        _make_tables(connection)
        yield Database(None, connection)


def _make_tables(connection: sqlite3.Connection) -> None:
    """Make the tables, unless they are there in this version."""
    types: dict[object, str] = {object: "TEXT", np.float32: "REAL"}
    columns = ", ".join(f"{name} {types.get(kind, 'INTEGER')} NOT NULL" for name, kind in IMAGE_COLUMNS.items())
    connection.execute("BEGIN IMMEDIATE")  # another process may be about to do the same
    if connection.execute("PRAGMA user_version").fetchone()[0] != DATABASE_VERSION:
        connection.execute("DROP TABLE IF EXISTS images")
        connection.execute("DROP TABLE IF EXISTS pixels_file")
        connection.execute(f"CREATE TABLE images (path TEXT PRIMARY KEY, {columns}) WITHOUT ROWID")
        connection.execute("CREATE TABLE pixels_file (identity TEXT NOT NULL)")
        connection.execute(f"PRAGMA user_version = {DATABASE_VERSION}")
    connection.commit()


def remove_database(root: Path, cache: Path) -> None:
    """Remove the database of the images below `root`, and first its journal, which SQLite would apply to the next one.

    Raises:
        CacheError: it cannot be removed.
    """
    file = database_file(root, cache)
    try:
        Path(f"{file}-journal").unlink(missing_ok=True)
        file.unlink(missing_ok=True)
    except OSError as error:
        raise CacheError(cannot_keep(file, error)) from None


def cannot_keep(file: Path, error: Exception, locks: bool = False) -> str:
    """The sentence for an error in a file of the cache.

    Args:
        locks: whether a file system without locks is a likely cause.
    """
    cause = one_line(getattr(error, "strerror", None) or error)
    if locks or lacks_locks(error):
        cause += "; perhaps a file system without locks, such as some network drives"
    in_the_way = getattr(error, "errno", None) in (errno.EISDIR, errno.EEXIST, errno.ENOTDIR)
    way_out = "remove it" if in_the_way else "make room there, allow writing there, or name another output_dir"
    return f"{file}, which keeps what was read from images, cannot be used ({cause}): {way_out}."
