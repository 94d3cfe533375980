"""Several devices: one process (a rank) for each, started by torch.distributed.run's agent on the folder of a run.

The process that has the run's folder starts one child, the launcher, in which the agent works. Nothing of the user's
command line is used again. When a rank ends badly, or the launcher or its parent is gone, all others end.
"""

import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import FrameType
from typing import NoReturn

from gender_cls.config.train import Config
from gender_cls.data.image_store import ImageStore
from gender_cls.errors import GenderClsError, one_line
from gender_cls.runs.nodes import Meeting
from gender_cls.runs.run import Run
from gender_cls.system.memory import count_oom_kills
from gender_cls.system.network import free_port, interface_to
from gender_cls.system.processes import ChildProcess, end_with_parent
from gender_cls.system.resources import choose_resources
from gender_cls.system.signals import STOPS, Stopped, handling, holding_stops, stopping_child_on_signals
from gender_cls.training.ranks_folder import GOES_ON, LAUNCHER, LOOK, Failure, RanksFolder

RANK = (sys.executable, "-m", "gender_cls.cli.rank")
"""The command of a rank, without the run's folder."""

GRACE = 600  # seconds that ranks have to write their checkpoint when they are asked to stop
LATE = 2.0  # seconds after which the failures on other machines can be read
PATIENCE = 5.0  # seconds that ranks and the launcher have to end by themselves when others have failed


@dataclass(frozen=True)
class Endpoint:
    """Where the ranks of all machines meet, and which machine this is."""

    where: str  # `address:port` of the first machine
    nodes: int = 1
    place: int = 0  # of this machine, from 0


def train_in_ranks(
    run: Run,
    images: ImageStore,
    paths: Sequence[str],
    devices: int,
    meeting: Meeting | None = None,
    command: Sequence[str] = RANK,
) -> None:
    """Let so many processes of each machine train the run from the beginning or from its last checkpoint to the end.

    Raises:
        RanksOutOfMemoryError: memory ran out in a rank; none is alive any longer.
        Stopped: they were asked to stop.
        GenderClsError: a rank failed, or it or the launcher was killed.
    """
    folder = RanksFolder(run)
    folder.begin()
    images.save(paths, folder.images)
    if meeting is None:
        endpoint = Endpoint(f"127.0.0.1:{free_port()}")
    else:
        endpoint = Endpoint(f"{meeting.node.address}:{free_port()}", meeting.node.number)
        meeting.announce(run.folder.name, endpoint.where)
    _run_ranks(run, devices, endpoint, command)
    folder.remove()


def follow(run: Run, config: Config, meeting: Meeting, command: Sequence[str] = RANK) -> None:
    """Start the ranks of this machine whenever the first one starts its own, until that has ended the run.

    Raises:
        GenderClsError: the run has failed there.
    """
    folder, node, trainer = RanksFolder(run), meeting.node, config.trainer
    where: str | None = None
    while (where := meeting.next_endpoint(run.folder.name, where)) is not None:
        try:
            if config.model.downloads and not run.has_weights:  # this machine may have a cache of its own
                from gender_cls.models.published_weights import fetch_weights

                fetch_weights([config.model])
            devices = choose_resources(
                trainer.accelerator, trainer.precision, 1, 0, pixels_at_hand=True, devices=trainer.devices
            ).devices
            endpoint = Endpoint(where, node.number, node.place)
            _run_ranks(run, devices, endpoint, command, partial(meeting.has_moved_on, run.folder.name, where))
        except RanksOutOfMemoryError:
            continue  # the first machine begins again, or ends
        except GenderClsError as error:
            if not folder.failures and not meeting.has_moved_on(run.folder.name, where):
                # Below 0, because it is the number of no rank.
                folder.note_failure(Failure(-node.place, f"On node {node.place}: {error}", killed=True))


def _run_ranks(
    run: Run, devices: int, endpoint: Endpoint, command: Sequence[str], is_over: Callable[[], bool] = lambda: False
) -> None:
    """Start the ranks of this machine and wait for their end, or until it is over; for errors see `train_in_ranks`."""
    folder = RanksFolder(run)
    before = count_oom_kills()
    reader, writer = Pipe(duplex=False)
    launcher = ChildProcess(target=_launch, args=(run, devices, endpoint, command, writer), name="launcher of ranks")
    with holding_stops():
        launcher.start()
    writer.close()
    _wait(launcher, folder, is_over)
    ended: dict[int, int] = {}
    with contextlib.suppress(EOFError):  # it had nothing to tell, or was killed
        ended = reader.recv()
    if launcher.exitcode == 0:
        return
    for rank, code in ended.items() if not is_over() else ():
        if code < 0 and -code != signal.SIGTERM:  # with which the agent ends the others
            folder.note_failure(_killed(rank, -code, memory_ran_out=count_oom_kills() > before))
    if endpoint.nodes > 1:
        time.sleep(LATE)
    _raise(folder, ended, launcher.exitcode or 0)


def _wait(launcher: BaseProcess, folder: RanksFolder, is_over: Callable[[], bool]) -> None:
    """Wait for the launcher and its ranks; when this process is asked to stop, they are, and may write a checkpoint."""
    over: float | None = None
    try:
        while launcher.is_alive() and (over is None or time.monotonic() < over):
            launcher.join(LOOK)
            if over is None and (folder.failures or is_over()):
                over = time.monotonic() + PATIENCE
    except BaseException as stop:  # of any kind: nothing may go on without this process
        if launcher.pid is not None and launcher.is_alive():
            os.kill(launcher.pid, getattr(stop, "signal", signal.SIGTERM))
        launcher.join(GRACE)
        raise
    finally:
        launcher.kill()
        launcher.join()
        _end_the_rest(folder)


def _end_the_rest(folder: RanksFolder) -> None:
    """Wait for ranks whose launcher has ended, which they see themselves; then kill those that have not."""
    for kill in (False, True):
        patience = time.monotonic() + PATIENCE
        for pid in folder.living() if kill else ():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        while folder.living() and time.monotonic() < patience:
            time.sleep(0.1)


class RanksOutOfMemoryError(GenderClsError, MemoryError):
    """Memory ran out in a rank."""


class _RankTraceback(Exception):
    """Shows the traceback of another process as the cause of an error."""

    def __str__(self) -> str:
        return f"\n{self.args[0]}"


def _killed(rank: int, number: int, *, memory_ran_out: bool) -> Failure:
    name = signal.Signals(number).name
    if number == signal.SIGKILL and memory_ran_out:
        return Failure(rank, f"the kernel killed the process of rank {rank}", out_of_memory=True)
    cause, hint = "", ""
    if number == signal.SIGKILL:
        cause = ", perhaps because memory ran out"
        hint = " (less memory is needed with half the data.batch_size and twice the trainer.accumulate)"
    return Failure(rank, f"The process of rank {rank} was killed by {name}{cause}: {GOES_ON}{hint}.", killed=True)


def _raise(folder: RanksFolder, ended: dict[int, int], exit_code: int) -> NoReturn:
    """Raise what ended the training.

    Args:
        ended: the exit codes of ranks, below 0 for a signal, as the launcher told; empty if it could not tell.
        exit_code: of the launcher.
    """
    failures, stop = folder.failures, folder.stop
    if failures and (stop is None or failures[0].is_reason):
        first = failures[0]
        error = RanksOutOfMemoryError if first.out_of_memory else GenderClsError
        raise error(first.error) from _RankTraceback(first.traceback)
    for number in (stop, *(code - 128 for code in (*ended.values(), exit_code))):
        if number in STOPS:
            raise Stopped(number)
    if exit_code < 0:
        name = signal.Signals(-exit_code).name
        raise GenderClsError(f"The process that started the ranks was killed by {name}: {GOES_ON}.")
    rank = next(iter(ended), None)
    file = folder.launcher_log if rank is None else folder.log(rank)
    who = "The launcher of the ranks" if rank is None else f"Rank {rank}"
    lines = file.read_text(encoding="utf-8", errors="replace").split("\n") if file.is_file() else []
    last = next((one_line(line) for line in reversed(lines) if line.strip()), "it left no message")
    raise GenderClsError(f"{who} ended too early: {last} ({file}). {GOES_ON}.")


def _launch(run: Run, devices: int, endpoint: Endpoint, command: Sequence[str], ended: Connection) -> None:
    """The work of the launcher: start the ranks, watch them, and tell their exit codes if one is not 0."""
    try:
        with stopping_child_on_signals():
            end_with_parent()
            _write_errors_to(RanksFolder(run).launcher_log)
            _watch(devices, endpoint, [*command, str(run.folder)], ended)
    except KeyboardInterrupt as stop:
        sys.exit(128 + getattr(stop, "signal", signal.SIGINT))


def _watch(devices: int, endpoint: Endpoint, command: Sequence[str], ended: Connection) -> None:
    """Run torch's agent until all ranks have ended."""
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    asked: list[int] = []

    def pass_on(number: int, _: FrameType | None) -> None:
        """Let the agent pass a signal on to the ranks; a second one would stop it from waiting for them."""
        if not asked:
            asked.append(number)
            raise SignalException("asked to stop", signal.Signals(number))

    os.environ[LAUNCHER] = str(os.getpid())
    if (interface := interface_to(endpoint.where.rpartition(":")[0])) is not None:
        os.environ.setdefault("GLOO_SOCKET_IFNAME", interface)  # without it, gloo looks up the name of the host
    config = LaunchConfig(
        min_nodes=endpoint.nodes,
        max_nodes=endpoint.nodes,
        nproc_per_node=devices,
        run_id="ranks",
        rdzv_backend="static",
        rdzv_endpoint=endpoint.where,
        rdzv_configs={"rank": endpoint.place},
        max_restarts=0,
        logs_specs=DefaultLogsSpecs(log_dir=os.devnull),
        signals_to_handle="SIGQUIT",  # of the others `pass_on` takes care
        shutdown_timeout=GRACE,
    )
    try:
        with handling(STOPS, pass_on):
            elastic_launch(config, command[0])(*command[1:])
    except ChildFailedError as error:
        ended.send({rank: failure.exitcode for rank, failure in error.failures.items()})
        sys.exit(1)
    except SignalException:
        raise Stopped(asked[0]) from None


def _write_errors_to(file: Path) -> None:
    """Let everything that this process and its ranks write to stderr go to a file."""
    with file.open("ab", buffering=0) as opened:
        os.dup2(opened.fileno(), 2)
