"""Training MobileNetV2 from random weights here and with other tools.

    python tests/benchmarks/bench_alternatives.py [--images 480] [--epochs 2] [--rounds 3]

The others are the scripts in `alternatives/`. Each run is a process with the same images, split, network, input size,
batch and number of threads. They run in turn, once per round, after one warm-up run each. ultralytics is installed into
its own environment, `outputs/bench/venv`, which sees the packages of this one; if that fails, the table says so.
"""

import argparse
import contextlib
import json
import os
import re
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from measuring import RESULTS, Table, draw_crop, ratio, report
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from gender_cls.system.resources import usable_cores

SCRIPTS = Path(__file__).parent / "alternatives"
LIGHTNING, TIMM, ULTRALYTICS = "torchvision + Lightning", "timm, bare loop", "ultralytics"
BATCH = 32  # as in the scripts
THREADS = os.environ.get("OMP_NUM_THREADS", str(usable_cores()))
FIRST_STEP = re.compile(rb"Epoch 1/[^\r\n]* [1-9][\d,]* of [\d,]+ batches")  # of the moving line, drawn every 0.2 s
OURS = (
    "recipe=scratch", "model.pretrained=false", "augment=none", "augment.flip=0.5",
    "data.image_size=[224,224]", f"data.batch_size={BATCH}", "name=run", "output_dir=outputs",
)  # fmt: skip


@dataclass
class Measured:
    """One run; seconds count from the start of the process."""

    rate: float  # images per second in the steps of the second epoch
    first_step: float  # seconds to the end of the first step
    trained: float  # seconds to the end of training with validation and checkpoints
    whole: float  # seconds to the end of the process


def draw(folder: Path, train: int) -> None:
    """JPEG crops, 100 to 200 pixels high and half as wide, in `<split>/<label>/`."""
    rng = np.random.default_rng(0)
    for split, images in (("train", train), ("val", max(train // 5, 16)), ("test", max(train // 15, 8))):
        for index in range(images):
            file = folder / split / ("FEMALE", "MALE")[index % 2] / f"{index:06d}.jpg"
            file.parent.mkdir(parents=True, exist_ok=True)
            width = int(rng.integers(50, 101))
            draw_crop(rng, width, 2 * width).save(file, quality=90)


def theirs(python: Path, script: str, folder: Path, epochs: int) -> Measured:
    """One of the scripts."""
    with tempfile.TemporaryDirectory() as here:
        command = [python, SCRIPTS / script, folder, epochs]
        began, ended, output, _ = run(command, Path(here))
    told: dict[str, Any] = json.loads(output.splitlines()[-1])
    second = told["epochs"][1]
    rate = second["images"] / (second["ended"] - second["began"])
    return Measured(rate, told["first_step"] - began, told["trained"] - began, ended - began)


def ours(folder: Path, epochs: int) -> Measured:
    """The command as a user types it, in an empty folder, so no image has been read before."""
    with tempfile.TemporaryDirectory() as name:
        here = Path(name)
        asked = (f"data.root={folder}", f"trainer.max_epochs={epochs}", *OURS)
        command = [sys.executable, "-m", "gender_cls.train", *asked]
        began, ended, _, first_step = run(command, here, FIRST_STEP)
        assert first_step is not None, "the moving line did not show the end of the first step"
        made = here / "outputs" / "runs" / "run"
        events = EventAccumulator(str(made))
        events.Reload()
        rate = events.Tensors("speed/train_images_per_second")[1].tensor_proto.float_val[0]
        trained = (made / "checkpoints" / "last.ckpt").stat().st_mtime
    return Measured(rate, first_step - began, trained - began, ended - began)


def run(
    command: list[Any], here: Path, sign: re.Pattern[bytes] | None = None
) -> tuple[float, float, str, float | None]:
    """Run a command in a folder: when it began and ended, its stdout, and when `sign` first appeared there.

    With a sign, stdout is a terminal, because only there lines move.

    Raises:
        RuntimeError: it failed.
    """
    settings = {
        "OMP_NUM_THREADS": THREADS,
        "CUDA_VISIBLE_DEVICES": "",
        "TERM": "xterm",
        "COLUMNS": "120",
        "YOLO_CONFIG_DIR": str(RESULTS / "ultralytics"),
        "YOLO_OFFLINE": "true",  # no version check, no download, no telemetry
        "YOLO_AUTOINSTALL": "false",
    }
    output, seen = b"", None
    with tempfile.TemporaryFile() as errors:
        began = time.time()
        words = [str(word) for word in command]
        environment = {**os.environ, **settings}
        reading, writing = os.pipe() if sign is None else os.openpty()
        process = subprocess.Popen(words, cwd=here, env=environment, stdout=writing, stderr=errors)
        os.close(writing)
        with contextlib.suppress(OSError):  # how a terminal says that its last writer has ended
            while piece := os.read(reading, 1 << 16):
                output += piece
                if sign is not None and seen is None and sign.search(output):
                    seen = time.time()
        os.close(reading)
        failed = process.wait()
        ended = time.time()
        if failed:
            errors.seek(0)
            told = (output + errors.read()).decode(errors="replace")[-2000:]
            raise RuntimeError(f"{' '.join(words)} failed:\n{told}")
    return began, ended, output.decode(errors="replace"), seen


def ultralytics_python() -> tuple[Path | None, str]:
    """The interpreter that can import ultralytics and its version, or None and the reason."""
    environment = RESULTS / "venv"
    python = environment / "bin" / "python"
    asked = [str(python), "-c", "import importlib.metadata, cv2; print(importlib.metadata.version('ultralytics'))"]
    try:
        if not python.exists() or subprocess.run(asked, capture_output=True, check=False).returncode:
            _install_ultralytics(environment, python)
        return python, subprocess.run(asked, capture_output=True, check=True, text=True).stdout.strip()
    except subprocess.CalledProcessError as error:
        said = (error.stderr or error.stdout or "").strip().splitlines()
        return None, said[-1] if said else str(error)


def _install_ultralytics(environment: Path, python: Path) -> None:
    """Raises `CalledProcessError` where this fails."""
    quiet = partial(subprocess.run, check=True, capture_output=True, text=True)
    quiet([sys.executable, "-m", "venv", "--clear", str(environment)])
    paths = {"base": str(environment), "platbase": str(environment)}
    packages = Path(sysconfig.get_path("purelib", "venv", paths))
    (packages / "of_the_project.pth").write_text(sysconfig.get_path("purelib") + "\n")  # torch is large
    quiet([str(python), "-m", "pip", "install", "--quiet", "ultralytics"])
    if subprocess.run([str(python), "-c", "import cv2"], capture_output=True, check=False).returncode:
        headless = ["--force-reinstall", "--no-deps", "opencv-python-headless"]  # the other one wants libGL
        quiet([str(python), "-m", "pip", "install", "--quiet", *headless])


def measure(images: int, epochs: int, rounds: int) -> tuple[dict[str, list[Measured]], str]:
    """The runs of each tool, and the version of ultralytics or the reason why it is missing."""
    python, version = ultralytics_python()
    this = Path(sys.executable)
    works: dict[str, Callable[[Path, int], Measured]] = {
        "ours": ours,
        LIGHTNING: partial(theirs, this, "torchvision_lightning.py"),
        TIMM: partial(theirs, this, "timm_loop.py"),
    }
    if python is not None:
        works[ULTRALYTICS] = partial(theirs, python, "ultralytics_classify.py")
    with tempfile.TemporaryDirectory() as name:
        few, all_ = Path(name).resolve() / "few", Path(name).resolve() / "all"
        draw(few, BATCH)
        draw(all_, images)
        for work in works.values():
            work(few, 2)  # reads the packages from disk
        runs: dict[str, list[Measured]] = {name: [] for name in works}
        for number in range(rounds):
            for name, work in works.items():
                runs[name].append(work(all_, epochs))
                print(f"round {number + 1}, {name}: {runs[name][-1]}", file=sys.stderr, flush=True)
    return runs, version


def tabulate(runs: dict[str, list[Measured]], version: str, images: int, epochs: int) -> Table:
    """Medians, and the ratio of ours to each of the others."""

    def all_of(name: str, field: str) -> list[float]:
        return [getattr(one, field) for one in runs[name]]

    rows: list[list[Any]] = []
    for name in runs:
        cells: list[Any] = [f"{name} {version}" if name == ULTRALYTICS else name]
        for field in ("rate", "first_step", "trained", "whole"):
            own, its = all_of("ours", field), all_of(name, field)
            cells += [median(its), ratio(own, its) if field == "rate" else ratio(its, own)]
        rows.append(cells)
    if ULTRALYTICS not in runs:
        rows.append([f"{ULTRALYTICS}: not installed ({version})", *["-"] * 8])
    work = f"224x224, batch {BATCH}, {epochs} epochs of {images} crops, {THREADS} thread(s)"
    note = f"""\
Medians of {len(runs["ours"])} rounds in turn; ratios within a round, above 1 where ours is ahead. Each tool has its own
defaults, and of augmentation only the random flip. Ours and torchvision + Lightning stretch the whole image to the
input; timm and ultralytics take the largest crop of at most 4 to 3. Seconds from the start of the process, with imports
and reading images for the first time. Images per second: from the beginning of the second epoch to the end of its last
step, without validation. The others end with training; ours then tests, explains, measures the maps and writes its
report. ultralytics uses all CPUs here (by default it leaves one free) and draws no figures."""
    columns = ["images/s (epoch 2)", "first step after (s)", "trained after (s)", "ended after (s)"]
    headings = ["", *(heading for column in columns for heading in (column, "ours ahead"))]
    return Table(f"MobileNetV2 from random weights: {work}", headings, rows, note)


def main() -> None:
    """All of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=480, help=f"to train with, a multiple of {BATCH}")
    parser.add_argument("--epochs", type=int, default=2, help="at least 2")
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    if asked.images % BATCH or asked.epochs < 2:
        parser.error(f"--images must be a multiple of {BATCH} and --epochs at least 2")
    runs, version = measure(asked.images, asked.epochs, asked.rounds)
    report("alternatives", [tabulate(runs, version, asked.images, asked.epochs)])


if __name__ == "__main__":
    main()
