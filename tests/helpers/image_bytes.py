"""Image files written byte by byte, which Pillow cannot write."""

import struct
import zlib

import numpy as np
from numpy.typing import NDArray

Tags = dict[int, tuple[str, list[int]]]
"""Number of a TIFF tag -> the letter of `struct` for its type, and its values."""

KINDS = {"B": 1, "H": 3, "I": 4}


def directory(tags: Tags, order: str, start: int, following: int = 0) -> bytes:
    """A TIFF directory that begins at the byte `start`, with what does not fit into it behind it."""
    entries, behind = b"", b""
    behind_start = start + 2 + 12 * len(tags) + 4
    for tag, (letter, values) in sorted(tags.items()):
        content = struct.pack(f"{order}{len(values)}{letter}", *values)
        entries += struct.pack(f"{order}HHI", tag, KINDS[letter], len(values))
        if len(content) > 4:
            entries += struct.pack(f"{order}I", behind_start + len(behind))
            behind += content
        else:
            entries += content.ljust(4, b"\0")
    return struct.pack(f"{order}H", len(tags)) + entries + struct.pack(f"{order}I", following) + behind


def tiff(samples: NDArray[np.integer], bits: int, photometric: int, order: str = "<", **more: list[int]) -> bytes:
    """A TIFF file of one strip, or of one strip per channel.

    Args:
        samples: (height, width, channels), as they are in the file.
        bits: of a sample: 1, 4, 8, 12 or 16.
        photometric: 0 white is zero, 1 black is zero, 2 RGB, 3 palette, 5 CMYK, 6 YCbCr.
        more: further tags: `fill_order`, `planar` (1 or 2), `compression` (1 none, 8 deflate), `colours`, `extra`,
            `sample_format`, `subsampling`.
    """
    height, width, channels = samples.shape
    parts = np.split(samples, channels, axis=2) if more.get("planar") == [2] else [samples]
    strips = [b"".join(_row(row.ravel(), bits, order) for row in part) for part in parts]
    if more.get("fill_order") == [2]:
        strips = [bytes(int(f"{byte:08b}"[::-1], 2) for byte in strip) for strip in strips]
    if more.get("compression") == [8]:
        strips = [zlib.compress(strip) for strip in strips]
    numbers = {"compression": 259, "fill_order": 266, "planar": 284, "colours": 320, "extra": 338}
    numbers |= {"sample_format": 339, "subsampling": 530}
    tags: Tags = {numbers[name]: ("H", values) for name, values in more.items()}
    tags |= {256: ("I", [width]), 257: ("I", [height]), 258: ("H", [bits] * channels), 262: ("H", [photometric])}
    tags |= {273: ("I", [0] * len(strips)), 277: ("H", [channels]), 278: ("I", [height])}
    tags[279] = ("I", [len(strip) for strip in strips])
    first = 8 + len(directory(tags, order, 8))
    tags[273] = ("I", [first + sum(map(len, strips[:number])) for number in range(len(strips))])
    begin = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", 8)
    return begin + directory(tags, order, 8) + b"".join(strips)


def _row(values: NDArray[np.integer], bits: int, order: str) -> bytes:
    if bits in (8, 16):
        return values.astype(f"{order}u{bits // 8}").tobytes()
    text = "".join(f"{value:0{bits}b}" for value in values)
    text += "0" * (-len(text) % 8)
    return bytes(int(text[start : start + 8], 2) for start in range(0, len(text), 8))


def png(width: int, rows: bytes, bits: int, colour_type: int, **chunks: bytes) -> bytes:
    """A PNG file of one row; `chunks` come before the pixels."""
    header = struct.pack(">IIBBBBB", width, 1, bits, colour_type, 0, 0, 0)
    named = {"IHDR": header, **chunks, "IDAT": zlib.compress(b"\0" + rows), "IEND": b""}
    parts = [(name.encode(), data) for name, data in named.items()]
    ends = (struct.pack(">I", zlib.crc32(name + data)) for name, data in parts)
    packed = (struct.pack(">I", len(data)) + name + data + end for (name, data), end in zip(parts, ends, strict=True))
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)
