"""Facts about images: what they say, that each file is read once, and what happens when reading stops."""

import hashlib
import os
import pickle
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from helpers.crops import write_crop
from helpers.scanning import draw, names_in, scanned, settings, start_slow_scan, wait_for
from PIL import Image

from gender_cls.config.data import PixelCache
from gender_cls.data import scan as scanning
from gender_cls.data.cache import database
from gender_cls.data.cache.database import FACTS, open_database
from gender_cls.data.cache.pixel_file import HEADER, PixelFile
from gender_cls.data.near_duplicates import perceptual_hash
from gender_cls.data.scan import scan
from gender_cls.errors import GenderClsError

NONE = settings(PixelCache.none)

STAMPED = (1, 1, 1, 1)


def noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_facts_of_an_image(tmp_path: Path) -> None:
    pixels = noise(5, 3)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    [fact] = scan(["a.png"], tmp_path, tmp_path / "cache", NONE).facts.itertuples()
    assert (fact.format, fact.frames, fact.width, fact.height, fact.fault, fact.reason) == ("PNG", 1, 3, 5, "", "")
    assert fact.bytes == (tmp_path / "a.png").stat().st_size
    assert fact.transparency == 0
    assert fact.pixels == hashlib.blake2b(pixels.tobytes(), digest_size=16, salt=b"3x5").hexdigest()
    assert fact.perceptual_hash == perceptual_hash(Image.fromarray(pixels))
    assert (fact.red, fact.green, fact.blue) == pytest.approx(pixels.mean(axis=(0, 1)))
    assert fact.brightness == pytest.approx(pixels.mean(axis=(0, 1)) @ [0.299, 0.587, 0.114])


def test_equal_pixels_are_found_in_another_format_but_not_in_another_shape(tmp_path: Path) -> None:
    pixels = noise(8, 4)
    for name in ("a.png", "b.bmp"):
        Image.fromarray(pixels).save(tmp_path / name)
    Image.fromarray(pixels.reshape(4, 8, 3)).save(tmp_path / "c.png")
    hashes = scan(["a.png", "b.bmp", "c.png"], tmp_path, tmp_path / "cache", NONE).facts["pixels"]
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
    facts = scan(names, tmp_path, tmp_path / "cache", NONE).facts
    assert facts["fault"].tolist() == ["damaged", "empty", "no_picture", "missing", "", ""]
    assert facts["frames"].tolist() == [0, 0, 0, 0, 1, 2]
    assert all(map(str.startswith, facts["reason"][:4], [f"Cannot read {tmp_path / name}: " for name in names]))


def test_the_limit_of_megapixels_may_change(tmp_path: Path, decoded: list[str]) -> None:
    root = draw(tmp_path / "crops", 2)  # 12 x 24 pixels
    write_crop(root / "large.png", 0, size=(40, 50))
    for limit, fault, read in ((64, "", 3), (0.001, "too_large", 1), (0.001, "too_large", 1), (0.002, "", 1)):
        decoded.clear()
        facts = scanned(root, settings(PixelCache.none, max_megapixels=limit)).facts["fault"]
        assert facts.tolist() == ["", "", fault]
        assert len(decoded) == read


def test_an_image_that_is_too_large_needs_no_room(tmp_path: Path) -> None:
    root = draw(tmp_path / "crops", 2)
    Image.new("1", (14_000, 5000)).save(root / "large.png")
    facts = scanned(root, settings(cache_gigabytes=0.001)).facts
    assert facts["fault"].tolist() == ["", "", "too_large"]


def test_a_batch_ends_when_its_pixels_take_much_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scanning, "FEW_FILES", 5)
    monkeypatch.setattr(scanning, "FILES_PER_BATCH", 5)
    monkeypatch.setattr(scanning, "BYTES_PER_BATCH", 2 * 3 * 12 * 24)
    files = [(str(draw(tmp_path / "crops", 12) / f"{number:03d}.png"), True, True) for number in range(12)]
    for workers, count in ((0, 12), (0, 3), (2, 12)):
        batches = list(scanning._read(files[:count], workers, 64))
        assert max(map(len, batches)) == 2
        found = [read.pixels for batch in batches for read in batch]
        assert found == [np.asarray(Image.open(file[0])).tobytes() for file in files[:count]]


def test_a_second_scan_reads_new_and_changed_files_only(tmp_path: Path, decoded: list[str]) -> None:
    names = names_in(root := draw(tmp_path / "crops", 20))
    first = scanned(root, NONE, names[:18]).facts
    write_crop(root / names[3], seed=99, size=(14, 28))
    decoded.clear()
    second = scanned(root, NONE, names[::-1]).facts
    assert sorted(decoded) == [names[3], names[18], names[19]]
    unchanged = [row for row in range(18) if row != 3]
    pd.testing.assert_frame_equal(second[::-1].reset_index(drop=True).loc[unchanged], first.loc[unchanged])
    assert second["width"].iloc[-4] == 14


def test_folders_and_versions_are_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, decoded: list[str]) -> None:
    for folder, size in (("a", (10, 20)), ("b", (11, 22))):
        write_crop(tmp_path / folder / "x.png", 0, size=size)
    assert [scanned(tmp_path / folder, NONE).facts["width"][0] for folder in ("a", "b", "a")] == [10, 11, 10]
    monkeypatch.setattr(database, "DATABASE_VERSION", database.DATABASE_VERSION + 1)
    decoded.clear()
    scanned(tmp_path / "a", NONE)
    assert decoded == ["x.png"]


def test_several_processes_give_the_same_facts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scanning, "FEW_FILES", 10)
    root = draw(tmp_path / "crops", 150)
    (root / "077.png").write_bytes(b"")
    alone = scan(names_in(root), root, tmp_path / "alone", NONE).facts
    together = scan(names_in(root), root, tmp_path / "together", settings(PixelCache.none, num_workers=2)).facts
    pd.testing.assert_frame_equal(together, alone)


def test_a_reading_process_that_is_killed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scanning, "FEW_FILES", 1)
    monkeypatch.setattr(scanning, "_start_worker", os.abort)
    with pytest.raises(GenderClsError, match=r"data\.num_workers=0"):
        scanned(draw(tmp_path / "crops", 3), settings(num_workers=2))


@pytest.mark.parametrize("cache", PixelCache)
def test_a_killed_scan_goes_on_where_it_stopped(tmp_path: Path, cache: PixelCache, decoded: list[str]) -> None:
    root = draw(tmp_path / "crops", 300)
    condition = "place >= 0" if cache is PixelCache.disk else "width > 0"
    process = start_slow_scan(root, cache)
    wait_for(root, 64, condition)
    process.kill()
    process.wait()
    kept = wait_for(root, 64, condition)
    for file in (tmp_path / "cache").glob("*.pixels"):
        with file.open("ab") as opened:
            opened.write(b"half a batch")  # as if killed while writing
    found = scanned(root, settings(cache))
    assert 64 <= kept < 300
    assert len(decoded) == 300 - kept
    assert (found.facts["width"] == 12).all()
    images = found.images.at(names_in(root))
    assert all(np.array_equal(images[row].permute(1, 2, 0), Image.open(root / f"{row:03d}.png")) for row in range(300))


def test_many_rows_are_found_quickly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, decoded: list[str]) -> None:
    rows = 100_000
    names = [f"{number:06d}.jpg" for number in range(rows)]
    texts = {"format": "JPEG", "pixels": "", "fault": "", "reason": ""}
    fact = {**dict.fromkeys(FACTS, 0), "width": 2, "height": 1, **texts}
    with open_database(tmp_path, tmp_path / "cache") as opened:
        pixels = PixelFile.create(opened.file.with_suffix(".pixels"))
        os.truncate(pixels.path, HEADER + 6 * rows)
        opened.begin_pixels(pixels.identity)
        opened.store([(name, *STAMPED, *fact.values(), HEADER + 6 * row) for row, name in enumerate(names)])
    monkeypatch.setattr(scanning, "stamp", lambda file: STAMPED)
    began = time.process_time()
    images = scan(names, tmp_path, tmp_path / "cache", settings()).images.at(names[::-1])
    assert time.process_time() - began < 5  # less than a second is usual; a search for each row would take minutes
    assert images[0].shape == (3, 1, 2)
    assert len(pickle.dumps(images)) < 110 * rows  # a spawned loader process is sent this, not the pixels
    assert decoded == []
