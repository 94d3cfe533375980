"""What the benchmarks share: works measured in turn, and tables that say where and with what they were measured."""

import json
import math
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
RESULTS = Path(__file__).parents[2] / "outputs" / "bench"
PACKAGES = ("torch", "torchvision", "pytorch-lightning", "timm", "captum", "pandas", "numpy")


@dataclass
class Table:
    """A Markdown table in the making.

    Attributes:
        title: what was measured, in a line.
        columns: headings, with units.
        rows: numbers (shown with three digits that count) or text.
        note: how it was measured.
    """

    title: str
    columns: list[str]
    rows: list[list[Any]] = field(default_factory=list)
    note: str = ""


def in_turn(works: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """Each work's numbers, one a round: A B C, A B C, ..., so that a slow minute of the machine hits all alike.

    A first round warms up and is thrown away.
    """
    measured = [{name: work() for name, work in works.items()} for _ in range(1 + rounds)]
    return {name: [one[name] for one in measured[1:]] for name in works}


def ratio(above: list[float], below: list[float]) -> float:
    """The median over rounds of the ratio within a round."""
    return median(a / b for a, b in zip(above, below, strict=True))


def exponent(sizes: Sequence[int], values: Sequence[float]) -> float:
    """The power of the size by which the last value grows from the one before it: 1 is linear."""
    return math.log(values[-1] / values[-2]) / math.log(sizes[-1] / sizes[-2])


def apart(file: str, *arguments: object) -> Any:
    """What the Python file prints as its last line, in JSON; run in a process of its own, on one thread."""
    command = [sys.executable, file, *map(str, arguments)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env={**os.environ, **ONE_THREAD})
    return json.loads(done.stdout.splitlines()[-1])


def report(name: str, tables: list[Table]) -> None:
    """Print the tables, and keep them as `outputs/bench/<name>.md` and `.json`."""
    tables_text = "\n".join(_markdown(table) for table in tables)
    print(_write(name, tables_text, {"tables": [asdict(table) for table in tables]}), flush=True)


def report_together(results: Mapping[str, Path], seconds: Mapping[str, float], failures: Mapping[str, str]) -> Path:
    """One report of several benchmarks: `outputs/bench/bench.md` and `.json`. Returns the first.

    Args:
        results: of each benchmark, in order, the JSON file that `report` wrote.
        seconds: that each benchmark took.
        failures: of each benchmark that failed, why.
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
    """Leave both files, and return what the Markdown one holds."""
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
