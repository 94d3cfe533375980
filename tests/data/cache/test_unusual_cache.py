"""A cache that is damaged, lies on an unusual file system, or holds what others must not see."""

import errno
import os
import pickle
import re
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
from filelock import FileLock
from helpers.crops import decode
from helpers.scanning import draw, names_in, scanned, settings

from gender_cls.config.data import PixelCache
from gender_cls.data.cache import database, pixel_file, pixel_store
from gender_cls.data.cache.database import CacheError
from gender_cls.data.cache.lock import database_lock
from gender_cls.data.cache.pixel_file import HEADER
from gender_cls.data.run_images import scan_for_answers
from gender_cls.data.scan import scan

NAMES = ["000.png", "001.png", "002.png"]
NONE = settings(PixelCache.none)
BYTES = 3 * 12 * 24  # of each image


@pytest.fixture
def crops(tmp_path: Path) -> Path:
    return draw(tmp_path / "crops", 3)


def database_of(root: Path) -> Path:
    return database.database_file(root, root.parent / "cache")


def pixels_of(root: Path) -> Path:
    return database_of(root).with_suffix(".pixels")


def assert_right(root: Path, cache: PixelCache = PixelCache.disk) -> None:
    """A scan finds the right facts and pixels."""
    found = scanned(root, settings(cache))
    pd.testing.assert_frame_equal(found.facts, scan(NAMES, root, root.parent / "other", NONE).facts)
    images = found.images.at(NAMES)
    assert all((images[row] == decode(root / name)).all() for row, name in enumerate(NAMES))


def execute(root: Path, *statements: str) -> None:
    with closing(sqlite3.connect(database_of(root))) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.commit()


def overwrite(file: Path, content: bytes) -> None:
    file.unlink(missing_ok=True)
    file.write_bytes(content)


@pytest.mark.parametrize(
    "damage",
    [
        lambda root: execute(root, "UPDATE images SET width = 'wide'"),
        lambda root: execute(root, "UPDATE images SET red = x'00ff'"),
        lambda root: execute(root, "UPDATE images SET fault = x'00ff'"),
        lambda root: execute(root, "UPDATE images SET fault = 'other'"),
        lambda root: execute(root, "UPDATE images SET height = 99999999999"),
        lambda root: execute(root, "UPDATE images SET pixels = 'no digits'"),
        lambda root: execute(root, "UPDATE images SET pixels = 'abcd'"),
        lambda root: execute(root, "UPDATE images SET reason = CAST(x'ff' AS TEXT)"),
        lambda root: execute(root, "ALTER TABLE images RENAME COLUMN inode TO other"),
        lambda root: execute(root, "DROP TABLE pixels_file"),
        lambda root: overwrite(database_of(root), b"no database" * 1000),
        lambda root: overwrite(database_of(root), database_of(root).read_bytes()[:6000]),
    ],
    ids=[
        "text",
        "blob",
        "blob for text",
        "fault",
        "huge",
        "no hash",
        "short hash",
        "bytes",
        "column",
        "table",
        "file",
        "cut",
    ],
)
def test_a_damaged_database_is_made_anew(crops: Path, damage: Callable, caplog: pytest.LogCaptureFixture) -> None:
    scanned(crops)
    damage(crops)
    assert_right(crops)
    assert [str(database_of(crops)) in message for message in caplog.messages] == [True]
    assert_right(crops)
    assert len(caplog.messages) == 1


@pytest.mark.parametrize(
    "change", ["place = -7", "place = 5", "place = 9000000000000000000", "width = -12", "width = 6"]
)
def test_impossible_places_and_sizes_give_no_wrong_pixels(crops: Path, change: str) -> None:
    scanned(crops)
    execute(crops, f"UPDATE images SET {change}")
    images = scanned(crops).images.at(NAMES)
    assert all((images[row] == decode(crops / name)).all() for row, name in enumerate(NAMES))


@pytest.mark.parametrize("damage", ["a byte", "two images"])
def test_damaged_pixels_are_found_when_they_are_read_first(
    crops: Path, damage: str, caplog: pytest.LogCaptureFixture, decoded: list[str]
) -> None:
    first = scanned(crops).images.at(NAMES)
    file = pixels_of(crops)
    content = bytearray(file.read_bytes())
    if damage == "a byte":
        content[HEADER + BYTES + 5] ^= 1
    else:
        content[HEADER:] = content[HEADER + BYTES : HEADER + 2 * BYTES] + content[HEADER:][:BYTES] + content[-BYTES:]
    with file.open("r+b") as opened:
        opened.write(content)
    assert all((first[row] == decode(crops / name)).all() for row, name in enumerate(NAMES * 2) if row < 3)
    assert [str(file) in message for message in caplog.messages] == [True]
    assert not file.exists()
    decoded.clear()
    assert_right(crops)
    assert decoded[:3] == NAMES


def test_a_file_that_is_cut_while_it_is_read_is_no_crash(crops: Path) -> None:
    images = scanned(crops).images.at(NAMES)
    assert (images[2] == decode(crops / "002.png")).all()
    os.truncate(pixels_of(crops), HEADER + 10)
    assert all((images[row] == decode(crops / name)).all() for row, name in enumerate(NAMES))


def test_where_files_cannot_be_mapped_they_are_read(
    crops: Path, monkeypatch: pytest.MonkeyPatch, decoded: list[str], unread: None
) -> None:
    monkeypatch.setattr(pixel_file.mmap, "mmap", fail(OSError(errno.ENODEV, "No such device")))
    images = scanned(crops).images.at(NAMES)
    sent = pickle.loads(pickle.dumps(images))
    expected = [decode(crops / name) for name in NAMES]
    assert all((one[row] == expected[row]).all() for row in (2, 0, 1) for one in (images, sent))


@pytest.mark.parametrize("name", ["pixels", "pixels.lock", "sqlite"])
@pytest.mark.parametrize("kind", ["folder", "FIFO"])
def test_something_else_in_the_place_of_a_file_is_replaced_or_named(crops: Path, name: str, kind: str) -> None:
    scanned(crops)
    file = database_of(crops).with_suffix(f".{name}")
    file.unlink(missing_ok=True)
    file.mkdir() if kind == "folder" else os.mkfifo(file)
    if name == "pixels.lock":
        pixels_of(crops).unlink()
    if kind == "FIFO" and name != "sqlite":
        assert_right(crops)
    else:
        with pytest.raises(CacheError, match=re.escape(str(file))):
            scanned(crops)
    assert_right(crops, PixelCache.none)


def fail(error: Exception) -> Callable:
    def failing(*_: object, **__: object) -> None:
        raise error

    return failing


def failing_connection(error: Exception, statement: str) -> Callable:
    """`sqlite3.connect`, but one kind of statement fails."""

    class Connection(sqlite3.Connection):
        def execute(self, sql: str, *arguments: object) -> sqlite3.Cursor:
            return fail(error)() if sql.startswith(statement) else super().execute(sql, *arguments)

    real = sqlite3.connect
    return lambda file, **options: real(file, **options, **({} if file == ":memory:" else {"factory": Connection}))


def operational(text: str, code: int) -> sqlite3.OperationalError:
    error = sqlite3.OperationalError(text)
    error.sqlite_errorcode = code
    return error


@pytest.mark.parametrize(
    ("error", "statement", "cause"),
    [
        (operational("database or disk is full", sqlite3.SQLITE_FULL), "CREATE", "disk is full"),
        (operational("attempt to write a readonly database", sqlite3.SQLITE_READONLY), "BEGIN", "readonly"),
        (operational("disk I/O error", sqlite3.SQLITE_IOERR | 15 << 8), "BEGIN", "without locks"),
        (operational("database is locked", sqlite3.SQLITE_BUSY), "BEGIN", "without locks"),
        (operational("locking protocol", sqlite3.SQLITE_PROTOCOL), "SELECT", "without locks"),
        (operational("unable to open database file", sqlite3.SQLITE_CANTOPEN), "BEGIN", "unable to open"),
    ],
    ids=lambda value: str(value).replace(" ", "_"),
)
def test_without_a_database_the_cause_is_named_and_no_cache_is_needed(
    crops: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, error, statement: str, cause: str
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(database.sqlite3, "connect", failing_connection(error, statement))
        with pytest.raises(CacheError, match=rf"{database_of(crops)}.*{cause}.*output_dir.*data\.cache=none"):
            scanned(crops)
        facts = scanned(crops, NONE).facts
        answers = scan_for_answers(pd.DataFrame({"path": NAMES}), crops, crops.parent / "cache", settings())
    assert all(str(database_of(crops)) in message for message in caplog.messages)
    assert len(caplog.messages) == 3
    pd.testing.assert_frame_equal(facts, scanned(crops).facts)
    pd.testing.assert_frame_equal(answers.facts, facts)
    assert (answers.images.at(NAMES)[1] == decode(crops / "001.png")).all()


@pytest.mark.parametrize(
    ("target", "name", "error", "cause"),
    [
        (FileLock, "acquire", OSError(errno.ENOLCK, "No locks available"), None),
        (FileLock, "acquire", NotImplementedError("no flock"), None),
        (pixel_store.PixelFile, "create", OSError(errno.EROFS, "Read-only file system"), "Read-only"),
        (pixel_store.PixelFile, "create", OSError(errno.EDQUOT, "Disk quota exceeded"), "no room"),
        (pixel_store.PixelFile, "append", OSError(errno.EIO, "Input/output error"), "Input/output"),
        (pixel_store.PixelFile, "append", OSError(errno.ENOSPC, "No space left on device"), "no room"),
        (os, "fdatasync", OSError(errno.EIO, "Input/output error"), "Input/output"),
        (os, "fdatasync", OSError(errno.EINVAL, "Invalid argument"), None),
    ],
    ids=str,
)
def test_where_pixels_cannot_be_kept_the_cause_is_named(
    crops: Path, monkeypatch: pytest.MonkeyPatch, target: object, name: str, error: Exception, cause: str | None
) -> None:
    monkeypatch.setattr(target, name, fail(error))
    if cause is None:
        assert_right(crops)
        return
    with pytest.raises(CacheError, match=rf"{crops.parent / 'cache'}.*{cause}.*data\.cache=none"):
        scanned(crops)
    assert_right(crops, PixelCache.none)
    answers = scan_for_answers(pd.DataFrame({"path": NAMES}), crops, crops.parent / "cache", settings())
    assert (answers.images.at(NAMES)[1] == decode(crops / "001.png")).all()


def test_what_a_read_only_cache_has_is_used_and_what_it_lacks_is_waited_for_nowhere(
    crops: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    assert_right(crops)
    read_only = fail(OSError(errno.EROFS, "Read-only file system"))
    monkeypatch.setattr(FileLock, "acquire", read_only)
    monkeypatch.setattr(Path, "touch", read_only)
    monkeypatch.setattr(os, "utime", read_only)
    assert_right(crops)
    (crops / NAMES[0]).write_bytes((crops / NAMES[1]).read_bytes())
    with pytest.raises(CacheError, match=r"\.lock.*Read-only"):
        scanned(crops)
    assert_right(crops, PixelCache.none)
    assert [message for message in caplog.messages if "Read-only" not in message] == []


def test_a_drive_that_tells_no_free_space_is_tried(crops: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pixel_store.shutil, "disk_usage", lambda folder: SimpleNamespace(free=0, total=0))
    assert_right(crops)


def test_a_file_in_the_place_of_the_folder_is_named(crops: Path, caplog: pytest.LogCaptureFixture) -> None:
    (crops.parent / "cache").write_text("no folder")
    with pytest.raises(CacheError, match=rf"{crops.parent / 'cache'}.*exists.*data\.cache=none"):
        scanned(crops)
    assert_right(crops, PixelCache.none)
    assert [str(crops.parent / "cache") in message for message in caplog.messages] == [True]


@pytest.mark.parametrize(("outputs", "folder", "file"), [(0o700, 0o700, 0o600), (0o750, 0o750, 0o640)])
def test_nobody_may_read_more_than_the_outputs(crops: Path, outputs: int, folder: int, file: int) -> None:
    (crops.parent / "outputs").mkdir()
    (crops.parent / "outputs").chmod(outputs)
    cache = crops.parent / "outputs" / "cache"
    mask = os.umask(0)
    try:
        with database_lock(crops, cache):
            modes = {path.suffix: path.stat().st_mode & 0o777 for path in cache.iterdir()}
        scan(NAMES, crops, cache, settings())
        modes |= {path.suffix: path.stat().st_mode & 0o777 for path in cache.iterdir()}
    finally:
        os.umask(mask)
    assert cache.stat().st_mode & 0o777 == folder
    assert modes == {".sqlite": file, ".pixels": file, ".lock": file, ".owner": file}


def test_the_umask_holds_too(crops: Path) -> None:
    mask = os.umask(0o077)
    try:
        scanned(crops)
    finally:
        os.umask(mask)
    assert {path.stat().st_mode & 0o077 for path in (crops.parent / "cache").rglob("*")} == {0}
    assert names_in(crops) == NAMES
