"""The rows of a request -> batches of crops, and what is measured of each crop."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from gender_cls.data.image_files import CropFault, UnreadableError, read_image
from gender_cls.data.image_store import pixel_hash
from gender_cls.data.input_form import InputForm
from gender_cls.data.measure import measure
from gender_cls.data.pixel_modes import MID_GREY
from gender_cls.data.resizing import resize_into
from gender_cls.errors import visible
from gender_cls.system.processes import fork_context

BOX = ("left", "top", "width", "height")


class CropFacts(NamedTuple):
    """What is known of a crop at its native size."""

    native_height: int = 0  # pixels; 0 if it is unreadable
    native_width: int = 0
    brightness: float = float("nan")  # see measure.py
    sharpness: float = float("nan")
    pixels: str = ""  # `pixel_hash` in hexadecimal digits
    fault: CropFault | None = None
    reason: str = ""  # a sentence


class CropBatch(NamedTuple):
    """Crops of neighbouring rows."""

    inputs: tuple[Tensor, ...]  # for each InputForm (B, 3, H, W) uint8, channels last in memory; grey if unreadable
    facts: list[CropFacts]


def crop_batches(
    rows: pd.DataFrame,
    forms: Sequence[InputForm],
    *,
    batch_size: int,
    num_workers: int,
    max_megapixels: float,
    stop_at_fault: bool = False,
) -> Iterator[CropBatch]:
    """Read, crop, measure and resize the images of the rows, in their order.

    An image with several boxes in neighbouring rows is decoded once per batch.

    Args:
        rows: with `path`, and `left`, `top`, `width` and `height` of a box in it or nothing there.
        num_workers: processes that do it; 0: this one.
        max_megapixels: a larger image is not decoded.

    Raises:
        UnreadableError: an image gives no crop and `stop_at_fault` is set.
    """
    batches = _Batches(rows, forms, batch_size, max_megapixels)
    context = fork_context() if num_workers else None
    # Not by Lightning's or the data module's loader: an exported model answers without importing them.
    for batch in DataLoader(
        batches, batch_size=None, num_workers=num_workers, collate_fn=_unchanged, multiprocessing_context=context
    ):
        if stop_at_fault:
            for facts in batch.facts:
                if facts.fault is not None:
                    raise UnreadableError(facts.reason, facts.fault)
        yield batch


def _unchanged(batch: Any) -> Any:
    return batch


class _Batches(Dataset[CropBatch]):
    """The batches by their number. Each process has its own copy, and keeps the image that it decoded last."""

    def __init__(self, rows: pd.DataFrame, forms: Sequence[InputForm], batch_size: int, max_megapixels: float) -> None:
        self._paths, self._has_box = rows["path"], rows["width"].notna().to_numpy()
        self._boxes = rows[[*BOX]].astype("Int64").fillna(0).to_numpy(np.int64)
        self._forms, self._batch_size, self._max_megapixels = tuple(forms), batch_size, max_megapixels
        self._last: tuple[str, NDArray[np.uint8] | UnreadableError] | None = None

    def __len__(self) -> int:
        return -(-len(self._paths) // self._batch_size)

    def __getitem__(self, number: int) -> CropBatch:
        start = number * self._batch_size
        paths = self._paths.iloc[start : start + self._batch_size].tolist()
        inputs = [torch.empty((len(paths), form.height, form.width, 3), dtype=torch.uint8) for form in self._forms]
        facts = []
        for place, path in enumerate(paths):
            try:
                crop = self._crop(path, start + place)
            except UnreadableError as error:  # a loader process would pass on its sentence only
                facts.append(CropFacts(fault=error.fault or "no_picture", reason=str(error)))
                for pixels in inputs:
                    pixels[place].fill_(MID_GREY)
                continue
            facts.append(_facts(crop))
            image = torch.from_numpy(crop).permute(2, 0, 1)
            for pixels, form in zip(inputs, self._forms, strict=True):
                resize_into(pixels[place], image, form.mode)
        return CropBatch(tuple(pixels.permute(0, 3, 1, 2) for pixels in inputs), facts)

    def _crop(self, path: str, row: int) -> NDArray[np.uint8]:
        """Pixels (H, W, 3) of the part of the image that the row asks for.

        Raises:
            UnreadableError: the image cannot be read, or the box holds nothing of it.
        """
        if self._last is None or self._last[0] != path:
            self._last = None  # its memory may be needed
            self._last = path, self._decoded(path)
        pixels = self._last[1]
        if isinstance(pixels, UnreadableError):
            raise pixels
        return _cut(pixels, self._boxes[row].tolist(), path) if self._has_box[row] else pixels

    def _decoded(self, path: str) -> NDArray[np.uint8] | UnreadableError:
        try:
            return np.array(read_image(Path(path), self._max_megapixels).image)
        except UnreadableError as error:
            if error.fault == "missing" and _ESCAPED.search(path):
                return UnreadableError(f"Cannot read {path}: {ODD_NAME}.", "missing")
            return error


ODD_NAME = "its name holds control characters or bytes that are not UTF-8; rename it"
_ESCAPED = re.compile(r"\\x[0-9a-f]{2}")
"""What `requested.py` writes in place of them."""


def _cut(pixels: NDArray[np.uint8], box: Sequence[int], path: str) -> NDArray[np.uint8]:
    """The part of an image (H, W, 3) inside a box (left, top, width, height); a box may reach beyond the image."""
    left, top, width, height = box
    part = pixels[max(top, 0) : max(top + height, 0), max(left, 0) : max(left + width, 0)]
    if not part.size:
        size = f"{pixels.shape[1]} x {pixels.shape[0]} pixels"
        raise UnreadableError(
            f"Cannot read {visible(path)}: nothing of the image ({size}) lies in the box left={left}, top={top}, "
            f"width={width}, height={height}.",
            "outside",
        )
    return np.ascontiguousarray(part)


def _facts(crop: NDArray[np.uint8]) -> CropFacts:
    height, width = crop.shape[:2]
    measures = measure(Image.fromarray(crop))
    same = pixel_hash(crop.data, height, width).hex()
    return CropFacts(height, width, measures.brightness, measures.sharpness, same)
