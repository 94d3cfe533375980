"""Decoded pixels that are kept: on disk, in memory, through kills, changes, full disks and other processes."""

import errno
import logging
import os
import pickle
import re
import signal
import sqlite3
import subprocess
import sys
import time
from collections import namedtuple
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from filelock import FileLock
from helpers.crops import decode, write_crop

from gender_cls.config.data import DataConfig, PixelCache
from gender_cls.data import scan as scanning
from gender_cls.data.cache import keeping, pixel_room
from gender_cls.data.cache.facts_database import open_database
from gender_cls.data.cache.keeping import KeptInMemory
from gender_cls.data.cache.pixel_file import HEADER, PixelFile
from gender_cls.data.cache.pixel_room import NoRoomError
from gender_cls.data.image_files import UnreadableError
from gender_cls.data.image_store import ImageSequence, ImageStore
from gender_cls.data.scan import Scan, decoded_when_needed, scan
from gender_cls.errors import GenderClsError

Usage = namedtuple("Usage", ["total", "used", "free"])


def settings(cache: PixelCache = PixelCache.disk, **changes: object) -> DataConfig:
    return DataConfig(**{"num_workers": 0, "cache": cache, **changes})


@pytest.fixture(autouse=True)
def nothing_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(KeptInMemory, "_of_folder", {})


@pytest.fixture
def crops(tmp_path: Path) -> Path:
    """20 pictures of different sizes."""
    for number in range(20):
        write_crop(tmp_path / "crops" / f"{number:02d}.png", number, size=(8 + number, 30 - number))
    return tmp_path / "crops"


def names_in(root: Path) -> list[str]:
    return sorted(path.name for path in root.iterdir())


def scanned(root: Path, data: DataConfig | None = None, names: list[str] | None = None) -> Scan:
    return scan(names or names_in(root), root, root.parent / "cache", data or settings())


def pixel_files(root: Path) -> list[Path]:
    return sorted((root.parent / "cache").glob("*.pixels"))


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that a scan in this process decodes."""
    names: list[str] = []
    original = scanning.read_image
    monkeypatch.setattr(scanning, "read_image", lambda path: (names.append(path.name), original(path))[1])
    return names


@pytest.fixture
def unread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever decodes a file for a picture's pixels fails."""
    monkeypatch.setattr("gender_cls.data.image_store.read_image", lambda path: pytest.fail(f"{path} was decoded again"))


def assert_same_pixels(root: Path, pictures: ImageSequence) -> None:
    assert len(pictures) > 0
    for row, name in enumerate(pictures.paths):
        assert torch.equal(pictures[row], decode(root / name))


@pytest.mark.parametrize("kind", [PixelCache.disk, PixelCache.ram])
def test_each_picture_is_decoded_once_and_comes_back_whole(
    crops: Path, read: list[str], unread: None, kind: PixelCache
) -> None:
    images = scanned(crops, settings(kind)).images
    assert sorted(read) == names_in(crops)
    shuffled = names_in(crops)[::-3]
    assert_same_pixels(crops, images.at(shuffled))
    assert_same_pixels(crops, images.at(shuffled).part(2, 5))
    again = scanned(crops, settings(kind), shuffled)
    assert_same_pixels(crops, again.images.at(shuffled[:3]))
    assert len(read) == 20
    assert [file.stat().st_size for file in pixel_files(crops)] == (
        [HEADER + sum(3 * (8 + number) * (30 - number) for number in range(20))] if kind is PixelCache.disk else []
    )


def test_without_a_cache_files_are_read_each_time(crops: Path) -> None:
    pictures = scanned(crops, settings(PixelCache.none)).images.at(["03.png"])
    assert_same_pixels(crops, pictures)
    write_crop(crops / "03.png", 99, size=(5, 6))
    assert_same_pixels(crops, pictures)
    assert pixel_files(crops) == []
    (crops / "03.png").unlink()
    with pytest.raises(UnreadableError, match=r"Cannot read .*03\.png: No such file or directory\."):
        pictures[0]


def test_facts_are_the_same_however_pixels_are_kept(crops: Path) -> None:
    (crops / "07.png").write_bytes(b"broken")
    names = [*names_in(crops), "gone.png"]
    expected = scan(names, crops, crops.parent / "other", settings(PixelCache.none)).facts
    for kind in (PixelCache.disk, PixelCache.ram, PixelCache.none, PixelCache.disk):
        pd.testing.assert_frame_equal(scanned(crops, settings(kind), names).facts, expected)


def test_pictures_that_cannot_be_read_are_not_tried_again(crops: Path, read: list[str]) -> None:
    (crops / "07.png").write_bytes(b"broken")
    scanned(crops)
    scanned(crops)
    assert len(read) == 20


def test_new_and_changed_pictures_are_added(crops: Path, read: list[str], unread: None) -> None:
    scanned(crops, names=names_in(crops)[:15])
    before = pixel_files(crops)[0].stat()
    write_crop(crops / "02.png", 50, size=(11, 12))
    read.clear()
    assert_same_pixels(crops, scanned(crops).images.at(names_in(crops)))
    assert read == ["02.png", *names_in(crops)[15:]]
    assert pixel_files(crops)[0].stat().st_ino == before.st_ino, "the file grows, it is not made anew"


def test_a_file_of_mostly_dead_bytes_is_made_anew_while_others_still_read_it(crops: Path, read: list[str]) -> None:
    names = names_in(crops)
    old = scanned(crops).images.at(names)
    first = old[0].clone()
    kept = [decode(crops / name) for name in names]
    for generation in range(1, 4):  # a quarter of the bytes or so dies each time
        for name in names[:12]:
            write_crop(crops / name, 100 * generation + int(name[:2]), size=(20, 20))
        read.clear()
        now = scanned(crops).images.at(names)
        assert read == names[:12]
        assert_same_pixels(crops, now)
    live = sum(3 * picture.shape[1] * picture.shape[2] for picture in map(now.__getitem__, range(20)))
    assert pixel_files(crops)[0].stat().st_size < HEADER + 2.5 * live < HEADER + 4 * 12 * 1200
    assert torch.equal(old[0], first)
    for row, picture in enumerate(kept):
        assert torch.equal(old[row], picture)


def test_whoever_opens_another_file_than_was_meant_decodes(crops: Path) -> None:
    pictures = scanned(crops).images.at(names_in(crops))
    sent = pickle.loads(pickle.dumps(pictures))  # as to a spawned worker, which maps the file itself
    PixelFile.new(pixel_files(crops)[0])
    assert_same_pixels(crops, sent)
    pixel_files(crops)[0].unlink()
    assert_same_pixels(crops, pickle.loads(pickle.dumps(pictures)))


@pytest.mark.parametrize("damage", ["missing", "another", "text", "empty"])
def test_a_wrong_file_is_made_anew(crops: Path, read: list[str], damage: str) -> None:
    scanned(crops)
    [file] = pixel_files(crops)
    if damage == "missing":
        file.unlink()
    elif damage == "another":
        size = file.stat().st_size
        PixelFile.new(file)
        with file.open("ab") as grown:
            grown.write(b"\xaa" * size)
    else:
        file.write_bytes(b"no pixels" * 10_000 if damage == "text" else b"")
    read.clear()
    assert_same_pixels(crops, scanned(crops).images.at(names_in(crops)))
    assert read == names_in(crops)


def test_what_a_short_file_lacks_is_read_again_and_never_mistaken(crops: Path, read: list[str]) -> None:
    scanned(crops)
    [file] = pixel_files(crops)
    lengths = np.cumsum([3 * (8 + number) * (30 - number) for number in range(20)])
    os.truncate(file, HEADER + int(lengths[11]) + 5)
    read.clear()
    write_crop(crops / "90.png", 90, size=(100, 200))  # grows over where the lost ones lay
    assert_same_pixels(crops, scanned(crops, names=["00.png", "90.png"]).images.at(["00.png", "90.png"]))
    assert read == ["90.png"]
    assert_same_pixels(crops, scanned(crops).images.at(names_in(crops)))
    assert read == ["90.png", *names_in(crops)[12:20]]


KILLED = """
import sys, time
from pathlib import Path
from gender_cls.data import scan as scanning
from gender_cls.data_config import DataConfig
original = scanning.read_image
def slow(path):
    time.sleep(float(sys.argv[3]))
    return original(path)
scanning.read_image = slow
root = Path(sys.argv[1])
scanning.scan(sorted(p.name for p in root.iterdir()), root, Path(sys.argv[2]), DataConfig(num_workers=0))
"""


def start(root: Path, seconds: float) -> subprocess.Popen:
    return subprocess.Popen([sys.executable, "-c", KILLED, str(root), str(root.parent / "cache"), str(seconds)])


def wait_for_pixels(root: Path, least: int) -> int:
    """How many pictures have a place, once there are so many."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        for file in (root.parent / "cache").glob("*.sqlite"):
            connection = sqlite3.connect(file)
            try:
                count = connection.execute("SELECT COUNT(*) FROM images WHERE place >= 0").fetchone()[0]
            except sqlite3.OperationalError:  # not made yet
                count = 0
            finally:
                connection.close()
            if count >= least:
                return count
        time.sleep(0.02)
    pytest.fail("nothing was kept within a minute")


def test_a_killed_scan_goes_on_where_it_stopped(tmp_path: Path, read: list[str], unread: None) -> None:
    root = tmp_path / "crops"
    for number in range(300):
        write_crop(root / f"{number:03d}.png", number, size=(12, 24))
    process = start(root, 0.01)
    wait_for_pixels(root, 64)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    kept = wait_for_pixels(root, 64)
    with pixel_files(root)[0].open("ab") as file:
        file.write(b"half a batch")  # as if killed while writing
    images = scanned(root).images
    assert 64 <= kept < 300
    assert len(read) == 300 - kept
    assert_same_pixels(root, images.at(names_in(root)))


def test_of_two_at_once_the_second_waits_and_finds_all_done(
    tmp_path: Path, read: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    root = tmp_path / "crops"
    for number in range(130):
        write_crop(root / f"{number:03d}.png", number, size=(12, 24))
    process = start(root, 0.01)
    wait_for_pixels(root, 64)
    with caplog.at_level(logging.INFO):
        images = scanned(root).images
    assert process.wait(60) == 0
    assert caplog.messages == [f"Another process is reading the images below {root}: this one waits for what it keeps."]
    assert read == []
    assert_same_pixels(root, images.at(names_in(root)))


def test_a_disk_without_room_is_refused_before_anything_is_written(
    crops: Path, read: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pixel_room.shutil, "disk_usage", lambda folder: Usage(10**9, 10**9, 5000))
    cache = crops.parent / "cache"
    with pytest.raises(NoRoomError) as caught:
        scanned(crops)
    needed = sum(3 * (8 + number) * (30 - number) for number in range(20))
    assert str(caught.value) == (
        f"{cache} has no room for decoded pixels: they need {needed / 1e9:.3g} GB and 5e-06 GB are free. Make room, or "
        "set data.cache=ram (kept in memory) or data.cache=none (decoded each time)."
    )
    assert (read, pixel_files(crops)) == ([], [])
    scanned(crops, settings(PixelCache.none))
    with pytest.raises(NoRoomError, match=re.escape(f"need {needed / 1e9:.3g} GB")):  # now the sizes are known
        scanned(crops)
    monkeypatch.undo()
    assert_same_pixels(crops, scanned(crops).images.at(names_in(crops)))


def test_a_disk_that_fills_up_on_the_way_gives_the_same_sentence(
    crops: Path, monkeypatch: pytest.MonkeyPatch, read: list[str]
) -> None:
    def full(self: PixelFile, pictures: list[bytes]) -> list[int]:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(PixelFile, "append", full)
        with pytest.raises(NoRoomError, match=r"cache has no room for decoded pixels: they need .*=none"):
            scanned(crops)
    read.clear()
    assert_same_pixels(crops, scanned(crops).images.at(names_in(crops)))
    assert len(read) == 20


def test_memory_without_room_is_refused(crops: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pixel_room, "available_memory", lambda: 2000)
    with pytest.raises(NoRoomError, match=r"^data\.cache=ram needs 1\.95e-05 GB for decoded pixels and 2e-06 GB of "):
        scanned(crops, settings(PixelCache.ram))


def test_data_beyond_the_limit_are_refused(crops: Path) -> None:
    with pytest.raises(NoRoomError) as caught:
        scanned(crops, settings(cache_gigabytes=1e-5))
    assert re.fullmatch(
        r"The decoded pixels of these data take 1\.95e-05 GB, more than data\.cache_gigabytes=1e-05: raise it, or set "
        r"data\.cache=ram or data\.cache=none\.",
        str(caught.value),
    )


def test_a_finished_run_without_room_decodes_each_time(
    crops: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pixel_room.shutil, "disk_usage", lambda folder: Usage(10**9, 10**9, 5000))
    images = decoded_when_needed([*names_in(crops), "gone.png"], crops, crops.parent / "cache", settings())
    assert not (crops.parent / "cache").exists(), "nobody has asked for a picture yet"
    assert_same_pixels(crops, images.at(["04.png"]))
    assert caplog.messages[0].startswith("Images are decoded each time they are needed: ")


def others(root: Path, ages: dict[str, float], size: int = 20_000) -> dict[str, Path]:
    """Files of other data sets, last used so many days ago."""
    files = {}
    for name, days in ages.items():
        files[name] = root.parent / "cache" / f"{name}.pixels"
        files[name].parent.mkdir(exist_ok=True)
        files[name].write_bytes(b"x" * size)
        os.utime(files[name], (time.time() - days * 86_400,) * 2)
    return files


def test_pixels_that_nobody_used_for_long_go(crops: Path) -> None:
    files = others(crops, {"old": 31, "new": 29})
    scanned(crops)
    assert [file.exists() for file in files.values()] == [False, True]
    [own] = set(pixel_files(crops)) - {files["new"]}
    os.utime(own, (0, 0))
    scanned(crops, settings(cache_days=10))
    assert not files["new"].exists()
    assert time.time() - own.stat().st_mtime < 60, "it was used"


def test_the_least_recently_used_go_first_when_all_are_too_many(crops: Path) -> None:
    files = others(crops, {"first": 3, "second": 2, "third": 1})
    scanned(crops, settings(cache_gigabytes=65e-6))  # 60 kB and 22 kB
    assert [file.exists() for file in files.values()] == [False, True, True]
    assert_same_pixels(crops, scanned(crops, settings(cache_gigabytes=30e-6)).images.at(names_in(crops)))
    assert [file.exists() for file in files.values()] == [False, False, False]


def test_what_another_process_adds_to_stays(crops: Path) -> None:
    files = others(crops, {"busy": 50})
    with FileLock(f"{files['busy']}.lock"):
        scanned(crops)
    assert files["busy"].exists()


def test_memory_is_shared_with_forks_and_sent_to_others(crops: Path, unread: None) -> None:
    names = names_in(crops)
    images = scanned(crops, settings(PixelCache.ram), names[:18]).images
    assert_same_pixels(crops, pickle.loads(pickle.dumps(images.at(names[:18]))))
    before = KeptInMemory._of_folder[crops].content.tobytes()
    child = os.fork()
    if not child:  # adds to a copy of its own
        code = 1
        try:
            assert_same_pixels(crops, scanned(crops, settings(PixelCache.ram)).images.at(names))
            code = 0
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert KeptInMemory._of_folder[crops].content.tobytes() == before


def test_changed_files_are_not_taken_from_memory(crops: Path, read: list[str]) -> None:
    scanned(crops, settings(PixelCache.ram))
    write_crop(crops / "05.png", 77, size=(13, 25))
    read.clear()
    assert_same_pixels(crops, scanned(crops, settings(PixelCache.ram)).images.at(["05.png", "06.png"]))
    assert read == ["05.png"]


def test_loose_pictures_are_decoded(crops: Path) -> None:
    assert_same_pixels(crops, ImageStore(crops).at(["01.png", str(crops / "02.png")]))


def test_no_change_reaches_the_file(crops: Path) -> None:
    scanned(crops).images.at(["01.png"])[0].zero_()
    assert_same_pixels(crops, scanned(crops).images.at(["01.png"]))


def test_a_hundred_thousand_rows_are_found_quickly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = 100_000
    names = [f"{number:06d}.jpg" for number in range(rows)]
    with open_database(tmp_path, tmp_path / "cache") as database:
        pixels = PixelFile.new(database.file.with_suffix(".pixels"))
        os.truncate(pixels.path, HEADER + 6 * rows)
        database.begin_pixels(pixels.identity)
        facts = ("JPEG", 1, 2, 1, "", 0, 0.0, 0.0, 0.0, 0.0, 0.0, "", "")
        database.store([(name, 1, 1, *facts, HEADER + 6 * row) for row, name in enumerate(names)])
    monkeypatch.setattr(scanning, "stamp", lambda file: (1, 1))
    monkeypatch.setattr(keeping.KeptOnDisk, "make_room", lambda self, needed: pytest.fail("nothing is missing"))
    began = time.process_time()
    pictures = scan(names, tmp_path, tmp_path / "cache", settings()).images.at(names[::-1])
    assert time.process_time() - began < 5  # 0.6 s where this was written; a search a row would take minutes
    assert pictures[0].shape == (3, 1, 2)
    assert len(pickle.dumps(pictures)) < 60 * rows


def test_a_reading_process_that_is_killed_is_named(crops: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scanning, "FEW", 1)
    monkeypatch.setattr(scanning, "_start_worker", os.abort)
    with pytest.raises(GenderClsError, match=r"A process that read images was killed.*data\.num_workers=0 needs least"):
        scanned(crops, settings(num_workers=2))
