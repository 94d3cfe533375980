"""What a sweep's command does while a launcher runs the jobs elsewhere: it says how they go, and waits for all."""

import contextlib
import logging
import os
import signal
import threading
import time
from collections.abc import Iterable, Iterator
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

from gender_cls.cli.slurm_jobs import ask_squeue_without_accounts
from gender_cls.cli.sweep import end_of
from gender_cls.config.launcher import LauncherConfig, RayConfig, SlurmConfig, SlurmLocalConfig
from gender_cls.errors import GenderClsError, first_few, one_line
from gender_cls.runs.run import TRIALS, Run
from gender_cls.system.terminal import shortest

log = logging.getLogger(__name__)

SUBMITTED = ".submitit"
"""In a sweep's folder, as conf/launcher has it: a folder for each job of submitit, with its number as the name."""

LOOK = 3.0  # seconds between two looks at the jobs
PATIENCE = 60.0  # seconds for jobs on this machine to write what they have after a stop


@contextlib.contextmanager
def following_jobs(sweep: Path, launcher: LauncherConfig) -> Iterator[None]:
    """Log how the jobs of a sweep begin and end, as long as the work inside waits for them.

    Raises:
        GenderClsError: a job was lost with the process or the machine that it ran on; the others have ended too.
    """
    by_submitit = isinstance(launcher, SlurmConfig | SlurmLocalConfig)
    printed = f" What it prints before is in {shortest(sweep / SUBMITTED)}." if by_submitit else ""
    log.info(f"Each job writes its messages into train.log in its folder.{printed}")
    if by_submitit:
        import submitit

        submitit.core.logger.get_logger().setLevel(logging.ERROR)  # it warns each time that Slurm does not answer
    if isinstance(launcher, SlurmConfig):
        ask_squeue_without_accounts()
    earlier, over = _submitted(sweep), threading.Event()
    follower = threading.Thread(target=_follow, args=(sweep, launcher, earlier, over), daemon=True)
    follower.start()
    try:
        yield
    except KeyboardInterrupt:
        if by_submitit:
            _stop(launcher, _submitted(sweep) - earlier)
        raise
    except BrokenProcessPool:
        raise GenderClsError(
            "A process of joblib was killed, and the jobs that ran or waited ended with it: the same command with "
            "trainer.resume=true goes on."
        ) from None
    except Exception as error:
        kind = type(error).__name__  # of submitit, which need not be installed
        if kind == "FailedJobError" and str(error).startswith("sbatch: "):
            raise GenderClsError(f"Slurm refused the jobs: {one_line(str(error).splitlines()[0])}.") from None
        if isinstance(launcher, RayConfig) and launcher.address and not _ray_answers():
            raise GenderClsError(
                f"No Ray cluster answers at launcher.address={launcher.address} ({one_line(error)}): start one with "
                "ray start --head, or leave the key out to have one on this machine."
            ) from None
        if kind != "UncompletedJobError":  # submitit raises it as soon as it has lost one job
            raise
        lost = _wait_for_all(sweep, launcher, _submitted(sweep) - earlier)
        why = f"{first_few(lost)} ended without a result, as if killed: {sweep / SUBMITTED} has what was printed."
        if not lost and isinstance(launcher, SlurmConfig | SlurmLocalConfig):
            why = f"A job reached its time limit, launcher.minutes={launcher.minutes}, and may not be queued once more."
        raise GenderClsError(f"{why} The same command with trainer.resume=true goes on.") from None
    finally:
        over.set()
        follower.join()


def _follow(sweep: Path, launcher: LauncherConfig, earlier: set[str], over: threading.Event) -> None:
    """Log each change of a job's state until `over` is set, and what has changed by then.

    Args:
        earlier: the numbers of jobs that were submitted before.
    """
    named = _arrays(earlier)
    told = {run.folder: run.status.get("state") for run in _runs(sweep)}
    last_look = counted = False
    while not last_look:
        last_look = over.wait(LOOK)
        if isinstance(launcher, SlurmConfig) and (new := _arrays(_submitted(sweep)) - named):
            named |= new
            number = ",".join(sorted(new))
            log.info(f"Slurm has queued job {number}: squeue -j {number} shows what it waits for.")
        if isinstance(launcher, RayConfig) and not counted and _ray_answers():
            counted = True
            _warn_of_jobs_that_wait_forever(launcher)
        for run in _runs(sweep):
            state = run.status.get("state")
            if state == told.get(run.folder):
                continue
            told[run.folder] = state
            if state == "finished":
                log.info(end_of(run))
            elif state == "failed":
                log.error(f"{run.folder.name} failed: {run.status.get('error')}")
            else:
                log.info(f"{run.folder.name}: {state} on {run.status.get('host')}")


def _ray_answers() -> bool:
    """Whether this process is connected to a Ray cluster."""
    import ray

    return ray.is_initialized()


def _warn_of_jobs_that_wait_forever(launcher: RayConfig) -> None:
    """Say so if no machine of Ray's has what a job needs: Ray waits for one without a word."""
    import ray

    machines = [machine["Resources"] for machine in ray.nodes() if machine["Alive"]]
    if not any(one.get("CPU", 0) >= launcher.cpus and one.get("GPU", 0) >= launcher.gpus for one in machines):
        most = {kind: max((one.get(kind, 0) for one in machines), default=0) for kind in ("CPU", "GPU")}
        log.warning(
            f"A job asks for launcher.cpus={launcher.cpus:g} and launcher.gpus={launcher.gpus:g}, and Ray's machines "
            f"have at most {most['CPU']:g} CPUs and {most['GPU']:g} GPUs: the jobs wait until one with more joins. "
            "Ctrl-C ends the command."
        )


def _runs(sweep: Path) -> list[Run]:
    files = [*sweep.glob("*/status.json"), *sweep.glob(f"{TRIALS}/*/status.json")]
    return [Run(file.parent) for file in sorted(files)]


def _submitted(sweep: Path) -> set[str]:
    """The numbers of submitit's jobs: `12_0` in Slurm's array 12, or that of a process on this machine."""
    return {path.name for path in (sweep / SUBMITTED).glob("*/") if path.name.replace("_", "").isdigit()}


def _arrays(numbers: Iterable[str]) -> set[str]:
    """The numbers of job arrays, from those of their jobs."""
    return {number.partition("_")[0] for number in numbers}


def _stop(launcher: LauncherConfig, numbers: Iterable[str]) -> None:
    """Say how to end jobs of Slurm; end those of this machine, with time to write what they have."""
    if isinstance(launcher, SlurmConfig):
        arrays = " ".join(sorted(_arrays(numbers)))
        log.warning(
            f"Slurm goes on with the jobs, which update the leaderboard as they end: scancel {arrays} stops them."
        )
        return
    for number in numbers:
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(number), signal.SIGTERM)
    _wait_here(numbers, PATIENCE)


def _wait_for_all(sweep: Path, launcher: LauncherConfig, numbers: Iterable[str]) -> list[str]:
    """Wait until submitit's jobs have ended; returns the numbers of those that left no result."""
    from submitit import SlurmJob

    jobs: list[SlurmJob[object]] = [SlurmJob(sweep / SUBMITTED / "%j", number) for number in sorted(numbers)]
    if isinstance(launcher, SlurmConfig):
        for job in jobs:
            job.wait()
    else:
        _wait_here(numbers)
    return [job.job_id for job in jobs if not job.paths.result_pickle.exists()]


def _wait_here(numbers: Iterable[str], most: float = float("inf")) -> None:
    """Wait until these child processes have ended, or for so many seconds."""
    until = time.monotonic() + most
    for number in map(int, numbers):
        with contextlib.suppress(ChildProcessError):  # it has ended, and submitit knows
            while os.waitpid(number, os.WNOHANG)[0] == 0 and time.monotonic() < until:
                time.sleep(0.1)
