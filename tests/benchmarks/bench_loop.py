"""What training costs beyond the network: `training.fit` against a bare PyTorch loop.

Ours trains in a real run folder with metrics, logging, progress bar, both checkpoints, the confusion matrix and
explanations at their defaults. The bare loop takes the same batches (the same `CropDataset` and sampler), normalises
them, computes the same loss of the same network with the same precision and layout, clips gradients, steps AdamW, and
validates with a forward pass and the loss. The precision is what a run would choose on this machine. Epochs of both run
in turn in one process; the first of each is a warm-up.

    python tests/benchmarks/bench_loop.py [MODEL ...]
"""

import copy
import os
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

from measuring import Table, draw_folders, in_own_process, ratio, report

MODELS = {"custom_cnn": 2_000, "mobilenetv2": 2_000, "resnet152": 256}
"""Training images per epoch; validation has its share of a split of 70 : 15 : 15."""

ROUNDS = int(os.environ.get("ROUNDS", "5"))


def measure(model: str) -> dict[str, Any]:
    """Return the precision, the training images of an epoch, and the seconds of both by the clock and of the CPU."""
    from gender_cls.system.memory import keep_freed_memory

    keep_freed_memory()
    import torch
    from hydra import compose, initialize_config_dir
    from pytorch_lightning import Callback

    from gender_cls.config.parsing import CONFIG_FOLDER, parse_config
    from gender_cls.config.train import Config
    from gender_cls.data.prepare import prepare_data
    from gender_cls.explain.callback import explain_callbacks
    from gender_cls.runs.run import Run
    from gender_cls.system.resources import choose_resources
    from gender_cls.training.fit import fit

    seconds: dict[str, list[tuple[float, float]]] = {"ours": [], "bare": []}

    def now() -> tuple[float, float]:
        return time.perf_counter(), time.process_time()

    class InTurn(Callback):
        """Runs a bare epoch before each of ours, from the same first weights."""

        began: tuple[float, float] | None = None

        def on_fit_start(self, trainer: Any, pl_module: Any) -> None:
            self.bare = Bare(pl_module, trainer.datamodule)

        def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
            self._end()
            began = now()
            self.bare.epoch(trainer.current_epoch)
            seconds["bare"].append(_since(began, now()))
            self.began = now()

        def on_train_end(self, trainer: Any, pl_module: Any) -> None:
            self._end()

        def _end(self) -> None:
            if self.began is not None:
                seconds["ours"].append(_since(self.began, now()))

    class Bare:
        def __init__(self, classifier: Any, datamodule: Any) -> None:
            from gender_cls.training.recipe import parameter_groups

            self.settings = classifier.settings
            self.network = copy.deepcopy(classifier.network)
            self.normalise = classifier.normalise
            groups = parameter_groups(self.network, classifier.heads, self.settings.recipe)
            self.optimizer = torch.optim.AdamW(groups, **_optimizer_options(classifier))
            self.train, self.validation = datamodule.train_dataloader(), datamodule.val_dataloader()

        def loss(self, images: Any, labels: Any, smoothing: float) -> Any:
            with torch.autocast("cpu", torch.bfloat16, enabled=resources.precision == "bf16-mixed"):
                logits = self.network(self.normalise(images))
                return torch.nn.functional.cross_entropy(logits, labels, label_smoothing=smoothing)

        def epoch(self, number: int) -> None:
            recipe = self.settings.recipe
            self.train.batch_sampler.sampler.set_epoch(number)
            self.network.train()
            for images, labels in self.train:
                self.optimizer.zero_grad()
                self.loss(images, labels, recipe.label_smoothing).backward()
                torch.nn.utils.clip_grad_norm_(self.network.parameters(), recipe.gradient_clip)
                self.optimizer.step()
            self.network.eval()
            with torch.no_grad():
                sum(float(self.loss(images, labels, 0.0)) for images, labels in self.validation)

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        draw_folders(folder / "crops", round(MODELS[model] / 0.7))
        overrides = [
            f"data.root={folder / 'crops'}",
            f"output_dir={folder}",
            f"model={model}",
            "recipe=scratch",
            "model.pretrained=false",
            "trainer.accelerator=cpu",
            f"trainer.max_epochs={1 + ROUNDS}",
            r"data.pattern='(?P<identity>p\d+)_'",
        ]
        with initialize_config_dir(str(CONFIG_FOLDER), version_base="1.3"):
            config = parse_config(compose("train", overrides), Config)
        prepared = prepare_data(config.data, folder / "cache")
        resources = choose_resources("cpu", "auto", 1, 0, pixels_at_hand=True).apply()
        run = Run(folder / "run")
        fit(config, run, prepared, resources, lambda *arguments: [InTurn(), *explain_callbacks(*arguments)])
        trained = int((prepared.manifest.table["split"] == "train").sum())
    return {"precision": resources.precision, "images": trained, **seconds}


def _optimizer_options(classifier: Any) -> dict[str, Any]:
    """Which implementation of AdamW ours uses."""
    options = classifier.trainer.optimizers[0].defaults
    return {key: options[key] for key in ("fused", "foreach") if options.get(key) is not None}


def _since(began: tuple[float, float], ended: tuple[float, float]) -> tuple[float, float]:
    return ended[0] - began[0], ended[1] - began[1]


def main(models: list[str]) -> None:
    """One row per model, each in its own process with one thread."""
    table = Table(
        "Loop: training epochs against a bare PyTorch loop, one thread",
        [
            "model",
            "precision",
            "images",
            "ours (img/s)",
            "bare (img/s)",
            "ratio",
            "ratio of CPU time",
            "more (CPU s/epoch)",
        ],
        note=f"Epochs in turn, medians of {ROUNDS}; both validate on a fifth as many images.",
    )
    for model in models:
        found = in_own_process(measure, model)
        (ours, ours_cpu), (bare, bare_cpu) = (list(zip(*found[who][1:], strict=True)) for who in ("ours", "bare"))
        speeds = [found["images"] / median(values) for values in (ours, bare)]
        more = median(a - b for a, b in zip(ours_cpu, bare_cpu, strict=True))
        ratios = ratio(bare, ours), ratio(bare_cpu, ours_cpu)
        table.rows.append([model, found["precision"], found["images"], *speeds, *ratios, more])
    report("loop", [table])


if __name__ == "__main__":
    main(sys.argv[1:] or list(MODELS))
