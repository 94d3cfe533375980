"""Whether decoded pixels have room, on the disk or in memory, and which of them go when they have not been used."""

import contextlib
import os
import shutil
import time
from collections.abc import Sequence
from pathlib import Path

from filelock import FileLock, Timeout
from PIL import Image

from gender_cls.config.data import DataConfig
from gender_cls.data.image_files import FORMATS
from gender_cls.errors import GenderClsError
from gender_cls.system.memory import available_memory

GB = 1_000_000_000
SAMPLE = 200
"""Files whose headers say how large the others are."""

DAY = 24 * 3600


class NoRoomError(GenderClsError):
    """Pixels cannot be kept where the configuration says."""


def expected_bytes(files: Sequence[str]) -> int:
    """About how many bytes the pixels of these pictures take, from the headers of some of them."""
    some = files[:: max(1, len(files) // SAMPLE)]
    return round(sum(map(_pixels_in, some)) / len(some) * len(files)) if some else 0


def _pixels_in(file: str) -> int:
    with contextlib.suppress(Exception), Image.open(file, formats=FORMATS) as image:
        return image.width * image.height * 3
    return 0  # what cannot be read is not kept


def require_disk(folder: Path, kept: int, needed: int, data: DataConfig) -> None:
    """Refuse more pixels of a data set than its key allows, or than the disk has room for.

    Args:
        kept: bytes of it that are there.
        needed: bytes to be added.
    """
    if kept + needed > data.cache_gigabytes * GB:
        raise NoRoomError(
            f"The decoded pixels of these data take {_gb(kept + needed)} GB, more than data.cache_gigabytes="
            f"{data.cache_gigabytes:g}: raise it, or set data.cache=ram or data.cache=none."
        )
    if needed > (free := shutil.disk_usage(folder).free):
        raise no_room(folder, needed, free)


def no_room(folder: Path, needed: int, free: int) -> NoRoomError:
    """The sentence for a disk that is full, or would be."""
    return NoRoomError(
        f"{folder} has no room for decoded pixels: they need {_gb(needed)} GB and {_gb(free)} GB are free. Make room, "
        "or set data.cache=ram (kept in memory) or data.cache=none (decoded each time)."
    )


def require_memory(needed: int) -> None:
    """Refuse pixels that would take the memory that is left; where the system does not tell, they may."""
    available = available_memory()
    if available is not None and needed > available:
        raise NoRoomError(
            f"data.cache=ram needs {_gb(needed)} GB for decoded pixels and {_gb(available)} GB of memory are free: "
            "set data.cache=disk or data.cache=none."
        )


def lock_of(file: Path) -> FileLock:
    """Whoever adds to a file of pixels, or replaces or removes it, holds this."""
    return FileLock(f"{file}.lock")


def evict(own: Path, needed: int, data: DataConfig) -> None:
    """Remove other data sets' pixels that were not used for long, then the least recently used until all fit.

    A file was used when it was last opened, as its time of change says. One that another process adds to stays; one
    that others read stays readable to them.

    Args:
        own: stays, however old.
        needed: bytes that it will grow by.
    """
    others = [(status.st_mtime, status.st_size, file) for file in own.parent.glob("*.pixels")
              if file != own and (status := _status(file)) is not None]  # fmt: skip
    total = needed + sum(size for _, size, _ in others) + (status.st_size if (status := _status(own)) else 0)
    for used, size, file in sorted(others):
        too_old = time.time() - used > data.cache_days * DAY
        if (too_old or total > data.cache_gigabytes * GB) and _removed(file):
            total -= size


def _status(file: Path) -> os.stat_result | None:
    try:
        return file.stat()
    except FileNotFoundError:  # another process was quicker
        return None


def _removed(file: Path) -> bool:
    try:
        with lock_of(file).acquire(timeout=0):
            file.unlink(missing_ok=True)
    except (Timeout, OSError):  # in use, or somebody else's
        return False
    return True


def _gb(amount: int) -> str:
    return f"{amount / GB:.3g}"
