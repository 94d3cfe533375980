"""Atomic writes, JSON files, and the lock of a folder."""

import contextlib
import json
import os
import tempfile
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from gender_cls.errors import GenderClsError, one_line


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Lock a folder for this process, or raise GenderClsError; the lock ends with the process, also when killed."""
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise GenderClsError(f"{folder} is in use by another process: wait for it or choose another name.") from None
    try:
        yield
    finally:
        lock.release()


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write a file so that readers, also after a crash, find the old or the new content but never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    data = content.encode() if isinstance(content, str) else content
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        os.umask(mask := os.umask(0))  # a mask can only be read by setting it
        os.chmod(temporary, 0o666 & ~mask)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def timestamp() -> str:
    """Now, as files state it: ISO 8601 to the second, with the offset of the time zone."""
    return datetime.now().astimezone().isoformat(timespec="seconds")


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file; empty when there is no such file. GenderClsError names a file that holds none."""
    try:
        content = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:  # not JSON, or not UTF-8
        raise GenderClsError(f"{path} is not a JSON file ({one_line(error)}): restore or remove it.") from None
    if not isinstance(content, dict):
        raise GenderClsError(f"{path} holds {type(content).__name__} instead of an object: restore or remove it.")
    return content
