"""Every image read once: its size, hashes and colours, or why it cannot be read.

The facts are kept in a small database, an image a row, and written batch by batch: a second scan reads only files that
are new or changed, one that was killed goes on where it stopped, and two at once do no harm.
"""

import contextlib
import hashlib
import os
import signal
import sqlite3
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from tqdm import tqdm

from gender_cls.data.measure import measure
from gender_cls.data.perceptual_hash import perceptual_hash
from gender_cls.data.pictures import UnreadableError, read_picture
from gender_cls.errors import GenderClsError
from gender_cls.processes import end_with_parent

VERSION = 1
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

BATCH = 64
FEW = 8 * BATCH  # files that are read sooner than other processes start
ROWS_AT_ONCE = 20_000


def scan(paths: Sequence[str], root: Path, cache: Path, workers: int) -> pd.DataFrame:
    """The facts of each image, in the order of `paths`.

    Args:
        paths: relative to `root`, each once.
        cache: folder of the database.
        workers: processes that read; 0 and 1 read in this one.

    Returns:
        A row an image: `bytes`; `format`, `frames`, `width`, `height` (pixels); `pixels`, a hash of the decoded
        picture that files share only when every pixel is the same; `perceptual_hash` (uint64), `brightness`,
        `sharpness`, mean `red`, `green` and `blue` (0 to 255). Of an unreadable file there are `bytes`, `fault` (see
        `pictures.Fault`) and `reason`, a sentence; the rest is empty or 0.

    Raises:
        GenderClsError: the database cannot be read or written, or a reading process was killed.
    """
    files = [f"{root}/{path}" for path in paths]
    row_of = {path: row for row, path in enumerate(paths)}
    stamps = pd.DataFrame([_stamp(file) for file in files], columns=list(STAMP), dtype=np.int64)
    with _database(root, cache) as database:
        table = _load(database, row_of)
        todo = np.flatnonzero((table[list(STAMP)] != stamps).any(axis=1))
        with tqdm(total=len(todo), desc="Reading images", unit="img", delay=1) as progress:
            for rows, facts in _read(todo, files, workers):
                stamped = zip(rows, stamps.iloc[rows].itertuples(index=False), facts, strict=True)
                _store(database, [(paths[row], *stamp, *of_file) for row, stamp, of_file in stamped])
                progress.update(len(rows))
        if len(todo):
            table = _load(database, row_of)
    table = table.drop(columns="modified")
    return table.assign(perceptual_hash=table["perceptual_hash"].to_numpy().view(np.uint64))


def _stamp(file: str) -> tuple[int, int]:
    """Size and time of the last change in nanoseconds: what tells an unchanged file."""
    try:
        status = os.stat(file)
    except OSError:
        return 0, -1  # unlike an image that is not in the database
    return status.st_size, status.st_mtime_ns


def _read(todo: NDArray[np.intp], files: list[str], workers: int) -> Iterator[tuple[NDArray[np.intp], list[tuple]]]:
    """Rows and their facts, batch by batch."""
    batches = [todo[start : start + BATCH] for start in range(0, len(todo), BATCH)]
    work = ([files[row] for row in rows] for rows in batches)
    if workers < 2 or len(todo) < FEW:
        yield from zip(batches, map(_facts, work), strict=True)
        return
    # Spawned: forking a process that has threads, as torch's are, may hang.
    pool = ProcessPoolExecutor(workers, get_context("spawn"), initializer=_start_worker)
    try:
        yield from zip(batches, pool.map(_facts, work), strict=True)
    except BrokenProcessPool:
        raise GenderClsError(
            "A process that read images was killed, probably for want of memory: the same command goes on from there; "
            "data.num_workers=0 needs least."
        ) from None
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _start_worker() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that waits
    end_with_parent()


def _facts(files: list[str]) -> list[tuple]:
    """The values of FACTS for each file."""
    return [_facts_of(Path(file)) for file in files]


def _facts_of(file: Path) -> tuple:
    try:
        picture = read_picture(file)
    except UnreadableError as error:
        return "", 0, 0, 0, "", 0, 0.0, 0.0, 0.0, 0.0, 0.0, error.fault, str(error)
    image = picture.image
    pixels = hashlib.blake2b(image.tobytes(), digest_size=16, salt=f"{image.width}x{image.height}".encode())
    signed_hash = (perceptual_hash(image) ^ 2**63) - 2**63
    return picture.format, picture.frames, *image.size, pixels.hexdigest(), signed_hash, *measure(image), "", ""


@contextlib.contextmanager
def _database(root: Path, cache: Path) -> Iterator[sqlite3.Connection]:
    """The database of the images below `root`."""
    name = hashlib.blake2b(str(root).encode(), digest_size=8).hexdigest()
    file = cache / f"scan_{root.name}_{name}.sqlite"
    columns = ", ".join(f"{name} {_sqlite_type(kind)} NOT NULL" for name, kind in {**STAMP, **FACTS}.items())
    try:
        cache.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise GenderClsError(f"{cache}, the folder for what is known of the images, cannot be made: {error}.") from None
    try:
        with contextlib.closing(sqlite3.connect(file, timeout=60)) as database:
            database.execute("BEGIN IMMEDIATE")  # another scan may be about to do the same
            if database.execute("PRAGMA user_version").fetchone()[0] != VERSION:
                database.execute("DROP TABLE IF EXISTS images")
                database.execute(f"CREATE TABLE images (path TEXT PRIMARY KEY, {columns}) WITHOUT ROWID")
                database.execute(f"PRAGMA user_version = {VERSION}")
            database.commit()
            yield database
    except sqlite3.Error as error:
        raise GenderClsError(
            f"{file}, which keeps what is known of the images, cannot be used ({error}): make room, or remove it."
        ) from None


def _sqlite_type(kind: type) -> str:
    return "TEXT" if kind is object else "REAL" if kind is np.float32 else "INTEGER"


def _store(database: sqlite3.Connection, records: list[tuple]) -> None:
    with database:
        database.executemany(f"INSERT OR REPLACE INTO images VALUES ({', '.join('?' * len(records[0]))})", records)


def _load(database: sqlite3.Connection, row_of: dict[str, int]) -> pd.DataFrame:
    """STAMP and FACTS of the images in `row_of`, in its order; 0 or empty for images that are not there."""
    columns = STAMP | FACTS
    values: dict[str, NDArray[Any]] = {
        name: np.full(len(row_of), "", object) if kind is object else np.zeros(len(row_of), kind)
        for name, kind in columns.items()
    }
    cursor = database.execute(f"SELECT path, {', '.join(columns)} FROM images")
    while found := cursor.fetchmany(ROWS_AT_ONCE):
        wanted = [record for record in found if record[0] in row_of]
        if wanted:
            paths, *of_columns = zip(*wanted, strict=True)
            rows = [row_of[path] for path in paths]
            for name, of_column in zip(columns, of_columns, strict=True):
                values[name][rows] = of_column
    return pd.DataFrame(values)
