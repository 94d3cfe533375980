"""Peak memory and CPU seconds of a training step. Every variant runs in its own process.

A step is `accumulate` forward and backward passes and one step of AdamW, at 256x128, from random weights. A step with
one image comes first and allocates AdamW's moments. The peak is what training adds to a process that has imported
everything: weights, gradients, moments, activations.

Name models to measure only those: `python tests/benchmarks/bench_memory.py resnet152`. ConvNeXt-XLarge needs up to
13 GiB and ten minutes or more; it is left out where less memory is free. A processor without instructions for bf16
takes hours over it, so the variants in bf16 are left out there.
"""

import subprocess
import sys
import time

from measuring import Table, in_own_process, report

from gender_cls.system.memory import GIBIBYTE, available_memory
from gender_cls.system.resources import multiplies_bf16

NEEDED = {"convnext_xlarge": 15 * GIBIBYTE}  # free at the start of each variant
VARIANTS = {  # precision, grad_checkpointing, batch, accumulate
    "mobilenetv2_100": [
        ("32-true", False, 32, 1),
        ("32-true", True, 32, 1),
        ("32-true", False, 8, 4),
        ("bf16-mixed", False, 32, 1),
        ("bf16-mixed", True, 32, 1),
    ],
    "resnet152": [
        ("32-true", False, 16, 1),
        ("32-true", True, 16, 1),
        ("32-true", False, 4, 4),
        ("bf16-mixed", False, 16, 1),
        ("bf16-mixed", True, 16, 1),
    ],
    "convnext_xlarge": [
        ("32-true", False, 16, 1),
        ("32-true", False, 4, 4),
        ("32-true", True, 16, 1),
        ("bf16-mixed", False, 16, 1),
        ("bf16-mixed", True, 16, 1),
        ("bf16-mixed", False, 4, 4),
        ("bf16-true", True, 16, 1),
    ],
}


def measure(name: str, precision: str, checkpointing: bool, batch: int, accumulate: int) -> tuple[int, float]:
    """Return bytes and seconds of one variant."""
    from gender_cls.config.parsing import parse_config
    from gender_cls.config.train import Config
    from gender_cls.system.memory import keep_freed_memory, peak_memory, resident_memory, restart_peak
    from gender_cls.system.resources import silence_lightning
    from gender_cls.training.auto_batch_size import TrialTraining

    silence_lightning()
    keep_freed_memory()
    sections = {"model": {"name": name, "pretrained": False}, "recipe": {"grad_checkpointing": checkpointing}}
    config = parse_config({"data": {"root": "x"}, **sections}, Config)
    before = resident_memory() or 0
    restart_peak("cpu")
    training = TrialTraining(config, precision, "cpu")
    training.step(1)
    began = time.process_time()
    for _ in range(accumulate - 1):
        training.backward(batch)
    training.step(batch)
    return (peak_memory("cpu") or 0) - before, time.process_time() - began


def main(names: list[str]) -> None:
    """All variants of these models, one after the other."""
    table = Table(
        "Memory and time of a training step, 256x128, random weights",
        ["model", "precision", "grad_checkpointing", "batch", "accumulate", "peak (GiB)", "CPU s a step"],
        note="Peak: what the process takes beyond its imports. One process per variant, one after the other.",
    )
    emulated = not multiplies_bf16()
    if emulated:
        table.note += " This processor has no instructions for bf16: those variants are left out."
    for name in names:
        for variant in VARIANTS[name]:
            if emulated and variant[0].startswith("bf16"):
                continue
            if (available_memory() or 0) < NEEDED.get(name, 0):
                print(f"{name} {variant}: left out, too little memory is free.", flush=True)
                continue
            try:
                peak, seconds = in_own_process(measure, name, *variant, one_thread=False)
                cells: list[str | float] = [peak / GIBIBYTE, seconds]
            except subprocess.CalledProcessError as error:
                cells = [f"failed ({error.returncode})", "-"]
            table.rows.append([name, *variant, *cells])
            print(table.rows[-1], flush=True)
    report("memory", [table])


if __name__ == "__main__":
    main(sys.argv[1:] or list(VARIANTS))
