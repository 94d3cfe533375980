"""One small member of every family of timm and torchvision, through everything that a run does with it.

The lists come from the libraries, so a new family is tried as soon as they have it. Random weights; small images where
the family takes them, else those that it was made for; large members with few layers. The column 256x128 says whether
it builds for the default size. Each family has a process, 4.5 GiB and five minutes. Half an hour on one core. Name
families to try only those: `python tests/benchmarks/bench_families.py levit tiny_vit`.
"""

import math
import multiprocessing
import resource
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from measuring import Table, report

sys.path.insert(0, str(Path(__file__).parents[1]))  # for tests/helpers

SMALL_SIZES = ((64, 64), (128, 128))
LARGE = 15_000_000  # parameters
LIMIT = 300  # seconds
MEMORY = 9 << 29  # bytes
FAMILIES_OF_TORCHVISION = (
    "alexnet", "convnext", "densenet", "efficientnet", "efficientnet_v2", "googlenet", "inception", "maxvit", "mnasnet",
    "mobilenet_v2", "mobilenet_v3", "regnet_x", "regnet_y", "resnet", "resnext", "shufflenet", "squeezenet", "swin",
    "swin_v2", "vgg", "vit", "wide_resnet",
)  # fmt: skip
"""How the names of a family begin; the longest that fits counts."""


def families() -> dict[tuple[str, str], list[str]]:
    """The names of the models by library and family; timm's own models for tests are no family's."""
    import timm
    import torchvision.models

    found = {}
    for module in timm.list_modules():
        names = timm.list_models(module=module)
        found["timm", module] = [name for name in names if not name.startswith("test_")] or names
    for name in torchvision.models.list_models(module=torchvision.models):
        family = max((one for one in FAMILIES_OF_TORCHVISION if name.startswith(one)), key=len, default=name)
        found.setdefault(("torchvision", family), []).append(name)
    return found


def smallest(library: str, names: list[str]) -> tuple[str, dict[str, Any]]:
    """The member with the fewest parameters, and options that make it shallow where it is large."""
    sizes = {name: size for name in names if (size := parameters(library, name)) is not None}
    if not sizes:
        return names[0], {}
    name = min(sizes, key=lambda name: sizes[name])
    if sizes[name] > LARGE:
        for options in ({"depth": 2}, {"depths": [1, 1, 1, 1]}, {"layers": [1, 1, 1, 1]}):
            if (parameters(library, name, **options) or math.inf) < sizes[name]:
                return name, options
    return name, {}


def parameters(library: str, name: str, **options: Any) -> int | None:
    """How many parameters a model has, from a network without data; None if it cannot be built so."""
    import timm
    import torch
    import torchvision.models

    if library == "torchvision" and not options:
        return torchvision.models.get_model_weights(name).DEFAULT.meta["num_params"]
    build: Any = timm.create_model if library == "timm" else torchvision.models.get_model
    with torch.device("meta"), warnings.catch_warnings(action="ignore"):
        try:
            return sum(weight.numel() for weight in build(name, num_classes=2, **options).parameters())
        except Exception:  # of any kind, in foreign code
            return None


def published_size(library: str, name: str) -> tuple[int, int]:
    """The image size that the model's weights were made for."""
    import timm
    import torchvision.models

    if library == "timm":
        source = timm.models.get_pretrained_cfg(name)
        return (224, 224) if source is None else (source.input_size[1], source.input_size[2])
    [side] = torchvision.models.get_model_weights(name).DEFAULT.transforms().crop_size
    return side, side


def attempt(answers: Connection, library: str, names: list[str]) -> None:
    """Send (step, what came out) for each step, as soon as it is known."""
    import torch
    from helpers.family_walk import walk

    from gender_cls.config.model import Library, ModelConfig
    from gender_cls.errors import GenderClsError, one_line
    from gender_cls.models.backbones import build_backbone
    from gender_cls.system.resources import silence_lightning

    torch.set_num_threads(1)
    silence_lightning()
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
    warnings.simplefilter("ignore")

    def outcome_of(work: Callable[[], object]) -> str:
        try:
            work()
        except Exception as error:
            return f"{'refused' if isinstance(error, GenderClsError) else type(error).__name__}: {one_line(error)}"
        return "ok"

    name, options = smallest(library, names)
    answers.send(("name", f"{name} {options or ''}".strip()))
    config = ModelConfig(Library[library], name, pretrained=False, options=options)
    with torch.device("meta"):
        answers.send(("256x128", outcome_of(lambda: build_backbone(config, (256, 128), load=False))))
    for size in dict.fromkeys([*SMALL_SIZES, published_size(library, name)]):
        with tempfile.TemporaryDirectory() as folder:
            for step, work in walk(library, name, size, Path(folder), **options):
                outcome = outcome_of(work)
                if step == "build" and outcome != "ok" and size != published_size(library, name):
                    break  # some families need larger images
                answers.send(("size", f"{size[0]}x{size[1]}"))
                answers.send((step, outcome))
                if step in ("build", "train", "load") and outcome != "ok":  # the others need it
                    return
            else:
                return


def outcomes(library: str, names: list[str]) -> Iterator[tuple[str, str]]:
    """What `attempt` sends; its process is ended after LIMIT seconds."""
    ours, theirs = multiprocessing.get_context("fork").Pipe(duplex=False)
    process = multiprocessing.get_context("fork").Process(target=attempt, args=(theirs, library, names))
    process.start()
    theirs.close()
    ends = time.monotonic() + LIMIT
    try:
        while ours.poll(max(0.0, ends - time.monotonic())):
            yield ours.recv()
        yield "end", f"more than {LIMIT} s"
    except EOFError:
        process.join()
        if process.exitcode:
            yield "end", f"exit code {process.exitcode}"
    finally:
        process.kill()
        process.join()


def main(wanted: list[str]) -> None:
    """A row for each family."""
    import timm  # noqa: F401  # once, before the processes are forked
    import torch
    from helpers.family_walk import STEPS

    torch.set_num_threads(1)
    table = Table("Families", ["library", "family", "model", "256x128", "size", "s", *STEPS, "what failed"])
    for (library, family), names in families().items():
        if wanted and family not in wanted:
            continue
        began, row, remarks = time.monotonic(), dict.fromkeys(("name", "256x128", "size", *STEPS), "-"), []
        for step, outcome in outcomes(library, names):
            if step in ("name", "size"):
                row[step] = outcome
            elif outcome == "ok":
                row[step] = "ok"
            else:
                row[step] = outcome.partition(":")[0]
                remarks.append(f"{step}: {outcome}")
        cells: list[Any] = [
            row["name"],
            row["256x128"],
            row["size"],
            f"{time.monotonic() - began:.0f}",
            *(row[step] for step in STEPS),
        ]
        table.rows.append([library, family, *cells, "; ".join(remarks).replace("|", "\\|")])
        print(*table.rows[-1], flush=True)
    right = sum(all(cell == "ok" for cell in row[6 : 6 + len(STEPS)]) for row in table.rows)
    table.note = f"{right} of {len(table.rows)} families pass all steps."
    report("families", [table])


if __name__ == "__main__":
    main(sys.argv[1:])
