"""From a file to an upright RGB image, by Pillow alone."""

import os
import re
import stat
import warnings
from io import BytesIO
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from gender_cls.errors import GenderClsError

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "PPM", "AVIF", "JPEG2000")
"""What is read, by the file's first bytes. A closed list: Pillow would hand an EPS file to Ghostscript."""

IMAGE_SUFFIXES = {
    *(".avif", ".bmp", ".dib", ".gif", ".heic", ".heif", ".j2k", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg", ".jxl"),
    *(".pbm", ".pgm", ".png", ".pnm", ".ppm", ".tif", ".tiff", ".webp"),
}
"""Suffixes of the files that count as images in a folder, whatever is in them: an empty .jpg is an image to repair."""

OTHER_FORMATS = ("HEIC", "JPEG XL")
"""Formats that are recognised, so that a file is not left out in silence, but not read."""

LONGEST_START = 32
"""Bytes at the beginning of a file that tell its format."""

Fault = Literal["missing", "empty", "no_picture", "damaged"]
"""Why a file is unreadable; `damaged` has an intact header, but its pixels are cut off or broken."""


class UnreadableError(GenderClsError):
    """A file that gives no image: `Cannot read PATH: REASON.`"""

    def __init__(self, sentence: str, fault: Fault) -> None:
        super().__init__(sentence)
        self.fault = fault


class DecodedImage(NamedTuple):
    """An image and what its file says about itself."""

    image: Image.Image  # RGB, upright as its EXIF orientation says
    format: str  # Pillow's name of the file's format, whatever its suffix
    frames: int  # more than 1 for an animation, whose first frame `image` is


def is_picture(path: str | Path) -> bool:
    """Whether a file counts as an image: by its suffix, or else by its first bytes. Only the second opens the file.

    A file that may not be read could be an image, so it counts: reading it says what is wrong.
    """
    if os.path.splitext(path)[1].strip().lower() in IMAGE_SUFFIXES:
        return True
    try:
        # A pipe without a writer would block for ever.
        opened = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except OSError:
        return os.path.isfile(path)
    try:
        return stat.S_ISREG(os.fstat(opened).st_mode) and format_of(os.read(opened, LONGEST_START)) is not None
    except OSError:
        return True
    finally:
        os.close(opened)


def format_of(start: bytes) -> str | None:
    """The format of a file with these first LONGEST_START bytes: one of FORMATS or OTHER_FORMATS; None if no image."""
    for signature, name in _SIGNATURES.items():
        if start.startswith(signature):
            return name
    if start[:4] == b"RIFF" and start[8:12] == b"WEBP":
        return "WEBP"
    if start[:2] == b"BM" and start[14:18] in _BMP_HEADERS:  # two letters alone also begin many texts
        return "BMP"
    if re.match(rb"P[1-6]\s+(#|\d+\s+\d+\s)", start):
        return "PPM"
    if start[4:8] == b"ftyp":  # the box that begins MP4 too; then come the brands of four letters, the main one first
        brands = {start[place : place + 4] for place in range(8, min(len(start), start[3]), 4)}
        if brands & {b"avif", b"avis"}:
            return "AVIF"
        if brands & {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}:
            return "HEIC"
    return None


_SIGNATURES = {
    b"\xff\xd8\xff": "JPEG",
    b"\x89PNG\r\n\x1a\n": "PNG",
    **dict.fromkeys((b"GIF87a", b"GIF89a"), "GIF"),
    **dict.fromkeys((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"), "TIFF"),
    **dict.fromkeys((b"\0\0\0\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51"), "JPEG2000"),
    **dict.fromkeys((b"\0\0\0\x0cJXL \r\n\x87\n", b"\xff\x0a"), "JPEG XL"),
}

_BMP_HEADERS = {length.to_bytes(4, "little") for length in (12, 16, 40, 52, 56, 64, 108, 124)}


def read_image(path: Path) -> DecodedImage:
    """Decode a file.

    Grey becomes three equal channels, alpha and palette transparency are dropped, 16 bits keep their high byte.

    Raises:
        UnreadableError: the file is missing, empty, truncated or no image.
    """
    fault: Fault = "no_picture"
    try:
        # From memory, not by name: Pillow scrambles the rotation of a file that it can map (an uncompressed grey TIFF).
        data = BytesIO(path.read_bytes())
        with warnings.catch_warnings(action="ignore"), Image.open(data, formats=FORMATS) as image:
            fault = "damaged"
            kind = str(image.format)
            frames = 1 if kind in ("JPEG", "MPO") else getattr(image, "n_frames", 1)
            ImageOps.exif_transpose(image, in_place=True)
            return DecodedImage(_to_rgb(image), kind, frames)
    except FileNotFoundError as error:
        raise UnreadableError(f"Cannot read {path}: {error.strerror}.", "missing") from error
    except Exception as error:  # on damaged bytes Pillow raises OSError, ValueError, SyntaxError, struct.error, ...
        if fault == "no_picture" and path.is_file() and not path.stat().st_size:
            fault = "empty"
        raise UnreadableError(f"Cannot read {path}: {_reason(error, fault)}.", fault) from error


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "F" or (image.mode == "I" and image.format == "TIFF"):
        raise ValueError("float, signed and 32-bit pixels have no fixed range")
    if image.mode.startswith("I"):  # 16 bits, also of a PGM file; Pillow's own conversion to 8 bits may clip at 255
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    return image.convert("RGB")


def _reason(error: Exception, fault: Fault) -> str:
    if isinstance(error, UnidentifiedImageError):
        return "it is empty" if fault == "empty" else f"it is no intact {', '.join(FORMATS)} picture"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return f"it does not decode ({type(error).__name__}: {error})"
