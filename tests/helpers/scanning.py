"""Scans for tests: of small folders, in this process and in one that can be killed."""

import sqlite3
import subprocess
import sys
import time
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from helpers.crops import write_crop

from gender_cls.config.data import DataConfig, PixelCache
from gender_cls.data.scan import Scan, scan


def settings(cache: PixelCache = PixelCache.disk, **changes: Any) -> DataConfig:
    return DataConfig(num_workers=changes.pop("num_workers", 0), cache=cache, **changes)


def draw(root: Path, number: int) -> Path:
    for index in range(number):
        write_crop(root / f"{index:03d}.png", seed=index, size=(12, 24))
    return root


def manifest_rows(columns: str, rows: list[str]) -> pd.DataFrame:
    """A table of these texts, `-` for what is not known; F, M and U for the labels."""
    names = {"F": "FEMALE", "M": "MALE", "U": "unknown", "-": ""}
    cells = [[names.get(cell, cell) for cell in row.split()] for row in rows]
    return pd.DataFrame(cells, columns=columns.split(), dtype="str")


def names_in(root: Path) -> list[str]:
    return sorted(path.name for path in root.iterdir())


def scanned(root: Path, data: DataConfig | None = None, names: list[str] | None = None) -> Scan:
    """A scan of all files, or of these; its cache is next to `root`."""
    return scan(names or names_in(root), root, root.parent / "cache", data or settings())


SLOW = """
import sys, time
from pathlib import Path
from gender_cls.config.data import DataConfig, PixelCache
from gender_cls.data import scan as scanning
original = scanning.read_image
def slow(path, limit):
    time.sleep(0.01)
    return original(path, limit)
scanning.read_image = slow
root = Path(sys.argv[1])
data = DataConfig(num_workers=0, cache=PixelCache[sys.argv[2]])
scanning.scan(sorted(p.name for p in root.iterdir()), root, root.parent / "cache", data)
"""


def start_slow_scan(root: Path, cache: PixelCache = PixelCache.disk) -> subprocess.Popen:
    """A scan in another process, 10 ms for each image."""
    return subprocess.Popen([sys.executable, "-c", SLOW, str(root), cache.name])


def wait_for(root: Path, least: int, condition: str = "place >= 0") -> int:
    """How many images of the database fulfil the condition, as soon as there are so many."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        for file in (root.parent / "cache").glob("*.sqlite"):
            # Until the table is made, SQLite raises an error.
            with closing(sqlite3.connect(file)) as connection, suppress(sqlite3.OperationalError):
                count = connection.execute(f"SELECT COUNT(*) FROM images WHERE {condition}").fetchone()[0]
                if count >= least:
                    return count
        time.sleep(0.02)
    pytest.fail("nothing was kept within a minute")
