"""Commands run as a user runs them, and those that the README shows."""

import gc
import os
import runpy
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import forkserver, get_context
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from unittest.mock import patch

from helpers.crops import PATTERN

COMPARING = "python -m gender_cls.compare runs=outputs/sweeps/NAME"
EVALUATING = "python -m gender_cls.evaluate run=outputs/sweeps/NAME stress=true"
ELSEWHERE = "python -m gender_cls.evaluate run=outputs/runs/NAME data.root=station 'adapt=[batchnorm,prior]'"
DATASETS = "python -m gender_cls.train -m data=peta,pa100k,market1501 model=mobilenetv2,resnet152"
EACH_ON_THE_OTHERS = "python -m gender_cls.evaluate run=outputs/sweeps/NAME elsewhere=all"
EXPLAINING = "python -m gender_cls.explain run=outputs/runs/NAME"
PREDICTING = "python -m gender_cls.predict run=outputs/runs/NAME images=new_crops"
EXPORTING = "python -m gender_cls.export run=outputs/runs/NAME format=onnx,pt2"
COMPARING_EXPORTED = "python -m gender_cls.compare 'runs=[outputs/runs/NAME,outputs/runs/NAME/export/model.onnx]'"
ON_DEVICES = "python -m gender_cls.train data.root=crops model=convnext_xlarge trainer.devices=4"
ON_MACHINES = (
    "srun --nodes=2 --ntasks-per-node=1 python -m gender_cls.train data.root=crops trainer.num_nodes=2 "
    "trainer.devices=4"
)
ON_SLURM = (
    "python -m gender_cls.train -m data.root=crops model=convnext_xlarge,resnet152,mobilenetv2 "
    "launcher=slurm launcher.partition=gpu launcher.minutes=240"
)
SEARCHING = "python -m gender_cls.train -m data.root=crops search=optuna search.trials=30"
PRESET = "python -m gender_cls.train experiment=four_models data.root=crops"
"""As the README has them."""

SMALL = [
    "model=custom_cnn", f"data.pattern={PATTERN}", "data.image_size=[32,16]", "data.batch_size=8", "data.num_workers=0",
    "explain.images=2", "trainer.progress_bar=false", "trainer.accelerator=cpu", "trainer.precision=32-true",
    "evaluation.shortcuts=false", "evaluation.resamples=200",
]  # fmt: skip
"""A training of a few seconds."""


def command_line(name: str, *arguments: str) -> list[str]:
    return [sys.executable, "-m", f"gender_cls.{name}", *arguments]


def environment() -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if key != "HYDRA_FULL_ERROR"}
    return {**kept, "OMP_NUM_THREADS": "1"}


def python(*arguments: str, cwd: Path, code: int = 0, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run Python, which has to end with this exit code; `variables` are added to the environment."""
    line, changed = [sys.executable, *arguments], {**environment(), **variables}
    result = subprocess.run(line, cwd=cwd, env=changed, capture_output=True, text=True)
    assert result.returncode == code, result.stderr
    return result


def command(name: str, *arguments: str, cwd: Path, code: int = 0, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a command of the package, which has to end with this exit code, in a process of its own."""
    process = start(name, *arguments, cwd=cwd, **variables)
    stdout, stderr = process.communicate()
    assert process.returncode == code, stderr
    return subprocess.CompletedProcess(command_line(name, *arguments), code, stdout, stderr)


def start(name: str, *arguments: str, cwd: Path, **variables: str) -> "Started":
    """Start a command, with `variables` added to the environment, in a process group that can be sent signals.

    Its process is forked from one that has imported the libraries already.
    """
    context = get_context("forkserver")
    with patch.dict(os.environ, environment()):  # what the libraries see when they are imported
        context.set_forkserver_preload(LIBRARIES)
        forkserver.ensure_running()
    outputs = [context.Pipe(duplex=False) for _ in ("stdout", "stderr")]
    written = [writer for _, writer in outputs]
    line, changed = command_line(name, *arguments), {**environment(), **variables}
    process = context.Process(target=_run, args=(line[2:], cwd, changed, written))
    process.start()
    for writer in written:
        writer.close()
    return Started(process, [reader for reader, _ in outputs])


class Started:
    """A started command: what tests need of `subprocess.Popen`."""

    def __init__(self, process: BaseProcess, outputs: list[Connection]) -> None:
        self._process, self._outputs = process, outputs
        assert process.pid is not None
        self.pid, self.kill, self.terminate = process.pid, process.kill, process.terminate

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def poll(self) -> int | None:
        return self.returncode

    def send_signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """What it and its children wrote to stdout and stderr, when all of them have ended."""
        with ThreadPoolExecutor() as pool:
            reading = [pool.submit(_read, output) for output in self._outputs]
            stdout, stderr = (text.result(timeout) for text in reading)
        self._process.join(timeout)
        return stdout, stderr


def _read(output: Connection) -> str:
    with os.fdopen(os.dup(output.fileno()), encoding="utf-8") as file:
        return file.read()


LIBRARIES = [
    "captum.attr", "hydra", "matplotlib.figure", "pandas", "pytorch_lightning", "scipy.stats", "sklearn.linear_model",
    "timm", "torch.utils.tensorboard", "torchvision.transforms.v2",
]  # fmt: skip
"""To import them takes longer than most commands take on tiny crops."""


def _run(line: list[str], cwd: Path, variables: dict[str, str], outputs: list[Connection]) -> None:
    """Be `python -m LINE`, where LINE is a module and its arguments."""
    gc.freeze()  # Lightning calls the garbage collector often, and the libraries' objects stay anyway
    os.setsid()
    for number, output in enumerate(outputs, 1):
        os.dup2(output.fileno(), number)
        output.close()
    sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w", buffering=1)
    os.environ.clear()
    os.environ.update(variables)
    os.chdir(cwd)
    sys.path[:0] = [str(cwd), *variables.get("PYTHONPATH", "").split(os.pathsep)]
    sys.argv = line
    for module in [name for name in sys.modules if name.partition(".")[0] == "gender_cls"]:
        del sys.modules[module]  # what this file imports; the one in PYTHONPATH may be another
    runpy.run_module(line[0], run_name="__main__", alter_sys=True)
