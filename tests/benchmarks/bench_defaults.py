"""What the defaults gain on a CPU: images/s of a training step (forward, backward, AdamW) on one thread.

Plain is what a script gets that sets nothing: float32, contiguous images, glibc's malloc as it is, AdamW's default.
The others add, one after the other, what `gender_cls.train` does: channels last (with the fused AdamW), malloc that
keeps its pages, bf16 where the processor multiplies it itself. Each measurement is a process of its own, since malloc
is tuned once in a process; in turn, so that a slow minute of the machine hits all alike. Seconds are of the CPU, which
other work on the machine disturbs less than the time on the clock.
"""

import json
import os
import subprocess
import sys
import time
from functools import partial
from statistics import median

from measuring import Table, in_turn, ratio, report

MODELS = {"custom_cnn": ("custom", 6), "mobilenetv2_100": ("timm", 4), "resnet50": ("timm", 3)}
"""Library, and timed steps."""

SIZES = ((256, 128), (224, 224))
BATCH = 32
VARIANTS = ("plain", "channels last", "+ malloc", "+ bf16")
ROUNDS = 3


def step_seconds(variant: str, name: str, height: int, width: int) -> list[float]:
    """CPU seconds of a step, and the peak of the process in MiB."""
    level = VARIANTS.index(variant)
    if level >= 2:
        from gender_cls.system.memory import keep_freed_memory

        keep_freed_memory()
    import resource

    import torch

    from gender_cls.config.parsing import parse_config, to_plain
    from gender_cls.config.train import Config
    from gender_cls.system.resources import choose_resources
    from gender_cls.training.classifier import GenderClassifier
    from gender_cls.training.optimizer import adamw
    from gender_cls.training.recipe import parameter_groups

    library, steps = MODELS[name]
    settings = {
        "data": {"root": "x", "image_size": [height, width]},
        "model": {"library": library, "name": name, "pretrained": False},
        "trainer": {"channels_last": level >= 1},
    }
    config = parse_config(settings, Config)
    chosen = choose_resources("cpu", "auto" if level >= 3 else "32-true", 1, 0, pixels_at_hand=True).apply()
    torch.manual_seed(0)
    classifier = GenderClassifier(to_plain(config)).train()
    groups = parameter_groups(classifier.network, classifier.heads, config.recipe)
    optimizer = adamw(groups) if level >= 1 else torch.optim.AdamW(groups)
    images = torch.randint(0, 256, (BATCH, 3, height, width), dtype=torch.uint8)
    images = images.contiguous(memory_format=classifier.layout)  # as the loader gives them
    seconds = []
    for _ in range(1 + steps):  # the first warms up
        began = time.process_time()
        with torch.autocast("cpu", torch.bfloat16, enabled=chosen.precision == "bf16-mixed"):
            loss = torch.nn.functional.cross_entropy(classifier(images), torch.arange(BATCH) % 2)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(classifier.network.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        seconds.append(time.process_time() - began)
    return [median(seconds[1:]), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024]


def main() -> None:
    """All models, sizes and variants."""
    from gender_cls.system.resources import multiplies_bf16

    one_thread = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    chosen = sys.argv[1:] or list(MODELS)
    table = Table(
        "Training steps with the defaults, against plain eager float32",
        ["model", "input", *(f"{variant} (img/s)" for variant in VARIANTS), *(f"{one} / plain" for one in VARIANTS[1:]),
         "peak memory, plain (MiB)", "peak memory, defaults (MiB)"],
        note=f"Batches of {BATCH}, one thread, medians of {ROUNDS} rounds. "
        + ("" if multiplies_bf16() else "This processor does not multiply bf16 itself: the last variant is float32."),
    )  # fmt: skip
    for name in chosen:
        for size in SIZES:
            peaks: dict[str, list[float]] = {variant: [] for variant in VARIANTS}

            def measured(variant: str, name: str, size: tuple[int, int], peaks: dict[str, list[float]]) -> float:
                command = [sys.executable, __file__, "step", variant, name, *map(str, size)]
                answer = subprocess.run(command, env=one_thread, check=True, stdout=subprocess.PIPE, text=True).stdout
                seconds, peak = json.loads(answer)
                peaks[variant].append(peak)
                return seconds

            works = {variant: partial(measured, variant, name, size, peaks) for variant in VARIANTS}
            seconds = in_turn(works, ROUNDS)
            table.rows.append([
                name, "x".join(map(str, size)),
                *(BATCH / median(seconds[variant]) for variant in VARIANTS),
                *(ratio(seconds["plain"], seconds[variant]) for variant in VARIANTS[1:]),
                *(round(median(peaks[variant])) for variant in (VARIANTS[0], VARIANTS[-1])),
            ])  # fmt: skip
            print(table.rows[-1], file=sys.stderr, flush=True)
    report("defaults", [table])


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["step", variant, name, height, width]:
            print(json.dumps(step_seconds(variant, name, int(height), int(width))))
        case _:
            main()
