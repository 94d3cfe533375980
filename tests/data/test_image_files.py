"""Decoding, against pixels written down by hand."""

import os
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from helpers.crops import decode
from PIL import Image

from gender_cls.data.image_files import FORMATS, LONGEST_START, UnreadableError, format_of, is_picture

RGB = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255]], [[10, 20, 30], [0, 0, 0], [255, 255, 255]]], dtype=np.uint8)

# The stored image is 1 2 3 / 4 5 6; these are its upright forms by the EXIF standard's table.
UPRIGHT = {
    1: [[1, 2, 3], [4, 5, 6]],
    2: [[3, 2, 1], [6, 5, 4]],
    3: [[6, 5, 4], [3, 2, 1]],
    4: [[4, 5, 6], [1, 2, 3]],
    5: [[1, 4], [2, 5], [3, 6]],
    6: [[4, 1], [5, 2], [6, 3]],
    7: [[6, 3], [5, 2], [4, 1]],
    8: [[3, 6], [2, 5], [1, 4]],
}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "crop.jpg"


@pytest.mark.parametrize("file_format", ["PNG", "BMP", "TIFF", "WEBP", "PPM"])
def test_lossless_formats_give_their_pixels_whatever_the_suffix(file: Path, file_format: str) -> None:
    Image.fromarray(RGB).save(file, format=file_format, **({"lossless": True} if file_format == "WEBP" else {}))
    assert np.array_equal(decode(file).permute(1, 2, 0), RGB)


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF"])
@pytest.mark.parametrize("share", [1, 0.9, 0.6, 0.3])
def test_a_whole_image_is_read_and_a_truncated_one_refused(file: Path, file_format: str, share: float) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (48, 32, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(file, format=file_format)
    file.write_bytes(file.read_bytes()[: int(file.stat().st_size * share)])
    if share == 1:
        assert decode(file).shape == (3, 48, 32)
    else:
        with pytest.raises(UnreadableError, match=rf"^Cannot read {file}: it .+\.$"):
            decode(file)


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF"])
def test_a_single_pixel_is_read(file: Path, file_format: str) -> None:
    Image.new("RGB", (1, 1), (255, 255, 255)).save(file, format=file_format)
    assert decode(file).flatten().tolist() == [255, 255, 255]


def test_a_jpeg_that_lacks_its_last_byte_is_refused(file: Path) -> None:
    Image.fromarray(RGB).resize((32, 64)).save(file)
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(UnreadableError, match="image file is truncated"):
        decode(file)


@pytest.mark.parametrize(
    ("mode", "colour", "file_format", "expected"),
    [
        ("1", 1, "PNG", [255, 255, 255]),
        ("L", 77, "PNG", [77, 77, 77]),
        ("LA", (77, 10), "PNG", [77, 77, 77]),
        ("RGBA", (10, 20, 30, 0), "PNG", [10, 20, 30]),
        ("CMYK", (0, 255, 255, 0), "JPEG", [255, 0, 0]),
    ],
)
def test_other_modes_become_rgb_without_alpha(file: Path, mode: str, colour, file_format: str, expected) -> None:
    Image.new(mode, (16, 16), colour).save(file, file_format, quality=95)
    tolerance = 3 if file_format == "JPEG" else 0
    assert decode(file)[:, 8, 8].tolist() == pytest.approx(expected, abs=tolerance)


@pytest.mark.parametrize("transparency", [None, 1, bytes([0, 128, 255])], ids=["opaque", "one index", "per index"])
def test_palette_transparency_is_dropped_without_a_warning(file: Path, transparency: int | bytes | None) -> None:
    palette = Image.new("P", (3, 1))
    palette.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90])
    palette.putdata([0, 1, 2])
    palette.save(file, "PNG", **({} if transparency is None else {"transparency": transparency}))
    assert decode(file)[:, 0].T.tolist() == [[10, 20, 30], [40, 50, 60], [70, 80, 90]]


def test_the_first_frame_of_an_animation_counts(file: Path) -> None:
    frames = [Image.new("RGB", (4, 4), colour) for colour in ((255, 0, 0), (0, 0, 255))]
    frames[0].save(file, "GIF", save_all=True, append_images=frames[1:])
    assert decode(file)[:, 0, 0].tolist() == [255, 0, 0]


@pytest.mark.parametrize("file_format", ["PNG", "TIFF", "PPM"])
def test_16_bit_grey_keeps_the_high_byte(file: Path, file_format: str) -> None:
    values = np.array([[0x0000, 0x00FF, 0x1234], [0x8000, 0xFF00, 0xFFFF]], dtype=np.uint16)
    Image.fromarray(values).save(file, format=file_format)
    assert decode(file).tolist() == [[[0x00, 0x00, 0x12], [0x80, 0xFF, 0xFF]]] * 3


def test_16_bit_rgb_png_keeps_the_high_byte(file: Path) -> None:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 1, 1, 16, 2, 0, 0, 0)  # 1x1, 16 bits, RGB
    row = b"\0" + struct.pack(">HHH", 0x1234, 0xABCD, 0xFFFF)
    chunks = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(row)) + chunk(b"IEND", b"")
    file.write_bytes(b"\x89PNG\r\n\x1a\n" + chunks)
    assert decode(file).flatten().tolist() == [0x12, 0xAB, 0xFF]


@pytest.mark.parametrize("file_format", FORMATS)
def test_an_image_is_known_by_its_first_bytes(tmp_path: Path, file_format: str) -> None:
    Image.fromarray(RGB).save(tmp_path / "0012", file_format)
    assert is_picture(tmp_path / "0012")
    assert format_of((tmp_path / "0012").read_bytes()[:LONGEST_START]) == file_format
    decode(tmp_path / "0012")


HEIC = b"\0\0\0\x24ftypmif1\0\0\0\0mif1heic"
OTHERS = {"a.jpg ": b"", "a.JPE": b"", "b.heic": b"text", "c": HEIC, "d.x": b"\xff\x0a" + bytes(40)}
STRAYS = {
    **{
        "a.txt": b"BMW 320 is no bitmap image",
        "b": b"",
        "c.txt": b"P1 male",
        "d.mp4": b"\0\0\0\x18ftypisom\0\0\0\0isommp42",
    },
    **{"e.csv": b"path,label", "f.jpg.txt": b"a"},
}


@pytest.mark.parametrize(("name", "content"), [*OTHERS.items(), *STRAYS.items()])
def test_what_counts_as_an_image(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    assert is_picture(str(tmp_path / name)) == (name in OTHERS)


def test_folders_pipes_and_missing_files_are_no_images(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert not any(map(is_picture, (tmp_path, tmp_path / "pipe", tmp_path / "gone")))


@pytest.mark.parametrize("orientation", UPRIGHT)
@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_exif_orientation_is_applied(file: Path, file_format: str, orientation: int) -> None:
    stored = np.kron(np.array([[1, 2, 3], [4, 5, 6]], dtype=np.uint8) * 40, np.ones((16, 16), dtype=np.uint8))
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(stored).save(file, format=file_format, exif=exif)
    blocks = decode(file)[0, 8::16, 8::16]
    assert (blocks.float() / 40).round().int().tolist() == UPRIGHT[orientation]


@pytest.mark.parametrize(
    ("content", "reason"),
    [(None, "No such file"), (b"", "empty"), (b"no picture", "JPEG, PNG, WEBP, BMP, TIFF, GIF, PPM, AVIF, JPEG2000")],
    ids=["missing", "empty", "text"],
)
def test_what_is_no_image_is_refused_in_one_sentence(file: Path, content: bytes | None, reason: str) -> None:
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(UnreadableError, match=f"{file}.*{reason}"):
        decode(file)


def test_float_pixels_are_refused(file: Path) -> None:
    Image.new("F", (2, 2), 0.5).save(file, "TIFF")
    with pytest.raises(UnreadableError, match=r"crop\.jpg: .*32-bit pixels"):
        decode(file)


def test_huge_images_decode_silently_and_bombs_are_refused(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.fromarray(RGB).save(file, "PNG")  # 6 pixels; Pillow warns above its limit and refuses above twice the limit
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 4)
    with warnings.catch_warnings(record=True) as escaped:
        assert decode(file).shape == (3, 2, 3)
    assert not escaped
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 2)
    with pytest.raises(UnreadableError, match="DecompressionBombError"):
        decode(file)
