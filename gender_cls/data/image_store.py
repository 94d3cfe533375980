"""The one way to the pixels of an image at its native size: from what was decoded before, else from its file.

Imports torch only when an image is asked for.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gender_cls.data.cache.pixel_file import PixelFile
from gender_cls.data.image_files import read_image

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class KeptPixels:
    """Where decoded images lie in a file."""

    index: pd.Index  # their paths
    spans: NDArray[np.int64]  # (n, 3): place in the file (-1 for none), height, width
    file: PixelFile


class ImageStore:
    """The images of a data set, or any files.

    Args:
        root: the folder that paths are relative to.
        kept: gives the images that are decoded already; called when the first image is asked for.
    """

    def __init__(self, root: Path, kept: Callable[[], KeptPixels | None] = lambda: None) -> None:
        self.root, self._open = root, kept

    @cached_property
    def kept(self) -> KeptPixels | None:
        """The images that are decoded already."""
        return self._open()

    def at(self, paths: Sequence[str]) -> "ImageSequence":
        """These images, in this order."""
        paths, spans = list(paths), np.full((len(paths), 3), -1, np.int64)
        if self.kept is not None:
            found = self.kept.index.get_indexer(pd.Index(paths, dtype=self.kept.index.dtype))
            spans[found >= 0] = self.kept.spans[found[found >= 0]]
        return ImageSequence(self.root, paths, spans, self.kept.file if self.kept is not None else None)


class ImageSequence:
    """Some images in an order, read one by one. A worker process that gets it maps the pixels itself.

    Args:
        spans: (n, 3), as in KeptPixels.
    """

    def __init__(self, root: Path, paths: list[str], spans: NDArray[np.int64], file: PixelFile | None) -> None:
        self.root, self.paths, self._spans, self._file = root, paths, spans, file

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, row: int) -> "Tensor":
        """Pixels (3, H, W) uint8, channels last in memory; do not change them.

        Raises:
            UnreadableError: the image has to be read from its file, which is missing or no image.
        """
        import torch

        place, height, width = self._spans[row].tolist()
        length = height * width * 3
        found = None if self._file is None or place < 0 else self._file.content[place : place + length]
        if found is None or len(found) < length:
            pixels = np.array(read_image(self.root / self.paths[row]).image)
        else:
            pixels = found.reshape(height, width, 3)
        return torch.from_numpy(pixels).permute(2, 0, 1)
