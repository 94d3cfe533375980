"""Times are measured by one process at a time, and what others compute meanwhile is told."""

import subprocess
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from gender_cls.system import quiet
from gender_cls.system.processes import fork_context
from gender_cls.system.quiet import Meanwhile, measuring_alone, others_on_gpu


def test_one_process_measures_at_a_time_and_a_killed_one_blocks_nobody(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(quiet, "_NAME", f"\0{tmp_path}"[:100])  # tests may run next to other measurements
    context = fork_context()
    if context is None:
        pytest.skip("only Linux has names that end with their process")
    inside, out = context.Event(), context.Event()

    def measure() -> None:
        with measuring_alone():
            inside.set()
            out.wait(60)

    process = context.Process(target=measure)
    process.start()
    assert inside.wait(60)
    waited: list[float] = []
    with monkeypatch.context() as patch:
        patch.setattr(quiet.time, "sleep", lambda seconds: waited.append(seconds) or process.kill() or process.join())
        with measuring_alone():
            assert waited
            patch.setattr(quiet, "PATIENCE", 0.0)
            with measuring_alone():  # not for ever
                pass


def counters(monkeypatch: pytest.MonkeyPatch, own: list[float], busy: list[str]) -> None:
    """Two CPUs of three; the machine's clock, this process's seconds, and `/proc/stat`, before and after."""
    readings = iter(zip([0.0, 2.0], own, busy, strict=True))
    monkeypatch.setattr(quiet, "_cpus", lambda: {0, 2})
    monkeypatch.setattr(quiet.os, "sysconf", lambda _: 100)

    def now() -> tuple:
        seconds, mine, text = next(readings)
        monkeypatch.setattr(quiet, "Path", lambda _: SimpleNamespace(read_text=lambda encoding: text))
        return seconds, quiet._busy_seconds(), mine

    monkeypatch.setattr(Meanwhile, "_now", staticmethod(now))


BEFORE = """cpu  1 1 1 1 1 1 1 1 0 0
cpu0 100 10 10 5000 7000 1 2 3 0 0
cpu1 100 10 10 5000 7000 1 2 3 0 0
cpu2 500 0 0 0 0 0 0 0 0 0
"""


# 200 ticks of user, 20 stolen by other machines and 80 of user: 3 s in 2 s, of which 1.6 s are this process's.
MUCH = "cpu0 300 10 10 9000 9000 1 2 23 0 0\ncpu1 9999 0 0 0 0 0 0 0 0 0\ncpu2 580 0 0 0 0 0 0 0 0 0"
LITTLE = "cpu0 270 10 10 9000 9000 1 2 3 0 0\ncpu2 500 0 0 0 0 0 0 0 0 0"  # 1.7 s


@pytest.mark.parametrize(
    ("after", "found", "words"),
    [(MUCH, 0.7, "0.7 of 2 CPUs"), (LITTLE, 0.05, None), ("", None, None)],
    ids=["much", "little", "another system"],
)
def test_what_others_compute_is_all_that_is_computed_less_the_own(monkeypatch, after, found, words) -> None:
    counters(monkeypatch, [0.0, 1.6], [BEFORE, after])
    assert Meanwhile().busy() == (None if found is None else pytest.approx(found))
    counters(monkeypatch, [0.0, 1.6], [BEFORE, after])
    told = Meanwhile().disturbed()
    assert told is None if words is None else words in (told or "")


def test_this_machine_counts_what_this_process_computes() -> None:
    before = quiet._busy_seconds()
    end = time.process_time() + 0.2
    while time.process_time() < end:
        pass
    after = quiet._busy_seconds()
    if before is None or after is None or after == before:
        pytest.skip("this system does not count what is computed")
    assert after - before >= 0.15  # in hundredths of a second


def test_other_processes_on_the_gpu_are_counted(monkeypatch) -> None:
    listed = "GPU-aa\nGPU-bb\nGPU-aa\nGPU-aa\n"
    monkeypatch.setattr(quiet.subprocess, "run", lambda *_, **__: SimpleNamespace(stdout=listed))
    assert "2 other processes" in (others_on_gpu("aa") or "")
    assert others_on_gpu("bb") is None

    def fail(*_: object, **__: object) -> None:
        raise subprocess.TimeoutExpired("nvidia-smi", 10)

    monkeypatch.setattr(quiet.subprocess, "run", fail)
    assert others_on_gpu("aa") is None
