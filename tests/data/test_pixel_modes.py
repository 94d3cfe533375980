"""Every kind of pixel that a file can hold, against colours written down by hand: right, or refused."""

from pathlib import Path

import numpy as np
import pytest
from helpers.image_bytes import png, tiff
from PIL import Image, ImageCms

from gender_cls.data.image_files import UnreadableError, read_image
from gender_cls.data.pixel_modes import MID_GREY

FOUR = np.array([[0x12, 0xAB], [0x80, 0xFF]])
"""The high bytes of a grey image; the low bytes are 0x34."""

DEEP = FOUR * 256 + 0x34
COLOURS = np.stack([FOUR, 255 - FOUR, FOUR // 2], axis=2)
GREY = np.repeat(FOUR[..., None], 3, axis=2)
INVERTED = 255 - GREY
SHADES = GREY // 128 * 255  # of one bit
INKS = np.concatenate([255 - COLOURS, 0 * COLOURS[..., :1]], axis=2)

TIFFS = {
    "grey": (tiff(FOUR[..., None], 8, 1), GREY),
    "white is 0": (tiff(255 - FOUR[..., None], 8, 0), GREY),
    "1 bit": (tiff(FOUR[..., None] // 128, 1, 1), SHADES),
    "1 bit, white is 0": (tiff(1 - FOUR[..., None] // 128, 1, 0), SHADES),
    "4 bits": (tiff(FOUR[..., None] // 16, 4, 1), GREY // 16 * 17),
    "12 bits": (tiff(DEEP[..., None] // 16, 12, 1), GREY),
    "16 bits": (tiff(DEEP[..., None], 16, 1), GREY),
    "16 bits, big-endian": (tiff(DEEP[..., None], 16, 1, ">"), GREY),
    "16 bits, bits the other way round": (tiff(DEEP[..., None], 16, 1, fill_order=[2]), GREY),
    "16 bits, white is 0": (tiff(0xFFFF - DEEP[..., None], 16, 0), GREY),
    "16 bits, white is 0, compressed": (tiff(0xFFFF - DEEP[..., None], 16, 0, compression=[8]), GREY),
    "colours": (tiff(COLOURS, 8, 2), COLOURS),
    "colours, planes": (tiff(COLOURS, 8, 2, planar=[2]), COLOURS),
    "16-bit colours": (tiff(COLOURS * 256 + 9, 16, 2, ">"), COLOURS),
    "16-bit colours, compressed planes": (tiff(COLOURS * 256 + 9, 16, 2, planar=[2], compression=[8]), COLOURS),
    "palette": (tiff(FOUR[..., None], 8, 3, colours=[level * 257 for level in [*range(256)] * 3]), GREY),
    "inks": (tiff(INKS, 8, 5), COLOURS),
    "16-bit inks": (tiff(INKS * 256, 16, 5), COLOURS),
    "grey and something else": (tiff(np.stack([FOUR, 0 * FOUR], axis=2), 8, 1, extra=[0]), GREY),
}

REFUSED = {
    "16-bit colours, planes": tiff(COLOURS * 256 + 9, 16, 2, planar=[2]),
    "16-bit inks, planes": tiff(INKS * 256, 16, 5, ">", planar=[2]),
    "colours, planes, bits the other way round": tiff(COLOURS, 8, 2, planar=[2], fill_order=[2]),
    "grey and alpha, planes": tiff(COLOURS[..., :2], 8, 1, planar=[2], compression=[8], extra=[2]),
    "fewer colours than pixels": tiff(COLOURS, 8, 6),
    "signed": tiff(FOUR[..., None], 8, 1, sample_format=[2]),
    "signed 16 bits": tiff(DEEP[..., None], 16, 1, sample_format=[2]),
}


@pytest.mark.parametrize("kind", [*TIFFS, *REFUSED])
def test_a_tiff_has_its_own_pixels_or_is_refused(tmp_path: Path, kind: str) -> None:
    content, expected = TIFFS.get(kind, (REFUSED.get(kind), None))
    (tmp_path / "a.tif").write_bytes(content)
    if expected is not None:
        assert np.array_equal(read_image(tmp_path / "a.tif").image, expected)
    else:
        with pytest.raises(UnreadableError, match=r"a\.tif: ") as raised:
            read_image(tmp_path / "a.tif")
        assert raised.value.fault == "no_picture"


@pytest.mark.parametrize("mode", ["I", "F"])
def test_pixels_without_a_fixed_range_are_refused(tmp_path: Path, mode: str) -> None:
    Image.new(mode, (2, 2), 1).save(tmp_path / "a.tif")
    with pytest.raises(UnreadableError, match=r"a\.tif: .*32-bit pixels"):
        read_image(tmp_path / "a.tif")


@pytest.mark.parametrize("file_format", ["PNG", "PPM", "JPEG2000"])
def test_16_bit_grey_keeps_the_high_byte_in_other_formats(tmp_path: Path, file_format: str) -> None:
    Image.fromarray(DEEP.astype(np.uint16)).save(tmp_path / "a", file_format)
    assert np.array_equal(read_image(tmp_path / "a").image, GREY)


def test_16_bit_colours_of_a_png_keep_the_high_byte(tmp_path: Path) -> None:
    row = (COLOURS[0] * 256 + 9).astype(">u2").tobytes()
    (tmp_path / "a.png").write_bytes(png(2, row, bits=16, colour_type=2))
    assert np.array_equal(read_image(tmp_path / "a.png").image, COLOURS[:1])


@pytest.mark.parametrize(("mode", "file_format"), [("CMYK", "JPEG"), ("CMYK", "TIFF"), ("YCbCr", "TIFF")])
def test_other_colours_become_rgb(tmp_path: Path, mode: str, file_format: str) -> None:
    Image.new("RGB", (16, 16), (200, 50, 80)).convert(mode).save(tmp_path / "a", file_format, quality=95)
    assert read_image(tmp_path / "a").image.getpixel((8, 8)) == pytest.approx((200, 50, 80), abs=3)


def test_lab_colours_become_rgb(tmp_path: Path) -> None:
    rgb, lab = map(ImageCms.createProfile, ("sRGB", "LAB"))
    image = ImageCms.profileToProfile(Image.new("RGB", (2, 2), (200, 50, 80)), rgb, lab, outputMode="LAB")
    image.save(tmp_path / "a.tif")
    assert read_image(tmp_path / "a.tif").image.getpixel((0, 0)) == pytest.approx((200, 50, 80), abs=3)


HIDDEN, HALF, SEEN = (10, 20, 30), (40, 50, 60), (70, 80, 90)
ON_GREY = [[MID_GREY] * 3, [(c * 128 + MID_GREY * 127) / 255 for c in HALF], list(SEEN)]


@pytest.mark.parametrize("file_format", ["PNG", "WEBP", "TIFF", "JPEG2000"])
def test_transparent_colours_are_mid_grey(tmp_path: Path, file_format: str) -> None:
    pixels = [(*HIDDEN, 0), (*HALF, 128), (*SEEN, 255)]
    Image.fromarray(np.array([pixels], dtype=np.uint8)).save(tmp_path / "a", file_format, lossless=True, exact=True)
    found = read_image(tmp_path / "a")
    assert np.asarray(found.image)[0].tolist() == pytest.approx(np.array(ON_GREY), abs=0.6)
    assert found.transparency == pytest.approx((1 + 127 / 255) / 3)


def in_palette(file_format: str) -> tuple[Image.Image, str, dict[str, bytes | int]]:
    image = Image.fromarray(np.array([[0, 1]], dtype=np.uint8)).convert("P")
    image.putpalette([*HIDDEN, *SEEN])
    return image, file_format, {"transparency": bytes([0, 255]) if file_format == "PNG" else 0}


@pytest.mark.parametrize(
    ("image", "file_format", "key"),
    [
        in_palette("PNG"),
        in_palette("GIF"),
        (Image.fromarray(np.array([[HIDDEN, SEEN]], dtype=np.uint8)), "PNG", {"transparency": HIDDEN}),
        (Image.fromarray(np.array([[7, 70]], dtype=np.uint8)), "PNG", {"transparency": 7}),
        (Image.fromarray(np.array([[7007, 70 * 256]], dtype=np.uint16)), "PNG", {"transparency": 7007}),
    ],
    ids=["palette of a PNG", "palette of a GIF", "one colour", "one grey level", "one of 16 bits"],
)
def test_a_transparent_colour_is_mid_grey(tmp_path: Path, image: Image.Image, file_format: str, key: dict) -> None:
    image.save(tmp_path / "a", file_format, **key)
    found = read_image(tmp_path / "a")
    assert found.image.getpixel((0, 0)) == (MID_GREY,) * 3
    assert found.image.getpixel((1, 0))[0] == 70
    assert found.transparency == 0.5


def test_a_transparent_colour_of_16_bits_is_mid_grey(tmp_path: Path) -> None:
    row, key = np.array([[0x1234, 0xABCD, 0x5678], [0x4600] * 3], dtype=">u2"), b"\x12\x34\xab\xcd\x56\x78"
    (tmp_path / "a.png").write_bytes(png(2, row.tobytes(), bits=16, colour_type=2, tRNS=key))
    assert np.asarray(read_image(tmp_path / "a.png").image)[0].tolist() == [[MID_GREY] * 3, [0x46] * 3]


@pytest.mark.parametrize("mode", ["LA", "RGBA"])
def test_an_opaque_image_keeps_its_colours(tmp_path: Path, mode: str) -> None:
    Image.new("RGB", (3, 2), (7, 7, 7)).convert(mode).save(tmp_path / "a.png")
    found = read_image(tmp_path / "a.png")
    assert (found.image.getpixel((0, 0)), found.transparency) == ((7, 7, 7), 0)
