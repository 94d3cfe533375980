"""One process per folder, on any file system: also without locks, and with locks that other machines do not see."""

import errno
import json
import logging
import os
import socket
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from gender_cls.errors import GenderClsError
from gender_cls.runs import heartbeat, locks
from gender_cls.runs.locks import held, in_use, locked
from gender_cls.runs.run import Run, find_runs
from gender_cls.system.processes import beginning_of

NO_LOCKS = [*(OSError(number, os.strerror(number)) for number in (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS))]


def without_locks(monkeypatch: pytest.MonkeyPatch, error: Exception = NO_LOCKS[0]) -> None:
    monkeypatch.setattr(locks.FileLock, "acquire", lambda *_, **__: (_ for _ in ()).throw(error))


@pytest.fixture(params=[None, *NO_LOCKS, NotImplementedError()], ids=str)
def file_system(request, monkeypatch: pytest.MonkeyPatch) -> None:
    """One with locks, and those without."""
    monkeypatch.setattr(locks, "_PATIENCE", 0.01)
    if request.param is not None:
        without_locks(monkeypatch, request.param)


@pytest.fixture(params=["no locks", "locks of this machine alone"])
def elsewhere(request, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """A disk whose locks do not reach other machines; takes the name of the machine that this is from now on."""
    if request.param == "no locks":
        without_locks(monkeypatch)
    monkeypatch.setattr(heartbeat, "POLL", 0.0)

    def move(host: str) -> None:
        monkeypatch.setattr(socket, "gethostname", lambda: host)
        if request.param != "no locks":  # another machine's locks are always free
            monkeypatch.setattr(locks.FileLock, "acquire", lambda *_, **__: None)
            monkeypatch.setattr(locks.FileLock, "release", lambda *_, **__: None)

    return move


def owner_of(folder: Path) -> Path:
    return folder / ".lock.owner"


def left_by(folder: Path, **changed: object) -> Path:
    """What a process left that was killed; a process that had this number and another beginning, unless changed."""
    process = {"pid": os.getpid(), "host": socket.gethostname(), "machine": heartbeat.machine(), "began": "1"}
    owner_of(folder).write_text(json.dumps(process | changed))
    return owner_of(folder)


def make_old(file: Path, seconds: float) -> None:
    then = file.stat().st_mtime - seconds
    os.utime(file, (then, then))


def test_a_folder_is_in_use_until_the_work_ends(file_system, tmp_path: Path) -> None:
    assert not in_use(tmp_path)
    with locked(tmp_path):
        assert in_use(tmp_path)
        with pytest.raises(GenderClsError, match=f"{tmp_path} is in use by another process: "), locked(tmp_path):
            pass
        assert in_use(tmp_path)
    assert not in_use(tmp_path)
    assert not owner_of(tmp_path).exists()
    with locked(tmp_path):
        pass


def test_a_dead_process_of_this_machine_loses_the_folder_at_once(file_system, tmp_path: Path) -> None:
    ended, asked = subprocess.Popen(["true"]), subprocess.Popen(["true"])
    asked.wait()
    os.waitid(os.P_PID, ended.pid, os.WEXITED | os.WNOWAIT)  # it has ended, but nobody has asked how
    begun = beginning_of(ended.pid)
    for dead in ({"pid": ended.pid, "began": begun}, {"pid": asked.pid}, {}):  # the number may be another's now
        left_by(tmp_path, **dead)
        assert not in_use(tmp_path)
        with locked(tmp_path):
            assert in_use(tmp_path)
    ended.wait()


def test_a_living_process_of_another_machine_keeps_the_folder(elsewhere, tmp_path: Path, caplog) -> None:
    run = Run(tmp_path)
    with run.recording(model="net"):
        name = owner_of(tmp_path).read_text()
        elsewhere("other")
        assert run.state == "running"
        beats = iter([1, 2])

        def beat(_: float) -> None:
            os.utime(owner_of(tmp_path), (next(beats),) * 2)  # the clock of that machine may be wrong by years

        with pytest.MonkeyPatch.context() as patch, caplog.at_level(logging.INFO):
            patch.setattr(heartbeat.time, "sleep", beat)
            here = json.loads(name)["host"]
            with pytest.raises(GenderClsError, match=f"in use by another process on {here}"), locked(tmp_path):
                pass
        assert here in caplog.text, "a person who waits is told for whom"
        assert owner_of(tmp_path).read_text() == name


def test_a_process_of_another_machine_is_dead_when_its_heart_stopped(elsewhere, tmp_path: Path, monkeypatch) -> None:
    run = Run(tmp_path)
    elsewhere("there")
    with run.recording(model="net"):
        text, status = owner_of(tmp_path).read_text(), run.status
    run.note(**status)
    owner_of(tmp_path).write_text(text)  # as if that process had been killed
    elsewhere("here")
    monkeypatch.setattr(heartbeat.time, "time_ns", lambda: 0)  # the clocks of machines do not count
    monkeypatch.setattr(heartbeat.time, "time", lambda: 0.0)
    assert run.state == "running", "nobody can tell yet"
    make_old(owner_of(tmp_path), heartbeat.SILENT - 10)
    assert run.state == "running"
    make_old(owner_of(tmp_path), 20)
    assert run.state == "killed"
    [found] = find_runs([tmp_path])
    assert "was killed" in (found.error or "")

    looks = iter(range(0, 1000, 10))  # seconds on the clock of the process that wants the folder
    monkeypatch.setattr(heartbeat.time, "monotonic", lambda: float(next(looks)))
    with run.recording():
        assert run.state == "running"
        assert json.loads(owner_of(tmp_path).read_text())["host"] == "here"
        assert 20 < next(looks) <= 60, "it watched for some beats, because clocks may differ"
    assert run.finished


def test_a_name_with_a_time_in_the_future_is_watched_for_the_whole_time(elsewhere, tmp_path: Path, monkeypatch) -> None:
    owner = left_by(tmp_path, host="there", machine="there")
    elsewhere("here")
    make_old(owner, -3600)
    assert in_use(tmp_path)
    looks = iter(range(0, 1000, 10))
    monkeypatch.setattr(heartbeat.time, "monotonic", lambda: float(next(looks)))
    with locked(tmp_path):
        assert heartbeat.SILENT <= next(looks) <= heartbeat.SILENT + 40


def test_half_a_name_counts_as_one_of_another_machine(tmp_path: Path) -> None:
    owner_of(tmp_path).write_text('{"pid": 1')
    assert in_use(tmp_path)
    make_old(owner_of(tmp_path), heartbeat.SILENT + 1)
    assert not in_use(tmp_path)


def test_of_several_that_find_a_dead_name_one_gets_the_place(tmp_path: Path, monkeypatch) -> None:
    without_locks(monkeypatch)
    monkeypatch.setattr(heartbeat, "POLL", 0.001)
    left_by(tmp_path)
    inside, most, failed, gate = [], [], [], threading.Barrier(8)

    def work() -> None:
        gate.wait()
        try:
            with held(tmp_path / ".lock", patient=True):
                inside.append(1)
                most.append(len(inside))
                inside.pop()
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    assert most == [1] * 8
    assert not list(tmp_path.glob(".lock*"))[1:], "only the lock's own file is left"


def soon(condition: Callable[[], bool]) -> bool:
    return any(condition() or threading.Event().wait(0.001) for _ in range(10_000))


def test_the_name_is_touched_and_a_process_that_lost_it_ends(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(heartbeat, "BEAT", 0.001)
    left, owner = threading.Event(), owner_of(tmp_path)
    monkeypatch.setattr(heartbeat, "_leave", lambda _: left.set())

    def beats() -> bool:
        os.utime(owner, (0, 0))
        return soon(lambda: owner.exists() and owner.stat().st_mtime > 0)

    with locked(tmp_path):
        assert beats()
        owner.unlink()  # by a person
        assert soon(owner.exists)
        assert beats()
        assert not left.is_set()
        owner.write_text("another process took over while this one was stopped")
        assert left.wait(10)
    assert owner.exists(), "it is another process's"


def test_other_errors_of_the_lock_are_not_taken_for_a_lack_of_locks(tmp_path: Path, monkeypatch) -> None:
    full = OSError(errno.ENOSPC, "full")
    without_locks(monkeypatch, full)
    with pytest.raises(OSError, match="full"), locked(tmp_path):
        pass
