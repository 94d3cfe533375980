"""A file of decoded images, one after the other, that only ever grows. Knows nothing about databases.

An image is its rows of RGB bytes, height * width * 3 of them; its place is where it begins. Readers map the file into
memory: its pages are the system's file cache, which all processes share.
"""

import mmap
import os
import secrets
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

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

    def __reduce__(self) -> tuple:
        return PixelFile, (self.path, self.identity)  # another process maps the file itself

    @cached_property
    def content(self) -> NDArray[np.uint8]:
        """All bytes that are in the file at the first call; none if it is missing or another one."""
        try:
            with self.path.open("rb") as file:
                # Private, because torch warns about arrays that cannot be written; no change reaches the file.
                mapped = np.frombuffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY), np.uint8)
        except (FileNotFoundError, ValueError):  # an empty file cannot be mapped
            return np.empty(0, np.uint8)
        return mapped if mapped[:HEADER].tobytes() == self.header else np.empty(0, np.uint8)

    def append(self, images: Sequence[bytes]) -> list[int]:
        """Write images, which are safe on the disk when this returns their places. One process at a time."""
        with self.path.open("ab") as file:
            end = file.tell()
            file.writelines(images)
            file.flush()
            getattr(os, "fdatasync", os.fsync)(file.fileno())
        return (end + np.cumsum([0, *map(len, images)]))[:-1].tolist()

    @classmethod
    def create(cls, path: Path) -> "PixelFile":
        """A file without images, which replaces the one at `path`."""
        new = cls(path, secrets.token_hex(16))
        write_atomically(path, new.header)
        return new
