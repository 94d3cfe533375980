"""Pictures that are replaced: between scans, while a run trains, before it resumes, and before it is evaluated."""

import os
import shutil
from pathlib import Path

import pandas as pd
import pytest
from helpers.classifiers import config_of, datamodule_of, prepare
from helpers.crops import decode, write_crop
from helpers.scanning import names_in, scanned, settings
from torch._utils import ExceptionWrapper

from gender_cls.config.data import PixelCache
from gender_cls.data import scan as scanning
from gender_cls.data.datamodule import CropDataset
from gender_cls.data.image_files import DecodedImage
from gender_cls.data.image_store import ChangedImageError
from gender_cls.data.record import record_data
from gender_cls.data.run_images import decoded_when_needed, scan_for_answers
from gender_cls.data.scan import scan
from gender_cls.errors import GenderClsError
from gender_cls.runs.run import Run

BOTH = pytest.mark.parametrize("cache", PixelCache)


@pytest.fixture
def crops(tmp_path: Path) -> Path:
    """Three BMP files of equal size and time."""
    for number in range(3):
        write_crop(tmp_path / "crops" / f"{number}.bmp", number)
        os.utime(tmp_path / "crops" / f"{number}.bmp", ns=(0, 10**18))
    return tmp_path / "crops"


def replace(file: Path, seed: int = 99) -> None:
    """Another picture of the same size and time, as `tar` or `rsync -t` would leave it."""
    status = file.stat()
    write_crop(file, seed)
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert (file.stat().st_size, file.stat().st_mtime_ns) == (status.st_size, status.st_mtime_ns)


@BOTH
@pytest.mark.parametrize("change", ["changed places", "overwritten", "replaced"])
def test_a_scan_finds_what_size_and_time_do_not_show(crops: Path, cache: PixelCache, change: str) -> None:
    before = scanned(crops, settings(cache)).facts["pixels"].tolist()
    if change == "changed places":
        for source, target in (("0.bmp", "x"), ("1.bmp", "0.bmp"), ("x", "1.bmp")):
            (crops / source).rename(crops / target)
        expected = [before[1], before[0], before[2]]
    else:
        replace(crops / "0.bmp")
        if change == "replaced":  # by a file of the same time
            shutil.copy2(crops / "0.bmp", crops / "copy")
            (crops / "copy").rename(crops / "0.bmp")
        expected = [scan(["0.bmp"], crops, crops.parent / "other", settings()).facts["pixels"][0], *before[1:]]
    found = scanned(crops, settings(cache))
    assert found.facts["pixels"].tolist() == expected
    images = found.images.at(names_in(crops))
    assert all((images[row] == decode(crops / name)).all() for row, name in enumerate(names_in(crops)))


def test_a_file_that_changes_while_it_is_read_for_its_pixels_is_not_kept(
    crops: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = scanned(crops, settings(PixelCache.none)).facts["pixels"]
    real = scanning.read_image

    def read(path: Path, *limits: float) -> DecodedImage:
        if path.name == "0.bmp":
            replace(path)
        return real(path, *limits)

    with monkeypatch.context() as patch:
        patch.setattr(scanning, "read_image", read)
        images = scanned(crops).images.at(["0.bmp", "1.bmp"])
    assert (images[1] == decode(crops / "1.bmp")).all()
    with pytest.raises(ChangedImageError, match=r"0\.bmp"):
        images[0]
    assert scanned(crops).facts["pixels"][0] != known[0]


@BOTH
def test_while_a_run_trains_it_sees_the_pictures_of_its_manifest_or_none(crops: Path, cache: PixelCache) -> None:
    images = scanned(crops, settings(cache)).images.at(names_in(crops))
    first = [images[row].clone() for row in range(3)]
    replace(crops / "1.bmp")
    if cache is PixelCache.disk:
        assert all((images[row] == first[row]).all() for row in range(3))
        return
    with pytest.raises(ChangedImageError, match=rf"{crops / '1.bmp'} has changed"):
        images[1]
    write_crop(crops / "1.bmp", 1)
    assert (images[1] == first[1]).all(), "it was restored"


def test_a_loader_process_passes_the_sentence_on(crops: Path) -> None:
    table = pd.DataFrame({"path": names_in(crops), "label": "MALE"})
    data = settings(PixelCache.none, image_size=[32, 16])
    dataset = CropDataset(table, scanned(crops, data).images, data)
    replace(crops / "1.bmp")
    (crops / "2.bmp").write_bytes(b"no picture")
    for row, sentence in (
        (1, f"^{crops / '1.bmp'} has changed.*again\\.$"),
        (2, f"^Cannot read {crops / '2.bmp'}: .*\\.$"),
    ):
        try:
            dataset[row]
        except GenderClsError:
            sent = ExceptionWrapper(where="in DataLoader worker process 0")  # as torch does there
        with pytest.raises(GenderClsError, match=sentence):
            sent.reraise()


@pytest.mark.parametrize("limit", [None, 24])
def test_a_run_does_not_resume_on_other_pictures(folders: Path, tmp_path: Path, limit: int | None) -> None:
    run, config = Run(tmp_path / "run"), config_of(folders, data={"limit": limit})
    prepared = prepare(folders, limit=limit)
    record_data(config, run, prepared)
    run.note(fitted=True)
    record_data(config, run, prepare(folders, limit=limit))
    table = pd.read_csv(run.manifest)
    assert table["pixels"].str.len().eq(32).all()
    assert prepared.manifest.fingerprint == run.data["manifest_sha256"]
    changed = folders / table["path"][3]
    content = changed.read_bytes()
    replace_png(changed)
    with pytest.raises(
        GenderClsError, match=rf"^The pixels of 1 of {len(table)} images .*: {table['path'][3]}\. Restore"
    ):
        record_data(config, run, prepare(folders, limit=limit))
    changed.write_bytes(content)
    record_data(config, run, prepare(folders, limit=limit))


def replace_png(file: Path) -> None:
    write_crop(file, 999, bright="FEMALE" in file.parts)


@pytest.mark.parametrize("lacking", [["perceptual_hash"], ["pixels", "perceptual_hash"]])
def test_runs_of_earlier_versions_resume_without_hashes(folders: Path, tmp_path: Path, lacking: list[str]) -> None:
    run, config, prepared = Run(tmp_path / "run"), config_of(folders), prepare(folders)
    record_data(config, run, prepared)
    run.note(fitted=True)
    recorded = pd.read_csv(run.manifest, dtype=str, keep_default_na=False)
    recorded.drop(columns=lacking).to_csv(run.manifest, index=False)
    record_data(config, run, prepared)
    assert pd.read_csv(run.manifest, dtype=str, keep_default_na=False).equals(recorded)
    for text in (run.manifest.read_text().replace("person08", "person99"), "", "no,table"):
        run.manifest.write_text(text)
        with pytest.raises(GenderClsError, match=rf"{run.manifest}.*start a new run\.$"):
            record_data(config, run, prepared)


@BOTH
def test_a_finished_run_is_not_asked_about_other_pictures(crops: Path, cache: PixelCache) -> None:
    rows = pd.DataFrame({"path": names_in(crops), "pixels": scanned(crops).facts["pixels"]})
    where, data = crops.parent / "cache", settings(cache)
    images = decoded_when_needed(rows, crops, where, data)
    replace(crops / "2.bmp")
    sentence = rf"^The pixels of 1 of 3 images below {crops} .*: 2\.bmp\. .*data_root"
    with pytest.raises(ChangedImageError, match=sentence):
        images.at(["0.bmp"])
    with pytest.raises(ChangedImageError, match=sentence):
        scan_for_answers(rows, crops, where, data)
    for number in range(2):
        replace(crops / f"{number}.bmp", 50 + number)
    with pytest.raises(ChangedImageError, match=r"3 of 3 .*Pillow"):
        scan_for_answers(rows, crops, where, data)
    for unknown in (rows[["path"]], rows.assign(pixels="17")):  # of an earlier version, and a column of its user
        images = decoded_when_needed(unknown, crops, where, data)
        assert (images.at(["2.bmp"])[0] == decode(crops / "2.bmp")).all()


def test_a_batch_of_a_changed_picture_stops(folders: Path) -> None:
    config = config_of(folders, data={"cache": "none"})
    module = datamodule_of(prepare(folders, cache=PixelCache.none), config)
    path = module.tables["train"]["path"][0]
    replace_png(folders / path)
    with pytest.raises(ChangedImageError, match=path):
        list(module.train_dataloader())
