"""A job of a sweep that trains nothing: seed 0 is asked to stop once, seed 1 fails, and seed 2 is killed."""

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path

from hydra.core.hydra_config import HydraConfig

from gender_cls.config.train import Config
from gender_cls.errors import require
from gender_cls.runs.run import Run


def stub_job(config: Config) -> float:
    run = Run(Path(HydraConfig.get().runtime.output_dir))
    print("A message of a job")
    with run.recording(model="stub"):
        run.note(sessions=run.status.get("sessions", 0) + 1)
        if config.seed == 0 and run.status["sessions"] == 1 and config.name == "preempted":
            os.kill(os.getpid(), signal.SIGUSR2)
        require(config.seed != 1, "seed=1 fails.")
        if config.seed == 2:
            os.kill(os.getpid(), signal.SIGKILL)
    return 0.5


@contextlib.contextmanager
def ending_quietly(*_: object) -> Iterator[None]:
    """In place of what ends in a leaderboard."""
    yield
