"""What the defaults gain on a CPU: images/s of a training step (forward, backward, AdamW) on one thread.

Plain is a script that sets nothing: float32, contiguous images, glibc's malloc unchanged, AdamW's defaults. The other
variants add, one after the other, what `gender_cls.train` does: channels last (with the fused AdamW), malloc that keeps
freed pages, bf16 where the processor has instructions for it. Each measurement runs in its own process, because malloc
can be tuned only once per process. Seconds are CPU seconds.
"""

import json
import sys
from functools import partial
from statistics import median

from measuring import Table, apart, cpu_seconds, in_turn, random_classifier, ratio, report

MODELS = {"custom_cnn": ("custom", 6), "mobilenetv2_100": ("timm", 4), "resnet50": ("timm", 3)}
"""Library and number of timed steps."""

SIZES = ((256, 128), (224, 224))
BATCH = 32
VARIANTS = ("plain", "channels last", "+ malloc", "+ bf16")
ROUNDS = 3


def step_seconds(variant: str, name: str, height: int, width: int) -> list[float]:
    """CPU seconds of a step, and the peak memory of the process in MiB."""
    level = VARIANTS.index(variant)
    if level >= 2:
        from gender_cls.system.memory import keep_freed_memory

        keep_freed_memory()
    import resource

    import torch

    from gender_cls.system.resources import choose_resources
    from gender_cls.training.optimizer import adamw
    from gender_cls.training.recipe import parameter_groups

    library, steps = MODELS[name]
    chosen = choose_resources("cpu", "auto" if level >= 3 else "32-true", 1, 0, pixels_at_hand=True).apply()
    classifier = random_classifier(library, name, (height, width), trainer={"channels_last": level >= 1}).train()
    groups = parameter_groups(classifier.network, classifier.heads, classifier.settings.recipe)
    optimizer = adamw(groups) if level >= 1 else torch.optim.AdamW(groups)
    images = torch.randint(0, 256, (BATCH, 3, height, width), dtype=torch.uint8)
    images = images.contiguous(memory_format=classifier.layout)

    def step() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=chosen.precision == "bf16-mixed"):
            loss = torch.nn.functional.cross_entropy(classifier(images), torch.arange(BATCH) % 2)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(classifier.network.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()

    step()  # a warm-up
    seconds = [cpu_seconds(step) for _ in range(steps)]
    return [median(seconds), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024]


def main() -> None:
    """All models, sizes and variants."""
    from gender_cls.system.resources import multiplies_bf16

    chosen = sys.argv[1:] or list(MODELS)
    table = Table(
        "Training steps with the defaults, against plain eager float32",
        ["model", "input", *(f"{variant} (img/s)" for variant in VARIANTS), *(f"{one} / plain" for one in VARIANTS[1:]),
         "peak memory, plain (MiB)", "peak memory, defaults (MiB)"],
        note=f"Batches of {BATCH}, one thread, medians of {ROUNDS} rounds. "
        + ("" if multiplies_bf16() else "This processor has no instructions for bf16: the last variant is float32."),
    )  # fmt: skip
    for name in chosen:
        for size in SIZES:
            peaks: dict[str, list[float]] = {variant: [] for variant in VARIANTS}

            def measured(variant: str, name: str, size: tuple[int, int], peaks: dict[str, list[float]]) -> float:
                seconds, peak = apart(__file__, "step", variant, name, *size)
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
