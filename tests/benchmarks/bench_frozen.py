"""What training only the head costs with features that are computed once, against passes of the network.

Ten frozen epochs as a run trains them (Lightning, metrics, TensorBoard, two checkpoints per epoch, with and without
explanations, no augmentation) on drawn crops. They are compared with one forward pass over the same training and
validation images, and with the plain way (features computed in every epoch), measured for two epochs and multiplied by
five. All in the precision and layout that a run would choose, with random weights, in turn, in CPU seconds.
`bench_frozen.py 600 mobilenetv2_100` measures one model with 600 images.
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

import torch
from measuring import Table, cpu_seconds, draw_folders, in_turn, ratio, report
from pytorch_lightning import Callback

from gender_cls.config.parsing import parse_config, to_plain
from gender_cls.config.train import Config
from gender_cls.data.prepare import PreparedData, prepare_data
from gender_cls.explain.callback import explain_callbacks
from gender_cls.runs.run import Run
from gender_cls.system.memory import keep_freed_memory
from gender_cls.system.resources import choose_resources
from gender_cls.training.classifier import GenderClassifier
from gender_cls.training.fit import fit

MODELS = ("mobilenetv2_100", "resnet50")
SIZE = [256, 128]
EPOCHS, PLAIN_EPOCHS = 10, 2
ROUNDS = 2
RESOURCES = choose_resources("cpu", "auto", 1, 0, pixels_at_hand=True)


def config_of(root: Path, name: str, **changes: dict[str, Any]) -> Config:
    pattern = r"(?P<identity>p\d+)_"
    sections: dict[str, dict[str, Any]] = {
        "data": {"root": str(root), "pattern": pattern, "image_size": SIZE, "num_workers": 0},
        "model": {"name": name, "pretrained": False},
        "recipe": {"lr": 3e-3, "weight_decay": 0.0, "frozen_epochs": None},
        "trainer": {"max_epochs": EPOCHS, "accelerator": "cpu", "progress_bar": False},
    }
    for section, values in changes.items():
        sections[section] = {**sections.get(section, {}), **values}
    return parse_config(sections, Config)


class Clock(Callback):
    """CPU seconds from the set-up of a training to its end; building the network and the manifest is not in them."""

    def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """Begin."""
        self.began = time.process_time()

    def on_fit_end(self, trainer: Any, pl_module: Any) -> None:
        """End."""
        self.seconds = time.process_time() - self.began


def train(config: Config, prepared: PreparedData) -> float:
    """CPU seconds of a run's training."""
    clock = Clock()
    with tempfile.TemporaryDirectory() as folder:
        run = Run(Path(folder))
        fit(config, run, prepared, RESOURCES, lambda *arguments: [clock, *explain_callbacks(*arguments)])
    return clock.seconds


def one_pass(config: Config, images: int) -> Callable[[], float]:
    """CPU seconds of one forward pass over so many images."""
    classifier = GenderClassifier(to_plain(config)).eval()
    pixels = torch.randint(0, 256, (images, 3, *SIZE), dtype=torch.uint8)

    @torch.no_grad()
    @torch.autocast("cpu", torch.bfloat16, enabled=RESOURCES.precision == "bf16-mixed")
    def work() -> None:
        for batch in pixels.split(int(config.data.batch_size)):
            classifier(batch)

    return partial(cpu_seconds, work)


def measure(root: Path, name: str) -> list[Any]:
    """The row of one model."""
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
    """One row per model."""
    images = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000
    ways = ("one forward pass", "features once", "the same, explained", "plain way")
    table = Table(
        f"{EPOCHS} frozen epochs, {SIZE[0]}x{SIZE[1]}, {RESOURCES.precision}: CPU seconds",
        ["model", "train + val images", *ways, "once / pass", "explained / pass", "plain / pass", "plain / once"],
        note="Explained: 8 images after every epoch, in float32 passes of the whole network.",
    )
    keep_freed_memory()
    RESOURCES.apply()
    with tempfile.TemporaryDirectory() as folder:
        draw_folders(Path(folder) / "crops", images)
        table.rows = [measure(Path(folder) / "crops", name) for name in sys.argv[2:] or MODELS]
    report("frozen", [table])


if __name__ == "__main__":
    main()
