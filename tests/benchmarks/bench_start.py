"""How long commands take to print help or an error, and training to reach its first step.

The first step is that of a custom CNN on drawn crops that were scanned before, from the start of the process to the end
of the step. It is compared with a process that only imports the libraries. All run in turn, each with one thread.
"""

import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median

from measuring import Table, draw_folders, in_turn, ratio, report

ROUNDS = int(os.environ.get("ROUNDS", "5"))
IMAGES = 400
COMMANDS = ("train", "evaluate", "explain", "compare", "audit", "demo")
LIBRARIES = "import torch, torchvision, timm, pytorch_lightning"
ERRORS = {
    "a misspelt key": ["data.root=crops", "recipe.lrr=1"],
    "a value out of range, in a sweep": ["-m", "data.root=crops", "recipe.lr=0.1,-1"],
    "a model that is not there": ["data.root=crops", "model=mobilnetv2"],
    "a folder that is not there": ["data.root=nowhere", "output_dir=errors"],
}
TRAINING = ["data.root=crops", "model=custom_cnn", "trainer.progress_bar=false", "trainer.accelerator=cpu"]


def first_step() -> None:
    """Train, and end the process after the first step."""
    from gender_cls.train import main as train
    from gender_cls.training.classifier import GenderClassifier

    GenderClassifier.on_train_batch_end = lambda *_: os._exit(0)  # type: ignore[method-assign, assignment]  # replaced on purpose
    sys.argv[1:] = TRAINING
    train()


def command_seconds(folder: Path, command: list[str]) -> float:
    """CPU seconds of a command, whatever its exit code."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, *command], cwd=folder, env=environment, check=False, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    """Two tables."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        draw_folders(folder / "crops", IMAGES)
        module = [[f"{command} --help", ["-m", f"gender_cls.{command}", "--help"]] for command in COMMANDS]
        module += [[f"train, {what}", ["-m", "gender_cls.train", *arguments]] for what, arguments in ERRORS.items()]
        clock: dict[str, list[float]] = {}

        def timed(name: str, command: list[str]) -> float:
            began = time.perf_counter()
            seconds = command_seconds(folder, command)
            clock.setdefault(name, []).append(time.perf_counter() - began)
            return seconds

        def works(commands: list) -> dict[str, Callable[[], float]]:
            return {name: partial(timed, name, command) for name, command in commands}

        answers = in_turn(works(module), ROUNDS)
        starts = [["the libraries", ["-c", LIBRARIES]], ["to the first step", [str(Path(__file__)), "first_step"]]]
        begun = in_turn(works(starts), ROUNDS)
    columns = ["what", "CPU (s)", "clock (s)"]
    note = f"Medians of {ROUNDS}, one thread."
    quick = Table("Start: help and errors", columns, note=note)
    quick.rows = [[name, median(values), median(clock[name][1:])] for name, values in answers.items()]
    training = Table("Start: until the first step is done", [*columns, "ratio of CPU time"], note=note)
    libraries = begun["the libraries"]
    training.rows = [
        [name, median(values), median(clock[name][1:]), ratio(values, libraries)] for name, values in begun.items()
    ]
    report("start", [quick, training])


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["first_step"]:
            first_step()
        case _:
            main()
