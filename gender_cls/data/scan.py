"""Every image read once: its size, hashes and colours, or why it cannot be read, and its pixels where they are kept.

What is known is kept in a small database, an image a row, and decoded pixels in a file beside it (`data.cache`). Both
are written batch by batch: a second scan reads only files that are new or changed, one that was killed goes on where it
stopped, and of two at once the second waits for the first.
"""

import hashlib
import logging
import signal
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from itertools import islice
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from tqdm import tqdm

from gender_cls.config.data import DataConfig, PixelCache
from gender_cls.data.cache.facts_database import STAMP, open_database, stamp
from gender_cls.data.cache.keeping import Decoded, KeptOnDisk, NotKept, keeper
from gender_cls.data.cache.pixel_room import NoRoomError, expected_bytes
from gender_cls.data.image_files import UnreadableError, read_image
from gender_cls.data.image_store import ImageStore, KeptPixels
from gender_cls.data.measure import measure
from gender_cls.data.perceptual_hash import perceptual_hash
from gender_cls.errors import GenderClsError
from gender_cls.system.processes import end_with_parent
from gender_cls.system.resources import reading_processes

log = logging.getLogger(__name__)

BATCH = 64
FEW = 8 * BATCH  # files that are read sooner than other processes start


@dataclass(frozen=True)
class Scan:
    """Images that have been read.

    Attributes:
        facts: a row an image: `bytes`; `format`, `frames`, `width`, `height` (pixels); `pixels`, a hash of the decoded
            picture that files share only when every pixel is the same; `perceptual_hash` (uint64), `brightness`,
            `sharpness`, mean `red`, `green` and `blue` (0 to 255). Of an unreadable file there are `bytes`, `fault`
            (see `pictures.Fault`) and `reason`, a sentence; the rest is empty or 0.
        images: whence their pixels come from now on.
        kept: what of them is decoded.
    """

    facts: pd.DataFrame
    images: ImageStore
    kept: KeptPixels | None


def scan(paths: Sequence[str], root: Path, cache: Path, data: DataConfig) -> Scan:
    """Read what is new, and look up the rest.

    Args:
        paths: relative to `root`, each once.
        cache: folder of the database and of decoded pixels.
        data: its `cache*` and `num_workers` count; with 0 and 1 workers this process reads.

    Raises:
        NoRoomError: decoded pixels have no room, by the disk or by `data.cache_gigabytes`; nothing was written.
        GenderClsError: the database cannot be read or written, or a reading process was killed.
    """
    files = [f"{root}/{path}" for path in paths]
    stamps = pd.DataFrame([stamp(file) for file in files], columns=list(STAMP), dtype=np.int64)
    row_of = {path: row for row, path in enumerate(paths)}
    with open_database(root, cache) as database:
        keeping = keeper(database, root, data)

        def look() -> pd.DataFrame:
            table = database.load(row_of)
            places = keeping.places(table, paths, stamps)
            new = (table[list(STAMP)] != stamps).any(axis=1)
            unkept = keeping.wanted & (new | ((places < 0) & (table["fault"] == "")))
            return table.assign(place=np.where(new, -1, places), new=new, unkept=unkept)

        table = look()
        if (table["new"] | table["unkept"]).any():
            with keeping.alone():
                table = look()  # another process may have read some meanwhile
                _read_missing(table, stamps, paths, files, keeping, reading_processes(data.num_workers))
                table = look()
        if isinstance(keeping, KeptOnDisk):
            keeping.used()
        kept = KeptPixels.of(table, paths, keeping.pixels) if keeping.pixels is not None else None
    facts = table.drop(columns=["modified", "place", "new", "unkept"])
    facts["perceptual_hash"] = facts["perceptual_hash"].to_numpy().view(np.uint64)
    return Scan(facts, ImageStore(root, lambda: kept), kept)


def scan_for_answers(paths: Sequence[str], root: Path, cache: Path, data: DataConfig) -> Scan:
    """`scan` for a finished run, whose settings say what is kept: what has no room by now is decoded each time."""
    try:
        return scan(paths, root, cache, data)
    except NoRoomError as error:
        log.warning(f"Images are decoded each time they are needed: {error}")
        return scan(paths, root, cache, replace(data, cache=PixelCache.none))


def decoded_when_needed(paths: Sequence[str], root: Path, cache: Path, data: DataConfig) -> ImageStore:
    """Images of a finished run: when the first one is asked for, all of `paths` that are there are scanned."""

    def kept() -> KeptPixels | None:
        there = [path for path in paths if (root / path).is_file()]
        return scan_for_answers(there, root, cache, data).kept

    return ImageStore(root, kept)


def _read_missing(
    table: pd.DataFrame, stamps: pd.DataFrame, paths: Sequence[str], files: list[str], keeping: NotKept, workers: int
) -> None:
    new, unkept = table["new"].to_numpy(), table["unkept"].to_numpy()
    todo = np.flatnonzero(new | unkept)
    if unkept.any():
        known = table[unkept & ~new]
        expected = expected_bytes([files[row] for row in np.flatnonzero(unkept & new)])
        keeping.make_room(int((3 * known["height"].astype(np.int64) * known["width"]).sum()) + expected)
    work = [(rows, [(files[row], bool(new[row]), bool(unkept[row])) for row in rows]) for rows in _batches(todo)]
    stamped = list(stamps.itertuples(index=False, name=None))
    sizes = table[["height", "width"]].to_numpy().tolist()
    with tqdm(total=len(todo), desc="Reading images", unit="img", delay=1) as progress:
        for rows, read in _read(work, workers):
            keeping.keep(
                [
                    Decoded(
                        paths[row],
                        stamped[row],
                        one.facts,
                        # An unchanged file with another size than before was changed just now: the next scan will see.
                        one.pixels if one.facts is not None or [one.height, one.width] == sizes[row] else None,
                        one.height,
                        one.width,
                    )
                    for row, one in zip(rows.tolist(), read, strict=True)
                ]
            )
            progress.update(len(rows))


def _batches(rows: NDArray[np.intp]) -> list[NDArray[np.intp]]:
    return [rows[start : start + BATCH] for start in range(0, len(rows), BATCH)]


@dataclass(frozen=True)
class _Read:
    """Of one file: `facts` as in FACTS and `pixels` (bytes), where they were wanted and can be had."""

    facts: tuple | None
    pixels: bytes | None = None
    height: int = 0
    width: int = 0


Work = tuple[NDArray[np.intp], list[tuple[str, bool, bool]]]
"""Rows, and of each the file and whether its facts and its pixels are wanted."""


def _read(work: list[Work], workers: int) -> Iterator[tuple[NDArray[np.intp], list[_Read]]]:
    """Rows and what was read, batch by batch."""
    if workers < 2 or sum(len(rows) for rows, _ in work) < FEW:
        yield from ((rows, _read_batch(wanted)) for rows, wanted in work)
        return
    # Spawned: forking a process that has threads, as torch's are, may hang.
    pool = ProcessPoolExecutor(workers, get_context("spawn"), initializer=_start_worker)
    try:
        left, ahead = iter(work), deque[tuple[NDArray[np.intp], Future[list[_Read]]]]()
        while True:  # a few batches ahead: pixels that wait to be written take memory
            for rows, wanted in islice(left, 3 * workers - len(ahead)):
                ahead.append((rows, pool.submit(_read_batch, wanted)))
            if not ahead:
                return
            rows, result = ahead.popleft()
            yield rows, result.result()
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


def _read_batch(wanted: list[tuple[str, bool, bool]]) -> list[_Read]:
    return [_read_one(Path(file), facts, pixels) for file, facts, pixels in wanted]


def _read_one(file: Path, with_facts: bool, with_pixels: bool) -> _Read:
    try:
        picture = read_image(file)
    except UnreadableError as error:
        return _Read(("", 0, 0, 0, "", 0, 0.0, 0.0, 0.0, 0.0, 0.0, error.fault, str(error)))
    image, pixels = picture.image, picture.image.tobytes()
    facts = None
    if with_facts:
        same = hashlib.blake2b(pixels, digest_size=16, salt=f"{image.width}x{image.height}".encode())
        signed_hash = (perceptual_hash(image) ^ 2**63) - 2**63
        facts = picture.format, picture.frames, *image.size, same.hexdigest(), signed_hash, *measure(image), "", ""
    return _Read(facts, pixels if with_pixels else None, image.height, image.width)
