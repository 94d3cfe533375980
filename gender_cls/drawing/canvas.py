"""What all drawn pictures share: colours, text, colour tables and file formats. Numpy and Pillow, no pyplot."""

import base64
from functools import cache
from io import BytesIO
from math import ceil
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.ft2font import FT2Font
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

Picture = NDArray[np.uint8]  # (height, width, 3), RGB

MAT, LIGHT, SOFT, ALARM = "#17191d", "#f2f3f5", "#a6adb7", "#c8372d"
"""Pictures lie on a dark mat, on light and dark pages alike: ground, text, small text, and the ground of a mistake."""

MARGIN, GAP = 20, 6  # around a picture, and between its tiles


def write(
    draw: ImageDraw.ImageDraw,
    position: tuple[float, float],
    text: str,
    size: int,
    bold: bool = False,
    colour: str = LIGHT,
    anchor: str = "ls",
    width: int | None = None,
) -> float:
    """Write one line, shortened in its middle to at most `width` pixels, and return the width it takes.

    Letters that the font lacks are written as `\\u738b`, so that two such names still differ.
    """
    font, known = _font(size, bold), _letters(bold)
    text = "".join(letter if ord(letter) in known else f"\\u{ord(letter):04x}" for letter in " ".join(text.split()))
    shown, kept = text, len(text)
    while width is not None and kept > 1 and font.getlength(shown) > width:
        kept = min(kept - 1, ceil(kept * width / font.getlength(shown)))
        shown = f"{text[: (kept + 1) // 2]}…{text[len(text) - kept // 2 :]}"
    draw.text(position, shown, colour, font, anchor)
    return font.getlength(shown)


def text_width(text: str, size: int, bold: bool = False) -> float:
    """Pixels that a line takes."""
    return _font(size, bold).getlength(text)


def wrapped(text: str, size: int, bold: bool, width: int) -> list[str]:
    """The text in lines of at most `width` pixels; a word that is longer has its own line."""
    lines: list[str] = []
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and _font(size, bold).getlength(longer) <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines


@cache
def colour_table(name: str) -> NDArray[np.uint8]:
    """A colour map of matplotlib, (256, 3), RGB."""
    return matplotlib.colormaps[name](np.arange(256), bytes=True)[:, :3]


def png_bytes(picture: Picture) -> bytes:
    """The picture as a PNG file."""  # level 1 of 9 is much faster than the usual 6, for slightly larger files
    return file_bytes(Image.fromarray(picture), "PNG", compress_level=1)


def jpeg_bytes(picture: Picture) -> bytes:
    """The picture as a JPEG file without subsampled colours: several times faster to write than a PNG, and smaller."""
    return file_bytes(Image.fromarray(picture), "JPEG", quality=90, subsampling=0)


def webp_bytes(image: Image.Image, quality: int = 80) -> bytes:
    """The image as a WebP file, which is small enough to embed in a page."""
    return file_bytes(image, "WEBP", quality=quality)


def file_bytes(image: Image.Image, kind: str, **options: Any) -> bytes:
    """The image as a file of this kind, with the options of `Image.save`."""
    file = BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def data_uri(file: bytes) -> str:
    """The content of a JPEG, PNG, SVG or WebP file as an address that a page can show without fetching anything."""
    starts = {b"\xff\xd8": "jpeg", b"\x89PNG": "png", b"<?xml": "svg+xml"}
    kind = next((kind for start, kind in starts.items() if file.startswith(start)), "webp")
    return f"data:image/{kind};base64,{base64.b64encode(file).decode()}"


@cache
def _font(size: int, bold: bool) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(_font_file(bold), size)


@cache
def _letters(bold: bool) -> frozenset[int]:
    """The code points that the font has."""
    return frozenset(FT2Font(_font_file(bold)).get_charmap())


def _font_file(bold: bool) -> str:
    """DejaVu Sans, which comes with matplotlib; it has Latin, Greek, Cyrillic, Arabic and the signs used here."""
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / name)
