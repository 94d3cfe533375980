"""What explaining costs on the CPU, in float32 and with random weights.

The first table compares the callback's seconds per epoch (8 images, saliency and Grad-CAM, scores, drawing, PNG and
TensorBoard) with an epoch of 2,000 images: forward and backward passes and AdamW's steps, measured on a few batches
(reading images and validation are left out, so the share is slightly too high). Both are measured in turn. The second
table shows the seconds per image of each method alone. All are CPU seconds of a process with one thread.

The goal: the callback takes about a hundredth of an epoch. Runs for about five minutes.
"""

import tempfile
from functools import partial
from pathlib import Path
from statistics import median
from types import SimpleNamespace
from typing import Any

from measuring import Table, cpu_seconds, in_own_process, in_turn, random_classifier, report

SIZES = {
    "custom_cnn": (256, 128),
    "mobilenetv2_100": (256, 128),
    "resnet50": (256, 128),
    "vit_small_patch16_224": (224, 224),
    "swin_tiny_patch4_window7_224": (224, 224),
}
"""Height and width of the input, by model."""
EPOCH, BATCH, PROBE = 2_000, 16, 8  # images
REPEATS = 3
ALL_METHODS = ("custom_cnn", "mobilenetv2_100", "resnet50")  # the others would take minutes


def measure(name: str) -> list[list[Any]]:
    """Return the row of one model for each table."""
    import numpy as np
    import torch
    from pytorch_lightning.loggers import TensorBoardLogger
    from pytorch_lightning.trainer.states import TrainerFn

    from gender_cls.config.explain import ExplainConfig, Method
    from gender_cls.data.crops import Crops
    from gender_cls.explain.attribution import attribute
    from gender_cls.explain.callback import ExplainCallback

    size = SIZES[name]
    classifier = random_classifier(name, size)
    network = classifier.network
    optimizer = torch.optim.AdamW(network.parameters())
    images = torch.randint(0, 256, (BATCH, 3, *size), dtype=torch.uint8)
    inputs = classifier.normalise(images[:PROBE])
    settings = ExplainConfig()

    def step() -> None:
        network.train()
        torch.nn.functional.cross_entropy(classifier(images), torch.arange(BATCH) % 2).backward()
        optimizer.step()
        optimizer.zero_grad()

    def maps(methods: list[Method], count: int = PROBE) -> Any:
        return attribute(network, inputs[:count], methods, classifier.feature_map)

    with tempfile.TemporaryDirectory() as folder:
        callback = ExplainCallback(
            crops=Crops(images[:PROBE], np.array([[0.0, 0.0, size[1], size[0]]] * PROBE), np.full((PROBE, 4), np.nan)),
            labels=["FEMALE", "MALE"] * (PROBE // 2),
            names=[f"crops/MALE/{index:06d}.jpg" for index in range(PROBE)],
            folder=Path(folder),
            settings=settings,
        )
        trainer: Any = SimpleNamespace(
            state=SimpleNamespace(fn=TrainerFn.FITTING),
            sanity_checking=False,
            is_global_zero=True,
            current_epoch=0,
            max_epochs=20,
            global_step=0,
            callbacks=[],
            loggers=[TensorBoardLogger(folder)],
        )
        callback.on_train_start(trainer, classifier)

        def explain() -> None:
            callback.on_validation_epoch_end(trainer, classifier)
            trainer.current_epoch += 1
            trainer.global_step += EPOCH // BATCH

        works = {"step": step, "callback": explain, "maps": partial(maps, settings.methods)}
        timed = in_turn({work: partial(cpu_seconds, function) for work, function in works.items()}, REPEATS)
    of_step, of_callback, of_maps = (median(timed[work]) for work in works)
    epoch = of_step * EPOCH / BATCH
    share = 100 * of_callback / epoch
    callback_row = [name, "x".join(map(str, size)), epoch, of_callback, of_maps, share]
    of_methods: list[float | str] = ["-"] * len(Method)
    for place, method in enumerate(Method):
        one_pass = method in settings.methods
        if one_pass or name in ALL_METHODS:
            count = PROBE if one_pass else 1
            of_methods[place] = cpu_seconds(partial(maps, [method], count)) / count
    return [callback_row, [name, *of_methods]]


def main() -> None:
    """All models, each in its own process."""
    rows = [in_own_process(measure, name) for name in SIZES]
    callback = ["model", "input", f"epoch of {EPOCH:,} (s)", "callback (s)", "its maps (s)", "share of the epoch (%)"]
    methods = ["model", "saliency", "SmoothGrad", "Grad-CAM", "integrated gradients", "occlusion"]
    tables = [
        Table("Explaining in an epoch", callback, [row[0] for row in rows], "CPU seconds, medians."),
        Table("Seconds per image, each method alone", methods, [row[1] for row in rows], "CPU seconds."),
    ]
    report("explain", tables)


if __name__ == "__main__":
    main()
