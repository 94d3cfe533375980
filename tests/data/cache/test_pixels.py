"""Decoded pixels that are kept on disk: through changes, damage, full disks, eviction and other processes."""

import errno
import logging
import os
import pickle
import re
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from filelock import FileLock
from helpers.crops import decode, write_crop
from helpers.scanning import draw, names_in, scanned, settings, start_slow_scan, wait_for

from gender_cls.config.data import PixelCache
from gender_cls.data.cache import pixel_store
from gender_cls.data.cache.pixel_file import HEADER, PixelFile
from gender_cls.data.cache.pixel_store import NoRoomError
from gender_cls.data.image_files import UnreadableError
from gender_cls.data.image_store import ImageSequence, ImageStore
from gender_cls.data.run_images import decoded_when_needed
from gender_cls.data.scan import scan

LENGTHS = [3 * (8 + number) * (30 - number) for number in range(20)]
TOTAL = sum(LENGTHS)


@pytest.fixture
def crops(tmp_path: Path) -> Path:
    """20 images of different sizes."""
    for number in range(20):
        write_crop(tmp_path / "crops" / f"{number:02d}.png", number, size=(8 + number, 30 - number))
    return tmp_path / "crops"


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.setattr(pixel_store.shutil, "disk_usage", lambda folder: SimpleNamespace(free=5000, total=1))
    return monkeypatch


def pixel_files(root: Path) -> list[Path]:
    return sorted((root.parent / "cache").glob("*.pixels"))


def assert_same_pixels(root: Path, images: ImageSequence) -> None:
    assert len(images) > 0
    for row, name in enumerate(images.paths):
        assert torch.equal(images[row], decode(root / name))


def test_each_image_is_decoded_once_and_comes_back_whole(crops: Path, decoded: list[str], unread: None) -> None:
    images = scanned(crops).images
    assert sorted(decoded) == names_in(crops)
    shuffled = names_in(crops)[::-3]
    assert_same_pixels(crops, images.at(shuffled))
    assert_same_pixels(crops, scanned(crops, names=shuffled).images.at(shuffled[:3]))
    assert len(decoded) == 20
    assert [file.stat().st_size for file in pixel_files(crops)] == [HEADER + TOTAL]


def test_without_a_cache_files_are_read_each_time(crops: Path) -> None:
    images = scanned(crops, settings(PixelCache.none)).images.at(["03.png"])
    assert_same_pixels(crops, images)
    (crops / "03.png").touch()
    assert_same_pixels(crops, images)
    assert pixel_files(crops) == []
    (crops / "03.png").unlink()
    with pytest.raises(UnreadableError, match=r"03\.png: No such file or directory"):
        images[0]


def test_facts_do_not_depend_on_the_cache_and_no_file_is_tried_again(crops: Path, decoded: list[str]) -> None:
    (crops / "07.png").write_bytes(b"broken")
    names = [*names_in(crops), "gone.png"]
    expected = scan(names, crops, crops.parent / "other", settings(PixelCache.none)).facts
    for kind in (PixelCache.disk, PixelCache.none, PixelCache.disk):
        pd.testing.assert_frame_equal(scanned(crops, settings(kind), names).facts, expected)
    assert len(decoded) == 2 * len(names)


def test_new_and_changed_images_are_added(crops: Path, decoded: list[str], unread: None) -> None:
    scanned(crops, names=names_in(crops)[:15])
    before = pixel_files(crops)[0].stat()
    write_crop(crops / "02.png", 50, size=(11, 12))
    decoded.clear()
    assert_same_pixels(crops, scanned(crops).images.at(names_in(crops)))
    assert decoded == ["02.png", *names_in(crops)[15:]]
    assert pixel_files(crops)[0].stat().st_ino == before.st_ino, "the file grows, it is not made anew"


def test_a_file_of_mostly_changed_images_is_made_anew_while_others_still_read_it(crops: Path) -> None:
    names = names_in(crops)
    old = scanned(crops).images.at(names)
    first, kept = old[0].clone(), [decode(crops / name) for name in names]
    for generation in range(1, 4):
        for name in names[:12]:
            write_crop(crops / name, 100 * generation + int(name[:2]), size=(20, 20))
        now = scanned(crops).images.at(names)
        assert_same_pixels(crops, now)
    live = sum(now[row].numel() for row in range(20))
    assert pixel_files(crops)[0].stat().st_size < HEADER + 2.5 * live < HEADER + 4 * 12 * 1200
    assert all(torch.equal(old[row], image) for row, image in enumerate([first, *kept[1:]]))


def test_a_sequence_that_finds_another_file_decodes(crops: Path) -> None:
    images = scanned(crops).images.at(names_in(crops))
    sent = pickle.loads(pickle.dumps(images))  # as to a spawned worker, which maps the file itself
    PixelFile.create(pixel_files(crops)[0])
    assert_same_pixels(crops, sent)
    pixel_files(crops)[0].unlink()
    assert_same_pixels(crops, pickle.loads(pickle.dumps(images)))


@pytest.mark.parametrize("damage", ["missing", "another", "text", "empty"])
def test_a_wrong_file_is_made_anew(crops: Path, decoded: list[str], damage: str) -> None:
    scanned(crops)
    [file] = pixel_files(crops)
    file.unlink()
    if damage == "another":
        PixelFile.create(file).append([b"\xaa" * TOTAL])
    elif damage != "missing":
        file.write_bytes(b"no pixels" * 10_000 if damage == "text" else b"")
    decoded.clear()
    assert_same_pixels(crops, scanned(crops).images.at(names_in(crops)))
    assert decoded == names_in(crops)


def test_images_cut_off_from_the_file_are_read_again_and_never_mistaken(crops: Path, decoded: list[str]) -> None:
    scanned(crops)
    [file] = pixel_files(crops)
    os.truncate(file, HEADER + int(np.cumsum(LENGTHS)[11]) + 5)
    decoded.clear()
    write_crop(crops / "90.png", 90, size=(100, 200))  # written where the lost ones were
    assert_same_pixels(crops, scanned(crops, names=["00.png", "90.png"]).images.at(["00.png", "90.png"]))
    assert decoded == ["90.png"]
    assert_same_pixels(crops, scanned(crops).images.at(names_in(crops)))
    assert decoded == ["90.png", *names_in(crops)[12:20]]


def test_a_second_scan_waits(tmp_path: Path, decoded: list[str], caplog: pytest.LogCaptureFixture) -> None:
    root = draw(tmp_path / "crops", 130)
    process = start_slow_scan(root)
    wait_for(root, 64)
    with caplog.at_level(logging.INFO):
        images = scanned(root).images
    assert process.wait(60) == 0
    assert [str(root) in message for message in caplog.messages] == [True]
    assert decoded == []
    assert_same_pixels(root, images.at(names_in(root)))


def test_a_full_disk_is_refused_first(crops: Path, decoded: list[str], full_disk: pytest.MonkeyPatch) -> None:
    sentence = rf"{crops.parent / 'cache'} .*{TOTAL / 1e9:.3g} GB .*5e-06 GB .*data\.cache=none"
    with pytest.raises(NoRoomError, match=sentence):
        scanned(crops)
    assert (decoded, pixel_files(crops)) == ([], [])
    scanned(crops, settings(PixelCache.none))
    with pytest.raises(NoRoomError, match=sentence):  # now the sizes are known
        scanned(crops)
    full_disk.undo()
    with pytest.raises(NoRoomError, match=rf"{TOTAL / 1e9:.3g} GB.*data\.cache_gigabytes=1e-05.*data\.cache=none"):
        scanned(crops, settings(cache_gigabytes=1e-5))
    assert_same_pixels(crops, scanned(crops).images.at(names_in(crops)))


def test_a_disk_may_fill_up(crops: Path, monkeypatch: pytest.MonkeyPatch, decoded: list[str]) -> None:
    def full(self: PixelFile, images: list[bytes]) -> list[int]:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(PixelFile, "append", full)
        with pytest.raises(NoRoomError, match=r"cache has no room for decoded pixels: they need .*=none"):
            scanned(crops)
    decoded.clear()
    assert_same_pixels(crops, scanned(crops).images.at(names_in(crops)))
    assert len(decoded) == 20


def test_a_finished_run_without_room_decodes_each_time(
    crops: Path, caplog: pytest.LogCaptureFixture, full_disk: pytest.MonkeyPatch
) -> None:
    cache = crops.parent / "cache"
    rows = pd.DataFrame({"path": [*names_in(crops), "gone.png"]})
    images = decoded_when_needed(rows, crops, cache, settings())
    assert not cache.exists(), "no image was asked for yet"
    assert_same_pixels(crops, images.at(["04.png"]))
    assert re.search(r"decoded each time.*5e-06 GB", caplog.messages[0])


def others(root: Path, ages: dict[str, float]) -> list[Path]:
    """Pixels of other data sets, 20 kB each, last used so many days ago."""
    (root.parent / "cache").mkdir(exist_ok=True)
    files = [root.parent / "cache" / f"{name}.pixels" for name in ages]
    for file, days in zip(files, ages.values(), strict=True):
        file.write_bytes(b"x" * 20_000)
        os.utime(file, (time.time() - days * 86_400,) * 2)
    return files


def test_pixels_that_were_not_used_for_long_are_removed(crops: Path) -> None:
    old, new, busy = others(crops, {"old": 31, "new": 29, "busy": 50})
    with FileLock(f"{busy}.lock"):  # by a process that adds to it
        scanned(crops)
    assert [old.exists(), new.exists(), busy.exists()] == [False, True, True]
    [own] = set(pixel_files(crops)) - {new, busy}
    os.utime(own, (0, 0))
    scanned(crops, settings(cache_days=10))
    assert not new.exists()
    assert time.time() - own.stat().st_mtime < 60, "it was used"


def test_the_least_recently_used_go_first_when_all_are_too_many(crops: Path) -> None:
    files = others(crops, {"first": 3, "second": 2, "third": 1})
    scanned(crops, settings(cache_gigabytes=65e-6))  # 60 kB and 22 kB
    assert [file.exists() for file in files] == [False, True, True]
    assert_same_pixels(crops, scanned(crops, settings(cache_gigabytes=30e-6)).images.at(names_in(crops)))
    assert [file.exists() for file in files] == [False, False, False]


def test_no_change_reaches_the_file_and_loose_images_are_decoded(crops: Path) -> None:
    scanned(crops).images.at(["01.png"])[0].zero_()
    assert_same_pixels(crops, scanned(crops).images.at(["01.png"]))
    assert_same_pixels(crops, ImageStore(crops).at(["01.png", str(crops / "02.png")]))
