"""The one way to a picture's pixels at their native size: from what has been decoded before, else from its file.

Imports torch only when a picture is asked for.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gender_cls.data.cache.pixel_file import PixelFile, PixelMemory
from gender_cls.data.image_files import read_image

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class KeptPixels:
    """Where decoded pictures lie.

    Attributes:
        index: their paths.
        spans: (n, 3) int64: place in `source` (-1: nowhere), height, width.
        source: the pixels.
    """

    index: pd.Index
    spans: NDArray[np.int64]
    source: PixelFile | PixelMemory

    @classmethod
    def of(cls, table: pd.DataFrame, paths: Sequence[str], source: PixelFile | PixelMemory) -> "KeptPixels":
        """Of `paths`, whose rows in the table have `place`, `height` and `width`."""
        return cls(pd.Index(paths), table[["place", "height", "width"]].to_numpy(np.int64), source)


class ImageStore:
    """The pictures of a data set, or any files.

    Args:
        root: the folder that paths are relative to.
        kept: what is decoded already; called when the first picture is asked for.
    """

    def __init__(self, root: Path, kept: Callable[[], KeptPixels | None] = lambda: None) -> None:
        self.root, self._open = root, kept

    @cached_property
    def _kept(self) -> KeptPixels | None:
        return self._open()

    def at(self, paths: Sequence[str]) -> "ImageSequence":
        """These, in this order."""
        paths, spans = list(paths), np.full((len(paths), 3), -1, np.int64)
        kept = self._kept
        if kept is None:
            return ImageSequence(self.root, paths, spans, None)
        found = kept.index.get_indexer(pd.Index(paths, dtype=kept.index.dtype))
        spans[found >= 0] = kept.spans[found[found >= 0]]
        return ImageSequence(self.root, paths, spans, kept.source)


class ImageSequence:
    """Some pictures in an order; asked for one by one. Goes to worker processes, which map the pixels themselves.

    Attributes:
        root: the folder that `paths` are relative to.
        paths: in order.
    """

    def __init__(
        self, root: Path, paths: list[str], spans: NDArray[np.int64], source: PixelFile | PixelMemory | None
    ) -> None:
        self.root, self.paths = root, paths
        self._spans, self._source = spans, source

    def __len__(self) -> int:
        return len(self.paths)

    def part(self, start: int, stop: int) -> "ImageSequence":
        """Those from `start` up to `stop`."""
        return ImageSequence(self.root, self.paths[start:stop], self._spans[start:stop], self._source)

    def __getitem__(self, row: int) -> "Tensor":
        """Pixels (3, H, W) uint8, with the channels of a pixel side by side in memory. They are not to be changed.

        Raises:
            UnreadableError: it has to be read, and the file is missing or no picture.
        """
        import torch

        return torch.from_numpy(self._pixels(row)).permute(2, 0, 1)

    def _pixels(self, row: int) -> NDArray[np.uint8]:
        """(H, W, 3)."""
        if self._source is not None:
            place, height, width = self._spans[row].tolist()
            found = self._source.content[place : place + height * width * 3]
            if place >= 0 and len(found) == height * width * 3:
                return found.reshape(height, width, 3)
        return np.array(read_image(self.root / self.paths[row]).image)
