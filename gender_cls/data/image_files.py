"""From a file to an upright RGB image."""

import os
import re
import stat
import struct
import warnings
from io import BytesIO
from pathlib import Path
from typing import IO, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, PngImagePlugin, TiffTags, UnidentifiedImageError
from PIL.TiffImagePlugin import TiffImageFile

from gender_cls.data.jpeg_pixels import DamagedJpegError, jpeg_pixels
from gender_cls.data.pixel_modes import Rgb, UnknownPixelsError, check_tiff, to_rgb
from gender_cls.errors import GenderClsError

# Pillow refuses PNG files with more than 1 MB of compressed text or colour profile; editors write more.
PngImagePlugin.MAX_TEXT_CHUNK = PngImagePlugin.MAX_TEXT_MEMORY

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "PPM", "AVIF", "JPEG2000")
"""What is read, by the file's first bytes. A closed list: Pillow would hand an EPS file to Ghostscript."""

IMAGE_SUFFIXES = {
    *(".avif", ".bmp", ".dib", ".gif", ".heic", ".heif", ".j2k", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg", ".jxl"),
    *(".pbm", ".pgm", ".png", ".pnm", ".ppm", ".tif", ".tiff", ".webp"),
}
"""Suffixes of the files that count as images in a folder, whatever is in them: an empty .jpg is an image to repair."""

OTHER_FORMATS = ("HEIC", "JPEG XL")
"""Formats that are recognised but not read: such a file is an error, not a file that is no image."""

LONGEST_START = 64
"""Bytes at the beginning of a file that tell its format."""

Fault = Literal["missing", "empty", "no_picture", "damaged", "too_large"]
"""Why a file is unreadable; `damaged` has an intact header, but its pixels are cut off or broken."""

CropFault = Fault | Literal["outside"]
"""Why there is no crop; `outside`: its box holds nothing of the image."""


class UnreadableError(GenderClsError):
    """A file that gives no image or crop: `Cannot read PATH: REASON.`

    A loader process passes on the sentence alone, without the fault.
    """

    def __init__(self, sentence: str, fault: CropFault | None = None) -> None:
        super().__init__(sentence)
        self.fault = fault


def _unreadable(path: Path, reason: str, fault: Fault) -> UnreadableError:
    return UnreadableError(f"Cannot read {path}: {reason}.", fault)


class DecodedImage(NamedTuple):
    """An image and what its file says about itself."""

    image: Image.Image  # RGB, upright as its EXIF orientation says
    format: str  # Pillow's name of the file's format, whatever its suffix
    frames: int  # 2 for an animation of any length, whose first frame `image` is
    transparency: float  # share of the image that is grey instead of the colours in the file, 0 to 1


def is_picture(path: str | Path) -> bool:
    """Whether a file counts as an image: by its suffix, or else by its first bytes. Only the second opens the file.

    A file that may not be read could be an image, so it counts: reading it says what is wrong.
    """
    if os.path.splitext(path)[1].strip().lower() in IMAGE_SUFFIXES:
        return True
    try:
        with open(path, "rb", buffering=0, opener=open_at_once) as file:
            return _is_regular(file) and format_of(file.read(LONGEST_START)) is not None
    except OSError:
        return os.path.isfile(path)


def format_of(start: bytes) -> str | None:
    """The format of a file with these first LONGEST_START bytes: one of FORMATS or OTHER_FORMATS; None if no image."""
    for signature, name in _SIGNATURES.items():
        if start.startswith(signature):
            return name
    if start[:4] == b"RIFF" and start[8:12] == b"WEBP":
        return "WEBP"
    if start[:2] == b"BM" and start[14:18] in _BMP_HEADERS:  # many texts begin with the same two letters
        return "BMP"
    if re.match(rb"P[1-6]\s+(#|\d+\s+\d+\s)", start):
        return "PPM"
    if start[4:8] == b"ftyp":  # MP4 files begin like this too; the brands, four letters each, tell them apart
        end = min(len(start), int.from_bytes(start[:4], "big"))
        brands = {start[place : place + 4] for place in range(8, end, 4)}
        if brands & {b"avif", b"avis"}:
            return "AVIF"
        if brands & {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}:
            return "HEIC"
    return None


_SIGNATURES = {
    b"\xff\xd8\xff": "JPEG",
    b"\x89PNG\r\n\x1a\n": "PNG",
    **dict.fromkeys((b"GIF87a", b"GIF89a"), "GIF"),
    **dict.fromkeys((b"II*\0", b"MM\0*", b"II\0*", b"MM*\0", b"II+\0", b"MM\0+"), "TIFF"),
    **dict.fromkeys((b"\0\0\0\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51"), "JPEG2000"),
    **dict.fromkeys((b"\0\0\0\x0cJXL \r\n\x87\n", b"\xff\x0a"), "JPEG XL"),
}

_BMP_HEADERS = {length.to_bytes(4, "little") for length in (12, 16, 40, 52, 56, 64, 108, 124)}


def read_image(path: Path, max_megapixels: float | None = None) -> DecodedImage:
    """Decode a file.

    Always at its full size: a JPEG decoded to a smaller size would have other pixels than the exported model gets.

    Args:
        max_megapixels: a larger image is refused before its pixels are decoded.

    Raises:
        UnreadableError: the file is missing, empty, damaged, too large or no image.
    """
    fault: Fault = "no_picture"
    try:
        data = _content(path)
        # From memory, not by name: Pillow scrambles the rotation of a file that it can map (an uncompressed grey TIFF).
        with warnings.catch_warnings(action="ignore"), Image.open(BytesIO(data), formats=FORMATS) as image:
            megapixels = image.width * image.height / 1e6
            if max_megapixels is not None and megapixels > max_megapixels:
                limit = f"{megapixels:.4g} megapixels are more than data.max_megapixels={max_megapixels:g}"
                raise _unreadable(path, limit, "too_large")
            fault, kind = "damaged", str(image.format)
            # Frames are not counted: some files have a hundred thousand.
            frames = 1 if kind in _JPEG else 1 + getattr(image, "is_animated", False)
            rgb = _decoded(image, data)
            return DecodedImage(_upright(rgb.image, image), kind, frames, rgb.transparency)
    except UnreadableError:
        raise
    except UnknownPixelsError as error:
        raise _unreadable(path, f"{error}; save it as PNG", "no_picture") from error
    except Image.DecompressionBombError as error:
        raise _unreadable(path, "it has more megapixels than can be read", "too_large") from error
    except FileNotFoundError as error:
        raise _unreadable(path, str(error.strerror), "missing") from error
    except Exception as error:  # on damaged bytes Pillow raises OSError, ValueError, SyntaxError, struct.error, ...
        raise _unreadable(path, _reason(error), fault) from error


def picture_pixels(image: Image.Image, name: str) -> NDArray[np.uint8]:
    """The pixels (H, W, 3) of a picture that is open in Pillow, upright and in RGB as those of `read_image`.

    Raises:
        GenderClsError: its pixels cannot be read; `name` is that of the picture.
    """
    try:
        if image.mode == "F":
            raise UnknownPixelsError("float pixels have no fixed range")
        return np.array(_upright(to_rgb(image).image, image))
    except Exception as error:  # Pillow reads a file only now, and on damaged bytes it raises many kinds of errors
        raise GenderClsError(f"{name} cannot be read: {_reason(error)}.") from error


def _content(path: Path) -> bytes:
    """All bytes of a file that can be an image.

    Raises:
        UnreadableError: it is none; then only its beginning was read.
        OSError: it cannot be read.
    """
    with open(path, "rb", opener=open_at_once) as file:
        if not _is_regular(file):
            raise _unreadable(path, "it is no regular file", "no_picture")
        start = file.peek(LONGEST_START)[:LONGEST_START]
        if not start:
            raise _unreadable(path, "it is empty", "empty")
        kind = format_of(start)
        if kind in OTHER_FORMATS:
            raise _unreadable(path, f"{kind} is not read; save it as JPEG or PNG", "no_picture")
        if kind is None:
            raise _unreadable(path, f"it is no {', '.join(FORMATS)} picture", "no_picture")
        return file.read()


def _is_regular(file: IO[bytes]) -> bool:
    return stat.S_ISREG(os.fstat(file.fileno()).st_mode)


def open_at_once(path: str, flags: int) -> int:
    """Open a file for reading; without O_NONBLOCK, opening a pipe waits for a writer."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _decoded(image: Image.Image, data: bytes) -> Rgb:
    if image.format in _JPEG:
        pixels = jpeg_pixels(data, image.mode)
        if pixels is not None:
            return Rgb(Image.fromarray(pixels), 0.0)
    if isinstance(image, TiffImageFile):
        check_tiff(image)
    return to_rgb(image)


def _upright(rgb: Image.Image, image: Image.Image) -> Image.Image:
    """`rgb` turned as the metadata of `image`, whose pixels are decoded, say. Pillow has turned a TIFF already."""
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation)
    except Exception:  # on metadata that make no sense Pillow raises many kinds of errors; the pixels are intact
        orientation = None
    if orientation is None:
        orientation = _exif_orientation(image.info.get("exif", b"").removeprefix(b"Exif\0\0"))
    return rgb.transpose(_TURNS[orientation]) if orientation in _TURNS else rgb


def _exif_orientation(block: bytes) -> int:
    """The orientation in the first directory of an EXIF block; Pillow gives up at an entry that points outside."""
    order = "<" if block[:2] == b"II" else ">"
    try:
        (start,) = struct.unpack_from(f"{order}I", block, 4)
        (entries,) = struct.unpack_from(f"{order}H", block, start)
        for entry in range(entries):
            tag, kind, _, value = struct.unpack_from(f"{order}HHIH", block, start + 2 + 12 * entry)
            if (tag, kind) == (ExifTags.Base.Orientation, TiffTags.SHORT):
                return value
    except struct.error:  # the block ends too early
        pass
    return 1


_JPEG = ("JPEG", "MPO")  # MPO: a JPEG file with a second image, such as a preview, which is no animation

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""EXIF orientation -> what makes the image upright."""


def _reason(error: Exception) -> str:
    if isinstance(error, UnidentifiedImageError):
        return f"it is no intact {', '.join(FORMATS)} picture"
    if isinstance(error, DamagedJpegError):
        return str(error)
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return f"it does not decode ({type(error).__name__}: {error})"
