"""The folder `ranks` in a run's folder, through which the processes of a training on several devices know each other.

It exists while they work and after they have failed: what they need of the parent's data, who they are, and why one of
them ended. Imports no torch.
"""

import contextlib
import json
import os
import shutil
import signal
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from gender_cls.errors import error_sentence
from gender_cls.runs.files import read_json, write_atomically
from gender_cls.runs.heartbeat import BEAT, SILENT
from gender_cls.runs.run import Run
from gender_cls.system.memory import is_out_of_memory
from gender_cls.system.processes import beginning_of, is_alive, machine
from gender_cls.system.signals import stop_behind

LAUNCHER = "GENDER_CLS_LAUNCHER"  # environment variable: the number of the process that started a rank
LOOK = 0.5  # seconds between two looks at the other processes
GOES_ON = "trainer.resume=true goes on from the last checkpoint"


@dataclass(frozen=True)
class Failure:
    """Why a rank ended."""

    rank: int
    error: str  # a sentence
    out_of_memory: bool = False
    killed: bool = False  # by a signal that no process can handle, or silent
    traceback: str = ""

    @property
    def is_reason(self) -> bool:
        """Whether it does not follow from the end of another rank."""
        return self.out_of_memory or self.killed


class RanksFolder:
    """The folder's files."""

    def __init__(self, run: Run) -> None:
        self.folder = run.folder / "ranks"
        self.images = self.folder / "images.npz"
        self.launcher_log = self.folder / "launcher.log"
        self._stop = self.folder / "stop.json"

    def log(self, rank: int) -> Path:
        """What a rank logs, besides rank 0, and what libraries print there."""
        return self.folder / f"rank_{rank}.log"

    def begin(self) -> None:
        """Make it anew."""
        self.remove()
        self.folder.mkdir()

    def remove(self) -> None:
        """Remove it with all files."""
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def failures(self) -> list[Failure]:
        """Why ranks ended: the first one is the reason of the others, which lost a connection to it."""
        files = sorted(self.folder.glob("failure_*.json"), key=lambda file: file.stat().st_mtime_ns)
        failures = [Failure(**read_json(file)) for file in files]
        return sorted(failures, key=lambda failure: not failure.is_reason)

    @property
    def stop(self) -> int | None:
        """The signal that asked a rank to stop; None if there was none."""
        return read_json(self._stop).get("signal")

    def note_failure(self, failure: Failure) -> None:
        """Tell the other processes, which then end."""
        write_atomically(self.folder / f"failure_{failure.rank}.json", json.dumps(vars(failure), indent=2) + "\n")

    def living(self) -> list[int]:
        """The numbers of the ranks' processes on this machine that have not ended."""
        return [pid for pid, lives in self._here() if lives]

    def _here(self) -> list[tuple[int, bool]]:
        """The process of each rank on this machine that has not said that it ended, and whether it lives."""
        known = map(read_json, self.folder.glob("rank_*.json"))
        here = [process for process in known if process.get("host") == machine()]
        return [(one["pid"], is_alive(one["pid"]) and beginning_of(one["pid"]) == one["began"]) for one in here]

    @contextmanager
    def entered_by(self, rank: int) -> Iterator[None]:
        """Say that this process is a rank, note why it fails, and end it at once when others are gone."""
        file, pid = self.folder / f"rank_{rank}.json", os.getpid()
        write_atomically(file, json.dumps({"pid": pid, "host": machine(), "began": beginning_of(pid)}))
        threading.Thread(target=self._end_with_others, args=(rank,), daemon=True).start()
        try:
            yield
        except Exception as error:
            if stop_behind(error) is None:
                text = error_sentence(error)
                trace = traceback.format_exc()
                self.note_failure(Failure(rank, text, is_out_of_memory(error), traceback=trace))
            raise
        finally:
            file.unlink(missing_ok=True)

    @contextmanager
    def telling_stops(self) -> Iterator[None]:
        """Note a signal that ends this process first: the others lose the connection to it, or get SIGTERM."""
        try:
            yield
        except BaseException as error:
            stop = stop_behind(error)
            first = self.stop is None and not self.failures and all(lives for _, lives in self._here())
            if stop is not None and first:
                write_atomically(self._stop, json.dumps({"signal": getattr(stop, "signal", signal.SIGINT)}))
            raise

    def _end_with_others(self, rank: int) -> None:
        """End this process when the launcher or a rank has ended or is silent: what it waits for would never come."""
        launcher, others = int(os.environ[LAUNCHER]), SignsOfLife(self.folder)
        last = time.monotonic()
        while os.getppid() == launcher and self.folder.is_dir():
            if time.monotonic() - last >= BEAT:
                last = time.monotonic()
                with contextlib.suppress(OSError):
                    os.utime(self.folder / f"rank_{rank}.json")
            time.sleep(LOOK)
            if any(self.folder.glob("failure_*.json")) or not all(lives for _, lives in self._here()):
                break
            if silent := others.look():
                told = f"Rank {silent[0]} has given no sign of life for {SILENT:.0f} s"
                reason = f"{told}: its process was stopped, or its machine is gone. {GOES_ON}."
                self.note_failure(Failure(silent[0], reason, killed=True))
                break
        os._exit(1)


class SignsOfLife:
    """How long each rank has not touched its file, on this machine or another one.

    Looks are counted, not seconds: a scheduler may stop all ranks for hours, and then lets them go on.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._seen: dict[Path, tuple[int, int]] = {}  # the last touch of a file, and looks since then

    def look(self) -> list[int]:
        """The ranks that were silent in all looks of SILENT seconds; a rank that has ended well has no file."""
        seen = {}
        for file in self._folder.glob("rank_*.json"):
            with contextlib.suppress(OSError):
                touched = file.stat().st_mtime_ns
                before, looks = self._seen.get(file, (touched, -1))
                seen[file] = (touched, looks + 1 if touched == before else 0)
        self._seen = seen
        return [int(file.stem.removeprefix("rank_")) for file, (_, looks) in seen.items() if looks * LOOK > SILENT]
