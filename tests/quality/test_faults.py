from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import get_args

import pandas as pd
import pytest
from PIL import Image

from gender_cls.config.audit import AuditSettings
from gender_cls.data.image_files import Fault, read_image
from gender_cls.quality.faults import FAULTS, describe_faults, find_faults

SETTINGS = replace(AuditSettings(), min_height=48, dark=40.0, bright=215.0, blurred=0.8, min_aspect=1.2, max_aspect=4.0)

FINE = {"format": "PNG", "frames": 1, "width": 50, "height": 100, "transparency": 0.0, "brightness": 120.0}
FINE |= {"sharpness": 1.1, "fault": ""}


def faults_of(path: str = "MALE/a.png", **facts: object) -> set[str]:
    """Names of the faults of one image, fine but for these facts; with a fine one before it."""
    table = pd.DataFrame({"path": ["MALE/fine.png", path]})
    found = find_faults(table, pd.DataFrame([FINE, {**FINE, **facts}]), SETTINGS)
    assert list(found.columns) == list(FAULTS)
    assert set(map(str, found.dtypes)) == {"bool"}
    assert not found.iloc[0].any()
    return set(found.columns[found.iloc[1]])


@pytest.mark.parametrize(
    ("facts", "faults"),
    [
        ({}, set()),
        ({"frames": 2}, {"animated"}),
        ({"transparency": 0.001}, {"transparent"}),
        ({"height": 48, "width": 24}, set()),
        ({"height": 47, "width": 24}, {"low"}),
        ({"brightness": 40.0}, set()),
        ({"brightness": 39.9}, {"dark"}),
        ({"brightness": 215.0}, set()),
        ({"brightness": 215.1}, {"bright"}),
        ({"sharpness": 0.8}, set()),
        ({"sharpness": 0.79}, {"blurred"}),
        ({"height": 60, "width": 50}, set()),  # 1.2
        ({"height": 59, "width": 50}, {"odd_aspect"}),
        ({"height": 200, "width": 50}, set()),  # 4.0
        ({"height": 201, "width": 50}, {"odd_aspect"}),
        ({"height": 20, "width": 50, "brightness": 3.0, "sharpness": 0.0}, {"low", "dark", "blurred", "odd_aspect"}),
    ],
)
def test_limits_of_readable_images(facts: dict[str, object], faults: set[str]) -> None:
    assert faults_of(**facts) == faults


@pytest.mark.parametrize("fault", get_args(Fault))
@pytest.mark.parametrize("nothing", [0, float("nan")])
def test_of_an_unreadable_image_nothing_else_is_said(fault: str, nothing: float) -> None:
    numbers = dict.fromkeys(("frames", "width", "height", "transparency", "brightness", "sharpness"), nothing)
    assert faults_of("MALE/a.jpg", fault=fault, format="", **numbers) == {"unreadable", fault}


@pytest.mark.parametrize(
    ("path", "kind", "wrong"),
    [
        *((f"a.{suffix}", "JPEG", False) for suffix in ("jpg", "JPEG", "jfif", "mpo")),
        *((f"a.{suffix}", "TIFF", False) for suffix in ("tiff", "TIF")),
        *((path, "PNG", False) for path in ("folder.jpg/0012", "frame.0012")),  # no suffix promises nothing
        *(
            ("a.jpg", "MPO", False),
            ("a.dib", "BMP", False),
            ("a.jp2", "JPEG2000", False),
            ("a.avif", "AVIF", False),
            ("a.pgm", "PPM", False),
        ),
        *((path, "PNG", True) for path in ("a.jpg", "0012.png.jpg")),
        *(("a.png", "JPEG", True), ("a.png", "MPO", True), ("a.webp", "GIF", True)),
    ],
)
def test_suffix_and_contents(path: str, kind: str, wrong: bool) -> None:
    assert faults_of(path, format=kind) == ({"wrong_extension"} if wrong else set())


def test_a_jpeg_with_a_second_picture_behind_it_is_no_wrong_extension(tmp_path: Path) -> None:
    image = Image.new("RGB", (16, 32))
    buffer = BytesIO()
    image.save(buffer, "MPO", save_all=True, append_images=[image])
    (tmp_path / "a.jpg").write_bytes(buffer.getvalue())
    picture = read_image(tmp_path / "a.jpg")
    assert (picture.format, picture.frames) == ("MPO", 1)
    assert faults_of("a.jpg", format=picture.format, frames=picture.frames) == set()


def test_descriptions_hold_the_values_of_the_settings() -> None:
    descriptions = describe_faults(SETTINGS)
    assert list(descriptions) == list(FAULTS)
    assert descriptions["low"] == "lower than audit.min_height=48 pixels"
    assert descriptions["dark"] == "mean brightness below audit.dark=40 of 255"
    assert descriptions["blurred"] == "sharpness below audit.blurred=0.8"
    assert descriptions["odd_aspect"] == "height / width below audit.min_aspect=1.2 or above audit.max_aspect=4"
