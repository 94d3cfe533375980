"""A leaderboard that many jobs ask for at the same time."""

import contextlib
import errno
import json
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from gender_cls.cli import leaderboard, sweep
from gender_cls.cli.leaderboard import write_leaderboard
from gender_cls.errors import GenderClsError
from gender_cls.runs import heartbeat, locks
from gender_cls.runs.run import Run


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The states of the runs at each writing."""
    monkeypatch.setattr(locks, "_PATIENCE", 0.01)
    monkeypatch.setattr(heartbeat, "POLL", 0.001)
    states: list[list[str]] = []
    monkeypatch.setattr(leaderboard, "_written", lambda folder: note(folder, states))
    return states


def note(folder: Path, states: list[list[str]]) -> object:
    states.append([run.state for run in leaderboard.job_runs(folder)])
    return states


def test_of_many_jobs_that_end_together_one_writes_twice(written, tmp_path: Path, monkeypatch) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def write(folder: Path) -> object:
        note(folder, written)
        begun.set()
        assert go_on.wait(60)
        return written

    monkeypatch.setattr(leaderboard, "_written", write)

    def end(number: int) -> None:
        run = Run(tmp_path / f"{number}_net")
        with run.recording():
            pass
        write_leaderboard(tmp_path)

    threads = [threading.Thread(target=end, args=(number,)) for number in range(6)]
    threads[0].start()
    assert begun.wait(60)
    for thread in threads[1:]:
        thread.start()
    for thread in threads[1:]:
        thread.join()
    go_on.set()
    threads[0].join()
    assert written == [["finished"], ["finished"] * 6], "the last table knows all of them"
    assert not (tmp_path / ".leaderboard.request").exists()


def test_who_has_to_show_it_waits_and_a_killed_writer_blocks_nobody(written, tmp_path: Path, monkeypatch) -> None:
    without_locks = OSError(errno.ENOLCK, "No locks available")
    monkeypatch.setattr(locks.FileLock, "acquire", lambda *_, **__: (_ for _ in ()).throw(without_locks))
    with contextlib.ExitStack() as other:
        other.enter_context(locks.held(tmp_path / ".leaderboard.lock"))
        assert write_leaderboard(tmp_path) is None
        assert not written
        monkeypatch.setattr(heartbeat.time, "sleep", lambda _: other.close())  # it ends while this one waits
        assert write_leaderboard(tmp_path, patient=True) is written
    assert len(written) == 1
    dead = {"pid": 1, "began": "?", "host": "", "machine": heartbeat.machine()}
    (tmp_path / ".leaderboard.lock.owner").write_text(json.dumps(dead))
    half, of_others = tmp_path / ".leaderboard_transfer.csv.abc.part", tmp_path / ".search.html.abc.part"
    half.touch()
    of_others.touch()
    assert write_leaderboard(tmp_path) is written
    assert (half.exists(), of_others.exists()) == (False, True)


def test_a_job_leaves_the_folder_of_another_process_as_it_is(written, tmp_path: Path, monkeypatch) -> None:
    run = Run(tmp_path / "0_net")
    monkeypatch.setattr(sweep, "_run_in_child", lambda *_: 1)  # the child could not lock the folder
    monkeypatch.setattr("gender_cls.data.prepare.keep_prepared", lambda *_: None)
    monkeypatch.setattr(sweep.Jobs, "title", lambda *_: "")
    config: Any = SimpleNamespace(data=None, output_dir="")
    with run.recording():
        before = run.status
        with pytest.raises(GenderClsError, match=f"another process works in {run.folder}"):
            sweep.run_job(lambda *_: None, config, run, number=0)
        assert run.status == before
    assert written == [["running"]]
