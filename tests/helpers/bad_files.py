"""Files that give no image, each in another way."""

import gzip
import os
import socket
import struct
import zlib
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
from helpers.image_bytes import tiff
from PIL import Image

NOISE = np.random.default_rng(0).integers(0, 256, (40, 24, 3), dtype=np.uint8)


def encoded(file_format: str) -> bytes:
    file = BytesIO()
    Image.fromarray(NOISE).save(file, file_format)
    return file.getvalue()


def half(file_format: str) -> bytes:
    return encoded(file_format)[: len(encoded(file_format)) // 2]


def huge_png(width: int, height: int) -> bytes:
    """The header of an image with this many pixels, and hardly any of them."""
    chunks = {b"IHDR": struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0), b"IDAT": zlib.compress(bytes(9))}
    parts = (struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
             for name, data in chunks.items())  # fmt: skip
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


CONTENTS = {
    "empty.jpg": ("empty", b""),
    "text.jpg": ("no_picture", b"This is a note about the camera, not an image.\n"),
    "web_page.jpg": ("no_picture", b"<!doctype html><title>404</title>"),
    "drawing.png": ("no_picture", b"<svg xmlns='http://www.w3.org/2000/svg'/>"),
    "document.png": ("no_picture", b"%PDF-1.7\n"),
    "postscript.jpg": ("no_picture", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"),
    "archive.jpg": ("no_picture", b"PK\x03\x04" + bytes(60)),
    "compressed.png": ("no_picture", gzip.compress(encoded("PNG"), mtime=0)),
    "array.png": ("no_picture", b"\x93NUMPY\x01\x00" + bytes(60)),
    "video.jpg": ("no_picture", b"\0\0\0\x18ftypisom\0\0\0\0isomavc1"),
    "phone.jpg": ("no_picture", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"),
    "new.jxl": ("no_picture", b"\xff\x0a" + bytes(60)),
    "zeros.jpg": ("no_picture", bytes(4096)),
    "noise.jpg": ("no_picture", b"\x01" + NOISE.tobytes()),
    "start.jpg": ("no_picture", encoded("JPEG")[:3]),
    "header.jpg": ("no_picture", encoded("JPEG")[:120]),
    "cut.jpg": ("damaged", half("JPEG")),
    "closed.jpg": ("damaged", half("JPEG") + b"\xff\xd9"),
    "cut.png": ("damaged", half("PNG")),
    "cut.bmp": ("damaged", half("BMP")),
    "cut.gif": ("damaged", half("GIF")),
    "cut.ppm": ("damaged", half("PPM")),
    "cut.tif": ("damaged", tiff(NOISE, 8, 2)[:-1000]),
    "cut.webp": ("no_picture", half("WEBP")),
    "start.tif": ("no_picture", b"II*\0" + bytes(8)),
    "changed.png": ("damaged", encoded("PNG")[:900] + b"?" + encoded("PNG")[901:]),
    "signed.tif": ("no_picture", tiff(NOISE[..., :1].astype(np.int16), 16, 1, sample_format=[2])),
    "large.png": ("too_large", huge_png(2000, 1000)),
    "enormous.png": ("too_large", huge_png(60_000, 60_000)),
}
"""Name -> the fault of a file with this content where the limit is 1 megapixel."""

OTHERS: dict[str, tuple[str, Callable[[Path], object]]] = {
    "gone.jpg": ("missing", lambda path: None),
    "away.jpg": ("missing", lambda path: path.symlink_to("nowhere.jpg")),
    "circle.jpg": ("no_picture", lambda path: path.symlink_to(path.name)),
    "folder.jpg": ("no_picture", Path.mkdir),
    "pipe.jpg": ("no_picture", os.mkfifo),
    "socket.jpg": ("no_picture", lambda path: _socket(path)),
    "f\x07.jpg": ("missing", Path.touch),  # the bell
    "\udce9.jpg": ("missing", Path.touch),  # the byte E9, which is no UTF-8
}
"""Name -> the fault, and what makes the file."""


def write_bad_files(folder: Path) -> dict[str, str]:
    """Write all of them; returns their names, and the fault of each."""
    for name, (_, content) in CONTENTS.items():
        (folder / name).write_bytes(content)
    for name, (_, make) in OTHERS.items():
        make(folder / name)
    return {name: fault for name, (fault, _) in (CONTENTS | OTHERS).items()}


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        directory = os.open(path.parent, os.O_RDONLY)
        try:
            made.bind(f"/proc/self/fd/{directory}/{path.name}")  # names of sockets may not be long
        finally:
            os.close(directory)
