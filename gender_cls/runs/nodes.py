"""Several machines (nodes) that train one run: which one this is, and how they find each other on the shared disk.

The same command starts once on each node. Node 0 leads: it claims the folder and does all that is done once. The others
follow: they only start ranks. In `OUTPUT_DIR/.nodes/JOB` each follower leaves a random word, and the leader repeats the
words, so that nobody takes the files of an earlier job for those of this one; clocks are not compared.
"""

import atexit
import contextlib
import json
import logging
import os
import re
import secrets
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from gender_cls.errors import GenderClsError, error_sentence, plural, require
from gender_cls.runs.files import read_json, write_atomically

log = logging.getLogger(__name__)

BEAT = 2.0  # seconds between two signs of life of the leader
SILENCE = 60.0  # seconds without one, after which it is gone; a shared disk shows files late
LOOK = 0.5  # seconds between two looks at a file

Found = TypeVar("Found")


@dataclass(frozen=True)
class Node:
    """This machine among those that train together."""

    number: int  # of machines
    place: int  # of this one, from 0
    job: str  # the same on all of them, and of no other job that runs
    address: str  # of this machine for the others; they use that of node 0

    @property
    def leads(self) -> bool:
        """Whether this is the machine that does what is done once."""
        return self.place == 0


def find_node(number: int, environment: Mapping[str, str] = os.environ) -> Node | None:
    """Which of so many machines this is, as Slurm's srun or torchrun says; None for one machine alone.

    Raises:
        GenderClsError: the command was not started once on each of them.
    """
    torchrun, slurm = "TORCHELASTIC_RUN_ID" in environment, "SLURM_STEP_ID" in environment
    if torchrun:
        found, place, tasks = (int(environment[name]) for name in ("GROUP_WORLD_SIZE", "GROUP_RANK", "WORLD_SIZE"))
        parts = [environment[name] for name in ("TORCHELASTIC_RUN_ID", "MASTER_PORT", "TORCHELASTIC_RESTART_COUNT")]
        address = environment["MASTER_ADDR"]
    elif slurm and number > 1:
        found, place, tasks = (
            int(environment[name]) for name in ("SLURM_STEP_NUM_NODES", "SLURM_NODEID", "SLURM_STEP_NUM_TASKS")
        )
        parts = [environment[name] for name in ("SLURM_JOB_ID", "SLURM_STEP_ID")]
        parts.append(environment.get("SLURM_RESTART_COUNT", "0"))
        address = socket.gethostname()
    else:
        require(number == 1, f"trainer.num_nodes={number}: start the same command once on each machine, {_HOW}")
        return None
    started = f"{'torchrun' if torchrun else 'srun'} started {plural(tasks, 'process', 'processes')} on "
    require(
        found == tasks == number,
        f"trainer.num_nodes={number}, but {started}{plural(found, 'machine')}: start one process on each machine, "
        f"which starts one more for each of its devices, {_HOW}",
    )
    if number == 1:
        return None
    kind = "torchrun" if torchrun else "slurm"
    return Node(number, place, re.sub(r"[^\w.-]", "-", "_".join([kind, *parts])), address)


_HOW = (
    "by srun --nodes=N --ntasks-per-node=1 python -m gender_cls.train ... or torchrun --nnodes=N --nproc-per-node=1 "
    "--rdzv-backend=c10d --rdzv-endpoint=HOST:29500 -m gender_cls.train ..., with trainer.num_nodes=N."
)


class Meeting:
    """The files through which node 0 tells the others what to do, and they tell it that they are there."""

    def __init__(self, node: Node, output_dir: str) -> None:
        self.node = node
        self.folder = Path(output_dir) / ".nodes" / node.job
        self._word = secrets.token_hex(8)
        self._beats = self._heard = 0
        self._heard_at = time.monotonic()
        self._led: Path | None = None

    def lead(self, folder: Path) -> None:
        """From now on, tell the others in which folder the command works, and that this process lives.

        A later call changes nothing: the folder of a sweep's job lies in the folder of the sweep.
        """
        if self._led is not None:
            return
        self._led = folder
        self.folder.mkdir(parents=True, exist_ok=True)
        for file in self.folder.glob("run_*.json"):  # of an earlier job with the same name
            file.unlink()
        threading.Thread(target=self._beat, daemon=True, name="sign of life for other nodes").start()
        atexit.register(self._remove)

    def _beat(self) -> None:
        while True:
            words = {file.stem: read_json(file).get("word") for file in self.folder.glob("node_*.json")}
            self._beats += 1
            about = {"folder": str(self._led), "beats": self._beats, "words": words}
            with contextlib.suppress(OSError, GenderClsError):  # a disk that is full or away now may be there again
                self._write("leader", about)
            time.sleep(BEAT)

    def _remove(self) -> None:
        """Remove the files when the others have ended, or after a while."""
        patience = time.monotonic() + 10 * LOOK
        while any(self.folder.glob("node_*.json")) and time.monotonic() < patience:
            time.sleep(LOOK)
        shutil.rmtree(self.folder, ignore_errors=True)

    def announce(self, run: str, endpoint: str) -> None:
        """Let the others start their ranks of a run, which meet at this `address:port`, another one in each attempt."""
        self._write(f"run_{run}.begin", {"endpoint": endpoint})

    @contextlib.contextmanager
    def leading(self, run: str) -> Iterator[None]:
        """Tell the others how the work on a run ends: they end in the same way."""
        error: str | None = "Node 0 was asked to stop: trainer.resume=true goes on from the last checkpoint."
        try:
            yield
            error = None
        except Exception as raised:
            error = error_sentence(raised)
            raise
        finally:
            self._write(f"run_{run}.end", {"error": error})

    def leaders_folder(self) -> Path:
        """The folder that node 0 works in; it waits until node 0 has chosen one."""
        mine = self.folder / f"node_{self.node.place}.json"
        if read_json(mine).get("word") != self._word:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._write(mine.stem, {"word": self._word})
            atexit.register(mine.unlink, missing_ok=True)
            log.info(f"Node {self.node.place} of {self.node.number} follows node 0.")
        return Path(self._until(lambda: self._of_leader().get("folder"), waits_for_start=True))

    def next_endpoint(self, run: str, last: str | None) -> str | None:
        """Where the ranks of a run meet, another place than the last; None when node 0 has ended the run.

        Raises:
            GenderClsError: the run has failed on node 0, or node 0 is gone.
        """

        def look() -> dict[str, Any] | None:
            begun = read_json(self.folder / f"run_{run}.begin.json")
            return read_json(self.folder / f"run_{run}.end.json") or (begun if begun.get("endpoint") != last else None)

        found = self._until(look)
        if found.get("error") is not None:
            raise GenderClsError(found["error"])
        return found.get("endpoint")

    def _until(self, look: Callable[[], Found | None], waits_for_start: bool = False) -> Found:
        """What `look` finds, as soon as it finds something; GenderClsError if node 0 is silent meanwhile."""
        self._heard_at = time.monotonic()
        while (found := look()) is None:
            if (beats := self._of_leader().get("beats", 0)) != self._heard:
                self._heard, self._heard_at = beats, time.monotonic()
            silent = time.monotonic() - self._heard_at > SILENCE and not (waits_for_start and self._heard == 0)
            require(
                not silent,
                f"Node 0 has given no sign of life for {SILENCE:.0f} s: its process was killed, "
                f"or {self.folder} is another folder there. trainer.resume=true goes on from the last checkpoint.",
            )
            time.sleep(LOOK)
        return found

    def _of_leader(self) -> dict[str, Any]:
        """What node 0 last said; nothing as long as it has not read this node's word."""
        said = read_json(self.folder / "leader.json")
        heard = said.get("words", {}).get(f"node_{self.node.place}") == self._word
        return said if heard else {}

    def _write(self, name: str, content: dict[str, Any]) -> None:
        write_atomically(self.folder / f"{name}.json", json.dumps(content) + "\n")

    def has_moved_on(self, run: str, endpoint: str) -> bool:
        """Whether node 0 has ended the run, or the attempt in which ranks meet there."""
        begun = read_json(self.folder / f"run_{run}.begin.json").get("endpoint")
        return begun != endpoint or (self.folder / f"run_{run}.end.json").exists()


_meeting: Meeting | None = None


def meet(number: int, output_dir: str) -> Meeting | None:
    """The meeting of this process's node with the others; None for one machine. See `find_node` for errors."""
    global _meeting
    node = find_node(number)
    if node is None:
        return None
    if _meeting is None or _meeting.node != node:
        _meeting = Meeting(node, output_dir)
    return _meeting


def follows() -> bool:
    """Whether this process follows another node that it has met."""
    return _meeting is not None and not _meeting.node.leads
