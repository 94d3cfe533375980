"""Child processes and signals: the child keeps its work, and then the parent stops as it would have without a child."""

import contextlib
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from multiprocessing.context import ForkProcess
from pathlib import Path
from typing import Any

import pytest

from gender_cls.system.processes import end_only_by_parent, is_alive, run_child
from gender_cls.system.signals import FROM_SCHEDULERS, Stopped, handling, holding_stops, stopping_child_on_signals

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are forked")


def works(file: Path) -> None:
    """Until a signal comes; then it keeps its work, which takes a moment."""
    try:
        with stopping_child_on_signals():
            file.with_suffix(".began").touch()
            time.sleep(30)
    except Stopped as stop:
        time.sleep(0.1)
        file.write_text(str(stop.signal))
        os._exit(128 + stop.signal)


def to_parent(child: int, number: int) -> None:
    os.kill(os.getpid(), number)


def to_child(child: int, number: int) -> None:
    os.kill(child, number)


def to_both(child: int, number: int) -> None:
    to_child(child, number)
    to_parent(child, number)


@contextlib.contextmanager
def sending(file: Path, process: ForkProcess, send: Callable[[int, int], None], number: int) -> Iterator[None]:
    """Send a signal when the child has begun."""

    def look(*_: object) -> None:
        if file.with_suffix(".began").exists():
            signal.setitimer(signal.ITIMER_REAL, 0)
            send(process.pid or 0, number)

    before = signal.signal(signal.SIGALRM, look)
    signal.setitimer(signal.ITIMER_REAL, 0.02, 0.02)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("send", [to_parent, to_child, to_both])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR2])
def test_a_signal_to_any_of_the_processes_has_the_same_end(tmp_path: Path, send, number: int) -> None:
    file, handled = tmp_path / "kept", []
    process = ForkProcess(target=works, args=(file,))

    def as_submitit(number: int, _: object) -> None:
        handled.append((number, file.read_text()))

    with handling(FROM_SCHEDULERS, as_submitit), sending(file, process, send, number):
        with pytest.raises(Stopped) as stopped:
            run_child(process)
        assert signal.getsignal(number) is as_submitit
    assert stopped.value.signal == number
    assert handled == [(number, str(int(number)))], "called once, after the child had kept its work"


def test_a_handler_of_the_parent_never_runs_in_the_child(tmp_path: Path) -> None:
    file = tmp_path / "kept"

    def parents(number: int, _: object) -> None:
        (tmp_path / f"{os.getpid()}").touch()

    class Process(ForkProcess):
        def start(self) -> None:
            super().start()
            os.kill(self.pid or 0, signal.SIGUSR2)  # while the child has not executed anything yet

    with handling(FROM_SCHEDULERS, parents), pytest.raises(Stopped):
        run_child(Process(target=works, args=(file,)))
    assert file.read_text() == str(int(signal.SIGUSR2))
    assert [child.name for child in tmp_path.iterdir() if child.name.isdigit()] == [str(os.getpid())]


@pytest.mark.parametrize("code", [0, 3])
def test_without_a_signal_the_exit_code_is_returned(code: int) -> None:
    assert run_child(ForkProcess(target=os._exit, args=(code,))) == code


def test_a_loader_process_ends_when_its_parent_says_so_and_not_on_a_signal_to_all() -> None:
    reader, writer = multiprocessing.Pipe()

    def load() -> None:
        end_only_by_parent()
        writer.send(signal.pthread_sigmask(signal.SIG_BLOCK, ()))
        time.sleep(30)

    process = ForkProcess(target=load)
    with holding_stops():
        process.start()
    assert reader.recv() == {signal.SIGTERM}
    for number in FROM_SCHEDULERS:
        sender = ForkProcess(target=os.kill, args=(process.pid, number))
        sender.start()
        sender.join()
    process.join(0.2)
    assert process.is_alive()
    process.terminate()
    process.join(5)
    assert process.exitcode == 0


def test_a_process_of_joblib_ends_with_the_one_that_started_it(tmp_path: Path) -> None:
    code = """if True:
        import os, time
        from pathlib import Path
        from joblib import Parallel, delayed
        from gender_cls.system.processes import end_with_parent

        def job(number):
            end_with_parent()
            Path(f"{os.getpid()}.began").touch()
            time.sleep(300)

        Parallel(2)(delayed(job)(number) for number in range(2))
    """
    with subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path, stderr=subprocess.DEVNULL) as command:
        workers = wait_until(lambda: len(found := [int(file.stem) for file in tmp_path.glob("*.began")]) == 2 and found)
        command.kill()
    wait_until(lambda: not any(map(is_alive, workers)))


def wait_until(ready: Callable[[], Any]) -> Any:
    until = time.monotonic() + 60
    while not (found := ready()) and time.monotonic() < until:
        time.sleep(0.05)
    assert found
    return found
