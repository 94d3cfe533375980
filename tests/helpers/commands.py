"""Commands run as a user runs them, and those that the README shows."""

import os
import runpy
import subprocess
import sys
import tempfile
from multiprocessing import forkserver, get_context
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
    """Run a command of the package in a process of its own, in which the libraries are imported already."""
    line, changed = command_line(name, *arguments), {**environment(), **variables}
    context = get_context("forkserver")
    with patch.dict(os.environ, environment()):  # what the libraries see when they are imported
        context.set_forkserver_preload(LIBRARIES)
        forkserver.ensure_running()
    with tempfile.TemporaryDirectory() as folder:
        outputs = [Path(folder, "stdout"), Path(folder, "stderr")]
        process = context.Process(target=_run, args=(line[1:], cwd, changed, outputs))
        process.start()
        process.join()
        stdout, stderr = (output.read_text() for output in outputs)
    assert process.exitcode == code, stderr
    return subprocess.CompletedProcess(line, code, stdout, stderr)


LIBRARIES = [
    "captum.attr", "hydra", "matplotlib.figure", "pandas", "pytorch_lightning", "scipy.stats", "sklearn.linear_model",
    "timm", "torch.utils.tensorboard", "torchvision.transforms.v2",
]  # fmt: skip
"""To import them takes longer than most commands take on tiny crops."""


def _run(line: list[str], cwd: Path, variables: dict[str, str], outputs: list[Path]) -> None:
    """Be `python LINE`, where LINE is -m, a module and its arguments."""
    for number, output in enumerate(outputs, 1):
        os.dup2(os.open(output, os.O_WRONLY | os.O_CREAT), number)
    os.environ.clear()
    os.environ.update(variables)
    os.chdir(cwd)
    _, module, *arguments = line
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def start(name: str, *arguments: str, cwd: Path) -> subprocess.Popen[str]:
    """Start a command in a process group of its own, which can be sent signals."""
    return subprocess.Popen(
        command_line(name, *arguments), cwd=cwd, env=environment(), text=True, start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
