"""How fast batches come: decoding each time against decoded pixels on disk, and what augmentation costs.

    python tests/benchmarks/bench_pixels.py

Without loader processes and on one thread, 256x128, in processor time. Images are drawn (JPEG, 100 to 300 and 64 to
150 pixels high); real crops, where the folder beside the project has some, are measured too.
"""

import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from measuring import Table, cpu_seconds, draw_crop, in_turn, ratio, report
from omegaconf import OmegaConf

from gender_cls.config.data import DataConfig, PixelCache
from gender_cls.config.parsing import CONFIG_FOLDER
from gender_cls.config.train import AugmentConfig
from gender_cls.data.augmentation import build_augmentation
from gender_cls.data.datamodule import CropDataset, crop_loader
from gender_cls.data.scan import scan

REAL = Path(__file__).parents[3] / "shared" / "data" / "cctv"
SUFFIXES = {".bmp", ".jpg", ".png"}
IMAGES, ROUNDS, BATCH = 1000, 7, 32


def draw(folder: Path, lowest: int, highest: int) -> Path:
    """JPEG crops with a person's proportions, `lowest` to `highest` pixels high."""
    rng = np.random.default_rng(0)
    folder.mkdir()
    for number in range(IMAGES):
        height = int(rng.integers(lowest, highest + 1))
        draw_crop(rng, int(height * rng.uniform(0.35, 0.55)), height).save(folder / f"{number:04d}.jpg", quality=90)
    return folder


def loading(root: Path, cache: Path) -> list[object]:
    """A row of the table: processor time with each kind of cache, in turn."""
    found = sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.suffix in SUFFIXES)
    chosen = np.random.default_rng(0).permutation(len(found))[:IMAGES]
    table = pd.DataFrame({"path": [found[row] for row in chosen], "label": "MALE"})
    works = {}
    for kind in PixelCache:
        data = DataConfig(root=str(root), cache=kind)
        images = scan(table["path"].tolist(), root, cache / root.name, data).images
        loader = crop_loader(CropDataset(table, images, data), batch_size=BATCH)
        works[kind.name] = lambda loader=loader: len(table) / cpu_seconds(lambda: [None for _ in loader])
    measured = in_turn(works, ROUNDS)
    size = sum(file.stat().st_size for file in (cache / root.name).glob("*.pixels")) / len(table)
    speeds = [float(np.median(measured[kind.name])) for kind in PixelCache]
    return [root.name, *speeds, ratio(measured["disk"], measured["none"]), size]


def augmenting() -> Table:
    """Milliseconds of each augmentation group."""
    pictures = torch.randint(0, 256, (200, 256, 128, 3), dtype=torch.uint8).permute(0, 3, 1, 2)
    works = {}
    for name in ("light", "cctv", "strong"):
        values = OmegaConf.load(CONFIG_FOLDER / "augment" / f"{name}.yaml")
        augment = build_augmentation(AugmentConfig(**OmegaConf.to_container(values)))
        works[name] = lambda augment=augment: (
            1000 / len(pictures) * cpu_seconds(lambda: [augment(one) for one in pictures.clone().split(1)])
        )
    measured = in_turn(works, ROUNDS)
    rows = [[name, float(np.median(values))] for name, values in measured.items()]
    return Table("Augmentation of a picture, 256x128", ["augment", "ms"], rows, "Noise, which JPEG takes longest for.")


def main() -> None:
    """All tables."""
    torch.set_num_threads(1)
    columns = ["pictures", *(f"{kind.name}, images/s" for kind in PixelCache), "disk / none", "bytes kept"]
    table = Table("Batches of 32 without loader processes", columns, note="bytes kept: on disk, a picture.")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve()
        roots = [draw(folder / "64-150 px", 64, 150), draw(folder / "100-300 px", 100, 300)]
        for root in [*roots, *([REAL.resolve()] if REAL.is_dir() else [])]:
            table.rows.append(loading(root, folder / "cache"))
    report("pixels", [table, augmenting()])


if __name__ == "__main__":
    main()
