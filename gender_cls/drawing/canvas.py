"""What every drawn picture shares: inks, type, colour tables and the way into a file. Numpy and Pillow, no pyplot."""

from functools import cache
from io import BytesIO
from math import ceil
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.ft2font import FT2Font
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

Picture = NDArray[np.uint8]
"""(height, width, 3), RGB."""

PAPER, INK, GREY, ALARM = "#fbfbf9", "#1f2328", "#686e76", "#b3261e"

MARGIN, GAP = 24, 6  # around a picture, between its tiles

PNG_COMPRESSION = 1  # of zlib's 1 to 9: a quarter of the time of its usual 6, a file a tenth larger


def write(
    draw: ImageDraw.ImageDraw,
    position: tuple[float, float],
    text: str,
    size: int,
    bold: bool = False,
    colour: str = INK,
    anchor: str = "ls",
    width: int | None = None,
) -> float:
    """Writes one line, shortened in its middle to at most `width` pixels; returns the width it took.

    Letters that the font lacks are written as `\\u738b`, so that two such names still differ.
    """
    font = _font(size, bold)
    known = _letters(bold)
    text = "".join(letter if ord(letter) in known else f"\\u{ord(letter):04x}" for letter in " ".join(text.split()))
    shown, kept = text, len(text)
    while width is not None and kept > 1 and font.getlength(shown) > width:
        kept = min(kept - 1, ceil(kept * width / font.getlength(shown)))
        shown = f"{text[: (kept + 1) // 2]}…{text[len(text) - kept // 2 :]}"
    draw.text(position, shown, colour, font, anchor)
    return font.getlength(shown)


def wrapped(text: str, size: int, bold: bool, width: int) -> list[str]:
    """The words of a text in lines of at most `width` pixels; a longer word has a line to itself."""
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
    """The picture as a PNG file."""
    file = BytesIO()
    Image.fromarray(picture).save(file, "PNG", compress_level=PNG_COMPRESSION)
    return file.getvalue()


def webp_bytes(image: Image.Image) -> bytes:
    """The picture as a WebP file, small enough to be carried inside a page."""
    file = BytesIO()
    image.save(file, "WEBP", quality=80)
    return file.getvalue()


@cache
def _font(size: int, bold: bool) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(_file(bold), size)


@cache
def _letters(bold: bool) -> frozenset[int]:
    """The code points that can be written."""
    return frozenset(FT2Font(_file(bold)).get_charmap())


def _file(bold: bool) -> str:
    """DejaVu Sans comes with matplotlib; beside Latin it has Greek, Cyrillic, Arabic and the signs used here."""
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / name)
