"""Training steps against a bare PyTorch loop and against the device's peak, on images made in memory.

    python tests/benchmarks/bench_device.py                  on a GPU all four models, on a CPU the two small ones
    python tests/benchmarks/bench_device.py resnet152 ...    only these models

`ours` is Lightning with the classifier, its metrics, TensorBoard and the progress bar. `bare` is the same network in a
short loop with the same precision, layout, batch, augmentation (on a GPU), optimizer and clipping. Both run in turn in
one process. FLOPs are three times those of a forward pass. MFU is their share of the device's peak: the maker's number
for dense bf16, or the rate of a large matrix product where that number is not known or another precision is used.
`Whole trainings` are `python -m gender_cls.train` on drawn crops, on one device and on all (`trainer.devices=auto`).

On a GPU it ends within MINUTES: the most important rows come first, the file is written after each of them, and no row
begins that would not be done in time. In the order of a session on a GPU:

1. (3 min) `pytest tests/test_cuda.py`: the code runs.
2. (10 min) `bench_device.py`. Expected: ours / bare >= 0.95 with large batches, and at most 0.6 waits per step. With 32
   images a step of the custom CNN takes 2-4 ms, and Lightning's own 0.5-1 ms shows: the ratio may fall to 0.7-0.8. This
   decides whether `data.batch_size` should be larger by default on a GPU. If there are more waits, find them first with
   `torch.cuda.set_sync_debug_mode("error")`, because they distort all other numbers. MFU about 5 % (MobileNetV2:
   depthwise convolutions wait for memory), 20-30 % (ResNet152) and 35-50 % (ConvNeXt). A much lower MFU means that
   bf16, channels last or the fused optimizer is not in use. The `compile` rows decide the default of `trainer.compile`:
   on where the first step takes less than 10 % of 20 epochs of 10,000 images with 10 % gain.

With more time:

3. (5 min) `python -m gender_cls.train -m data=demo model=mobilenetv2 model.pretrained=false data.num_workers=1,4,8,15`
   after `python -m gender_cls.demo images=4000`: compare speed/train_images_per_second with step 2. The smallest number
   of workers that reaches 95 % of it becomes the rule in `system/resources.py`. If not even 8 do, JPEG in the loader is
   the cost (try augment.jpeg=0).
4. (3 min) The same run with explain=off: the difference in time is what explanations cost. Above 5 %, drawing should
   move out of the training process.
5. (2 min) The same run with accelerator=cpu for two epochs and the seed of step 3: the losses agree as far as seeds do.
"""

import json
import math
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from statistics import median
from typing import Any

from measuring import Table, in_own_process, in_turn, random_classifier, ratio, report

MODELS = {
    "custom_cnn": ("custom_cnn", 512),
    "mobilenetv2": ("mobilenetv2_100", 256),
    "resnet152": ("resnet152", 128),
    "convnext_xlarge": ("convnext_xlarge", 64),
}
"""The library's name, and a batch that keeps a large GPU busy and fits into its memory."""

SIZES = ((256, 128), (224, 224))
DEFAULT_BATCH = 32
GPU_STEPS, GPU_ROUNDS = 60, 3
CPU_MODELS, CPU_BATCH, CPU_STEPS, CPU_ROUNDS = ("custom_cnn", "mobilenetv2"), 8, 3, 2
WARM_UP = 3  # steps of each run before the clock starts
MINUTES = 9.5  # on a GPU, for everything
LONGEST_ROW, SHORTEST_ROW = 150.0, 30.0  # seconds
WHOLE = {True: ("mobilenetv2", 2000, 4), False: ("custom_cnn", 96, 2)}
"""Model, images and epochs of a whole training, on a GPU and on a CPU."""

PEAKS = {
    "B200": 2250, "H200": 989, "H100 PCIe": 756, "H100 NVL": 835, "H100": 989, "A100": 312, "A10G": 70, "A40": 150,
    "L40S": 362, "L4": 121, "RTX 4090": 165, "RTX 3090": 71,
}  # fmt: skip
"""10^12 dense bf16 operations per second, from the makers' data sheets; the first name found in the device's counts."""
FP16_PEAKS = {"V100": 125, "T4": 65}  # these do not multiply bf16

AUGMENT = {"flip": 0.5, "affine": 0.5, "rotate_degrees": 7.0, "translate": 0.05, "zoom": 0.1, "brightness": 0.3}
AUGMENT |= {"contrast": 0.3, "saturation": 0.3, "low_resolution": 0.3, "blur": 0.2, "grey": 0.1}


def measure(model: str, height: int, width: int, batch: int, compiled: bool, steps: int, rounds: int) -> dict[str, Any]:
    """Medians of one setting."""
    import torch

    from gender_cls.data.augmentation import Augmentation
    from gender_cls.models.cost import count_flops
    from gender_cls.system.resources import choose_resources

    resources = choose_resources("auto", "auto", "auto", 0, pixels_at_hand=True).apply()
    device = torch.device(resources.device)
    name, _ = MODELS[model]
    classifier = random_classifier(name, (height, width), augment=AUGMENT).to(device)
    if device.type != "cpu":
        classifier.augmentation = Augmentation(classifier.settings.augment)
    if compiled:
        classifier.network.compile()
    images = torch.randint(0, 256, (batch, 3, height, width), dtype=torch.uint8)
    labels = torch.arange(batch) % 2
    if device.type == "cuda":
        images, labels = images.pin_memory(), labels.pin_memory()
        torch.backends.cudnn.benchmark = True
    data = _Repeated((images, labels), WARM_UP + steps)

    def wait() -> None:
        if device.type != "cpu":
            torch.accelerator.synchronize(device)

    began = time.perf_counter()
    _bare(classifier, _Repeated((images, labels), 1), device, resources.precision, wait)
    first_step = time.perf_counter() - began
    with tempfile.TemporaryDirectory() as folder:
        works: dict[str, Callable[[], float]] = {
            "ours": lambda: batch * steps / _ours(classifier, data, resources.precision, folder, wait),
            "bare": lambda: batch * steps / _bare(classifier, data, device, resources.precision, wait),
        }
        speeds = in_turn(works, rounds)
        waits = _waits(lambda watch: _ours(classifier, data, resources.precision, folder, wait, watch)) / steps
    flops = 3 * (count_flops(classifier.network, classifier.image_size, name) or 0)
    peak = _peak(device, resources.precision)
    return {
        "precision": resources.precision,
        "ours": median(speeds["ours"]),
        "bare": median(speeds["bare"]),
        "ratio": ratio(speeds["ours"], speeds["bare"]),
        "waits": waits if device.type == "cuda" else "-",
        "teraflops": median(speeds["ours"]) * flops / 1e12,
        "mfu": 100 * median(speeds["ours"]) * flops / 1e12 / peak,
        "peak": peak,
        "first_step": first_step,
        "memory": torch.cuda.max_memory_allocated() / 2**30 if device.type == "cuda" else "-",
        "device": torch.cuda.get_device_name() if device.type == "cuda" else device.type,
    }


class _Repeated:
    """A loader that costs nothing: the same batch every time."""

    def __init__(self, batch: Any, times: int) -> None:
        self.batch, self.times = batch, times

    def __len__(self) -> int:
        return self.times

    def __iter__(self) -> Iterator[Any]:
        return (self.batch for _ in range(self.times))


def _ours(
    classifier: Any,
    data: _Repeated,
    precision: str,
    folder: str,
    wait: Callable[[], None],
    watch: Callable[[str], None] = lambda _: None,
) -> float:
    """Seconds of an epoch after its warm-up; `watch` hears `warn` when the clock starts and `default` at the end."""
    from pytorch_lightning import Callback, Trainer
    from pytorch_lightning.callbacks import TQDMProgressBar
    from pytorch_lightning.loggers import TensorBoardLogger

    class Clock(Callback):
        def on_train_batch_start(self, trainer: Any, module: Any, batch: Any, index: int) -> None:
            if index == WARM_UP:
                wait()
                self.began = time.perf_counter()
                watch("warn")

        def on_train_batch_end(self, trainer: Any, module: Any, outputs: Any, batch: Any, index: int) -> None:
            if index == len(data) - 1:
                watch("default")
                wait()
                self.seconds = time.perf_counter() - self.began

    clock = Clock()
    on_gpu = classifier.device.type != "cpu"
    trainer = Trainer(
        logger=TensorBoardLogger(folder, name="", version=""),
        callbacks=[clock, TQDMProgressBar(refresh_rate=10 if on_gpu else 1)],
        max_epochs=1,
        precision=precision,  # type: ignore[arg-type]  # one of the names that Lightning lists
        devices=1,
        benchmark=True if classifier.device.type == "cuda" else None,
        gradient_clip_val=1.0,
        log_every_n_steps=min(10, len(data)),
        limit_val_batches=0,
        enable_checkpointing=False,
        enable_model_summary=False,
    )
    device = classifier.device
    trainer.fit(classifier, data)
    classifier.to(device)  # Lightning moves it to the CPU after fit
    return clock.seconds


def _bare(classifier: Any, data: _Repeated, device: Any, precision: str, wait: Callable[[], None]) -> float:
    """Seconds of the same steps without Lightning."""
    import torch

    network = classifier.network.train()
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3, fused=device.type == "cuda")
    mixed = precision.endswith("-mixed")
    began = time.perf_counter()
    for index, (images, labels) in enumerate(data):
        if index == WARM_UP:
            wait()
            began = time.perf_counter()
        images, labels = images.to(device, non_blocking=True), labels.to(device, non_blocking=True)
        with torch.autocast(device.type, torch.bfloat16 if mixed else None, enabled=mixed):
            if classifier.augmentation is not None:
                images = classifier.augmentation(images)
            loss = torch.nn.functional.cross_entropy(network(classifier.normalise(images)), labels)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
    wait()
    return time.perf_counter() - began


def _waits(work: Callable[[Callable[[str], None]], float]) -> int:
    """How often the program waits for the GPU between `warn` and `default`."""
    import torch

    if not torch.cuda.is_available():
        return 0
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        work(torch.cuda.set_sync_debug_mode)
    return sum("synchronizing" in str(warning.message) for warning in caught)


def _peak(device: Any, precision: str) -> float:
    """Peak of the device in 10^12 operations per second."""
    import torch

    mixed = precision.startswith("bf16")
    if device.type == "cuda" and (mixed or precision.startswith("16")):
        name = torch.cuda.get_device_name(device)
        for part, peak in (PEAKS if mixed else {**PEAKS, **FP16_PEAKS}).items():
            if part in name:
                return float(peak)
    side = 8192 if device.type == "cuda" else 1024
    matrix = torch.randn(side, side, device=device, dtype=torch.bfloat16 if mixed else torch.float32)
    seconds = []
    for _ in range(6):
        began = time.perf_counter()
        matrix @ matrix
        if device.type != "cpu":
            torch.accelerator.synchronize(device)
        seconds.append(time.perf_counter() - began)
    return 2 * side**3 / min(seconds) / 1e12


def settings(models: list[str], *, on_gpu: bool) -> list[tuple[str, tuple[int, int], int, bool]]:
    """Model, size, batch and whether it is compiled, for each row; the most important ones first."""
    if not on_gpu:
        return [(model, size, CPU_BATCH, False) for model, size in product(models, SIZES)]
    first, second = SIZES
    large = {model: MODELS[model][1] for model in models}
    usual = [(DEFAULT_BATCH, False), *((0, compiled) for compiled in (False, True))]
    rows = [(model, first, batch or large[model], compiled) for model in models for batch, compiled in usual]
    return rows + [(model, second, large[model], compiled) for model in models for compiled in (False, True)]


def train_whole(devices: str, model: str, images: int, epochs: int, seconds: float | None) -> list[float]:
    """A training with `trainer.devices` on drawn crops: how many train, images/s in the last epoch, seconds in all."""
    with tempfile.TemporaryDirectory() as folder:

        def python(*arguments: str) -> float:
            began = time.perf_counter()
            subprocess.run([sys.executable, "-m", *arguments], cwd=folder, check=True, timeout=seconds)
            return time.perf_counter() - began

        python("gender_cls.demo", f"images={images}")
        options = ["data=demo", f"model={model}", "model.pretrained=false", "recipe=scratch", "explain=off", "name=run"]
        options += [f"trainer.max_epochs={epochs}", f"trainer.devices={devices}", "evaluation.test=false"]
        options.append("trainer.progress_bar=false")
        taken, run = python("gender_cls.train", *options), Path(folder) / "outputs" / "runs" / "run"
        names, *_, last = (line.split(",") for line in (run / "epochs.csv").read_text().splitlines())
        used = json.loads((run / "status.json").read_text())["batch"]["ranks"]
    return [used, float(last[names.index("speed_train_images_per_second")]), taken]


def main(models: list[str]) -> None:
    """All rows, each in its own process; one that fails or takes too long leaves a row that says so."""
    import torch

    on_gpu = torch.cuda.is_available()
    end = time.monotonic() + 60 * MINUTES if on_gpu else math.inf

    def left() -> float | None:
        """Seconds for the next row; None: any."""
        return min(LONGEST_ROW, end - time.monotonic()) if on_gpu else None

    wholes = Table("Whole trainings", ["trainer.devices", "devices", "images/s in the last epoch", "seconds in all"])
    wholes.note = f"{WHOLE[on_gpu][0]} on {WHOLE[on_gpu][1]:,} drawn crops, {WHOLE[on_gpu][2]} epochs, untested."
    columns = ["model", "input", "batch", "compile", "ours (img/s)", "bare (img/s)", "ours / bare", "waits per step"]
    table = Table("Training steps", [*columns, "TFLOP/s", "MFU (%)", "first step (s)", "memory (GiB)"])
    for devices in ("1", "auto"):
        try:
            wholes.rows.append([devices, *train_whole(devices, *WHOLE[on_gpu], left())])
        except subprocess.SubprocessError as error:
            wholes.rows.append([devices, *[_why(error)] * 3])
        report("device", [wholes])
    steps, rounds = (GPU_STEPS, GPU_ROUNDS) if on_gpu else (CPU_STEPS, CPU_ROUNDS)
    for model, size, batch, compiled in settings(models or [*(MODELS if on_gpu else CPU_MODELS)], on_gpu=on_gpu):
        if (seconds := left()) is not None and seconds < SHORTEST_ROW:
            break
        row = [model, "x".join(map(str, size)), batch, "on" if compiled else "off"]
        arguments = (model, *size, batch, compiled, steps, rounds)
        try:
            result = in_own_process(measure, *arguments, one_thread=False, seconds=seconds)
        except subprocess.SubprocessError as error:
            table.rows.append([*row, *[_why(error)] * 8])
        else:
            keys = ("ours", "bare", "ratio", "waits", "teraflops", "mfu", "first_step", "memory")
            table.rows.append([*row, *(result[key] for key in keys)])
            table.note = (
                f"On {result['device']} in {result['precision']}, {steps} steps per round, {rounds} rounds; "
                f"peak {result['peak']:.3g} TFLOP/s."
            )
        report("device", [wholes, table])  # after each row, so that nothing is lost
    print(f"kept in {Path('outputs/bench/device.md')}")


def _why(error: subprocess.SubprocessError) -> str:
    return "too long" if isinstance(error, subprocess.TimeoutExpired) else "failed"


if __name__ == "__main__":
    main(sys.argv[1:])
