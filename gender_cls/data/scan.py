"""Every image read once: its size, hashes and colours, or why it cannot be read, and its decoded pixels.

Facts are kept in a small database, one row per image, and decoded pixels in a file next to it (`data.cache`). Both are
written batch by batch: a second scan reads only files that are new or changed, a killed one goes on where it stopped,
and of two scans at once the second waits for the first.
"""

import contextlib
import hashlib
import logging
import signal
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from tqdm import tqdm

from gender_cls.config.data import DataConfig, PixelCache
from gender_cls.data.cache.database import STAMP, Database, open_database, stamp
from gender_cls.data.cache.pixel_store import NoRoomError, PixelStore, expected_bytes
from gender_cls.data.image_files import UnreadableError, read_image
from gender_cls.data.image_store import ImageStore, KeptPixels
from gender_cls.data.measure import measure
from gender_cls.data.near_duplicates import perceptual_hash
from gender_cls.errors import GenderClsError
from gender_cls.system.processes import end_with_parent
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
        GenderClsError: the database cannot be read or written, or a reading process was killed.
    """
    stamps = pd.DataFrame([stamp(f"{root}/{path}") for path in paths], columns=list(STAMP), dtype=np.int64)
    row_of = {path: row for row, path in enumerate(paths)}
    with open_database(root, cache) as database:
        store = PixelStore(database, root, data) if data.cache is PixelCache.disk else None

        def look() -> pd.DataFrame:
            """What is known; `new` images need facts, `unkept` ones pixels."""
            table = database.load(row_of)
            new = (table[list(STAMP)] != stamps).any(axis=1) | _beyond_limit(table, data)
            place = np.where(new, -1, store.places(table)) if store is not None else -1
            unkept = (new | ((place < 0) & (table["fault"] == ""))) & (store is not None)
            return table.assign(**stamps, path=paths, new=new, unkept=unkept, place=place)

        table = look()
        if (table["new"] | table["unkept"]).any():
            with store.lock() if store is not None else contextlib.nullcontext():
                if store is not None:
                    store.forget_lost()
                table = look()  # another process may have read some images meanwhile
                _read_missing(table, root, database, store, data)
                table = look()
        kept = None
        if store is not None:
            store.used()
            kept = KeptPixels(pd.Index(paths), table[["place", "height", "width"]].to_numpy(np.int64), store.file)
    facts = table.drop(columns=["path", "modified", "place", "new", "unkept"])
    facts["perceptual_hash"] = facts["perceptual_hash"].to_numpy().view(np.uint64)
    return Scan(facts, ImageStore(root, lambda: kept))


def scan_for_answers(paths: Sequence[str], root: Path, cache: Path, data: DataConfig) -> Scan:
    """`scan` for a finished run: if there is no room for pixels any more, images are decoded each time."""
    try:
        return scan(paths, root, cache, data)
    except NoRoomError as error:
        log.warning(f"Images are decoded each time they are needed: {error}")
        return scan(paths, root, cache, replace(data, cache=PixelCache.none))


def decoded_when_needed(paths: Sequence[str], root: Path, cache: Path, data: DataConfig) -> ImageStore:
    """Images of a finished run: when the first one is asked for, all existing files of `paths` are scanned."""

    def kept() -> KeptPixels | None:
        existing = [path for path in paths if (root / path).is_file()]
        return scan_for_answers(existing, root, cache, data).images.kept

    return ImageStore(root, kept)


class _Read(NamedTuple):
    """What was read of one file; None for what was not wanted or cannot be had."""

    facts: tuple | None  # as in FACTS
    pixels: bytes | None = None
    height: int = 0  # of `pixels`
    width: int = 0


def _beyond_limit(table: pd.DataFrame, data: DataConfig) -> pd.Series:
    """Images that are, or were at another limit, too large."""
    size = table["width"].astype(np.int64) * table["height"]
    return (table["fault"] == "too_large") | (size > data.max_megapixels * 1e6)


def _read_missing(
    table: pd.DataFrame, root: Path, database: Database, store: PixelStore | None, data: DataConfig
) -> None:
    """Read the images of the table that are `new` or `unkept`, and keep what was read batch by batch."""
    missing = table[table["new"] | table["unkept"]]
    files = [(f"{root}/{path}", *wanted) for path, *wanted in missing[["path", "new", "unkept"]].to_numpy().tolist()]
    known = missing[["path", *STAMP, "height", "width"]].to_numpy().tolist()
    if store is not None and missing["unkept"].any():
        of_known = 3 * missing["height"].to_numpy(np.int64) * missing["width"] * missing["unkept"] * ~missing["new"]
        store.make_room(int(of_known.sum()) + expected_bytes([file for file, new, unkept in files if new and unkept]))
    done = 0
    with tqdm(total=len(files), desc="Reading images", unit="img", delay=1) as progress:
        for results in _read(files, reading_processes(data.num_workers), data.max_megapixels):
            facts, pixels = [], []
            rows = known[done : done + len(results)]
            done += len(results)
            for (path, *stamps, height, width), read in zip(rows, results, strict=True):
                if read.facts is not None:
                    facts.append((path, *stamps, *read.facts, -1))
                # Known facts, but another size: the file changed while it was read; the next scan reads it again.
                same_size = (height, width) == (read.height, read.width)
                if read.pixels is not None and (read.facts is not None or same_size):
                    pixels.append((path, read.pixels))
            # Pixels first: a place in the database is of pixels that are on the disk.
            places = store.append([content for _, content in pixels]) if store is not None else []
            database.store(facts, [(place, path) for place, (path, _) in zip(places, pixels, strict=True)])
            progress.update(len(results))


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
    """What was read of the first files; the rest is left when their pixels take so many bytes."""
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
    if with_facts:
        same = hashlib.blake2b(pixels, digest_size=16, salt=f"{image.width}x{image.height}".encode())
        signed_hash = (perceptual_hash(image) ^ 2**63) - 2**63
        facts = kind, frames, *image.size, transparency, same.hexdigest(), signed_hash, *measure(image), "", ""
    return _Read(facts, pixels if with_pixels else None, image.height, image.width)
