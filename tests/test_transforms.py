"""Decoding, resizing and augmenting, against pixels written down by hand."""

import pickle
import random
import struct
import warnings
import zlib
from io import BytesIO

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from PIL import Image

from gender_cls.config import CONFIG_FOLDER, AugmentConfig
from gender_cls.data.transforms import MID_GREY, build_augmentation, decode, place_in_input, resize
from gender_cls.data_config import ResizeMode
from gender_cls.errors import GenderClsError

RGB = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255]], [[10, 20, 30], [0, 0, 0], [255, 255, 255]]], dtype=np.uint8)
PICTURE = Image.fromarray(RGB)

# The stored picture is 1 2 3 / 4 5 6; these are its upright forms by the EXIF standard's table.
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


def augmented(image: torch.Tensor, seed: int = 0, **changes: float) -> torch.Tensor:
    augment = build_augmentation(AugmentConfig(**changes))
    assert augment is not None
    torch.manual_seed(seed)
    return augment(image)


def group(name: str) -> AugmentConfig:
    values = OmegaConf.load(CONFIG_FOLDER / "augment" / f"{name}.yaml")
    config = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(AugmentConfig), values))
    assert isinstance(config, AugmentConfig)
    config.check()
    return config


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
        assert str(caught.value) == f"Cannot read {path}: {reason}."


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


# build_augmentation


@pytest.mark.parametrize(
    "changes",
    [{}, {"mixup": 0.2, "cutmix": 1.0}, {"affine": 1.0}, {"rotate_degrees": 10.0, "zoom": 0.1}],
    ids=["default", "batch only", "affine without a range", "ranges without affine"],
)
def test_nothing_to_do_is_none(changes):
    assert build_augmentation(AugmentConfig(**changes)) is None


def test_flip_mirrors_left_and_right_as_often_as_asked():
    image = noise(8, 4)
    assert torch.equal(augmented(image, flip=1.0), image.flip(2))
    augment = build_augmentation(AugmentConfig(flip=0.3))
    torch.manual_seed(0)
    mirrored = sum(torch.equal(augment(image), image.flip(2)) for _ in range(500))
    assert 110 < mirrored < 190  # 150 +- 4 standard deviations of 10.2


def test_translation_shifts_by_at_most_the_share_and_fills_with_mid_grey():
    image, shifts = flat(255, 40, 20), set()
    for seed in range(40):
        shifted = augmented(image, seed, affine=1.0, translate=0.1)
        assert set(shifted.unique().tolist()) <= {MID_GREY, 255}
        shifts.add((int((shifted[0] == MID_GREY).all(1).sum()), int((shifted[0] == MID_GREY).all(0).sum())))
    assert {rows for rows, _ in shifts} == {0, 1, 2, 3, 4}  # 10 % of 40
    assert {columns for _, columns in shifts} == {0, 1, 2}  # 10 % of 20


def test_zoom_shrinks_and_enlarges_within_its_range():
    image = flat(0, 80, 80)
    image[:, 20:60, 20:60] = 255  # a light square of side 40
    sides = [(augmented(image, seed, affine=1.0, zoom=0.25) > 127)[0].any(0).sum().item() for seed in range(40)]
    assert 29 <= min(sides) < 33  # 0.75 x 40 = 30, and a pixel for the interpolation
    assert 47 < max(sides) <= 51  # 1.25 x 40 = 50


def test_rotation_moves_the_corners_only_so_far():
    image = flat(255, 64, 64)
    grey = [(augmented(image, seed, affine=1.0, rotate_degrees=10) < 200)[0].sum().item() for seed in range(20)]
    # Four corner triangles of a square of side 64 turned by 10 degrees cover 9.0 % of it.
    assert 0.04 * 64**2 < max(grey) < 0.1 * 64**2


def test_brightness_scales_a_flat_picture_within_its_range():
    values = {augmented(flat(100), seed, brightness=0.2)[0, 0, 0].item() for seed in range(60)}
    assert 80 <= min(values) < 86
    assert 114 < max(values) <= 120


def test_contrast_keeps_a_flat_picture_and_saturation_a_grey_one():
    grey_noise = noise(16, 16)[:1].expand(3, -1, -1).contiguous()
    assert (augmented(flat(100), contrast=0.5).int() - 100).abs().max() <= 1
    assert (augmented(grey_noise, saturation=0.5).int() - grey_noise.int()).abs().max() <= 1
    assert not torch.equal(augmented(grey_noise, contrast=0.5), grey_noise)
    assert not torch.equal(augmented(noise(16, 16), saturation=0.5), noise(16, 16))


def test_grey_is_luma_in_three_equal_channels():
    image = flat(0)
    image[1] = 200
    assert set(augmented(image, grey=1.0).unique().tolist()) <= {117, 118}  # 0.587 x 200 = 117.4


@pytest.mark.parametrize("change", ["low_resolution", "blur"])
def test_a_far_or_unsharp_camera_loses_detail_but_no_light(change):
    board = (torch.arange(64)[:, None] + torch.arange(32)) % 2 * 200
    board = board.expand(3, -1, -1).to(torch.uint8).contiguous()
    results = [augmented(board, seed, **{change: 1.0}).float() for seed in range(10)]
    assert all(result.mean().item() == pytest.approx(100, abs=3) for result in results)
    assert min(result.std().item() for result in results) < 10  # 100 before
    assert len({result.std().item() for result in results}) > 4  # the strength is drawn anew
    assert torch.equal(augmented(flat(77), **{change: 1.0}), flat(77))


def test_low_resolution_is_a_detour_over_a_side_4_to_1_5_times_smaller():
    image = noise(24, 24)
    detours = {
        side: resize(resize(image, (side, side), ResizeMode.stretch), (24, 24), ResizeMode.stretch)
        for side in range(2, 24)
    }
    sides = set()
    for seed in range(60):
        result = augmented(image, seed, low_resolution=1.0)
        sides |= {side for side, detour in detours.items() if torch.equal(result, detour)}
    assert min(sides) == 6
    assert max(sides) in {15, 16}


def test_jpeg_is_pillows_at_a_quality_from_30_to_90():
    image = noise(16, 16)
    candidates = []
    for quality in range(30, 91):
        buffer = BytesIO()
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(buffer, format="JPEG", quality=quality)
        candidates.append(torch.from_numpy(np.array(Image.open(buffer))).permute(2, 0, 1))
    for seed in range(10):
        result = augmented(image, seed, jpeg=1.0)
        assert any(torch.equal(result, candidate) for candidate in candidates)


def test_erasing_fills_one_rectangle_of_2_to_20_percent():
    areas = []
    for seed in range(40):
        erased = augmented(flat(0, 64, 64), seed, erase=1.0)[0] == MID_GREY
        rows, columns = erased.any(1).sum().item(), erased.any(0).sum().item()
        assert erased.sum().item() == rows * columns
        areas.append(rows * columns / 64**2)
    assert 0.015 < min(areas) < 0.06
    assert 0.15 < max(areas) < 0.21


def test_erasing_comes_last():
    changes = dict.fromkeys(("low_resolution", "blur", "jpeg", "grey", "erase"), 1.0)
    erased = augmented(flat(0, 64, 64), brightness=0.5, rand_augment=2, **changes)[0] == MID_GREY
    assert erased.sum() == erased.any(1).sum() * erased.any(0).sum()


def test_geometry_comes_before_colour():
    darkened = augmented(flat(0), 1, affine=1.0, translate=0.2, brightness=0.9)
    filled = darkened[darkened > 0]
    assert filled.numel() > 0
    assert (filled != MID_GREY).all()


@pytest.mark.parametrize("name", ["light", "cctv", "strong"])
def test_groups_keep_shape_and_type_and_follow_the_seed_of_torch_alone(name):
    augment = pickle.loads(pickle.dumps(build_augmentation(group(name))))  # spawned workers pickle it
    pictures = []
    for disturbance in (1, 2):
        random.seed(disturbance)
        np.random.seed(disturbance)  # noqa: NPY002 - the global generator is what must not matter
        torch.manual_seed(0)
        pictures.append([augment(noise(48, 24)) for _ in range(15)])
    for first, second in zip(*pictures, strict=True):
        assert first.shape == (3, 48, 24)
        assert first.dtype == torch.uint8
        assert torch.equal(first, second)
    assert len({picture.numpy().tobytes() for picture in pictures[0]}) > 10
    assert augment(noise(16, 16)).shape == (3, 16, 16)  # the smallest data.image_size


def test_groups_grow_from_none_to_strong():
    names = sorted(path.stem for path in (CONFIG_FOLDER / "augment").glob("*.yaml"))
    assert names == ["cctv", "light", "none", "strong"]
    assert build_augmentation(group("none")) is None
    weaker = group("none")
    for stronger in (group("light"), group("cctv"), group("strong")):
        assert all(getattr(stronger, key) >= value for key, value in vars(weaker).items())
        weaker = stronger
