"""What the defaults gain on a CPU: images/s of a training step (forward, backward, AdamW) on one thread.

Plain is a script that sets nothing: float32, contiguous images, glibc's malloc unchanged, AdamW's defaults. The other
variants add, one after the other, what `gender_cls.train` does: channels last (with the fused AdamW), malloc that keeps
freed pages, bf16 where the processor has instructions for it. Each measurement runs in its own process, because malloc
can be tuned only once per process. Seconds are CPU seconds.
"""

import sys
from functools import partial
from itertools import product
from statistics import median

from measuring import Table, cpu_seconds, in_own_process, in_turn, random_classifier, ratio, report

STEPS = {"custom_cnn": 6, "mobilenetv2_100": 4, "resnet50": 3}
"""Number of timed steps, by model."""

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

    chosen = choose_resources("cpu", "auto" if level >= 3 else "32-true", 1, 0, pixels_at_hand=True).apply()
    classifier = random_classifier(name, (height, width), trainer={"channels_last": level >= 1}).train()
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
    seconds = [cpu_seconds(step) for _ in range(STEPS[name])]
    return [median(seconds), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024]


def main() -> None:
    """All models, sizes and variants."""
    from gender_cls.system.resources import multiplies_bf16

    columns = ["model", "input", *(f"{variant} (img/s)" for variant in VARIANTS)]
    columns += [*(f"{one} / plain" for one in VARIANTS[1:]), "peak memory, plain (MiB)", "peak memory, defaults (MiB)"]
    table = Table("Training steps with the defaults, against plain eager float32", columns)
    table.note = f"Batches of {BATCH}, one thread, medians of {ROUNDS} rounds."
    if not multiplies_bf16():
        table.note += " This processor has no instructions for bf16: the last variant is float32."
    for name, size in product(sys.argv[1:] or STEPS, SIZES):
        works = {variant: partial(in_own_process, step_seconds, variant, name, *size) for variant in VARIANTS}
        measured = in_turn(works, ROUNDS)
        seconds = {variant: [one for one, _ in values] for variant, values in measured.items()}
        peaks = {variant: median(peak for _, peak in values) for variant, values in measured.items()}
        speeds = [BATCH / median(seconds[variant]) for variant in VARIANTS]
        gains = [ratio(seconds["plain"], seconds[variant]) for variant in VARIANTS[1:]]
        extremes = [round(peaks[variant]) for variant in (VARIANTS[0], VARIANTS[-1])]
        table.rows.append([name, "x".join(map(str, size)), *speeds, *gains, *extremes])
        print(table.rows[-1], file=sys.stderr, flush=True)
    report("defaults", [table])


if __name__ == "__main__":
    main()
