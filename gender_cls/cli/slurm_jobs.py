"""What Slurm says about jobs, and how a job that it preempts is queued again."""

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator

from gender_cls.system.signals import Stopped

_ENDED = {
    "BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "REVOKED", "TIMEOUT",
}  # fmt: skip
"""States of a job that will not run again; submitit waits in all states but a few."""

INTERVAL = 60  # seconds at most between two calls of squeue, which forgets a job some minutes after its end


@contextlib.contextmanager
def queued_again_when_preempted() -> Iterator[None]:
    """In a job that submitit runs in Slurm: if a stop ends the work inside, but not Slurm the job, queue it again.

    Submitit does so on SIGUSR2 only. When Slurm preempts a job in a partition with a GraceTime, it sends SIGTERM, and
    queues the job again only if that lives until the GraceTime is over. After scancel or a requeue, Slurm no longer
    calls the job running.
    """
    try:
        yield
    except Stopped:
        if os.environ.get("SUBMITIT_EXECUTOR") == "slurm" and _state(os.environ["SLURM_JOB_ID"]) == "RUNNING":
            handler = signal.getsignal(signal.SIGUSR2)
            assert callable(handler), "submitit sets it"
            handler(signal.SIGUSR2, None)
        raise


def _state(job: str) -> str:
    asked = subprocess.run(["squeue", "--noheader", f"--jobs={job}", "--format=%T"], capture_output=True, text=True)
    return asked.stdout.strip()


def ask_squeue_without_accounts() -> None:
    """Let submitit ask squeue about its jobs where Slurm keeps no accounts, which sacct would need.

    Otherwise the command would wait forever for a job that Slurm has ended.
    """
    with contextlib.suppress(FileNotFoundError):
        if subprocess.run(["sacct", "--noheader"], capture_output=True).returncode == 0:
            return
    from submitit.slurm.slurm import SlurmInfoWatcher, SlurmJob

    class Queue(SlurmInfoWatcher):
        def _make_command(self) -> list[str] | None:
            return ["squeue", "--me", "--states=all", "--array", "--noheader", "--format=%i|%T"]

        def read_info(self, string: bytes | str) -> dict[str, dict[str, str]]:
            text = string.decode() if isinstance(string, bytes) else string
            states = dict(line.strip().split("|") for line in text.splitlines())
            ended = {job: states.get(job, "COMPLETED") in _ENDED for job in self._registered}
            return {job: {"State": "COMPLETED" if ended[job] else "RUNNING"} for job in ended}

    SlurmJob.watcher = Queue(delay_s=INTERVAL)
