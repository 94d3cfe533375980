"""A file of decoded images, one after the other, that only ever grows. Knows nothing about databases.

An image is its rows of RGB bytes, height * width * 3 of them; its place is where it begins. Readers map the file into
memory, where the file system can do that: its pages are the system's file cache, which all processes share.
"""

import contextlib
import errno
import mmap
import os
import secrets
import stat
import weakref
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gender_cls.data.image_files import open_at_once
from gender_cls.runs.files import write_atomically

MAGIC = b"gender_cls pixels 1\n"
HEADER = 64
"""Bytes before the first image: MAGIC and the file's identity."""


class PixelFile:
    """A file that may be replaced by another one but is never cut or overwritten, because others have it mapped.

    Args:
        identity: of the file that is meant; places belong to it alone, and another file at `path` is not read.
    """

    def __init__(self, path: Path, identity: str) -> None:
        self.path, self.identity = path, identity
        self.header = (MAGIC + identity.encode()).ljust(HEADER, b"\0")
        self.damaged = False  # whether somebody has found wrong pixels

    def __reduce__(self) -> tuple:
        return PixelFile, (self.path, self.identity)  # another process opens the file itself

    @cached_property
    def _descriptor(self) -> int | None:
        """The descriptor of the file as it is at the first call; None if it is missing, unreadable or another file."""
        try:
            opened = open_at_once(str(self.path), os.O_RDONLY)
        except OSError:
            return None
        weakref.finalize(self, os.close, opened)
        try:
            regular = stat.S_ISREG(os.fstat(opened).st_mode)
            return opened if regular and os.pread(opened, HEADER, 0) == self.header else None
        except OSError:
            return None

    @property
    def size(self) -> int:
        """Bytes that are in the file; 0 if it is missing or another one."""
        # Quicker than a stat; nobody uses the offset.
        return os.lseek(self._descriptor, 0, os.SEEK_END) if self._descriptor is not None else 0

    @cached_property
    def _mapped(self) -> NDArray[np.uint8] | None:
        """All bytes that are in the file at the first call; None where files cannot be mapped."""
        try:
            # Private, because torch warns about arrays that cannot be written; no change reaches the file.
            return np.frombuffer(mmap.mmap(self._descriptor or 0, 0, access=mmap.ACCESS_COPY), np.uint8)
        except (OSError, ValueError):
            return None

    def read(self, place: int, length: int) -> NDArray[np.uint8] | None:
        """`length` bytes from `place` on; None if the file does not hold them. Callers must not change them."""
        end = place + length
        # Reading behind the end of a mapped file ends the process, so its size is checked first.
        if self._descriptor is None or end > self.size:
            return None
        if self._mapped is not None and end <= len(self._mapped):
            return self._mapped[place:end]
        try:
            # pread, because forked processes share the offset that read() moves.
            found = bytearray(os.pread(self._descriptor, length, place))
        except OSError:
            return None
        return np.frombuffer(found, np.uint8) if len(found) == length else None

    def append(self, images: Sequence[bytes]) -> list[int]:
        """Write images, which are safe on the disk when this returns their places. One process at a time."""
        with self.path.open("ab") as file:
            end = file.tell()
            file.writelines(images)
            file.flush()
            try:
                getattr(os, "fdatasync", os.fsync)(file.fileno())
            except OSError as error:
                if error.errno not in (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP):  # file systems without this call
                    raise
        return (end + np.cumsum([0, *map(len, images)]))[:-1].tolist()

    def remove_damaged(self) -> None:
        """Remove the file, unless another one has taken its place; processes that have it open can go on reading."""
        self.damaged = True
        if PixelFile(self.path, self.identity)._descriptor is not None:
            with contextlib.suppress(OSError):
                self.path.unlink()

    @classmethod
    def create(cls, path: Path, mode: int = 0o666) -> "PixelFile":
        """A file without images and with no more permissions than `mode`, which replaces the one at `path`."""
        new = cls(path, secrets.token_hex(16))
        write_atomically(path, new.header)
        path.chmod(path.stat().st_mode & mode)
        return new
