"""Simulated images and predictions for the benchmarks: names, facts and probabilities, without image files."""

from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

FACT = {
    "bytes": 1, "modified": 1, "changed": 1, "inode": 1,
    "format": "JPEG", "frames": 1, "width": 64, "height": 160, "transparency": 0.0,
    "brightness": 100.0, "sharpness": 1.0, "red": 90.0, "green": 95.0, "blue": 100.0, "fault": "",
    "reason": "", "place": -1,
}  # fmt: skip
ROWS_AT_ONCE = 50_000


def simulate_images(root: str, rows: int) -> None:
    """Write `crops.csv` into this folder, and the facts of its images into `cache/`; some are copies or near ones."""
    folder = Path(root).resolve()
    rng = np.random.default_rng(0)
    person = rng.integers(0, max(rows // 4, 10), rows)
    table = pd.DataFrame(
        {
            "path": [f"{number % 1000:03d}/{number:07d}.png" for number in range(rows)],
            "label": np.where(person * 7919 % 100 < 58, "MALE", "FEMALE"),
            "identity": [f"p{number}" for number in person],
            "camera": [f"c{number}" for number in rng.integers(0, 20, rows)],
        }
    )
    table.to_csv(folder / "crops.csv", index=False)
    hashes = rng.integers(0, 2**63, rows, dtype=np.int64)
    near = rng.choice(rows, rows // 20, replace=False)  # one to three bits away from another image's hash
    flips = sum(np.int64(1) << rng.integers(0, 62, len(near)) for _ in range(3))
    hashes[near] = hashes[rng.integers(0, rows, len(near))] ^ flips
    pixels = [f"{number:032x}" for number in np.where(rng.random(rows) < 0.01, 0, np.arange(rows))]
    _keep_facts(folder, table["path"].tolist(), pixels, hashes.tolist())


def _keep_facts(folder: Path, paths: list[str], pixels: list[str], hashes: list[int]) -> None:
    """Write facts as `scan` keeps them."""
    from gender_cls.data.cache.database import IMAGE_COLUMNS, open_database

    with open_database(folder, folder / "cache") as database:
        for start in range(0, len(paths), ROWS_AT_ONCE):
            rows = range(start, min(start + ROWS_AT_ONCE, len(paths)))
            facts = ({**FACT, "pixels": pixels[row], "perceptual_hash": hashes[row]} for row in rows)
            records = [(paths[row], *map(fact.get, IMAGE_COLUMNS)) for row, fact in zip(rows, facts, strict=True)]
            database.store(records)


def pretend() -> None:
    """Make every file in this process look present and unchanged since it was read."""
    import os

    from gender_cls.data import scan as scanning

    os.path.isfile = lambda _: True
    scanning.stamp = lambda _: (1, 1, 1, 1)


def simulate_predictions(rows: int, seed: int = 0) -> tuple[pd.DataFrame, NDArray[np.float64]]:
    """Rows of a manifest, half of the people in validation, about eight images each, and probabilities (rows, 2)."""
    people = np.random.default_rng(0)
    person = np.sort(people.integers(0, rows // 8, rows))
    female = person * 7919 % 100 < 42
    table = pd.DataFrame(
        {
            "path": [f"{number % 1000:03d}/{number:07d}.png" for number in range(rows)],
            "label": np.where(female, "FEMALE", "MALE"),
            "identity": [f"p{number}" for number in person],
            "camera": [f"c{number}" for number in people.integers(0, 20, rows)],
            "source": "",
            "split": np.where(person % 2, "test", "val"),
            "group": person.astype(str),
            "native_height": people.integers(60, 300, rows),
            "brightness": people.uniform(0, 255, rows).round(1),
            "sharpness": people.uniform(0, 9, rows).round(3),
        }
    )
    noise = np.random.default_rng(seed + 1).normal(size=rows)
    p_female = 1 / (1 + np.exp(-(1.5 * noise + np.where(female, 1, -1))))
    return table, np.stack([p_female, 1 - p_female], axis=1)
