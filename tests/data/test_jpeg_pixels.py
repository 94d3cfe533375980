"""JPEG files: the same pixels as Pillow's, and damage inside is noticed."""

from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gender_cls.data.image_files import UnreadableError, read_image

END = b"\xff\xd9"


def jpeg(mode: str = "RGB", **options: object) -> bytes:
    """A smooth picture with some noise."""
    ramp = np.linspace(0, 230, 96)[:, None, None] * np.ones((96, 64, 3))
    noisy = ramp + np.random.default_rng(0).integers(0, 25, ramp.shape)
    file = BytesIO()
    Image.fromarray(noisy.astype(np.uint8)).convert(mode).save(file, "JPEG", **options)
    return file.getvalue()


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize(
    "options",
    [
        *({"subsampling": kind} for kind in ("4:4:4", "4:2:2", "4:2:0")),
        *({name: True} for name in ("progressive", "optimize", "keep_rgb")),
        {"restart_marker_rows": 1},
    ],
    ids=lambda options: "-".join(map(str, next(iter(options.items())))),
)
def test_pixels_are_those_of_pillow(tmp_path: Path, mode: str, options: dict[str, object]) -> None:
    (tmp_path / "a.jpg").write_bytes(content := jpeg(mode, quality=80, **options))
    expected = Image.open(BytesIO(content)).convert("RGB")
    assert np.array_equal(read_image(tmp_path / "a.jpg").image, expected)


def middle(content: bytes) -> int:
    """A place among the data of the pixels."""
    start = content.index(b"\xff\xda")
    return start + (len(content) - start) // 3


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "cut and closed": lambda content: content[: middle(content)] + END,
    "end is zeros": lambda content: content[: middle(content)].ljust(len(content) - 2, b"\0") + END,
    "zeros inside": lambda content: content[: middle(content)] + bytes(300) + content[middle(content) + 300 :],
    "bytes lost": lambda content: content[: middle(content)] + content[middle(content) + 90 :],
    "bytes flipped": lambda content: (
        content[: middle(content)]
        + bytes(byte ^ 0x55 for byte in content[middle(content) : middle(content) + 250])
        + content[middle(content) + 250 :]
    ),
    "two files in one": lambda content: content[: middle(content)] + jpeg(quality=95)[700:],
}


@pytest.mark.parametrize("kind", DAMAGE)
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_damage_inside_is_noticed_although_the_file_has_an_end(tmp_path: Path, kind: str, mode: str) -> None:
    (tmp_path / "a.jpg").write_bytes(DAMAGE[kind](jpeg(mode)))
    with pytest.raises(UnreadableError, match=r"a\.jpg: its JPEG data are damaged inside \(.+\)\.$") as raised:
        read_image(tmp_path / "a.jpg")
    assert raised.value.fault == "damaged"


HARMLESS: dict[str, Callable[[bytes], bytes]] = {
    "padding before the end": lambda content: content[:-2] + b"\x7f" + bytes(7) + END,
    "bytes between two headers": lambda content: content[:20] + bytes(608) + content[20:],
    "bytes after the end": lambda content: content + bytes(range(256)) * 9,
    "unknown revision": lambda content: content.replace(b"JFIF\0\x01\x01", b"JFIF\0\x07\x01"),
}


@pytest.mark.parametrize("kind", HARMLESS)
def test_what_cameras_write_is_no_damage(tmp_path: Path, kind: str) -> None:
    content = jpeg()
    assert HARMLESS[kind](content) != content
    (tmp_path / "a.jpg").write_bytes(HARMLESS[kind](content))
    assert np.array_equal(read_image(tmp_path / "a.jpg").image, Image.open(BytesIO(content)))
