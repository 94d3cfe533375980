"""Files with the names of images that give no image."""

import os
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image


def write_bad_files(folder: Path) -> dict[str, str]:
    """Write 30 kinds of bad files, named after them; return the fault of each by its name."""
    folder.mkdir()
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 20, 3), dtype=np.uint8))
    whole: dict[str, bytes] = {}
    for kind in ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "PPM", "JPEG2000"):
        image.save(file := BytesIO(), kind)
        whole[kind] = file.getvalue()
    jpeg, png = whole["JPEG"], whole["PNG"]
    contents: dict[str, tuple[str, bytes]] = {
        **{
            f"half.{kind}.jpg": ("no_picture" if kind in ("JPEG", "WEBP") else "damaged", content[: len(content) // 2])
            for kind, content in whole.items()
        },
        "jpeg_closed.jpg": ("damaged", jpeg[: len(jpeg) // 2] + b"\xff\xd9"),
        "jpeg_without_end.jpg": ("damaged", jpeg[:-40]),
        "jpeg_of_zeros_inside.jpg": ("damaged", jpeg[:700] + bytes(len(jpeg) - 900) + jpeg[-200:]),
        "png_of_other_bytes.png": ("damaged", png[:60] + bytes(reversed(png[60:]))),
        "png_without_pixels.png": ("no_picture", png[:33]),
        "jpeg_header.jpg": ("no_picture", jpeg[:20]),
        "png_header.png": ("no_picture", png[:10]),
        "gif_header.gif": ("no_picture", b"GIF89a"),
        "empty.jpg": ("empty", b""),
        "zeros.jpg": ("no_picture", bytes(4000)),
        "text.jpg": ("no_picture", b"This is a note about the camera, not an image.\n"),
        "html.jpg": ("no_picture", b"<!doctype html><title>404</title>"),
        "svg.png": ("no_picture", b'<svg xmlns="http://www.w3.org/2000/svg"/>'),
        "pdf.jpg": ("no_picture", b"%PDF-1.4\n"),
        "eps.jpg": ("no_picture", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 2 2\n"),
        "zip.jpg": ("no_picture", b"PK\x03\x04" + bytes(100)),
        "film.jpg": ("no_picture", b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom"),
        "heic.jpg": ("no_picture", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"),
        "random.bmp": ("no_picture", np.random.default_rng(1).bytes(3000)),
    }
    for name, (_, content) in contents.items():
        (folder / name).write_bytes(content)
    (folder / "missing_target.jpg").symlink_to(folder / "nowhere.jpg")
    os.mkfifo(folder / "pipe.jpg")
    Image.new("1", (12_000, 6_000)).save(folder / "large.png")
    faults = {name: fault for name, (fault, _) in contents.items()}
    return {**faults, "missing_target.jpg": "missing", "pipe.jpg": "no_picture", "large.png": "too_large"}
