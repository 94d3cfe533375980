"""How time and memory of the table part grow from 10^3 to 10^6 images; `make bench` runs it.

Every size runs in a process of its own, on one thread. The pictures are simulated: a CSV file names them, and the
database of facts holds hashes drawn at random, with near duplicates, exact copies and people of 1 to 12 images among
them. Files are not looked for, which takes another 2 to 4 microseconds each. Prints a Markdown table.
"""

import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

SIZES = (1_000, 10_000, 100_000, 1_000_000)
DISTANCE = 6


def simulate(folder: Path, rows: int) -> None:
    """`crops.csv` and the database of facts."""
    import numpy as np
    import pandas as pd

    from gender_cls.data.facts_database import open_database

    rng = np.random.default_rng(0)
    person = rng.integers(0, max(rows // 4, 10), rows)
    table = pd.DataFrame(
        {
            "path": [f"{number % 1000:03d}/{number:07d}.jpg" for number in range(rows)],
            "label": np.where(person * 7919 % 100 < 58, "MALE", "FEMALE"),
            "identity": [f"p{number}" for number in person],
            "camera": [f"c{number}" for number in rng.integers(0, 20, rows)],
        }
    )
    table.to_csv(folder / "crops.csv", index=False)
    hashes = rng.integers(0, 2**63, rows, dtype=np.int64)
    near = rng.choice(rows, rows // 20, replace=False)  # one to three bits beside another picture's hash
    flips = sum(np.int64(1) << rng.integers(0, 62, len(near)) for _ in range(3))
    hashes[near] = hashes[rng.integers(0, rows, len(near))] ^ flips
    pixels = [f"{number:032x}" for number in np.where(rng.random(rows) < 0.01, 0, np.arange(rows))]
    with open_database(folder, folder / "cache") as database:
        for start in range(0, rows, 50_000):
            batch = range(start, min(start + 50_000, rows))
            database.store(
                [(table["path"][row], 1, 1, "JPEG", 1, 64, 160, pixels[row], int(hashes[row]), 100.0, 1.0,
                  90.0, 95.0, 100.0, "", "", -1) for row in batch],
            )  # fmt: skip


def measure(rows: int) -> None:
    """One row of the table, on stdout."""
    from gender_cls.config import AuditSettings
    from gender_cls.data import scan as scanning
    from gender_cls.data.groups import group_images
    from gender_cls.data.leaks import find_leaks
    from gender_cls.data.manifest import Manifest, read_manifest
    from gender_cls.data.near_duplicates import find_near_duplicates
    from gender_cls.data.split import assign_splits
    from gender_cls.data_config import DataConfig, PixelCache
    from gender_cls.quality.balance import balance
    from gender_cls.quality.baselines import trivial_baselines
    from gender_cls.quality.faults import picture_faults
    from gender_cls.quality.findings import duplicate_findings, identity_findings

    seconds: list[float] = []

    def timed(work: Callable[[], Any]) -> Any:
        began = time.perf_counter()
        result = work()
        seconds.append(time.perf_counter() - began)
        return result

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve()
        subprocess.run([sys.executable, __file__, "simulate", str(folder), str(rows)], check=True)
        data = DataConfig(
            csv=str(folder / "crops.csv"), num_workers=0, cache=PixelCache.none, near_duplicate_distance=DISTANCE
        )
        os.path.isfile = lambda _: True
        scanning.stamp = lambda _: (1, 1)
        table = timed(lambda: read_manifest(data)).table
        facts = timed(lambda: scanning.scan(table["path"].tolist(), folder, folder / "cache", data).facts)
        near = timed(lambda: find_near_duplicates(facts["perceptual_hash"].to_numpy(), DISTANCE))
        groups = timed(lambda: group_images(table, facts["pixels"], near, 1))
        table["group"] = groups.astype(str)
        table = timed(lambda: assign_splits(table, data))
        timed(lambda: find_leaks(table, facts["pixels"]))
        timed(lambda: Manifest(table, folder).to_csv())
        training = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        timed(lambda: (picture_faults(table, facts, AuditSettings()), identity_findings(table)))
        timed(lambda: duplicate_findings(table, facts["pixels"], near))
        timed(lambda: balance(table))
        timed(lambda: trivial_baselines(table, facts, near))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    cells = [f"{rows:,}", *(f"{value:.2f}" for value in seconds), f"{training:.0f}", f"{peak:.0f}"]
    print(f"| {' | '.join(cells)} |", flush=True)


def main() -> None:
    """All sizes."""
    stages = [
        "rows", "manifest from CSV", "facts from the database", f"near duplicates (distance {DISTANCE})", "groups",
        "split", "leaks", "manifest.csv", "faults and identities", "duplicates", "balance", "baselines", "MiB to train",
        "MiB to audit",
    ]  # fmt: skip
    print("Seconds on one thread, and peak memory:\n")
    print(f"| {' | '.join(stages)} |\n|{' --- |' * len(stages)}", flush=True)
    one_thread = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    for rows in SIZES:
        subprocess.run([sys.executable, __file__, "measure", str(rows)], check=True, env=one_thread)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["simulate", folder, rows]:
            simulate(Path(folder), int(rows))
        case ["measure", rows]:
            measure(int(rows))
        case _:
            main()
