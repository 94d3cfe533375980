"""Atomic writes, and JSON files."""

import contextlib
import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import IO, Any

from gender_cls.errors import GenderClsError, disk_error, one_line

UNFINISHED = ".part"  # ends the names of files that are being written


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """A new file to write into; it takes the name `path` when it is whole and on the disk.

    Until then readers find the earlier file, also after a crash, and nothing of the new one is left after an error.

    Raises:
        GenderClsError: the folder that holds the folder of the file is gone.
        OSError: with the file's name, for example when the disk is full.
    """
    temporary: Path | None = None
    try:
        try:
            path.parent.mkdir(exist_ok=True)  # without its parents: a folder that was removed is not made again
            handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=UNFINISHED)
        except FileNotFoundError:
            raise GenderClsError(
                f"{path} cannot be written because its folder is gone: it was moved or removed, or its disk is no "
                "longer there. Put it back and start the same command again."
            ) from None
        temporary = Path(name)
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.umask(mask := os.umask(0))  # a mask can only be read by setting it
        temporary.chmod(0o666 & ~mask)
        temporary.replace(path)
    except BaseException as error:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
        failure = disk_error(error)
        if failure is not None and (failure.filename is None or str(failure.filename).endswith(UNFINISHED)):
            failure.filename = str(path)
        raise


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write a file so that readers, also after a crash, find the old or the new content but never a part."""
    with replacing(path) as file:
        file.write(content.encode() if isinstance(content, str) else content)


def timestamp() -> str:
    """Now, as files state it: ISO 8601 to the second, with the offset of the time zone."""
    return datetime.now().astimezone().isoformat(timespec="seconds")


def file_sha256(file: Path) -> str:
    """The SHA-256 of a file's content, in hexadecimal digits."""
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def read_whole(file: Path) -> bytes:
    """The content of a file; OSError if it is missing or no file, such as a pipe, which would be waited for."""
    if file.exists() and not file.is_file():
        raise OSError("it is a folder, a pipe or a device")
    return file.read_bytes()


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file; empty when there is no such file. GenderClsError names a file that holds none."""
    try:
        content = json.loads(read_whole(path))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:  # not JSON, or not UTF-8
        raise GenderClsError(f"{path} is not a JSON file ({one_line(error)}): restore or remove it.") from None
    if not isinstance(content, dict):
        raise GenderClsError(f"{path} holds {type(content).__name__} instead of an object: restore or remove it.")
    return content
