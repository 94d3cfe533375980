"""Pixels of a JPEG file by libjpeg-turbo, and whether the decoder met damage, which Pillow does not tell."""

import re

import numpy as np
import simplejpeg
from numpy.typing import NDArray

MOST_PADDING = 16
"""Bytes without meaning that cameras write after the data of an intact image; the decoder warns of them too."""

_DAMAGE = re.compile(
    r"premature end|bad Huffman code|bad arithmetic code|instead of RST"
    r"|^(Bogus|Invalid JPEG file structure|Unsupported marker type)",
    re.IGNORECASE,
)
_LEFT_OVER = re.compile(r"(\d+) extraneous bytes before marker 0x(?:d[0-7]|d9)$")  # at the end, or before a restart


class DamagedJpegError(ValueError):
    """The data inside a JPEG file are damaged; some of its pixels would be wrong."""


def jpeg_pixels(data: bytes, mode: str) -> NDArray[np.uint8] | None:
    """Pixels (H, W, 3), the same as Pillow's; None where Pillow has to decode.

    A JPEG file has no checksum. Lost or changed bytes show only where the data that follow make no sense.

    Args:
        data: the whole file.
        mode: Pillow's name of its colours.

    Raises:
        DamagedJpegError: with what the decoder says.
    """
    try:
        pixels = simplejpeg.decode_jpeg(data, "CMYK" if mode == "CMYK" else "RGB", strict=True)
    except (ValueError, KeyError, RuntimeError) as error:  # KeyError: colours that simplejpeg does not know
        message = str(error)
        left_over = _LEFT_OVER.search(message)
        if _DAMAGE.search(message) or (left_over and int(left_over[1]) > MOST_PADDING):
            message = message.removeprefix("Corrupt JPEG data: ")
            raise DamagedJpegError(f"its JPEG data are damaged inside ({message})") from None
        return None
    return pixels if mode in ("L", "RGB") else None
