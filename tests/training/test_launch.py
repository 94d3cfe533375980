"""The parent of ranks, and how all of them end together; the ranks are stubs that import no torch."""

import os
import signal
import sys
import time
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from helpers import stub_rank

from gender_cls.data.image_store import ImageStore, Scanned
from gender_cls.errors import GenderClsError
from gender_cls.runs.run import Run
from gender_cls.system.processes import is_alive
from gender_cls.system.signals import Stopped, stopping_on_signals
from gender_cls.training.launch import train_in_ranks
from gender_cls.training.ranks_folder import RanksFolder

NOTHING = Scanned(
    pd.Index([]), np.zeros((0, 3), np.int64), np.zeros((0, 4), np.int64), np.zeros((0, 16), np.uint8), None
)


def start(folder: Path, what: str) -> None:
    images = ImageStore(folder, lambda: NOTHING)
    train_in_ranks(Run(folder), images, [], 2, command=(sys.executable, stub_rank.__file__, what))


def living(folder: Path) -> list[int]:
    """Ranks that have not ended; a process that nobody waits for keeps its number."""
    pids = [int(file.read_text(encoding="ascii")) for file in folder.glob("pid_*")]
    return [pid for pid in pids if is_alive(pid) and "Z" not in Path(f"/proc/{pid}/stat").read_text().split()[2]]


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
    ],
)
def test_when_one_ends_all_end_with_its_reason(tmp_path: Path, what: str, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        start(tmp_path, what)
    assert not living(tmp_path) and not [*tmp_path.glob("survived_*")]
    assert RanksFolder(Run(tmp_path)).folder.is_dir()  # with the logs
