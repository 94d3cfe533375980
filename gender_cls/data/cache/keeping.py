"""What becomes of the pixels that a scan decodes: kept on disk, in memory, or not at all (`data.cache`)."""

import contextlib
import errno
import logging
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from filelock import Timeout
from numpy.typing import NDArray

from gender_cls.config.data import DataConfig, PixelCache
from gender_cls.data.cache.facts_database import FactsDatabase
from gender_cls.data.cache.pixel_file import HEADER, PixelFile, PixelMemory
from gender_cls.data.cache.pixel_room import evict, lock_of, no_room, require_disk, require_memory

log = logging.getLogger(__name__)


class Decoded(NamedTuple):
    """What was read of an image.

    Attributes:
        path: in the database.
        stamp: of its file.
        facts: values of FACTS; None where the database has them.
        pixels: height * width * 3 bytes; None where they are not wanted or cannot be had.
        height: of these pixels, in pixels, as is `width`.
    """

    path: str
    stamp: tuple[int, int]
    facts: tuple | None
    pixels: bytes | None
    height: int
    width: int


class NotKept:
    """Only facts are kept."""

    wanted = False

    def __init__(self, database: FactsDatabase) -> None:
        self.database = database

    @property
    def pixels(self) -> PixelFile | PixelMemory | None:
        """What is kept now."""
        return None

    def places(self, table: pd.DataFrame, paths: Sequence[str], stamps: pd.DataFrame) -> NDArray[np.int64]:
        """(rows,) where each picture begins in `pixels`, -1 for nowhere.

        Args:
            table: what the database knows of `paths`, whose files have these `stamps` now.
        """
        return np.full(len(table), -1, np.int64)

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """As the only process that adds pixels."""
        yield

    def make_room(self, needed: int) -> None:
        """Refuse, before anything is written, what has no room.

        Args:
            needed: about how many bytes of pixels will be added.
        """

    def keep(self, images: Sequence[Decoded]) -> None:
        """Take what was read; when this returns, it is safe."""
        self.database.store([(one.path, *one.stamp, *one.facts, -1) for one in images if one.facts is not None])


class KeptInMemory(NotKept):
    """As long as the process and those forked from it run; its later scans find what earlier ones decoded."""

    wanted = True
    _of_folder: dict[Path, PixelMemory] = {}  # noqa: RUF012  # shared by all scans of this process on purpose

    def __init__(self, database: FactsDatabase, root: Path) -> None:
        super().__init__(database)
        self.root = root
        self.memory = self._of_folder.setdefault(root, PixelMemory())

    @property
    def pixels(self) -> PixelMemory:
        """Of all scans of this folder."""
        return self.memory

    def places(self, table: pd.DataFrame, paths: Sequence[str], stamps: pd.DataFrame) -> NDArray[np.int64]:
        """In memory."""
        kept, nothing = self.memory.kept, (0, 0, -1, 0, 0)
        found = np.array([kept.get(path, nothing) for path in paths], np.int64).reshape(len(paths), 5)
        now = np.column_stack([stamps, found[:, 2], table["height"], table["width"]])
        return np.where((found == now).all(axis=1), found[:, 2], -1)

    def make_room(self, needed: int) -> None:
        """Refuse what the memory has no room for."""
        require_memory(needed)
        self.memory = self._of_folder[self.root] = self.memory.own()

    def keep(self, images: Sequence[Decoded]) -> None:
        """Facts in the database, pixels in memory."""
        kept = [one for one in images if one.pixels is not None]
        places = self.memory.append([one.pixels for one in kept if one.pixels is not None])
        for one, place in zip(kept, places, strict=True):
            self.memory.kept[one.path] = (*one.stamp, place, one.height, one.width)
        super().keep(images)


class KeptOnDisk(NotKept):
    """In a file beside the database, for every later command."""

    wanted = True

    def __init__(self, database: FactsDatabase, root: Path, data: DataConfig) -> None:
        super().__init__(database)
        self.root, self.data = root, data
        self.path = database.file.with_suffix(".pixels")

    @property
    def pixels(self) -> PixelFile:
        """The file as the database means it."""
        return PixelFile(self.path, self.database.pixels_identity)

    def places(self, table: pd.DataFrame, paths: Sequence[str], stamps: pd.DataFrame) -> NDArray[np.int64]:
        """In the file; -1 too where it ends before the picture does, or is missing, or another one."""
        place, length = table["place"].to_numpy(), 3 * table["width"].to_numpy(np.int64) * table["height"]
        return np.where(place + length <= self.pixels.size, place, -1)

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Wait for the process that adds pixels now, if there is one."""
        lock = lock_of(self.path)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            log.info(f"Another process is reading the images below {self.root}: this one waits for what it keeps.")
            lock.acquire()
        try:
            yield
        finally:
            lock.release()

    def make_room(self, needed: int) -> None:
        """Refuse what has no room; else let others' old pixels go, and have a file that can be added to."""
        pixels, kept = self.pixels, self.database.kept()
        size = pixels.size
        there = kept[kept["place"] + kept["length"] <= size]
        live = int(there["length"].sum())
        require_disk(self.path.parent, live, needed, self.data)
        evict(self.path, needed, self.data)
        if not size:
            self.database.begin_pixels(PixelFile.new(self.path).identity)
        elif size - HEADER > 2 * live:
            new, places = pixels.rewritten(there["place"].to_numpy(), there["length"].to_numpy())
            self.database.begin_pixels(new.identity, list(zip(places.tolist(), there["path"], strict=True)))
        else:
            self.database.forget_places_beyond(size)
        self.needed = needed

    def keep(self, images: Sequence[Decoded]) -> None:
        """Pixels first: a place in the database is of pixels that are on the disk."""
        with_pixels = [one for one in images if one.pixels is not None]
        pictures = [one.pixels for one in with_pixels if one.pixels is not None]
        try:
            places = self.pixels.append(pictures)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            folder = self.path.parent
            raise no_room(folder, self.needed, shutil.disk_usage(folder).free) from None
        super().keep(images)
        self.database.put([(place, one.path) for place, one in zip(places, with_pixels, strict=True)])
        self.needed -= sum(map(len, pictures))

    def used(self) -> None:
        """Note that the file is used today, and let go of what nobody uses any more."""
        with contextlib.suppress(OSError):
            os.utime(self.path)
        evict(self.path, 0, self.data)


def keeper(database: FactsDatabase, root: Path, data: DataConfig) -> NotKept:
    """Of the kind that `data.cache` says."""
    if data.cache is PixelCache.disk:
        return KeptOnDisk(database, root, data)
    return KeptInMemory(database, root) if data.cache is PixelCache.ram else NotKept(database)
