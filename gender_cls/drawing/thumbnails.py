"""Small pictures that a page carries inside itself."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from PIL import Image

from gender_cls.data.image_files import UnreadableError, read_image
from gender_cls.drawing.canvas import data_uri, file_bytes

THUMBNAIL_SIZE = (192, 112)  # largest (width, height); a smaller image keeps its size and is enlarged on the page
GALLERY_BYTES = 160_000  # most bytes of pictures in a gallery, so that a page with fifteen galleries stays below 3 MB


@dataclass(frozen=True)
class Thumbnail:
    """A picture and the text below it."""

    path: str
    uri: str  # "" where the file cannot be read
    label: str
    split: str = ""
    note: str = ""

    @property
    def name(self) -> str:
        """The name of the file."""
        return Path(self.path).name


class Gallery:
    """Space for the pictures of one finding: at most `left` of them, in at most GALLERY_BYTES."""

    def __init__(self, root: Path, left: int) -> None:
        self.root = root
        self.left = left
        self._bytes = 0

    @property
    def full(self) -> bool:
        """Whether no more pictures fit."""
        return self.left <= 0 or self._bytes >= GALLERY_BYTES

    def take(self, rows: pd.DataFrame, note: Callable[[Any], str]) -> list[Thumbnail]:
        """Thumbnails of as many of the first rows as fit.

        Args:
            rows: with path and label, and split where it is known.
            note: a row as a mapping -> the text below its picture.
        """
        taken: list[Thumbnail] = []
        for row in rows.head(self.left).to_dict("records"):
            if self.full:
                break
            uri = thumbnail_uri(self.root / row["path"])
            taken.append(Thumbnail(row["path"], uri, row["label"], split=row.get("split", ""), note=note(row)))
            self.left -= 1
            self._bytes += len(uri)
        return taken


def thumbnail_uri(path: Path) -> str:
    """A small JPEG of an image file; "" where the file cannot be read (any more)."""
    try:
        image = read_image(path).image
    except UnreadableError:
        return ""
    image.thumbnail(THUMBNAIL_SIZE, Image.Resampling.LANCZOS)
    return data_uri(file_bytes(image, "JPEG", quality=78, optimize=True))
