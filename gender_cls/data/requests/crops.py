"""The rows of a request -> batches of crops, and what is measured of each crop."""

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self

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
from gender_cls.data.requests.boxes import SIDES
from gender_cls.data.requests.videos import VideoReader, is_video
from gender_cls.data.resizing import resize_into
from gender_cls.errors import visible
from gender_cls.system.processes import fork_context

NO_FRAME = -1
_ESCAPED = re.compile(r"\\[0-3][0-7]{2}")
"""What `names.writable` puts in place of characters that tables cannot keep."""


class CropFacts(NamedTuple):
    """What is known of a crop at its native size."""

    native_height: int = 0  # pixels; 0 if it is unreadable
    brightness: float = float("nan")  # see measure.py
    sharpness: float = float("nan")
    pixels: str = ""  # `pixel_hash` in hexadecimal digits
    fault: CropFault | None = None
    reason: str = ""  # a sentence


class Crop(NamedTuple):
    """A crop at its native size."""

    pixels: NDArray[np.uint8]  # (H, W, 3), contiguous
    image: Image.Image | None = None  # the same, where it is at hand: making it takes as long as to measure it

    @classmethod
    def of(cls, pixels: NDArray[np.uint8]) -> Self:
        """The crop with these pixels, copied if torch could not take them as they are."""
        return cls(np.require(pixels, requirements=["C", "W"]))


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
    first_frame: int = 1,
    stop_at_fault: bool = False,
) -> Iterator[CropBatch]:
    """Read, crop, measure and resize the images of the rows, in their order.

    An image with several boxes in neighbouring rows is decoded once per batch, and a video once.

    Args:
        rows: with `path`, the `frame` of a video, and SIDES of a box or nothing there.
        num_workers: processes that do it, one at most where there are videos; 0: this process.
        max_megapixels: a larger image is not decoded.
        first_frame: the number of a video's first frame.

    Raises:
        UnreadableError: an image gives no crop and `stop_at_fault` is set.
    """
    batches = _Batches(rows, forms, batch_size, max_megapixels, first_frame)
    num_workers = min(num_workers, 1 if batches.has_videos else len(batches))
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


def crop_batch(crops: Iterable[Crop | UnreadableError], number: int, forms: Sequence[InputForm]) -> CropBatch:
    """Crops, or why they cannot be read, as one batch.

    Args:
        number: how many there are; one at a time is taken.
    """
    inputs = [torch.empty((number, form.height, form.width, 3), dtype=torch.uint8) for form in forms]
    facts = []
    for place, crop in enumerate(crops):
        if isinstance(crop, UnreadableError):
            facts.append(CropFacts(fault=crop.fault or "no_picture", reason=str(crop)))
            for pixels in inputs:
                pixels[place].fill_(MID_GREY)
            continue
        facts.append(_facts(crop))
        image = torch.from_numpy(crop.pixels).permute(2, 0, 1)
        for pixels, form in zip(inputs, forms, strict=True):
            resize_into(pixels[place], image, form.mode)
    return CropBatch(tuple(pixels.permute(0, 3, 1, 2) for pixels in inputs), facts)


def _unchanged(batch: Any) -> Any:
    return batch


class _Batches(Dataset[CropBatch]):
    """The batches by their number. Each process has its own copy, and keeps the image that it decoded last."""

    def __init__(
        self, rows: pd.DataFrame, forms: Sequence[InputForm], batch_size: int, max_megapixels: float, first_frame: int
    ) -> None:
        self._paths, self._has_box = rows["path"], rows["width"].notna().to_numpy()
        self._boxes = rows[[*SIDES]].astype("Int64").fillna(0).to_numpy(np.int64)
        self._frames = rows["frame"].astype("Int64").fillna(NO_FRAME).to_numpy(np.int64)
        self.has_videos = any(map(is_video, self._paths[self._frames != NO_FRAME].unique()))
        self._forms, self._batch_size, self._max_megapixels = tuple(forms), batch_size, max_megapixels
        self._first_frame = first_frame
        self._last: tuple[tuple[str, int], Crop | UnreadableError] | None = None
        self._video: VideoReader | None = None

    def __len__(self) -> int:
        return -(-len(self._paths) // self._batch_size)

    def __getitem__(self, number: int) -> CropBatch:
        start = number * self._batch_size
        paths = self._paths.iloc[start : start + self._batch_size].tolist()
        return crop_batch((self._crop(path, row) for row, path in enumerate(paths, start)), len(paths), self._forms)

    def _crop(self, path: str, row: int) -> Crop | UnreadableError:
        """The part of the image that the row asks for, or why there are none."""
        key = path, int(self._frames[row])
        if self._last is None or self._last[0] != key:
            self._last = None  # its memory may be needed
            self._last = key, self._whole(*key)
        whole = self._last[1]
        if isinstance(whole, UnreadableError) or not self._has_box[row]:
            return whole
        return _cut(whole.pixels, self._boxes[row].tolist(), path)

    def _whole(self, path: str, frame: int) -> Crop | UnreadableError:
        """An image, or a frame of a video."""
        try:
            if frame != NO_FRAME and is_video(path):
                return Crop.of(self._video_at(path).frame(frame))
            image = read_image(Path(path), self._max_megapixels).image
            return Crop(np.array(image), image)
        except UnreadableError as error:
            if error.fault == "missing" and _ESCAPED.search(path):
                reason = "its name holds control characters or bytes that are not UTF-8; rename it"
                return UnreadableError(f"Cannot read {path}: {reason}.", "missing")
            return error

    def _video_at(self, path: str) -> VideoReader:
        if self._video is None or str(self._video.video) != path:
            if self._video is not None:
                self._video.close()
            self._video = VideoReader(Path(path), self._first_frame)
        return self._video


def inside(pixels: NDArray[np.uint8], box: Sequence[int]) -> NDArray[np.uint8]:
    """The part of an image (H, W, 3) in a box (left, top, width, height), which may reach beyond the image."""
    left, top, width, height = box
    return pixels[max(top, 0) : max(top + height, 0), max(left, 0) : max(left + width, 0)]


def _cut(pixels: NDArray[np.uint8], box: Sequence[int], path: str) -> Crop | UnreadableError:
    """The crop that `inside` gives, or why there is none."""
    part = inside(pixels, box)
    if not part.size:
        left, top, width, height = box
        size = f"{pixels.shape[1]} x {pixels.shape[0]} pixels"
        return UnreadableError(
            f"Cannot read {visible(path)}: nothing of the image ({size}) lies in the box left={left}, top={top}, "
            f"width={width}, height={height}.",
            "outside",
        )
    return Crop.of(part)


def _facts(crop: Crop) -> CropFacts:
    height, width = crop.pixels.shape[:2]
    measures = measure(crop.image or Image.fromarray(crop.pixels), crop.pixels)
    same = pixel_hash(crop.pixels.data, height, width).hex()
    return CropFacts(height, measures.brightness, measures.sharpness, same)
