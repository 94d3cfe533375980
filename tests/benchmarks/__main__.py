"""Run the benchmarks one after the other, each in its own process: `make bench`.

`make bench BENCH="bench_start bench_pixels"` runs some of them. When one fails, the others still run. All tables are
collected in `outputs/bench/bench.md` and `bench.json`.
"""

import argparse
import subprocess
import sys
import time
from pathlib import Path

import measuring

HERE = Path(__file__).parent
ORDER = (
    "bench_start", "bench_pixels", "bench_loop", "bench_defaults", "bench_inference", "bench_export", "bench_predict",
    "bench_frozen", "bench_memory", "bench_device", "bench_explain", "bench_growth", "bench_alternatives",
)  # fmt: skip
"""The quick ones first; all others follow by name."""


def benchmarks(folder: Path = HERE) -> list[Path]:
    """All benchmarks, in the order in which they run."""
    place = {name: number for number, name in enumerate(ORDER)}
    return sorted(folder.glob("bench_*.py"), key=lambda file: (place.get(file.stem, len(ORDER)), file.stem))


def run_all(files: list[Path]) -> int:
    """Run them, write the common report, and return the exit code: 1 when one has failed."""
    results: dict[str, Path] = {}
    seconds: dict[str, float] = {}
    failures: dict[str, str] = {}
    for file in files:
        print(f"{file.stem} ...", file=sys.stderr, flush=True)
        before = _written()
        began = time.monotonic()
        why = _run(file)
        seconds[file.stem] = time.monotonic() - began
        new = [result for result, stamp in _written().items() if before.get(result) != stamp]
        if why is None and len(new) != 1:
            why = "It ended without a report." if not new else f"It wrote {len(new)} reports, not one."
        if why is None:
            results[file.stem] = new[0]
        else:
            failures[file.stem] = why
    where = measuring.report_together(results, seconds, failures)
    for name, why in failures.items():
        print(f"{name} failed: {why}", file=sys.stderr)
    print(f"All tables: {where}")
    return int(bool(failures))


def _written() -> dict[Path, int]:
    """The reports and when each was written."""
    return {file: file.stat().st_mtime_ns for file in measuring.RESULTS.glob("*.json")}


def _run(file: Path) -> str | None:
    """None on success, else the last line of stderr; all of stderr is passed on."""
    last = ""
    with subprocess.Popen([sys.executable, str(file)], stderr=subprocess.PIPE, text=True, errors="replace") as process:
        assert process.stderr is not None
        for line in process.stderr:
            sys.stderr.write(line)
            last = line.strip() or last
    return None if process.returncode == 0 else f"{last or 'It said nothing'} (exit code {process.returncode})"


def main() -> None:
    """Run the named benchmarks, or all."""
    known = {file.stem: file for file in benchmarks()}
    parser = argparse.ArgumentParser("tests/benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(known)}; all if none is named")
    names = parser.parse_args().names
    strange = [name for name in names if name not in known]
    if strange:
        parser.error(f"There is no {', '.join(strange)}: there are {', '.join(known)}.")
    sys.exit(run_all([known[name] for name in names] or list(known.values())))


if __name__ == "__main__":
    main()
