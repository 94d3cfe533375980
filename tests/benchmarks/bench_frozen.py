"""What training the head alone costs, with features computed once, against passes of the network; `make bench` runs it.

Ten frozen epochs as a run trains them (Lightning, metrics, TensorBoard, two checkpoints an epoch; with explanations and
without; no augmentation) on drawn crops, set against one forward pass over the same training and validation images,
whose pixels are at hand, and against the plain way, which is measured for two epochs and multiplied by five. All in the
precision and layout that a run would choose, with random weights, in turn, in CPU seconds of one thread.
`bench_frozen.py 600 mobilenetv2_100` measures with so many images and one model.
"""

import os
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import torch
from measuring import Table, in_turn, ratio, report
from PIL import Image
from pytorch_lightning import Callback

from gender_cls.config.parsing import parse_config, to_plain
from gender_cls.config.train import Config
from gender_cls.data.prepare import PreparedData, prepare_data
from gender_cls.explain.callback import explain_callbacks
from gender_cls.runs.run import Run
from gender_cls.system.memory import keep_freed_memory
from gender_cls.system.resources import choose_resources, quieten_lightning
from gender_cls.training.classifier import GenderClassifier
from gender_cls.training.fit import fit

MODELS = ("mobilenetv2_100", "resnet50")
SIZE = [256, 128]
EPOCHS, PLAIN_EPOCHS = 10, 2
ROUNDS = 2
RESOURCES = choose_resources("cpu", "auto", 1, 0, pixels_at_hand=True)


def draw(root: Path, images: int) -> None:
    """Soft patches of colour, 128x64, ten crops a person."""
    for index in range(images):
        label, person = ("FEMALE", "MALE")[index // 10 % 2], index // 10
        patches = np.random.default_rng(index).integers(0, 256, (8, 4, 3), dtype=np.uint8)
        path = root / label / f"person{person:04d}_camera{index % 2}_{index % 10}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(patches).resize((64, 128), Image.Resampling.BICUBIC).save(path)


def config_of(root: Path, name: str, **changes: dict[str, Any]) -> Config:
    pattern = r"(?P<identity>person\d+)_(?P<camera>camera\d)"
    sections: dict[str, dict[str, Any]] = {
        "data": {"root": str(root), "pattern": pattern, "image_size": SIZE, "num_workers": 0},
        "model": {"name": name, "pretrained": False},
        "recipe": {"lr": 3e-3, "weight_decay": 0.0, "frozen_epochs": None},
        "trainer": {"max_epochs": EPOCHS, "accelerator": "cpu", "progress_bar": False},
    }
    for section, values in changes.items():
        sections[section] = {**sections.get(section, {}), **values}
    return parse_config(sections, Config)


class Stopwatch(Callback):
    """CPU seconds of a run's training, without building the network and reading the manifest."""

    def setup(self, *_: Any, **__: Any) -> None:
        self.began = time.process_time()

    def teardown(self, *_: Any, **__: Any) -> None:
        self.seconds = time.process_time() - self.began


def train(config: Config, prepared: PreparedData) -> float:
    """CPU seconds of a run's training."""
    torch.manual_seed(0)
    stopwatch = Stopwatch()
    with tempfile.TemporaryDirectory() as folder:
        fit(config, Run(Path(folder)), prepared, RESOURCES, lambda *all: [*explain_callbacks(*all), stopwatch])
    return stopwatch.seconds


def one_pass(config: Config, images: int) -> Callable[[], float]:
    """CPU seconds of a forward pass over so many images."""
    classifier = GenderClassifier(to_plain(config)).eval()
    pixels = torch.randint(0, 256, (images, 3, *SIZE), dtype=torch.uint8)

    def work() -> float:
        began = time.process_time()
        with torch.no_grad():
            for batch in pixels.split(int(config.data.batch_size)):
                with torch.autocast("cpu", torch.bfloat16, enabled=RESOURCES.precision == "bf16-mixed"):
                    classifier(batch)
        return time.process_time() - began

    return work


def measure(root: Path, name: str) -> list[Any]:
    """The model's row."""
    config = config_of(root, name)
    prepared = prepare_data(config.data, root.parent / "cache")
    images = int(prepared.manifest.table["split"].isin(["train", "val"]).sum())
    off = {"explain": {"enabled": False}}
    plain = config_of(root, name, **off, recipe={"views": 0}, trainer={"max_epochs": PLAIN_EPOCHS})
    seconds = in_turn(
        {
            "pass": one_pass(config, images),
            "features": partial(train, config_of(root, name, **off), prepared),
            "explained": partial(train, config, prepared),
            "plain": lambda: train(plain, prepared) * EPOCHS / PLAIN_EPOCHS,
        },
        ROUNDS,
    )
    against_pass = [ratio(seconds[way], seconds["pass"]) for way in ("features", "explained", "plain")]
    medians = [median(seconds[way]) for way in ("pass", "features", "explained", "plain")]
    return [name, images, *medians, *against_pass, ratio(seconds["plain"], seconds["features"])]


def main() -> None:
    """One row a model."""
    images = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000
    ways = ("one forward pass", "features once", "the same, explained", "plain way")
    table = Table(
        f"{EPOCHS} frozen epochs, {SIZE[0]}x{SIZE[1]}, {RESOURCES.precision}: CPU seconds",
        ["model", "train + val images", *ways, "once / pass", "explained / pass", "plain / pass", "plain / once"],
        note="Explained: 8 images after every epoch, which takes passes of the whole network in float32.",
    )
    torch.set_num_threads(1)
    keep_freed_memory()
    quieten_lightning()
    with tempfile.TemporaryDirectory() as folder:
        draw(Path(folder) / "crops", images)
        table.rows = [measure(Path(folder) / "crops", name) for name in sys.argv[2:] or MODELS]
    report("frozen", [table])


if __name__ == "__main__":
    main()
