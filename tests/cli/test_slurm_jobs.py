"""What Slurm's programs say about jobs, as programs that stand for them say it."""

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from submitit.slurm.slurm import SlurmJob

from gender_cls.cli.slurm_jobs import ask_squeue_without_accounts, queued_again_when_preempted
from gender_cls.system.signals import Stopped

Say = Callable[[str, str], None]


@pytest.fixture
def say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Say:
    """Lets a program of Slurm end with a line of shell, in place of one that may be installed."""
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)

    def program(name: str, shell: str) -> None:
        file = tmp_path / name
        file.write_text(f"#!/bin/sh\n{shell}\n", encoding="utf-8")
        file.chmod(0o755)

    return program


@pytest.mark.parametrize(
    ("executor", "state", "number", "again"),
    [
        ("slurm", "RUNNING", signal.SIGTERM, True),
        ("slurm", "RUNNING", signal.SIGUSR1, True),
        ("slurm", "COMPLETING", signal.SIGTERM, False),  # after scancel, or scontrol requeue
        ("slurm", "", signal.SIGTERM, False),  # Slurm does not answer
        ("local", "RUNNING", signal.SIGTERM, False),
    ],
)
def test_a_stopped_job_is_queued_again_if_slurm_still_runs_it(
    say: Say, monkeypatch: pytest.MonkeyPatch, executor: str, state: str, number: int, again: bool
) -> None:
    monkeypatch.setenv("SUBMITIT_EXECUTOR", executor)
    monkeypatch.setenv("SLURM_JOB_ID", "78")
    say("squeue", f'case "$*" in *--jobs=78*) echo {state} ;; esac')
    queued: list[int] = []
    before = signal.signal(signal.SIGUSR2, lambda number, _: queued.append(number))
    try:
        with pytest.raises(Stopped), queued_again_when_preempted():
            raise Stopped(number)
    finally:
        signal.signal(signal.SIGUSR2, before)
    assert queued == [signal.SIGUSR2] * again


def test_without_accounts_squeue_tells_which_jobs_have_ended(
    say: Say, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SlurmJob, "watcher", SlurmJob.watcher)  # undone at the end
    with_accounts = SlurmJob.watcher
    say("sacct", "exit 0")
    ask_squeue_without_accounts()
    assert SlurmJob.watcher is with_accounts
    say("sacct", "exit 1")
    states = {
        "5_0": "RUNNING", "5_1": "CONFIGURING", "5_2": "PREEMPTED", "5_3": "CANCELLED", "5_4": "TIMEOUT",
        "6": "PENDING",
    }  # fmt: skip
    (tmp_path / "answer").write_text("".join(f"{job}|{state}\n" for job, state in states.items()), encoding="utf-8")
    say("squeue", f"cat {tmp_path / 'answer'}")
    ask_squeue_without_accounts()
    jobs = {number: SlurmJob[object](tmp_path / "%j", number) for number in [*states, "4"]}  # 4: squeue forgot it
    assert [number for number, job in jobs.items() if job.done(force_check=True)] == ["5_3", "5_4", "4"]
    say("squeue", "exit 1")
    assert not SlurmJob[object](tmp_path / "%j", "7").done(force_check=True)
