"""One process per folder, also on file systems without locks."""

import errno
import json
import os
import subprocess
from pathlib import Path

import pytest

from gender_cls.errors import GenderClsError
from gender_cls.runs import locks
from gender_cls.runs.locks import in_use, locked

NO_LOCKS = [*(OSError(number, os.strerror(number)) for number in (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS))]


@pytest.fixture(params=[None, *NO_LOCKS, NotImplementedError()], ids=str)
def file_system(request, monkeypatch: pytest.MonkeyPatch) -> None:
    """One with locks, and those without."""
    if request.param is not None:

        def acquire(*_: object, **__: object) -> None:
            raise request.param

        monkeypatch.setattr(locks.FileLock, "acquire", acquire)


def test_a_folder_is_in_use_until_the_work_ends(file_system, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(locks, "_PATIENCE", 0.01)
    assert not in_use(tmp_path)
    with locked(tmp_path):
        assert in_use(tmp_path)
        with pytest.raises(GenderClsError, match=f"{tmp_path} is in use by another process"), locked(tmp_path):
            pass
        assert in_use(tmp_path)
    assert not in_use(tmp_path)
    with locked(tmp_path):
        pass


def test_without_locks_a_dead_process_loses_the_folder_and_another_machines_is_named(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(locks.FileLock, "acquire", lambda *_, **__: (_ for _ in ()).throw(NO_LOCKS[0]))
    owner = tmp_path / ".lock.owner"
    with locked(tmp_path):
        name = json.loads(owner.read_text())
    ended = subprocess.Popen(["true"])
    ended.wait()
    for dead in ({"pid": ended.pid}, {"began": "1"}):  # the number may belong to a new process
        owner.write_text(json.dumps({**name, **dead}))
        assert not in_use(tmp_path)
        with locked(tmp_path):
            assert in_use(tmp_path)
    owner.write_text(json.dumps({**name, "host": "elsewhere"}))
    assert in_use(tmp_path), "nobody can tell"
    with pytest.raises(GenderClsError, match=rf"{owner} says .*another machine.* remove the file"), locked(tmp_path):
        pass


def test_other_errors_of_the_lock_are_not_taken_for_a_lack_of_locks(tmp_path: Path, monkeypatch) -> None:
    full = OSError(errno.ENOSPC, "full")
    monkeypatch.setattr(locks.FileLock, "acquire", lambda *_, **__: (_ for _ in ()).throw(full))
    with pytest.raises(OSError, match="full"), locked(tmp_path):
        pass
