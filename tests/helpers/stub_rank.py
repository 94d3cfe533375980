"""A rank that learns nothing: `python stub_rank.py WHAT RUN_FOLDER`. Imports no torch."""

import os
import signal
import sys
import time
from pathlib import Path

from gender_cls.errors import GenderClsError
from gender_cls.runs.run import Run
from gender_cls.system.signals import Stopped
from gender_cls.training import ranks_folder
from gender_cls.training.ranks_folder import RanksFolder


def work(what: str, run: Run, rank: int) -> None:
    """Do what the test asks of rank 1; rank 0 waits, as in a step that cannot end without rank 1."""
    if what == "ends":
        (run.folder / f"rank_{rank}_of_{os.environ['WORLD_SIZE']}").touch()
        return
    (run.folder / f"pid_{rank}").write_text(str(os.getpid()), encoding="ascii")
    while len([*run.folder.glob("pid_*")]) < 2:
        time.sleep(0.05)
    if what == "stops":
        folder = RanksFolder(run)
        while rank == 0 and folder.stop is None:
            time.sleep(0.05)
        with folder.telling_stops():
            raise Stopped(signal.SIGUSR1) if rank == 1 else ConnectionError("closed by peer")
    if rank == 1:
        if what == "fails":
            raise GenderClsError("data.batch_size=1 cannot be")
        if what == "memory":
            raise MemoryError("no room for 8 images")
        if what == "hangs":
            os.kill(os.getpid(), signal.SIGSTOP)
        if what.startswith("kill "):
            os.kill({"rank": os.getpid(), "launcher": os.getppid()}[what.split()[1]], signal.SIGKILL)
        if what.startswith("parent "):
            os.kill(int(what.split()[1]), int(what.split()[2]))
    if what.endswith(f" {signal.SIGTERM.value}"):
        signal.sigwait({signal.SIGTERM})
        (run.folder / f"checkpoint_{rank}").touch()
        sys.exit(128 + signal.SIGTERM)
    time.sleep(600)


if __name__ == "__main__":
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    run, rank = Run(Path(sys.argv[2])), int(os.environ["RANK"])
    if sys.argv[1] == "hangs":
        ranks_folder.BEAT, ranks_folder.SILENT = 0.1, 5.0
    with RanksFolder(run).entered_by(rank):
        work(sys.argv[1], run, rank)
