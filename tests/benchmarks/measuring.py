"""Shared by the benchmarks: measuring in turn, drawn crops, small classifiers, and tables that name the machine."""

import inspect
import json
import math
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any, TypeVar

Result = TypeVar("Result")

RESULTS = Path(__file__).parents[2] / "outputs" / "bench"
PACKAGES = ("torch", "torchvision", "pytorch-lightning", "timm", "captum", "pandas", "numpy")


@dataclass
class Table:
    """A table of results, written as Markdown and JSON."""

    title: str
    columns: list[str]  # headings, with units
    rows: list[list[Any]] = field(default_factory=list)  # numbers (shown with three significant digits) or text
    note: str = ""  # how it was measured


def in_turn(works: Mapping[str, Callable[[], Result]], rounds: int) -> dict[str, list[Result]]:
    """One result per round and work, measured A B C, A B C, ..., so that a slow minute of the machine affects all.

    The first round is a warm-up and does not count.
    """
    measured = [{name: work() for name, work in works.items()} for _ in range(1 + rounds)]
    return {name: [one[name] for one in measured[1:]] for name in works}


def cpu_seconds(work: Callable[[], Any]) -> float:
    """CPU seconds of this process, which other work on the machine disturbs less than the clock."""
    began = time.process_time()
    work()
    return time.process_time() - began


def ratio(above: Sequence[float], below: Sequence[float]) -> float:
    """Median over rounds of the ratio within each round."""
    return median(a / b for a, b in zip(above, below, strict=True))


def exponent(sizes: Sequence[int], values: Sequence[float]) -> float:
    """Growth from the second largest to the largest size, as a power of the size: 1 is linear."""
    return math.log(values[-1] / values[-2]) / math.log(sizes[-1] / sizes[-2])


def environment() -> dict[str, str]:
    """The environment of a process that computes on one thread."""
    return {**os.environ, **dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")}


def in_own_process(
    work: Callable[..., Any], *arguments: object, one_thread: bool = True, seconds: float | None = None
) -> Any:
    """Call a function of a benchmark in its own process; return its result, as JSON passes it on.

    Raises:
        subprocess.CalledProcessError: the process failed.
        subprocess.TimeoutExpired: it was ended because it was not done after so many seconds.
    """
    file = Path(inspect.getfile(work)).resolve()
    call = f"print(json.dumps({work.__name__}(*{arguments!r})))"
    code = (
        f"import json, sys; sys.path.insert(0, {str(file.parent)!r}); from {file.stem} import {work.__name__}; {call}"
    )
    process = {"env": environment() if one_thread else None, "stdout": subprocess.PIPE, "text": True}
    done = subprocess.run([sys.executable, "-c", code], check=True, timeout=seconds, **process)
    return json.loads(done.stdout.splitlines()[-1])


def draw_crop(rng: Any, width: int, height: int) -> Any:
    """A Pillow image of soft random colours with some noise, which JPEG compresses about as well as a real crop."""
    import numpy as np
    from PIL import Image

    coarse = Image.fromarray(rng.integers(0, 256, (height // 8 + 1, width // 8 + 1, 3), dtype=np.uint8))
    smooth = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC), dtype=float)
    return Image.fromarray((smooth + rng.normal(0, 6, (height, width, 1))).clip(0, 255).astype(np.uint8))


def draw_folders(root: Path, images: int) -> None:
    """JPEG crops of 60-90 x 150-210 pixels, four of each person: `<LABEL>/p<person>_<number>.jpg`."""
    import numpy as np

    rng = np.random.default_rng(0)
    for number in range(images):
        file = root / ("FEMALE", "MALE")[number // 4 % 2] / f"p{number // 4:05d}_{number}.jpg"
        file.parent.mkdir(parents=True, exist_ok=True)
        draw_crop(rng, int(rng.integers(60, 90)), int(rng.integers(150, 210))).save(file, quality=90)


def random_classifier(name: str, size: Sequence[int], **sections: dict[str, Any]) -> Any:
    """A GenderClassifier with random weights (seed 0), of timm or our own, for images of `size` (height, width)."""
    import torch

    from gender_cls.config.parsing import parse_config, to_plain
    from gender_cls.config.train import Config
    from gender_cls.training.classifier import GenderClassifier

    data = {"root": "x", "image_size": list(size), **sections.pop("data", {})}
    model = {"library": "custom" if name == "custom_cnn" else "timm", "name": name, "pretrained": False}
    torch.manual_seed(0)
    return GenderClassifier(to_plain(parse_config({"data": data, "model": model, **sections}, Config)))


def report(name: str, tables: list[Table]) -> None:
    """Print the tables, and write them to `outputs/bench/<name>.md` and `.json`."""
    tables_text = "\n".join(_markdown(table) for table in tables)
    print(_write(name, tables_text, {"tables": [asdict(table) for table in tables]}), flush=True)


def report_together(results: Mapping[str, Path], seconds: Mapping[str, float], failures: Mapping[str, str]) -> Path:
    """Write one report of several benchmarks, `outputs/bench/bench.md` and `.json`; return the first.

    Args:
        results: the JSON file that `report` wrote, by benchmark.
        seconds: how long each benchmark took.
        failures: the reason, by benchmark that failed.
    """
    texts, benchmarks = [], {}
    for name, file in results.items():
        tables = json.loads(file.read_text())["tables"]
        texts += [f"# {name} ({seconds[name]:.0f} s)", "", *(_markdown(Table(**table)) for table in tables)]
        benchmarks[name] = {"seconds": round(seconds[name], 1), "tables": tables}
    texts += [f"{name} failed: {why}\n" for name, why in failures.items()]
    _write("bench", "\n".join(texts), {"benchmarks": benchmarks, "failures": dict(failures)})
    return RESULTS / "bench.md"


def _write(name: str, text: str, content: Mapping[str, Any]) -> str:
    """Write both files; return the Markdown."""
    where = _where()
    versions = ", ".join(f"{package} {number}" for package, number in where["versions"].items())
    about = f"{where['date']}, commit {where['commit']}: {where['machine']}; {versions}"
    text = f"# {name}\n\n{about}\n\n{text}"
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / f"{name}.md").write_text(text)
    (RESULTS / f"{name}.json").write_text(json.dumps({**where, **content}, indent=2) + "\n")
    return text


def _markdown(table: Table) -> str:
    lines = [table.columns, ["---"] * len(table.columns), *([_cell(value) for value in row] for row in table.rows)]
    return "\n".join([f"## {table.title}", "", *(f"| {' | '.join(line)} |" for line in lines), "", table.note, ""])


def _cell(value: Any) -> str:
    if not isinstance(value, float):
        return f"{value:,}" if isinstance(value, int) else str(value)
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _where() -> dict[str, Any]:
    described = ["git", "describe", "--always", "--dirty"]
    commit = subprocess.run(described, capture_output=True, text=True, cwd=RESULTS.parents[1], check=False)
    model = next((line.split(":")[1].strip() for line in _cpuinfo() if line.startswith("model name")), "")
    return {
        "date": datetime.now().astimezone().date().isoformat(),
        "commit": commit.stdout.strip(),
        "machine": f"{model or platform.processor()}, {os.cpu_count()} CPUs",
        "versions": {"python": platform.python_version(), **{package: version(package) for package in PACKAGES}},
    }


def _cpuinfo() -> list[str]:
    file = Path("/proc/cpuinfo")
    return file.read_text().splitlines() if file.exists() else []
