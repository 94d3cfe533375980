"""Decoding, against pixels written down by hand."""

import os
import struct
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
from helpers.crops import decode
from helpers.image_bytes import tiff
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from gender_cls.data.image_files import FORMATS, LONGEST_START, UnreadableError, format_of, is_picture, read_image

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
        with pytest.raises(UnreadableError, match=rf"^Cannot read {file}: its? .+\.$"):
            decode(file)


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF"])
def test_a_single_pixel_is_read(file: Path, file_format: str) -> None:
    Image.new("RGB", (1, 1), (255, 255, 255)).save(file, format=file_format)
    assert decode(file).flatten().tolist() == [255, 255, 255]


def test_a_jpeg_that_lacks_its_last_byte_is_refused(file: Path) -> None:
    Image.fromarray(RGB).resize((32, 64)).save(file)
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(UnreadableError, match=r"[Pp]remature end"):
        decode(file)


@pytest.mark.parametrize("file_format", ["GIF", "PNG", "WEBP", "TIFF", "AVIF"])
def test_the_first_frame_of_an_animation_counts(file: Path, file_format: str) -> None:
    frames = [Image.new("RGB", (16, 16), colour) for colour in ((255, 0, 0), (0, 0, 255), (0, 255, 0))]
    frames[0].save(file, file_format, save_all=True, append_images=frames[1:])
    found = read_image(file)
    assert found.image.getpixel((0, 0)) == pytest.approx((255, 0, 0), abs=3)
    assert found.frames == 2  # as much as is known


def test_frames_are_not_counted(file: Path) -> None:
    one = tiff(np.array([[[9]]]), 8, 1)
    (entries,) = struct.unpack_from("<H", one, 8)
    end = 8 + 2 + 12 * entries
    frames, each = 50_000, end + 4 - 8
    starts = [len(one) + each * number for number in range(frames)]
    links = [struct.pack("<I", start) for start in [*starts, 0]]
    file.write_bytes(one[:end] + links[0] + one[end + 4 :] + b"".join(one[8:end] + link for link in links[1:]))
    began = time.process_time()
    assert read_image(file).frames == 2
    assert time.process_time() - began < 1  # counting takes about 20 s


@pytest.mark.parametrize("file_format", FORMATS)
def test_an_image_is_known_by_its_first_bytes(tmp_path: Path, file_format: str) -> None:
    Image.fromarray(RGB).save(tmp_path / "0012", file_format)
    assert is_picture(tmp_path / "0012")
    assert format_of((tmp_path / "0012").read_bytes()[:LONGEST_START]) == file_format
    decode(tmp_path / "0012")


HEIC = b"\0\0\0\x24ftypmif1\0\0\0\0mif1heic"
OTHERS = {"a.jpg ": b"", "a.JPE": b"", "b.heic": b"text", "c": HEIC, "d.x": b"\xff\x0a" + bytes(40)}
STRAYS = {
    "a.txt": b"BMW 320 is no bitmap image", "b": b"", "c.txt": b"P1 male",
    "d.mp4": b"\0\0\0\x18ftypisom\0\0\0\0isommp42", "e.csv": b"path,label", "f.jpg.txt": b"a",
}  # fmt: skip


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


def exif(entry: bytes) -> bytes:
    """Orientation 6 and another entry."""
    entries = sorted([entry, struct.pack("<HHIHH", 0x0112, 3, 1, 6, 0)], key=lambda one: struct.unpack("<H", one[:2]))
    return b"Exif\0\0II*\0\x08\0\0\0\x02\0" + b"".join(entries) + b"\0\0\0\0" + b"text and numbers 0123456789"


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize(
    "entry",
    [
        struct.pack("<HHII", 0x0110, 12, 1, 38),  # the camera's model, a text, as a number
        struct.pack("<HHII", 0x0110, 5, 1, 1 << 30),  # a fraction far outside
        struct.pack("<HHII", 0x011A, 2, 4, 0x41424344),  # the resolution, a fraction, as text
        struct.pack("<HHII", 0x8769, 2, 4, 0x41424344),  # a directory as text
        struct.pack("<HHII", 0x0213, 9, 1, 0xFFFFFFFF),
    ],
    ids=["number for text", "outside", "text for number", "text for directory", "negative"],
)
def test_a_wrong_type_in_the_metadata_does_not_matter(file: Path, file_format: str, entry: bytes) -> None:
    stored = np.kron(np.array([[1, 2, 3], [4, 5, 6]], dtype=np.uint8) * 40, np.ones((16, 16), dtype=np.uint8))
    Image.fromarray(stored).save(file, file_format, exif=exif(entry))
    assert (decode(file)[0, 8::16, 8::16].float() / 40).round().int().tolist() == UPRIGHT[6]


@pytest.mark.parametrize("what", ["text", "international text", "profile"])
def test_a_png_with_much_compressed_text_is_read(file: Path, what: str) -> None:
    info = PngInfo()
    if what != "profile":
        (info.add_text if what == "text" else info.add_itxt)("comment", "x" * 3_000_000, zip=True)
    profile = bytes(3_000_000) if what == "profile" else None
    Image.fromarray(RGB).save(file, "PNG", pnginfo=info, icc_profile=profile)
    assert np.array_equal(decode(file).permute(1, 2, 0), RGB)


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


@pytest.mark.parametrize("name", ["HEIC", "JPEG XL"])
def test_a_format_that_is_only_known_by_name_is_refused(file: Path, name: str) -> None:
    file.write_bytes(HEIC if name == "HEIC" else OTHERS["d.x"])
    with pytest.raises(UnreadableError, match=f"{file}: {name} .*JPEG or PNG") as raised:
        decode(file)
    assert raised.value.fault == "no_picture"


def test_a_pipe_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.jpg")
    with pytest.raises(UnreadableError, match="no regular file"):
        decode(tmp_path / "a.jpg")


def test_an_image_with_too_many_pixels_is_refused_before_it_is_decoded(file: Path) -> None:
    Image.new("L", (3000, 1000)).save(file, "PNG")
    assert read_image(file, max_megapixels=3).image.size == (3000, 1000)
    file.write_bytes(file.read_bytes()[:200])
    with pytest.raises(UnreadableError, match=r"3 megapixels .*data\.max_megapixels=2\.9") as raised:
        read_image(file, max_megapixels=2.9)
    assert raised.value.fault == "too_large"


def test_huge_images_decode_silently_and_bombs_are_refused(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.fromarray(RGB).save(file, "PNG")  # 6 pixels; Pillow warns above its limit and refuses above twice the limit
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 4)
    with warnings.catch_warnings(record=True) as escaped:
        assert decode(file).shape == (3, 2, 3)
    assert not escaped
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 2)
    with pytest.raises(UnreadableError, match=f"{file}: .*megapixels") as raised:
        decode(file)
    assert raised.value.fault == "too_large"
