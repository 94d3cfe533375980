"""The script next to an exported model: without torch, with the answers of predict."""

import csv
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers.commands import environment
from helpers.crops import write_crop
from helpers.exported import example_metadata, write_mean_colour
from PIL import Image

import gender_cls
from gender_cls.data.image_files import read_image
from gender_cls.export import run_onnx
from gender_cls.runs.run import Run

SCRIPT = Path(run_onnx.__file__)

FORBID = (
    "import runpy, sys\n"
    "class Forbid:\n"
    "    def find_spec(self, name, path=None, target=None):\n"
    "        if name.partition('.')[0] in ('torch', 'torchvision', 'gender_cls', 'pandas', 'onnx', 'timm'):\n"
    "            raise ImportError(f'{name} is forbidden here')\n"
    "sys.meta_path.insert(0, Forbid())\n"
    "sys.argv = sys.argv[1:]\n"
    "runpy.run_path(sys.argv[0], run_name='__main__')\n"
)


def run_script(*arguments: object, code: int = 0) -> str:
    line = [sys.executable, "-I", "-c", FORBID, str(SCRIPT), *map(str, arguments)]
    result = subprocess.run(line, capture_output=True, text=True, env=environment())
    assert result.returncode == code, result.stderr
    return result.stdout if code == 0 else result.stderr


def pictures(folder: Path) -> list[Path]:
    """Fifty files: sizes, kinds of pixels, formats and orientations."""
    folder.mkdir()
    files = []
    for seed in range(30):
        file = folder / f"{seed}.{('png', 'jpg', 'bmp')[seed % 3]}"
        write_crop(file, seed, size=(5 + 3 * seed, 90 - 2 * seed), bright=seed % 2 == 0)
        files.append(file)
    colours = Image.open(files[0]).resize((20, 44))
    for mode in ("L", "LA", "RGBA", "P", "1", "CMYK", "I;16"):
        suffix = "tif" if mode in ("CMYK", "I;16") else "png"
        image = (
            colours.convert("I").point(lambda value: value * 250).convert(mode)
            if mode == "I;16"
            else colours.convert(mode)
        )
        if "A" in mode:
            image.putalpha(Image.fromarray(np.arange(20 * 44, dtype=np.uint8).reshape(44, 20)))
        files.append(folder / f"{mode.replace(';', '')}.{suffix}")
        image.save(files[-1])
    colours.convert("P").save(folder / "hidden.png", transparency=3)
    colours.save(folder / "moving.gif", save_all=True, append_images=[colours.rotate(180)])
    files += [folder / "hidden.png", folder / "moving.gif"]
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[274] = orientation
        files.append(folder / f"turned{orientation}.jpg")
        colours.save(files[-1], exif=exif)
    for suffix in ("webp", "ppm", "tif"):
        files.append(folder / f"plain.{suffix}")
        colours.save(files[-1])
    assert len(files) == 50
    return files


@pytest.fixture
def native(exported: Run) -> Path:
    return exported.exported / "model_native.onnx"


def test_it_is_short() -> None:
    assert len(SCRIPT.read_text().splitlines()) <= 60


def test_pictures_are_decoded_as_the_package_does(tmp_path: Path) -> None:
    for file in pictures(tmp_path / "pictures"):
        np.testing.assert_array_equal(run_onnx.read(str(file)), np.asarray(read_image(file).image), err_msg=file.name)


def test_its_answers_are_those_of_predict(native: Path, trained: Run, tmp_path: Path) -> None:
    files = pictures(tmp_path / "pictures")
    rows = list(csv.DictReader(run_script(native, *files).splitlines()))
    expected = gender_cls.load(trained.folder, accelerator="cpu").predict(files)
    assert [row["path"] for row in rows] == list(map(str, files))
    assert [row["answer"] for row in rows] == expected["answer"].tolist()
    assert len({row["answer"] for row in rows}) > 1
    np.testing.assert_allclose([float(row["probability"]) for row in rows], expected["calibrated_p_FEMALE"], atol=2e-6)


def test_a_bad_file_costs_no_other(native: Path, tmp_path: Path) -> None:
    write_crop(tmp_path / "good.png", 0)
    (tmp_path / "text.jpg").write_text("no picture")
    Image.new("I", (4, 4)).save(tmp_path / "deep.tif")  # the package does not read it either
    files = [tmp_path / "text.jpg", tmp_path / "gone.png", tmp_path, tmp_path / "deep.tif", tmp_path / "good.png"]
    rows = list(csv.DictReader(run_script(native, *files).splitlines()))
    assert [row["answer"] != "" for row in rows] == [False] * 4 + [True]
    assert [row["reason"] != "" for row in rows] == [True] * 4 + [False]


def test_any_file_name_is_printed_on_any_terminal(native: Path, tmp_path: Path) -> None:
    write_crop(tmp_path / "人.png", 0)
    line = [sys.executable, str(SCRIPT), str(native), str(tmp_path / "人.png")]
    result = subprocess.run(line, capture_output=True, env={**environment(), "PYTHONIOENCODING": "cp1252"}, check=True)
    (row,) = csv.DictReader(result.stdout.decode("utf-8").splitlines())
    assert row["path"].endswith("人.png")
    assert row["answer"]


def test_only_a_native_file_takes_pictures(tmp_path: Path) -> None:
    file = write_mean_colour(tmp_path / "model.onnx", example_metadata().to_texts())
    assert "model_native.onnx" in run_script(file, "a.png", code=1)


def test_without_pictures_it_says_how_it_is_called() -> None:
    assert "run_onnx.py model_native.onnx image.jpg" in run_script()
