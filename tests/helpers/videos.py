"""Small videos whose frames show their own number."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

FRAMES = 23
CELL = 8  # pixels of a digit


def numbered_picture(number: int, height: int = 48, width: int = 64) -> NDArray[np.uint8]:
    """(height, width, 3): noise below a row with the binary digits of the number, the lowest first."""
    picture = np.random.default_rng(number).integers(0, 256, (height, width, 3), dtype=np.uint8)
    picture[: 2 * CELL] = 0
    for digit in range(6):
        picture[: 2 * CELL, digit * CELL : (digit + 1) * CELL] = 255 * (number >> digit & 1)
    return picture


def shown_number(picture: NDArray[np.uint8]) -> int:
    """The number in a picture that was compressed, maybe turned back before."""
    middles = picture[CELL, CELL // 2 : 6 * CELL : CELL].mean(-1)
    return int(((middles > 128) << np.arange(6)).sum())


def write_video(
    path: Path, codec: str = "libx264", pixels: str = "yuv420p", *, size: tuple[int, int] = (48, 64),
    times: Sequence[int] = range(0, 40 * FRAMES, 40), colour_range: int = 0, colour_matrix: int = 2, **options: str,
) -> Path:  # fmt: skip
    """A video of as many frames as there are times.

    Args:
        size: (height, width).
        times: of the frames in ms.
        colour_range: FFmpeg's AVColorRange: 0 unknown, 2 full.
        colour_matrix: FFmpeg's AVColorSpace: 2 unknown, 1 BT.709.
        options: of the codec.
    """
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25, options={"g": "8", "bf": "2", **options})
        stream.height, stream.width, stream.pix_fmt = *size, pixels
        stream.codec_context.time_base = Fraction(1, 1000)
        stream.codec_context.color_range, stream.codec_context.colorspace = colour_range, colour_matrix
        for number, time in enumerate(times):
            frame = av.VideoFrame.from_ndarray(numbered_picture(number, *size), format="rgb24")
            frame.pts, frame.time_base = time, Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def turn_video(path: Path, matrix: Sequence[int]) -> None:
    """Give an MP4 file a display matrix: where one step to the right leads (right, down), then one step down."""
    content = bytearray(path.read_bytes())
    start = content.index(b"tkhd") + 44  # version, times, track, duration, layer, group, volume
    right_right, right_down, down_right, down_down = matrix
    numbers = np.array([right_right, right_down, 0, down_right, down_down, 0, 0, 0, 0]) * 65536
    numbers[8] = 1 << 30
    content[start : start + 36] = numbers.astype(">i4").tobytes()
    path.write_bytes(content)
