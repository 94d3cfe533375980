"""The lock of a database of images and of its file of pixels: one process reads images, and the others wait for it."""

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path

from gender_cls.data.cache.database import CacheError, cannot_keep, database_file, make_folder
from gender_cls.runs.locks import held, is_held

log = logging.getLogger(__name__)


def lock_of(database: Path) -> Path:
    """The file of the lock that belongs to a database, and to the file of pixels next to it."""
    return database.with_suffix(".pixels.lock")


@contextlib.contextmanager
def database_lock(root: Path, cache: Path) -> Iterator[None]:
    """Wait until no other process changes the database or its pixels; then no other one can until the context ends.

    SQLite's own locks do not reach from one machine to another on every network drive, and some have none.

    Raises:
        CacheError: the file of the lock cannot be made.
    """
    lock = lock_of(database_file(root, cache))
    with contextlib.ExitStack() as stack:
        try:
            mode = make_folder(cache) & 0o666
            lock.touch(mode)  # raises an error where nothing can be written: then nobody reads images there
            if is_held(lock):
                log.info(f"Another process is reading the images below {root}: this one waits for its results.")
            stack.enter_context(held(lock, patient=True, mode=mode))
        except OSError as error:
            raise CacheError(cannot_keep(lock, error)) from None
        yield
