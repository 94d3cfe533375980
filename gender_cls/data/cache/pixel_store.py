"""The decoded images below a folder, kept in a file next to their database as long as there is room for them."""

import contextlib
import logging
import os
import shutil
import time
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from gender_cls.config.data import DataConfig
from gender_cls.data.cache.database import CacheError, Database, cannot_keep
from gender_cls.data.cache.lock import lock_of
from gender_cls.data.cache.pixel_file import HEADER, PixelFile
from gender_cls.data.image_files import FORMATS
from gender_cls.errors import NO_ROOM
from gender_cls.runs.heartbeat import OccupiedError
from gender_cls.runs.locks import held, is_held

log = logging.getLogger(__name__)

GB = 1_000_000_000
DAY = 24 * 3600
SAMPLE = 200  # files whose headers tell how large the others are


class NoRoomError(CacheError):
    """Pixels cannot be kept where the configuration says."""


class PixelStore:
    """The pixels of the images below `root`, within `cache_gigabytes` and `cache_days`; they belong to a database."""

    def __init__(self, database: Database, root: Path, data: DataConfig) -> None:
        assert database.file is not None, "the places are of no use without the database"
        self.database, self.root, self.data = database, root, data
        self.path = database.file.with_suffix(".pixels")
        self._mode = database.file.stat().st_mode & 0o666
        self._needed = 0

    @property
    def file(self) -> PixelFile:
        """The file that the database's places belong to, as it is now."""
        return PixelFile(self.path, self.database.pixels_identity)

    def places(self, table: pd.DataFrame) -> NDArray[np.int64]:
        """Where the image of each row of the database begins; -1 if the file does not hold the whole image."""
        place, length = table["place"].to_numpy(), 3 * table["width"].to_numpy(np.int64) * table["height"].to_numpy()
        whole = (place >= HEADER) & (length > 0) & (length <= self.file.size - place)
        return np.where(whole, place, -1)

    def forget_lost(self) -> None:
        """Forget images that the file does not hold; all of them, if most of it is of images that have changed."""
        size = self.file.size
        self.database.forget_places_beyond(size)
        if size - HEADER > 2 * self.database.bytes_kept():
            self.database.forget_places_beyond(0)

    def make_room(self, needed: int) -> None:
        """Have a file with room for about `needed` more bytes; pixels of other folders may go for them.

        Raises:
            NoRoomError: there is no room for so many; nothing was removed or written.
            CacheError: the file cannot be made.
        """
        kept, folder = self.database.bytes_kept(), self.path.parent
        if kept + needed > self.data.cache_gigabytes * GB:
            raise NoRoomError(
                f"The decoded pixels of these data take {(kept + needed) / GB:.3g} GB, more than data.cache_gigabytes="
                f"{self.data.cache_gigabytes:g}: raise it, or set data.cache=none."
            )
        replaced = 0 if kept else self.file.size
        disk = shutil.disk_usage(folder)
        if needed > disk.free + replaced and disk.total > 0:  # some network drives report 0
            raise _no_room(folder, needed)
        self._evict(needed)
        if not kept:
            try:
                created = PixelFile.create(self.path, self._mode)
            except OSError as error:
                raise self._failed(error) from None
            self.database.begin_pixels(created.identity)
        self._needed = needed

    def append(self, images: Sequence[bytes]) -> list[int]:
        """Write images, which are safe on the disk when this returns their places.

        Raises:
            NoRoomError: the disk is full.
            CacheError: it failed for another reason.
        """
        try:
            places = self.file.append(images)
        except OSError as error:
            raise self._failed(error) from None
        self._needed -= sum(map(len, images))
        return places

    def _failed(self, error: OSError) -> CacheError:
        full = error.errno in NO_ROOM
        return _no_room(self.path.parent, self._needed) if full else CacheError(cannot_keep(self.path, error))

    def used(self) -> None:
        """Record that the file is used today, and remove what nobody uses any more."""
        with contextlib.suppress(OSError):
            os.utime(self.path)
        self._evict(0)

    def _evict(self, needed: int) -> None:
        """Remove pixels of other folders: those not used for long, then the least recently used until all fit.

        A file's time of change tells when it was last used. A file that another process adds to stays; processes that
        read a removed file can go on.
        """
        files: list[tuple[float, int, Path]] = []
        for file in self.path.parent.glob("*.pixels"):
            with contextlib.suppress(FileNotFoundError):  # another process removed it
                status = file.stat()
                files.append((status.st_mtime, status.st_size, file))
        total = needed + sum(size for _, size, _ in files)
        for used, size, file in sorted(files):
            too_old = time.time() - used > self.data.cache_days * DAY
            unused = file != self.path and not is_held(lock_of(file))
            if unused and (too_old or total > self.data.cache_gigabytes * GB):
                # Nothing happens if it belongs to another user.
                with contextlib.suppress(OccupiedError, OSError), held(lock_of(file)):
                    file.unlink(missing_ok=True)
                    total -= size


def expected_bytes(files: Sequence[str], max_megapixels: float) -> int:
    """About how many bytes the pixels of these images take, from the headers of some of them."""
    sample = files[:: max(1, len(files) // SAMPLE)]
    found = 0
    for file in sample:
        with (
            contextlib.suppress(Exception),
            warnings.catch_warnings(action="ignore"),  # Pillow's, of large images
            Image.open(file, formats=FORMATS) as image,
        ):
            if image.width * image.height <= max_megapixels * 1e6:  # pixels of an unreadable file are not kept
                found += image.width * image.height * 3
    return round(found / max(len(sample), 1) * len(files))


def _no_room(folder: Path, needed: int) -> NoRoomError:
    free = shutil.disk_usage(folder).free
    return NoRoomError(
        f"{folder} has no room for decoded pixels: they need {needed / GB:.3g} GB and {free / GB:.3g} GB are free. "
        "Make room, or set data.cache=none (decoded each time)."
    )
