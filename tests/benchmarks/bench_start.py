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
from functools import partial
from pathlib import Path
from statistics import median

from measuring import Table, draw_folders, environment, in_turn, ratio, report

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


FIRST_STEP = """
import os, runpy
from gender_cls.training.classifier import GenderClassifier
GenderClassifier.on_train_batch_end = lambda *_: os._exit(0)
runpy.run_module("gender_cls.train", run_name="__main__")
"""


def command_seconds(folder: Path, command: list[str], code: int) -> tuple[float, float]:
    """Seconds of a command of the CPU and by the clock; it has to end with this exit code."""
    began, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([sys.executable, *command], cwd=folder, env=environment(), capture_output=True, text=True)
    after, ended = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    if done.returncode != code:
        raise RuntimeError(f"{command} ended with {done.returncode}, not {code}: {done.stderr}")
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, ended - began


def main() -> None:
    """Two tables."""
    helps = {f"{command} --help": ["-m", f"gender_cls.{command}", "--help"] for command in COMMANDS}
    errors = {f"train, {what}": ["-m", "gender_cls.train", *arguments] for what, arguments in ERRORS.items()}
    starts = {"the libraries": ["-c", LIBRARIES], "to the first step": ["-c", FIRST_STEP, *TRAINING]}
    columns = ["what", "CPU (s)", "clock (s)", "ratio of CPU time"]
    note = f"Medians of {ROUNDS}, one thread."
    quick = Table("Start: help and errors", columns[:3], note=note)
    training = Table("Start: until the first step is done", columns, note=note)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        draw_folders(folder / "crops", IMAGES)
        for table, commands in ((quick, helps | errors), (training, starts)):
            works = {
                what: partial(command_seconds, folder, command, int(what in errors))
                for what, command in commands.items()
            }
            for what, measured in in_turn(works, ROUNDS).items():
                cpu, clock = zip(*measured, strict=True)
                table.rows.append([what, median(cpu), median(clock)])
                if what == "the libraries":
                    libraries = cpu
                if table is training:
                    table.rows[-1].append(ratio(cpu, libraries))
    report("start", [quick, training])


if __name__ == "__main__":
    main()
