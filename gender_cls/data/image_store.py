"""The one way to the pixels of an image at its native size: from what was decoded before, else from its file.

Pixels that are not those of the scan are never given. Imports torch only when an image is asked for.
"""

import hashlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gender_cls.data.cache.database import stamp
from gender_cls.data.cache.pixel_file import PixelFile
from gender_cls.data.image_files import read_image
from gender_cls.errors import GenderClsError, visible
from gender_cls.runs.files import replacing

if TYPE_CHECKING:
    from torch import Tensor

log = logging.getLogger(__name__)

HASH_BYTES = 16


class ChangedImageError(GenderClsError):
    """An image has other pixels than before."""


def pixel_hash(pixels: bytes | memoryview, height: int, width: int) -> bytes:
    """A hash of an image's rows of RGB bytes, which images share only if every pixel is the same: HASH_BYTES."""
    return hashlib.blake2b(pixels, digest_size=HASH_BYTES, salt=f"{width}x{height}".encode()).digest()


@dataclass(frozen=True)
class Scanned:
    """What a scan knows about n images."""

    index: pd.Index  # their paths
    spans: NDArray[np.int64]  # (n, 3): place in the file of pixels (-1 for none), height, width
    stamps: NDArray[np.int64]  # (n, 4): see `stamp`
    hashes: NDArray[np.uint8]  # (n, HASH_BYTES): see `pixel_hash`; 0 if unknown
    file: PixelFile | None  # None: no pixels are kept


class ImageStore:
    """The images of a data set, or any files.

    Args:
        root: the folder that paths are relative to.
        scan: gives what is known about the images; called when the first image is asked for.
    """

    def __init__(self, root: Path, scan: Callable[[], Scanned | None] = lambda: None) -> None:
        self.root, self._scan = root, scan

    def save(self, paths: Sequence[str], file: Path) -> None:
        """Write what is known about these images into a file, for `load` in another process."""
        known = self.at(paths).known
        assert known is not None, "they were scanned"
        pixels = [] if known.file is None else [str(known.file.path), known.file.identity]
        with replacing(file) as opened:
            np.savez(opened, spans=known.spans, stamps=known.stamps, hashes=known.hashes, pixels=np.array(pixels, str))

    @staticmethod
    def load(root: Path, paths: Sequence[str], file: Path) -> "ImageStore":
        """The images whose paths were given to `save`, in the same order: they need no scan."""
        with np.load(file, allow_pickle=False) as saved:
            pixels = saved["pixels"].tolist()
            kept = PixelFile(Path(pixels[0]), pixels[1]) if pixels else None
            scanned = Scanned(pd.Index(paths), saved["spans"], saved["stamps"], saved["hashes"], kept)
        return ImageStore(root, lambda: scanned)

    @cached_property
    def scanned(self) -> Scanned | None:
        """What is known about the images; None for any files."""
        return self._scan()

    def at(self, paths: Sequence[str]) -> "ImageSequence":
        """These images, in this order."""
        paths, known = list(paths), self.scanned
        if known is None:
            return ImageSequence(self.root, paths)
        rows = known.index.get_indexer(pd.Index(paths, dtype=known.index.dtype))
        found = rows >= 0
        spans, stamps = np.full((len(paths), 3), -1, np.int64), np.zeros((len(paths), 4), np.int64)
        hashes = np.zeros((len(paths), HASH_BYTES), np.uint8)
        spans[found], stamps[found], hashes[found] = (
            known_of_all[rows[found]] for known_of_all in (known.spans, known.stamps, known.hashes)
        )
        return ImageSequence(self.root, paths, Scanned(known.index[:0], spans, stamps, hashes, known.file))


class ImageSequence:
    """Some images in an order, read one by one. A worker process that gets it maps the file of pixels itself.

    An image from the file of pixels is compared with its hash when it is read for the first time, which takes as long
    as two or three later readings. An image that is decoded from its own file is compared if the file's stamp is no
    longer that of the scan.

    Args:
        known: about the same images, without their index; None: nothing is known and nothing compared.
    """

    def __init__(self, root: Path, paths: list[str], known: Scanned | None = None) -> None:
        self.root, self.paths, self.known = root, paths, known
        self._compared = np.zeros(len(paths), np.bool_)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, row: int) -> "Tensor":
        """Pixels (3, H, W) uint8, channels last in memory; do not change them.

        Raises:
            UnreadableError: the image has to be read from its file, which is missing or no image.
            ChangedImageError: the file has changed since the scan.
        """
        import torch

        pixels = self._kept(row)
        if pixels is None:
            pixels = self._decoded(row)
        return torch.from_numpy(pixels).permute(2, 0, 1)

    def _kept(self, row: int) -> NDArray[np.uint8] | None:
        """The pixels from the file of pixels; None if they are not there or damaged."""
        if self.known is None or (file := self.known.file) is None:
            return None
        place, height, width = self.known.spans[row].tolist()
        found = file.read(place, height * width * 3) if place >= 0 else None
        if found is None:
            return None
        pixels = found.reshape(height, width, 3)
        if not self._compared[row]:
            if not self._is_known(row, pixels):
                self.known.spans[row] = -1
                if not file.damaged:
                    log.warning(
                        f"{file.path} was damaged ({visible(self.paths[row])}) and is removed: damaged images are "
                        "decoded again, and the next run makes the file anew."
                    )
                    file.remove_damaged()
                return None
            self._compared[row] = True
        return pixels

    def _decoded(self, row: int) -> NDArray[np.uint8]:
        """The pixels from the image's own file."""
        file = self.root / self.paths[row]
        unchanged = self.known is None or stamp(str(file)) == tuple(self.known.stamps[row].tolist())
        pixels = np.array(read_image(file).image)
        if not unchanged and not self._is_known(row, pixels):
            raise ChangedImageError(
                f"{visible(file)} has changed since this command read it first: restore it, or start again."
            )
        return pixels

    def _is_known(self, row: int, pixels: NDArray[np.uint8]) -> bool:
        assert self.known is not None
        wanted = self.known.hashes[row]
        return not wanted.any() or pixel_hash(pixels.data, *pixels.shape[:2]) == wanted.tobytes()
