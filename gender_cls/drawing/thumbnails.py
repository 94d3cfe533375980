"""Small pictures that a page carries inside itself."""

import base64
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import pandas as pd
from PIL import Image

from gender_cls.data.image_files import UnreadableError, read_image

SIZE = (192, 112)
"""Most (width, height) in pixels; a picture that is smaller keeps its size in the file and is enlarged on the page."""

GALLERY_BYTES = 160_000
"""Most bytes of pictures in a gallery: some fifteen of them stay below 3 MB together."""


@dataclass(frozen=True)
class Thumbnail:
    """A picture and what is written below it; `uri` is "" where the file gives no picture."""

    path: str
    name: str
    uri: str
    label: str
    split: str
    note: str


class Gallery:
    """Room for the pictures of one finding: at most `left` of them, in at most GALLERY_BYTES."""

    def __init__(self, root: Path, left: int) -> None:
        self.root = root
        self.left = left
        self._bytes = 0

    @property
    def full(self) -> bool:
        """Whether nothing more fits."""
        return self.left <= 0 or self._bytes >= GALLERY_BYTES

    def take(self, rows: pd.DataFrame, note: Callable[[Any], str]) -> list[Thumbnail]:
        """As many of the rows, in their order, as there is room for.

        Args:
            rows: with path and label, and split where known.
            note: a row as a mapping -> what is written below its picture.
        """
        taken: list[Thumbnail] = []
        for row in rows.head(self.left).to_dict("records"):
            if self.full:
                break
            path, uri = row["path"], data_uri(self.root / row["path"])
            taken.append(Thumbnail(path, Path(path).name, uri, row["label"], row.get("split", ""), note(row)))
            self.left -= 1
            self._bytes += len(uri)
        return taken


def data_uri(path: Path) -> str:
    """A small JPEG of the picture; "" where there is none (any more)."""
    try:
        image = read_image(path).image
    except UnreadableError:
        return ""
    image.thumbnail(SIZE, Image.Resampling.LANCZOS)
    buffer = BytesIO()
    image.save(buffer, "JPEG", quality=78, optimize=True)
    return embedded(buffer.getvalue())


def embedded(picture: bytes) -> str:
    """A JPEG, PNG or WebP as an address that holds it."""
    kind = "jpeg" if picture.startswith(b"\xff\xd8") else "png" if picture.startswith(b"\x89PNG") else "webp"
    return f"data:image/{kind};base64,{base64.b64encode(picture).decode()}"
