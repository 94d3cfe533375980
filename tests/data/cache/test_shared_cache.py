"""One cache for many jobs on several machines: each image is decoded once, also without locks and after a kill."""

import errno
import fcntl
import os
import signal
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from helpers.crops import decode
from helpers.scanning import draw, names_in, scanned, settings

from gender_cls.config.data import PixelCache
from gender_cls.data import scan as scanning
from gender_cls.data.cache.database import database_file, look_into_database, open_database
from gender_cls.runs import heartbeat, locks
from gender_cls.system.processes import fork_context

IMAGES = 24


@pytest.fixture
def crops(tmp_path: Path) -> Path:
    return draw(tmp_path / "crops", IMAGES)


@pytest.fixture(params=["locks", "no locks"])
def disk(request, monkeypatch: pytest.MonkeyPatch) -> str:
    """With locks, or with neither those of files (flock) nor those of SQLite (fcntl)."""
    monkeypatch.setattr(scanning, "FILES_PER_BATCH", 4)
    monkeypatch.setattr(heartbeat, "POLL", 0.01)
    if request.param == "no locks":

        def refuse(*_: Any, **__: Any) -> None:
            raise OSError(errno.ENOLCK, "No locks available")

        monkeypatch.setattr(locks.FileLock, "acquire", refuse)
        monkeypatch.setattr(fcntl, "lockf", refuse)
    return request.param


def job(root: Path, decoded: Path, dies_after: int | None) -> None:
    """A process that reads all images and lists what it decodes; killed after so many of them."""
    original, mine = scanning.read_image, 0

    def read(file: Path, limit: float) -> Any:
        nonlocal mine
        mine += 1
        if dies_after is not None and mine > dies_after:
            os.kill(os.getpid(), signal.SIGKILL)
        with decoded.open("a") as listed:
            listed.write(f"{file.name}\n")
        return original(file, limit)

    scanning.read_image = read
    found = scanned(root)
    names = names_in(root)
    assert all((found.images.at(names)[row] == decode(root / names[row])).all() for row in (0, 7, IMAGES - 1))


@pytest.mark.parametrize("dies_after", [None, 10])
def test_jobs_that_start_together_decode_each_image_once(disk, crops: Path, tmp_path: Path, dies_after) -> None:
    decoded, context = tmp_path / "decoded", fork_context()
    assert context is not None
    jobs = [context.Process(target=job, args=(crops, decoded, dies_after if first else None)) for first in (1, 0, 0, 0)]
    for process in jobs:
        process.start()
        while dies_after is not None and process is jobs[0] and not decoded.exists():
            process.join(0.01)  # the one that will be killed is the first to read
    for process in jobs:
        process.join()
    assert [process.exitcode for process in jobs] == [0 if dies_after is None else -signal.SIGKILL, 0, 0, 0]
    again = [] if dies_after is None else names_in(crops)[8:10]  # those of the batch that was not yet kept
    assert sorted(decoded.read_text().split()) == sorted([*names_in(crops), *again])


def test_a_reader_leaves_the_journal_of_a_process_that_writes_elsewhere(crops: Path, disk, caplog) -> None:
    cache = crops.parent / "cache"
    scanned(crops)
    journal = database_file(crops, cache).with_name(f"{database_file(crops, cache).name}-journal")
    with open_database(crops, cache) as opened:
        rows = [(f"{number}", *range(4), *[*scanning_row()], -1) for number in range(3000)]
        connection = opened._connection
        connection.execute("PRAGMA cache_size = 1")  # changes reach the file before they are committed
        connection.execute("BEGIN")
        connection.executemany(f"INSERT INTO images VALUES ({', '.join('?' * len(rows[0]))})", rows)
        before = journal.read_bytes()
        assert before
        scanned(crops, settings(PixelCache.none))
        with look_into_database(crops, cache):
            pass
        assert journal.read_bytes() == before
        connection.commit()
    with closing(sqlite3.connect(database_file(crops, cache))) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert connection.execute("SELECT COUNT(*) FROM images").fetchone() == (3000 + IMAGES,)
    assert not caplog.messages


def scanning_row() -> tuple:
    return ("PNG", 1, 1, 1, 0.0, "", 0, 0.0, 0.0, 0.0, 0.0, 0.0, "", "")
