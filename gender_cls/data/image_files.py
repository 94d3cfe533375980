"""From a file to an upright RGB image, by Pillow alone."""

import warnings
from io import BytesIO
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from gender_cls.errors import GenderClsError

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "PPM")
"""What is read, by the file's first bytes. A closed list: Pillow would hand an EPS file to Ghostscript."""

IMAGE_SUFFIXES = {".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}
"""Suffixes of the files that count as images in a folder."""

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
