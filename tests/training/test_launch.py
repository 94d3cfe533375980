"""The parent of ranks, and how all of them end together; the ranks are stubs that import no torch."""

import contextlib
import os
import signal
import sys
import time
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pandas as pd
import pytest
from helpers import stub_rank

from gender_cls.config.model import ModelConfig
from gender_cls.config.train import Config, TrainerConfig
from gender_cls.data.image_store import ImageStore, Scanned
from gender_cls.errors import GenderClsError
from gender_cls.runs.nodes import Meeting, Node
from gender_cls.runs.run import Run
from gender_cls.system.processes import ChildProcess, is_alive
from gender_cls.system.signals import Stopped, stopping_child_on_signals
from gender_cls.training import launch
from gender_cls.training.launch import follow, train_in_ranks
from gender_cls.training.ranks_folder import LOOK, SILENT, Failure, RanksFolder, SignsOfLife

NOTHING = Scanned(
    pd.Index([]), np.zeros((0, 3), np.int64), np.zeros((0, 4), np.int64), np.zeros((0, 16), np.uint8), None
)


def stub(what: str) -> tuple[str, ...]:
    return sys.executable, stub_rank.__file__, what


def start(folder: Path, what: str, devices: int = 2, meeting: Meeting | None = None) -> None:
    train_in_ranks(Run(folder), ImageStore(folder, lambda: NOTHING), [], devices, meeting, command=stub(what))


def living(folder: Path) -> list[int]:
    """The ranks that have not ended."""
    pids = [int(file.read_text(encoding="ascii")) for file in folder.glob("pid_*")]
    assert len(pids) == 2
    return [pid for pid in pids if is_alive(pid)]


def test_ranks_end_and_leave_no_folder(tmp_path: Path) -> None:
    start(tmp_path, "ends")
    assert {file.name for file in tmp_path.iterdir()} == {"rank_0_of_2", "rank_1_of_2"}


@pytest.mark.parametrize(
    ("what", "error", "words"),
    [
        ("fails", GenderClsError, "^data.batch_size=1 cannot be$"),
        ("memory", MemoryError, "no room for 8 images"),
        ("kill rank", GenderClsError, "rank 1 .*SIGKILL.*trainer.resume=true"),
        ("kill launcher", GenderClsError, "SIGKILL.*trainer.resume=true"),
        ("hangs", GenderClsError, "Rank 1 .*no sign of life.*trainer.resume=true"),
    ],
)
def test_when_one_ends_all_end_with_its_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str, error: type[Exception], words: str
) -> None:
    if what == "hangs":
        monkeypatch.setattr(launch, "PATIENCE", 1.0)  # a stopped process never ends by itself
    with pytest.raises(error, match=words):
        start(tmp_path, what)
    assert living(tmp_path) == []
    assert RanksFolder(Run(tmp_path)).folder.is_dir()  # with the logs


def test_a_signal_to_one_rank_is_told_and_not_the_connection_that_others_lose(tmp_path: Path) -> None:
    with pytest.raises(Stopped) as stopped:
        start(tmp_path, "stops")
    assert stopped.value.signal == signal.SIGUSR1


def test_the_first_signal_is_told_and_not_the_one_with_which_the_agent_ends_the_others(tmp_path: Path) -> None:
    folder = RanksFolder(Run(tmp_path))
    folder.begin()
    for number in (signal.SIGUSR1, signal.SIGTERM):
        with pytest.raises(Stopped), folder.telling_stops():
            raise Stopped(number)
    assert folder.stop == signal.SIGUSR1


@pytest.mark.parametrize(("failures", "told"), [([], signal.SIGTERM), ([Failure(0, "no room")], None)])
def test_the_signal_that_ends_a_rank_after_a_failure_is_no_reason(
    tmp_path: Path, failures: list[Failure], told: int | None
) -> None:
    folder = RanksFolder(Run(tmp_path))
    folder.begin()
    for failure in failures:
        folder.note_failure(failure)
    with pytest.raises(Stopped), folder.telling_stops():
        raise Stopped(signal.SIGTERM)
    assert folder.stop == told


def test_a_rank_is_silent_after_two_minutes_of_looks_without_a_touch(tmp_path: Path) -> None:
    touched, untouched = tmp_path / "rank_0.json", tmp_path / "rank_12.json"
    signs = SignsOfLife(tmp_path)
    assert signs.look() == []  # nobody is there yet
    untouched.touch()
    looks = round(SILENT / LOOK)
    found = []
    for moment in range(looks + 2):
        touched.touch()
        os.utime(touched, (moment, moment))
        found.append(signs.look())
    assert found == [[]] * (looks + 1) + [[12]]
    os.utime(untouched, (1, 1))
    assert signs.look() == []
    untouched.unlink()  # it has ended well
    assert signs.look() == []


def parent(folder: Path, number: int) -> None:
    """The work of a process that starts ranks, of which one sends it a signal."""
    with stopping_child_on_signals():
        try:
            start(folder, f"parent {os.getpid()} {number}")
        except Stopped as stop:
            (folder / f"stopped_{stop.signal}").touch()


def test_a_parent_that_is_asked_to_stop_lets_its_ranks_keep_their_work(tmp_path: Path) -> None:
    process = ChildProcess(target=parent, args=(tmp_path, int(signal.SIGTERM)))
    process.start()
    process.join()
    assert living(tmp_path) == []
    assert {"checkpoint_0", "checkpoint_1", "stopped_15"} <= {file.name for file in tmp_path.iterdir()}


def test_ranks_end_when_their_parent_is_killed(tmp_path: Path) -> None:
    process = ChildProcess(target=parent, args=(tmp_path, int(signal.SIGKILL)))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    for _ in range(100):  # 10 seconds
        if not living(tmp_path):
            break
        time.sleep(0.1)
    assert living(tmp_path) == []


def follower(folder: Path, output_dir: Path, what: str) -> None:
    meeting = Meeting(Node(2, 1, "job", "127.0.0.1"), str(output_dir))
    try:
        assert meeting.leaders_folder() == folder
        config = Config(model=ModelConfig(pretrained=False), trainer=TrainerConfig(accelerator="cpu"))
        follow(Run(folder), config, meeting, stub(what))
        end = "well"
    except GenderClsError as error:
        end = str(error)
    (folder / "followed").write_text(end, encoding="utf-8")


@pytest.mark.parametrize(("what", "end"), [("ends", "well"), ("kill rank", "rank 1 was killed by SIGKILL")])
def test_ranks_of_two_machines_end_together(tmp_path: Path, what: str, end: str) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    process = ChildProcess(target=follower, args=(folder, tmp_path, what))
    process.start()
    leader = Meeting(Node(2, 0, "job", "127.0.0.1"), str(tmp_path))
    leader.lead(folder)
    expected = contextlib.nullcontext() if end == "well" else pytest.raises(GenderClsError, match=end)
    with expected, leader.leading(folder.name):
        start(folder, what, devices=1, meeting=leader)
    process.join()
    assert end in (folder / "followed").read_text(encoding="utf-8")
    if end == "well":
        assert {"rank_0_of_2", "rank_1_of_2"} <= {file.name for file in folder.iterdir()}
    else:
        assert living(folder) == []


def test_another_machine_fetches_its_weights_once_before_its_ranks_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "gender_cls.models.published_weights.fetch_weights", Mock(side_effect=GenderClsError("no network"))
    )
    monkeypatch.setattr(launch, "_run_ranks", Mock(side_effect=AssertionError("it has no weights")))
    meeting = Mock(node=Node(2, 1, "job", "127.0.0.1"))
    meeting.next_endpoint.side_effect = ["127.0.0.1:1", None]
    meeting.has_moved_on.return_value = False
    follow(Run(tmp_path), Config(model=ModelConfig(name="test_vit")), meeting)
    assert [failure.error for failure in RanksFolder(Run(tmp_path)).failures] == ["On node 1: no network"]
