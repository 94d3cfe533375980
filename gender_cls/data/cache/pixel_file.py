"""Decoded pixels one behind the other, on disk or in memory, that only ever grow. Knows nothing of databases.

A picture is its rows of RGB bytes, height * width * 3 of them; where it begins is its place. Whoever reads maps the
file into memory: its pages are the system's file cache, shared by all processes, and count as memory of each that has
looked at them.
"""

import mmap
import os
import secrets
import tempfile
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

MAGIC = b"gender_cls pixels 1\n"
HEADER = 64
"""Bytes before the first picture: MAGIC and the file's identity."""


class PixelFile:
    """A file of pixels; it is replaced by another one, but never cut or written over, because others have it mapped.

    Attributes:
        path: of the file, which need not be there.
        identity: of the file that is meant; places belong to it alone, and another one at `path` is not read.
    """

    def __init__(self, path: Path, identity: str) -> None:
        self.path, self.identity = path, identity
        self._mapped: NDArray[np.uint8] | None = None

    def __getstate__(self) -> tuple[Path, str]:
        return self.path, self.identity  # another process maps it anew

    def __setstate__(self, state: tuple[Path, str]) -> None:
        self.__init__(*state)  # type: ignore[misc]  # unpickled, it is as if made anew

    @property
    def size(self) -> int:
        """Bytes, 0 where the file is missing or another one."""
        try:
            with self.path.open("rb") as file:
                found = file.read(HEADER)
                return os.fstat(file.fileno()).st_size if found == _header(self.identity) else 0
        except FileNotFoundError:
            return 0

    @property
    def content(self) -> NDArray[np.uint8]:
        """All that is in the file when it is first asked; nothing where it is missing or another one."""
        if self._mapped is None:
            self._mapped = self._map()
        return self._mapped

    def _map(self) -> NDArray[np.uint8]:
        try:
            with self.path.open("rb") as file:
                # Private: torch warns of arrays that cannot be written; what is written reaches no file.
                mapped = np.frombuffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY), np.uint8)
        except (FileNotFoundError, ValueError):  # an empty file cannot be mapped
            return np.empty(0, np.uint8)
        return mapped if mapped[:HEADER].tobytes() == _header(self.identity) else np.empty(0, np.uint8)

    def append(self, pictures: Sequence[bytes]) -> list[int]:
        """Write pictures, safely on disk when this returns; their places. One process at a time."""
        with self.path.open("ab", buffering=0) as file:
            places = _written(file, pictures)
            getattr(os, "fdatasync", os.fsync)(file.fileno())
        return places

    def rewritten(self, places: NDArray[np.int64], lengths: NDArray[np.int64]) -> tuple["PixelFile", NDArray[np.int64]]:
        """A new file in the place of this one, with these pieces of it, and where they are now."""
        old = self.content
        handle, temporary = tempfile.mkstemp(dir=self.path.parent, prefix=f".{self.path.name}.")
        new = PixelFile(self.path, secrets.token_hex(16))
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(_header(new.identity))
                moved = HEADER + np.cumsum(lengths) - lengths
                for place, length in zip(places.tolist(), lengths.tolist(), strict=True):
                    file.write(old[place : place + length].data)
                file.flush()
                os.fsync(file.fileno())
            os.chmod(temporary, 0o644)
            os.replace(temporary, self.path)
        except BaseException:
            os.unlink(temporary)
            raise
        return new, moved

    @classmethod
    def new(cls, path: Path) -> "PixelFile":
        """An empty one at `path`, where another file goes."""
        none = np.empty(0, np.int64)
        return cls(path, "").rewritten(none, none)[0]


class PixelMemory:
    """Pixels in memory, shared with forked processes; spawned ones are sent a copy.

    Attributes:
        kept: of each path the file's stamp (bytes, time), then place, height and width.
    """

    def __init__(self) -> None:
        self.kept: dict[str, tuple[int, int, int, int, int]] = {}
        self._owner = os.getpid()
        self._file = _memory_file()
        weakref.finalize(self, self._file.close)
        self._mapped: NDArray[np.uint8] = np.empty(0, np.uint8)

    def __getstate__(self) -> tuple[dict, bytes]:
        return self.kept, self.content.tobytes()

    def __setstate__(self, state: tuple[dict, bytes]) -> None:
        self.__init__()  # type: ignore[misc]  # unpickled, it is as if made anew
        self.kept = state[0]
        _written(self._file, [state[1]])

    @property
    def content(self) -> NDArray[np.uint8]:
        """All that is kept now."""
        if (size := os.fstat(self._file.fileno()).st_size) > len(self._mapped):
            self._mapped = np.frombuffer(mmap.mmap(self._file.fileno(), size, access=mmap.ACCESS_COPY), np.uint8)
        return self._mapped

    def own(self) -> "PixelMemory":
        """This one, or in a forked process, which must not add to what it shares with others, a copy."""
        if self._owner == os.getpid():
            return self
        copy = PixelMemory()
        copy.__setstate__(self.__getstate__())
        return copy

    def append(self, pictures: Sequence[bytes]) -> list[int]:
        """Keep pictures; their places."""
        return _written(self._file, pictures)


def _header(identity: str) -> bytes:
    return (MAGIC + identity.encode()).ljust(HEADER, b"\0")


def _written(file: IO[bytes], pictures: Sequence[bytes]) -> list[int]:
    """The places of pictures appended to a file without a buffer."""
    end = file.seek(0, os.SEEK_END)
    places = (end + np.cumsum([0, *map(len, pictures)]))[:-1].tolist()
    content = memoryview(b"".join(pictures))
    while content:  # the system takes 2 GiB at once at most
        content = content[file.write(content) :]
    return places


def _memory_file() -> IO[bytes]:
    """A file that ends with the last process that has it; on Linux it lies in memory."""
    if hasattr(os, "memfd_create"):
        return open(os.memfd_create("pixels"), "w+b", buffering=0)
    return tempfile.TemporaryFile(buffering=0)
