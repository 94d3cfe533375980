"""Every image read once: its size, hashes and colours, or why it cannot be read, and its decoded pixels.

Facts are kept in a small database, one row per image, and decoded pixels in a file next to it (`data.cache`). Both are
written batch by batch: a second scan reads only files that are new or changed, a killed one goes on where it stopped,
and of many scans at once, on one machine or several, one reads and the others wait for it.
"""

import contextlib
import logging
import signal
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gender_cls.config.data import DataConfig
from gender_cls.data.cache.database import (
    STAMP,
    CacheError,
    DamagedError,
    Database,
    database_in_memory,
    look_into_database,
    open_database,
    remove_database,
    stamp,
)
from gender_cls.data.cache.lock import database_lock
from gender_cls.data.cache.pixel_store import NoRoomError, PixelStore, expected_bytes
from gender_cls.data.image_files import UnreadableError, read_image
from gender_cls.data.image_store import HASH_BYTES, ImageStore, Scanned, pixel_hash
from gender_cls.data.measure import measure
from gender_cls.data.near_duplicates import perceptual_hash
from gender_cls.errors import GenderClsError
from gender_cls.system.processes import end_with_parent
from gender_cls.system.progress import working
from gender_cls.system.resources import reading_processes

log = logging.getLogger(__name__)

File = tuple[str, bool, bool]
"""A path, and whether its facts and its pixels are wanted."""

FILES_PER_BATCH = 64
BYTES_PER_BATCH = 16_000_000  # of pixels, after which a batch ends: those that wait to be written take memory
FEW_FILES = 8 * FILES_PER_BATCH  # they are read sooner than other processes start


class Scan(NamedTuple):
    """Images that have been read.

    `facts` has one row per image: `bytes`; `format`, `frames` (2: any number above 1), `width`, `height` (pixels);
    `transparency`, the share that is grey instead of the file's colours (0 to 1); `pixels`, a hash of the
    decoded image that files share only if every pixel is the same; `perceptual_hash` (uint64), `brightness`,
    `sharpness`, mean `red`, `green` and `blue` (0 to 255). An unreadable file has `bytes`, `fault` (see
    `image_files.Fault`) and `reason`, a sentence; the rest is empty or 0.
    """

    facts: pd.DataFrame
    images: ImageStore


def scan(paths: Sequence[str], root: Path, cache: Path, data: DataConfig) -> Scan:
    """Read the images that are new or changed, and look up the rest.

    Args:
        paths: relative to `root`, each once.
        cache: folder of the database and of decoded pixels.
        data: with 0 and 1 `num_workers` this process reads.

    Raises:
        NoRoomError: there is no room for decoded pixels, on the disk or within `data.cache_gigabytes`; nothing was
            written.
        CacheError: the database or the file of pixels cannot be read or written, and `data.cache` asks for pixels.
        GenderClsError: a reading process was killed.
    """
    stamps = np.array([stamp(f"{root}/{path}") for path in paths], np.int64).reshape(-1, len(STAMP))
    with contextlib.suppress(CacheError), look_into_database(root, cache) as database:
        known = _Known(paths, stamps, root, database, data)
        if not known.missing.any():
            return known.scan()
    try:
        with database_lock(root, cache):  # another process may read the images meanwhile
            try:
                return _scan(paths, stamps, root, data, open_database(root, cache))
            except DamagedError as error:
                log.warning(f"{error} It is made anew, and all images are read again.")
                remove_database(root, cache)
                return _scan(paths, stamps, root, data, open_database(root, cache))
    except NoRoomError:
        raise
    except CacheError as error:
        if data.keeps_pixels:
            raise CacheError(f"{error} data.cache=none needs no such file.") from None
        log.warning(f"The next command has to read all images again: {error}")
        return _scan(paths, stamps, root, data, database_in_memory())


def _scan(
    paths: Sequence[str],
    stamps: NDArray[np.int64],
    root: Path,
    data: DataConfig,
    opening: contextlib.AbstractContextManager[Database],
) -> Scan:
    with opening as database:
        known = _Known(paths, stamps, root, database, data)
        if known.missing.any():
            if known.store is not None:
                known.store.forget_lost()
                known = _Known(paths, stamps, root, database, data)
            _read_missing(known.table, root, database, known.store, data)
            known = _Known(paths, stamps, root, database, data)
        return known.scan()


class _Known:
    """What a database knows about images; `table` says which are `new` and need facts, and which need pixels."""

    def __init__(
        self, paths: Sequence[str], stamps: NDArray[np.int64], root: Path, database: Database, data: DataConfig
    ) -> None:
        self.paths, self.stamps, self.root, self.database = paths, stamps, root, database
        self.store = PixelStore(database, root, data) if data.keeps_pixels else None
        table = database.load({path: row for row, path in enumerate(paths)})
        new = (table[list(STAMP)].to_numpy() != stamps).any(axis=1) | _beyond_limit(table, data)
        place = np.where(new, -1, self.store.places(table)) if self.store is not None else -1
        unkept = (new | ((place < 0) & (table["fault"] == ""))) & (self.store is not None)
        current = dict(zip(STAMP, stamps.T, strict=True))
        self.table = table.assign(**current, path=paths, new=new, unkept=unkept, place=place)

    @property
    def missing(self) -> pd.Series:
        """Whether each image has to be read."""
        return self.table["new"] | self.table["unkept"]

    def scan(self) -> Scan:
        """What is known, as the result of a scan."""
        table, file = self.table, None
        if self.store is not None:
            self.store.used()
            file = self.store.file
        spans, hashes = table[["place", "height", "width"]].to_numpy(np.int64), _hashes(table["pixels"], self.database)
        scanned = Scanned(pd.Index(self.paths), spans, self.stamps, hashes, file)
        further = [column for column in STAMP if column != "bytes"]
        facts = table.drop(columns=["path", "place", "new", "unkept", *further])
        facts["perceptual_hash"] = facts["perceptual_hash"].to_numpy().view(np.uint64)
        return Scan(facts, ImageStore(self.root, lambda: scanned))


def _hashes(texts: pd.Series, database: Database) -> NDArray[np.uint8]:
    """(n, HASH_BYTES) from hexadecimal digits; 0 where there are none."""
    unknown = "00" * HASH_BYTES
    try:
        digits = bytes.fromhex("".join([text or unknown for text in texts.to_numpy(object).tolist()]))
        return np.frombuffer(digits, np.uint8).reshape(len(texts), HASH_BYTES)
    except ValueError:
        raise DamagedError(f"{database.file} is damaged (a hash of pixels).") from None


class _Read(NamedTuple):
    """What was read of one file; None for what was not wanted or cannot be had."""

    facts: tuple | None  # as in FACTS
    pixels: bytes | None = None
    hash: str = ""  # of `pixels`


def _beyond_limit(table: pd.DataFrame, data: DataConfig) -> pd.Series:
    """Images that are larger than `data.max_megapixels`, or were when they were read."""
    size = table["width"].astype(np.int64) * table["height"]
    return (table["fault"] == "too_large") | (size > data.max_megapixels * 1e6)


def _read_missing(
    table: pd.DataFrame, root: Path, database: Database, store: PixelStore | None, data: DataConfig
) -> None:
    """Read the images of the table that are `new` or `unkept`, and keep what was read batch by batch."""
    missing = table[table["new"] | table["unkept"]]
    files = [(f"{root}/{path}", *wanted) for path, *wanted in missing[["path", "new", "unkept"]].to_numpy().tolist()]
    known = missing[["path", *STAMP, "pixels"]].to_numpy().tolist()
    if store is not None and missing["unkept"].any():
        of_known = 3 * missing["height"].to_numpy(np.int64) * missing["width"] * missing["unkept"] * ~missing["new"]
        store.make_room(
            int(of_known.sum())
            + expected_bytes([file for file, new, unkept in files if new and unkept], data.max_megapixels)
        )
    done = 0
    with working("Reading images", len(files), "images") as work:
        for results in _read(files, reading_processes(data.num_workers), data.max_megapixels):
            facts, pixels = [], []
            rows = known[done : done + len(results)]
            done += len(results)
            for (path, *stamps, known_hash), read in zip(rows, results, strict=True):
                if read.facts is not None:
                    facts.append((path, *stamps, *read.facts, -1))
                # Known facts, but other pixels: the file changed while it was read; the next scan reads it again.
                if read.pixels is not None and (read.facts is not None or read.hash == known_hash):
                    pixels.append((path, read.pixels))
            # Pixels first: a place in the database is of pixels that are on the disk.
            places = store.append([content for _, content in pixels]) if store is not None else []
            database.store(facts, [(place, path) for place, (path, _) in zip(places, pixels, strict=True)])
            work.advance(len(results))


def _read(files: list[File], workers: int, max_megapixels: float) -> Iterator[list[_Read]]:
    """What was read, some files at a time, in their order."""
    batches = [files[start : start + FILES_PER_BATCH] for start in range(0, len(files), FILES_PER_BATCH)]
    if workers < 2 or len(files) < FEW_FILES:
        for batch in batches:
            while batch:
                yield (results := _read_batch(batch, max_megapixels, BYTES_PER_BATCH))
                batch = batch[len(results) :]
        return
    # Spawned, because forking a process that has threads, as torch's are, may hang.
    pool = ProcessPoolExecutor(workers, get_context("spawn"), initializer=_start_worker)

    def begin(batch: list[File]) -> tuple[list[File], Future[list[_Read]]]:
        return batch, pool.submit(_read_batch, batch, max_megapixels, BYTES_PER_BATCH)

    try:
        left, ahead = iter(batches), deque[tuple[list[File], Future[list[_Read]]]]()
        while True:  # a few batches ahead
            ahead.extend(map(begin, islice(left, 3 * workers - len(ahead))))
            if not ahead:
                return
            batch, future = ahead.popleft()
            results = future.result()
            if len(results) < len(batch):
                ahead.appendleft(begin(batch[len(results) :]))
            yield results
    except BrokenProcessPool:
        raise GenderClsError(
            "A process that read images was killed, probably because memory ran out: the same command goes on from "
            "there; data.num_workers=0 needs the least memory."
        ) from None
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _start_worker() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that waits
    end_with_parent()


def _read_batch(files: list[File], max_megapixels: float, most_bytes: int) -> list[_Read]:
    """What was read of the first files; it ends at the file with which the pixels take `most_bytes`."""
    results: list[_Read] = []
    taken = 0
    for file in files:
        results.append(_read_one(*file, max_megapixels))
        taken += len(results[-1].pixels or b"")
        if taken >= most_bytes:
            break
    return results


def _read_one(file: str, with_facts: bool, with_pixels: bool, max_megapixels: float) -> _Read:
    try:
        image, kind, frames, transparency = read_image(Path(file), max_megapixels)
    except UnreadableError as error:
        return _Read(("", 0, 0, 0, 0.0, "", 0, 0.0, 0.0, 0.0, 0.0, 0.0, error.fault, str(error)))
    pixels, facts = image.tobytes(), None
    same = pixel_hash(pixels, image.height, image.width).hex()
    if with_facts:
        signed_hash = (perceptual_hash(image) ^ 2**63) - 2**63
        facts = kind, frames, *image.size, transparency, same, signed_hash, *measure(image), "", ""
    return _Read(facts, pixels if with_pixels else None, same)
