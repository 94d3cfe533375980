"""Decoding and resizing, against pixels written down by hand."""

import struct
import warnings
import zlib

import numpy as np
import pytest
import torch
from helpers.crops import decode
from PIL import Image
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as F

from gender_cls.config.data import ResizeMode
from gender_cls.data import transforms
from gender_cls.data.transforms import MID_GREY, place_in_input, resize, resize_into
from gender_cls.errors import GenderClsError

RGB = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255]], [[10, 20, 30], [0, 0, 0], [255, 255, 255]]], dtype=np.uint8)
PICTURE = Image.fromarray(RGB)

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


def noise(height: int, width: int) -> torch.Tensor:
    return torch.randint(0, 256, (3, height, width), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def flat(value: int, height: int = 64, width: int = 32) -> torch.Tensor:
    return torch.full((3, height, width), value, dtype=torch.uint8)


# decode


@pytest.mark.parametrize("file_format", ["PNG", "BMP", "TIFF", "WEBP", "PPM"])
def test_lossless_formats_give_their_pixels_whatever_the_suffix(tmp_path, file_format):
    path = tmp_path / "crop.jpg"
    PICTURE.save(path, format=file_format, **({"lossless": True} if file_format == "WEBP" else {}))
    image = decode(path)
    assert image.dtype == torch.uint8
    assert np.array_equal(image.permute(1, 2, 0), RGB)


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF"])
def test_a_single_pixel_decodes(tmp_path, file_format):
    path = tmp_path / "crop"
    Image.new("RGB", (1, 1), (255, 255, 255)).save(path, format=file_format)
    assert decode(path).flatten().tolist() == [255, 255, 255]


@pytest.mark.parametrize(
    ("mode", "colour", "expected"),
    [
        ("1", 1, [255, 255, 255]),
        ("L", 77, [77, 77, 77]),
        ("LA", (77, 10), [77, 77, 77]),
        ("RGBA", (10, 20, 30, 0), [10, 20, 30]),
    ],
)
def test_grey_becomes_rgb_and_alpha_is_dropped(tmp_path, mode, colour, expected):
    Image.new(mode, (2, 2), colour).save(tmp_path / "crop.png")
    assert decode(tmp_path / "crop.png")[:, 1, 1].tolist() == expected


@pytest.mark.parametrize("transparency", [None, 1, bytes([0, 128, 255])], ids=["opaque", "one index", "per index"])
def test_palette_transparency_is_dropped_without_a_warning(tmp_path, transparency):
    palette = Image.new("P", (3, 1))
    palette.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90])
    palette.putdata([0, 1, 2])
    palette.save(tmp_path / "crop.png", **({} if transparency is None else {"transparency": transparency}))
    with warnings.catch_warnings(record=True) as escaped:
        image = decode(tmp_path / "crop.png")
    assert not escaped
    assert image[:, 0].T.tolist() == [[10, 20, 30], [40, 50, 60], [70, 80, 90]]


def test_of_an_animation_the_first_frame_counts(tmp_path):
    frames = [Image.new("RGB", (4, 4), colour) for colour in ((255, 0, 0), (0, 0, 255))]
    frames[0].save(tmp_path / "crop.gif", save_all=True, append_images=frames[1:])
    assert decode(tmp_path / "crop.gif")[:, 0, 0].tolist() == [255, 0, 0]


def test_cmyk_jpeg_is_red_where_cyan_is_missing(tmp_path):
    Image.new("CMYK", (16, 16), (0, 255, 255, 0)).save(tmp_path / "crop.jpg", quality=95)
    assert (decode(tmp_path / "crop.jpg")[:, 8, 8].int() - torch.tensor([255, 0, 0])).abs().max() <= 3


@pytest.mark.parametrize("file_format", ["PNG", "TIFF", "PPM"])
def test_16_bit_grey_keeps_the_high_byte(tmp_path, file_format):
    values = np.array([[0x0000, 0x00FF, 0x1234], [0x8000, 0xFF00, 0xFFFF]], dtype=np.uint16)
    Image.fromarray(values).save(tmp_path / "crop", format=file_format)
    image = decode(tmp_path / "crop")
    assert image.tolist() == [[[0x00, 0x00, 0x12], [0x80, 0xFF, 0xFF]]] * 3


def test_16_bit_rgb_png_keeps_the_high_byte(tmp_path):
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 1, 1, 16, 2, 0, 0, 0)  # 1x1, 16 bits, RGB
    row = b"\0" + struct.pack(">HHH", 0x1234, 0xABCD, 0xFFFF)
    chunks = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(row)) + chunk(b"IEND", b"")
    (tmp_path / "crop.png").write_bytes(b"\x89PNG\r\n\x1a\n" + chunks)
    assert decode(tmp_path / "crop.png").flatten().tolist() == [0x12, 0xAB, 0xFF]


@pytest.mark.parametrize("orientation", UPRIGHT)
@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_exif_orientation_is_applied(tmp_path, file_format, orientation):
    stored = np.kron(np.array([[1, 2, 3], [4, 5, 6]], dtype=np.uint8) * 40, np.ones((16, 16), dtype=np.uint8))
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(stored).save(tmp_path / "crop", format=file_format, exif=exif)
    blocks = decode(tmp_path / "crop")[0, 8::16, 8::16]
    assert (blocks.float() / 40).round().int().tolist() == UPRIGHT[orientation]


def test_what_is_no_picture_is_refused_in_one_sentence(tmp_path):
    empty, text, missing = tmp_path / "empty.jpg", tmp_path / "text.jpg", tmp_path / "missing.jpg"
    empty.touch()
    text.write_text("no picture")
    for path, reason in (
        (empty, "it is empty"),
        (text, "it is no intact JPEG, PNG, WEBP, BMP, TIFF, GIF, PPM picture"),
        (missing, "No such file or directory"),
    ):
        with pytest.raises(GenderClsError) as caught:
            decode(path)
        assert str(path) in str(caught.value)
        assert reason in str(caught.value)


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF"])
def test_a_truncated_picture_is_refused(tmp_path, file_format, share):
    path = tmp_path / "crop"
    Image.fromarray(noise(48, 32).permute(1, 2, 0).numpy()).save(path, format=file_format)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    with pytest.raises(GenderClsError, match=rf"^Cannot read {path}: it .+\.$"):
        decode(path)


def test_a_jpeg_that_lacks_its_last_byte_is_refused(tmp_path):
    path = tmp_path / "crop.jpg"
    PICTURE.resize((32, 64)).save(path)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(GenderClsError, match="image file is truncated"):
        decode(path)


def test_float_pixels_are_refused(tmp_path):
    Image.new("F", (2, 2), 0.5).save(tmp_path / "crop.tif")
    with pytest.raises(GenderClsError, match=r"crop\.tif: .*float, signed and 32-bit pixels have no fixed range"):
        decode(tmp_path / "crop.tif")


def test_a_huge_picture_decodes_silently_and_a_decompression_bomb_is_refused(tmp_path, monkeypatch):
    PICTURE.save(tmp_path / "crop.png")  # 6 pixels; Pillow warns above its limit and refuses above twice the limit
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 4)
    with warnings.catch_warnings(record=True) as escaped:
        assert decode(tmp_path / "crop.png").shape == (3, 2, 3)
    assert not escaped
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 2)
    with pytest.raises(GenderClsError, match="DecompressionBombError"):
        decode(tmp_path / "crop.png")


# resize


def test_halving_weighs_the_neighbours_as_a_triangle():
    # The triangle of half-width 2 around 1.0 weighs the pixel centres 0.5, 1.5, 2.5 by 3/7, 3/7, 1/7.
    row = torch.tensor([0, 70, 140, 210], dtype=torch.uint8)
    image = row.expand(3, 4, 4).contiguous()
    assert resize(image, (4, 2), ResizeMode.stretch)[0, 0].tolist() == [50, 160]
    assert resize(image.mT.contiguous(), (2, 4), ResizeMode.stretch)[0, :, 0].tolist() == [50, 160]


def test_letterbox_pads_the_odd_pixel_on_the_right_or_the_bottom():
    image = resize(flat(200, 60, 20), (120, 61), ResizeMode.letterbox)  # twice as large: 120x40, 21 columns over
    assert image.shape == (3, 120, 61)
    assert (image[:, :, 10:50] == 200).all()
    assert (image[:, :, :10] == MID_GREY).all()
    assert (image[:, :, 50:] == MID_GREY).all()
    assert torch.equal(resize(flat(200, 20, 60), (61, 120), ResizeMode.letterbox), image.mT)


def test_crop_keeps_the_centre():
    image = noise(101, 50)
    assert torch.equal(
        resize(image, (50, 50), ResizeMode.crop), image[:, 25:75]
    )  # 25 rows off the top, 26 off the bottom
    assert torch.equal(resize(image.mT, (50, 50), ResizeMode.crop), image.mT[:, :, 25:75])


def test_crop_covers_the_target_at_the_same_aspect_ratio():
    image = torch.cat(
        [flat(0, 30, 60), flat(200, 60, 60), flat(0, 30, 60)], dim=1
    )  # 120x60, its middle square is light
    assert (resize(image, (32, 32), ResizeMode.crop) == 200).all()


@pytest.mark.parametrize("mode", ResizeMode)
@pytest.mark.parametrize("shape", [(300, 1), (1, 300), (1, 1), (2, 3)])
def test_thin_and_tiny_pictures_keep_their_colour(shape, mode):
    image = resize(flat(9, *shape), (256, 128), mode)
    assert image.shape == (3, 256, 128)
    assert image.dtype == torch.uint8
    assert set(image.unique().tolist()) <= {9, MID_GREY}
    assert (image == 9).any()
    if mode is not ResizeMode.letterbox:
        assert (image == 9).all()


def test_letterbox_of_a_line_is_a_line():
    line = noise(300, 1)
    image = resize(line, (256, 128), ResizeMode.letterbox)  # 2 columns, 126 over
    assert (image[:, :, :63] == MID_GREY).all()
    assert (image[:, :, 65:] == MID_GREY).all()
    pillow = Image.fromarray(line.permute(1, 2, 0).numpy()).resize((1, 256), Image.Resampling.BILINEAR)
    expected = torch.from_numpy(np.array(pillow)).permute(2, 0, 1).int()
    assert (image[:, :, 63:65].int() - expected).abs().max() <= 1


@pytest.mark.parametrize("shape", [(1, 1), (300, 1), (1, 300), (40, 30), (20, 50), (600, 200)])
def test_stretch_agrees_with_pillow(tmp_path, shape):
    stored = Image.fromarray(noise(*shape).permute(1, 2, 0).numpy())
    stored.save(tmp_path / "crop.bmp")
    expected = torch.from_numpy(np.array(stored.resize((16, 32), Image.Resampling.BILINEAR))).permute(2, 0, 1).int()
    assert (resize(decode(tmp_path / "crop.bmp"), (32, 16), ResizeMode.stretch).int() - expected).abs().max() <= 1
    assert (resize(noise(*shape), (32, 16), ResizeMode.stretch).int() - expected).abs().max() <= 1


@pytest.mark.parametrize("mode", ResizeMode)
def test_the_right_size_is_left_alone(mode):
    assert torch.equal(resize(noise(32, 16), (32, 16), mode), noise(32, 16))


@pytest.mark.parametrize(
    ("native", "mode", "box"),
    [
        ((50, 10), ResizeMode.stretch, (0, 0, 20, 40)),
        ((50, 10), ResizeMode.letterbox, (6, 0, 14, 40)),  # 40 x 8 in the middle of 40 x 20
        ((20, 20), ResizeMode.letterbox, (0, 10, 20, 30)),
        ((50, 10), ResizeMode.crop, (0, -30, 20, 70)),  # at twice its size, of 100 rows the middle 40 are seen
        ((20, 20), ResizeMode.crop, (-10, 0, 30, 40)),
    ],
)
def test_a_picture_is_where_it_is_said_to_be(native, mode, box):
    assert place_in_input(native, (40, 20), mode) == pytest.approx(box)
    image = torch.zeros(3, *native, dtype=torch.uint8)
    image[:, : native[0] // 2, : native[1] // 2] = 250  # light in the upper left quarter of the picture
    shown = resize(image, (40, 20), mode)
    middle, centre = (box[1] + box[3]) / 2, (box[0] + box[2]) / 2
    assert (shown[0, round(middle) - 3, round(centre) - 3], shown[0, round(middle) + 3, round(centre) + 3]) == (250, 0)


def test_pixels_do_not_depend_on_the_number_of_threads(tmp_path):
    Image.fromarray(noise(300, 200).permute(1, 2, 0).numpy()).save(tmp_path / "crop.jpg")
    threads, pictures = torch.get_num_threads(), []
    try:
        for number in (1, 2, 3):
            torch.set_num_threads(number)
            pictures.append(resize(decode(tmp_path / "crop.jpg"), (256, 128), ResizeMode.stretch))
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(pictures[0], pictures[1])
    assert torch.equal(pictures[0], pictures[2])


def as_before(image: torch.Tensor, size: tuple[int, int], mode: ResizeMode) -> torch.Tensor:
    """Torchvision's `resize` of the whole picture, its copies and conversions included."""
    fit = transforms._fit((image.shape[1], image.shape[2]), size, mode)
    image = image[:, fit.top : fit.top + fit.height, fit.left : fit.left + fit.width]
    image = F.resize(image, list(fit.size), interpolation=InterpolationMode.BILINEAR, antialias=True)
    return F.pad(image, list(fit.padding), fill=MID_GREY).contiguous()


@pytest.mark.parametrize("mode", ResizeMode)
def test_a_picture_written_into_a_batch_is_the_same_bit_by_bit(mode):
    sizes = [(1, 1), (1, 40), (40, 1), (2, 3), (32, 16), (64, 20), (150, 63), (300, 130), (31, 200)]
    batch = torch.full((len(sizes), 32, 16, 3), 7, dtype=torch.uint8)
    for into, shape in zip(batch, sizes, strict=True):
        planes = noise(*shape)
        beside = planes.permute(1, 2, 0).contiguous().permute(2, 0, 1)  # as kept pixels and Pillow have them
        for image in (planes, beside):
            resize_into(into, image, mode)
            assert torch.equal(into.permute(2, 0, 1), as_before(image, (32, 16), mode))
            assert torch.equal(resize(image, (32, 16), mode), as_before(image, (32, 16), mode))


def test_where_torch_resizes_no_bytes_torchvision_does(monkeypatch):
    expected = [as_before(noise(50, 30), (32, 16), mode) for mode in ResizeMode]
    monkeypatch.setattr(transforms, "_RESIZES_BYTES", False)
    for mode, pixels in zip(ResizeMode, expected, strict=True):
        assert torch.equal(resize(noise(50, 30), (32, 16), mode), pixels)
