import hashlib
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from helpers.crops import write_crop
from PIL import Image

from gender_cls.config.data import DataConfig, PixelCache
from gender_cls.data import scan as scanning
from gender_cls.data.cache import facts_database
from gender_cls.data.perceptual_hash import perceptual_hash
from gender_cls.errors import GenderClsError


def scan(paths: list[str], root: Path, cache: Path, workers: int) -> pd.DataFrame:
    """The facts alone."""
    return scanning.scan(paths, root, cache, DataConfig(num_workers=workers, cache=PixelCache.none)).facts


def draw(root: Path, number: int) -> list[str]:
    names = [f"{index:04d}.png" for index in range(number)]
    for index, name in enumerate(names):
        write_crop(root / name, seed=index, size=(12, 24))
    return names


def read_again(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that are read from now on."""
    names: list[str] = []
    original = scanning.read_image
    monkeypatch.setattr(scanning, "read_image", lambda path: (names.append(path.name), original(path))[1])
    return names


def test_facts_of_a_picture(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (5, 3, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    [fact] = scan(["a.png"], tmp_path, tmp_path / "cache", workers=0).itertuples()
    assert (fact.format, fact.frames, fact.width, fact.height, fact.fault, fact.reason) == ("PNG", 1, 3, 5, "", "")
    assert fact.bytes == (tmp_path / "a.png").stat().st_size
    assert fact.pixels == hashlib.blake2b(pixels.tobytes(), digest_size=16, salt=b"3x5").hexdigest()
    assert fact.perceptual_hash == perceptual_hash(Image.fromarray(pixels))
    assert (fact.red, fact.green, fact.blue) == pytest.approx(pixels.mean(axis=(0, 1)))
    luma = pixels.mean(axis=(0, 1)) @ [0.299, 0.587, 0.114]
    assert fact.brightness == pytest.approx(luma)


def test_the_same_pixels_are_found_in_another_format_and_another_shape_is_another_picture(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (8, 4, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    Image.fromarray(pixels).save(tmp_path / "b.bmp")
    Image.fromarray(pixels.reshape(4, 8, 3)).save(tmp_path / "c.png")
    hashes = scan(["a.png", "b.bmp", "c.png"], tmp_path, tmp_path / "cache", workers=0)["pixels"]
    assert hashes[0] == hashes[1] != hashes[2]


def test_every_kind_of_unreadable_file_has_its_fault(tmp_path: Path) -> None:
    write_crop(tmp_path / "whole.png", 0, size=(64, 64))
    content = (tmp_path / "whole.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(content[: len(content) // 2])
    (tmp_path / "empty.jpg").write_bytes(b"")
    (tmp_path / "text.jpg").write_text("no picture")
    frames = [Image.new("L", (4, 4), shade) for shade in (0, 255)]
    frames[0].save(tmp_path / "moving.gif", save_all=True, append_images=frames[1:])
    names = ["cut.png", "empty.jpg", "text.jpg", "gone.jpg", "whole.png", "moving.gif"]
    facts = scan(names, tmp_path, tmp_path / "cache", workers=0)
    assert facts["fault"].tolist() == ["damaged", "empty", "no_picture", "missing", "", ""]
    assert facts["frames"].tolist() == [0, 0, 0, 0, 1, 2]
    for name, reason in zip(names[:4], facts["reason"], strict=False):
        assert reason.startswith(f"Cannot read {tmp_path / name}: ")
        assert reason.endswith(".")


def test_a_second_scan_reads_new_and_changed_files_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = draw(tmp_path, 20)
    first = scan(names[:18], tmp_path, tmp_path / "cache", workers=0)
    write_crop(tmp_path / names[3], seed=99, size=(14, 28))
    read = read_again(monkeypatch)
    second = scan(list(reversed(names)), tmp_path, tmp_path / "cache", workers=0)
    assert sorted(read) == [names[3], names[18], names[19]]
    unchanged = [row for row in range(18) if row != 3]
    pd.testing.assert_frame_equal(
        second[::-1].reset_index(drop=True).loc[unchanged], first.loc[unchanged], check_dtype=True
    )
    assert second["width"].iloc[-4] == 14


def test_other_folders_and_versions_do_not_share_facts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder, size in (("a", (10, 20)), ("b", (11, 22))):
        write_crop(tmp_path / folder / "x.png", 0, size=size)
    widths = [scan(["x.png"], tmp_path / folder, tmp_path / "cache", 0)["width"][0] for folder in ("a", "b", "a")]
    assert widths == [10, 11, 10]
    monkeypatch.setattr(facts_database, "VERSION", facts_database.VERSION + 1)
    read = read_again(monkeypatch)
    scan(["x.png"], tmp_path / "a", tmp_path / "cache", 0)
    assert read == ["x.png"]


def test_several_processes_give_the_same_facts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scanning, "FEW", 10)
    names = draw(tmp_path / "crops", 150)
    (tmp_path / "crops" / names[77]).write_bytes(b"")
    alone = scan(names, tmp_path / "crops", tmp_path / "alone", workers=0)
    together = scan(names, tmp_path / "crops", tmp_path / "together", workers=2)
    pd.testing.assert_frame_equal(together, alone)


def test_a_database_that_is_none_is_named(tmp_path: Path) -> None:
    write_crop(tmp_path / "a.png", 0)
    scan(["a.png"], tmp_path, tmp_path / "cache", 0)
    [database] = (tmp_path / "cache").iterdir()
    database.write_bytes(b"this is no database at all" * 100)
    with pytest.raises(GenderClsError, match=rf"{database}, which keeps what is known of the images, cannot be used"):
        scan(["a.png"], tmp_path, tmp_path / "cache", 0)


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("in the way")
    with pytest.raises(GenderClsError, match=rf"{tmp_path / 'cache'}, the folder for what is known"):
        scan([], tmp_path, tmp_path / "cache", 0)


KILLED = """
import sys, time
from pathlib import Path
from gender_cls.data import facts_database
from gender_cls.data import scan as scanning
from gender_cls.data_config import DataConfig, PixelCache
original = scanning.read_image
def slow(path):
    time.sleep(0.01)
    return original(path)
scanning.read_image = slow
root = Path(sys.argv[1])
data = DataConfig(num_workers=0, cache=PixelCache.disk)
scanning.scan(sorted(p.name for p in root.iterdir()), root, Path(sys.argv[2]), data)
"""


def test_a_killed_scan_goes_on_where_it_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = draw(tmp_path / "crops", 400)
    cache = tmp_path / "cache"
    process = subprocess.Popen([sys.executable, "-c", KILLED, str(tmp_path / "crops"), str(cache)])
    stored, deadline = 0, time.monotonic() + 60
    while not 64 <= stored < 300 and time.monotonic() < deadline:
        time.sleep(0.05)
        for database in cache.glob("*.sqlite"):
            stored = _stored(database)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    [database] = cache.glob("*.sqlite")
    stored = _stored(database)
    read = read_again(monkeypatch)
    facts = scan(names, tmp_path / "crops", cache, workers=0)
    assert 64 <= stored < 400
    assert len(read) == 400 - stored
    assert (facts["width"] == 12).all()


def _stored(database: Path) -> int:
    connection = sqlite3.connect(database)
    try:
        return connection.execute("SELECT COUNT(*) FROM images").fetchone()[0]
    except sqlite3.OperationalError:  # not made yet
        return 0
    finally:
        connection.close()
