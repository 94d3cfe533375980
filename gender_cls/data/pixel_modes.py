"""From the kinds of pixels that files hold to RGB: deep grey values, rare TIFFs, transparency."""

from typing import NamedTuple

import numpy as np
from PIL import Image, TiffImagePlugin

MID_GREY = 114
"""Where there is no pixel: transparency, the padding of a letterbox, the corners of a rotation, an erased rectangle."""


class UnknownPixelsError(ValueError):
    """Pixels that are not read, because their range or order is not known or Pillow gets it wrong."""


class Rgb(NamedTuple):
    """An RGB image."""

    image: Image.Image
    transparency: float  # share of it that is background instead of the file's colours, 0 to 1


def check_tiff(image: TiffImagePlugin.TiffImageFile) -> None:
    """Refuse pixels of a TIFF file that Pillow would scramble, or that have no fixed range.

    Raises:
        UnknownPixelsError: with what is not read.
    """
    tags = image.tag_v2
    raw = tags.get(TiffImagePlugin.COMPRESSION, 1) == 1
    planes = tags.get(TiffImagePlugin.PLANAR_CONFIGURATION, 1) == 2
    plain = _bits(image) == 8 and tags.get(TiffImagePlugin.FILLORDER, 1) == 1
    if planes and ((raw and not plain) or image.mode in ("LA", "La", "PA")):
        raise UnknownPixelsError("this kind of TIFF with separate planes is not read")
    if raw and image.mode == "YCbCr" and tags.get(TiffImagePlugin.YCBCRSUBSAMPLING, (2, 2)) != (1, 1):
        raise UnknownPixelsError("uncompressed colours at a lower resolution than the brightness are not read")
    if image.mode in ("I", "F") or tags.get(TiffImagePlugin.SAMPLEFORMAT, (1,))[0] != 1:
        raise UnknownPixelsError("float, signed and 32-bit pixels have no fixed range")


def to_rgb(image: Image.Image) -> Rgb:
    """Grey becomes three equal channels, 16 and 12 bits keep their high byte, transparency shows MID_GREY."""
    if image.mode.startswith("I"):
        return _from_deep_grey(image)
    if not image.has_transparency_data:
        return Rgb(image.convert("RGB"), 0.0)
    hidden = image.info.get("transparency")
    if isinstance(hidden, tuple) and max(hidden) > 255:  # of 16-bit colours, whose high bytes Pillow keeps
        image.info["transparency"] = tuple(value >> 8 for value in hidden)
    with_alpha = image.convert("RGBA")
    return _on_grey(with_alpha.convert("RGB"), with_alpha.getchannel("A"))


def _from_deep_grey(image: Image.Image) -> Rgb:
    """From 12 or 16 bits, which a PGM file holds as 32; Pillow's own conversion may clip at 255."""
    values, bits = np.asarray(image), 16
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        bits = _bits(image)
        if image.tag_v2.get(TiffImagePlugin.PHOTOMETRIC_INTERPRETATION) == 0:  # white is 0, which Pillow leaves
            values = 2**bits - 1 - values
    grey = Image.fromarray((values >> (bits - 8)).astype(np.uint8)).convert("RGB")
    hidden = image.info.get("transparency")
    if hidden is None:
        return Rgb(grey, 0.0)
    return _on_grey(grey, Image.fromarray(np.where(values == hidden, 0, 255).astype(np.uint8)))


def _bits(image: TiffImagePlugin.TiffImageFile) -> int:
    return image.tag_v2.get(TiffImagePlugin.BITSPERSAMPLE, (1,))[0]


def _on_grey(colours: Image.Image, alpha: Image.Image) -> Rgb:
    opaque = float(np.asarray(alpha).mean() / 255)
    grey = Image.new("RGB", colours.size, (MID_GREY,) * 3)
    return Rgb(colours if opaque == 1 else Image.composite(colours, grey, alpha), 1 - opaque)
