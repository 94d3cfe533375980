"""Video files: the rows of their boxes, and their frames as RGB pixels. Imports no torch."""

from collections.abc import Generator, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gender_cls.data.image_files import Fault, UnreadableError
from gender_cls.data.requests.boxes import FORM, Boxes, read_boxes
from gender_cls.data.requests.upright_rgb import UnknownTurnError, UprightRgb
from gender_cls.errors import GenderClsError, one_line, plural
from gender_cls.system.extras import import_extra

VIDEO_SUFFIXES = {
    *(".264", ".265", ".3gp", ".asf", ".avi", ".dav", ".flv", ".h264", ".h265", ".hevc", ".m2ts", ".m4v", ".mjpeg"),
    *(".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".ogv", ".ts", ".vob", ".webm", ".wmv"),
}
PURPOSE = "Reading a video"
FILES_ONLY = {"protocol_whitelist": "file"}  # or a playlist that is named like a video would open other addresses


def is_video(path: str | Path) -> bool:
    """Whether a file counts as a video, by its suffix."""
    return Path(path).suffix.lower() in VIDEO_SUFFIXES


def video_rows(video: Path, boxes: Path | None, *, stride: int, first_frame: int) -> Boxes:
    """One row per box of a video: `path` is the video, `frame` the number that the boxes give it.

    Args:
        boxes: see `read_boxes`, as are `stride` and `first_frame`.

    Raises:
        GenderClsError: there are no boxes, or their file makes no sense; or PyAV is not installed.
    """
    if boxes is None:
        raise GenderClsError(
            f"{video} is a video, and there is no detector here: name the file of its boxes, which a tracker has "
            f"written, with boxes=FILE; its lines are {FORM}."
        )
    import_extra("av", PURPOSE)
    rows, left_out = read_boxes(boxes, stride=stride, first_frame=first_frame)
    rows.insert(0, "path", str(video))
    return Boxes(rows, left_out)


class VideoReader:
    """Frames of a video by their numbers, upright and in RGB, as FFmpeg converts them by default.

    Frames are counted as they are decoded, in the order in which they are shown, and always from the beginning: a
    number means the same frame whatever was asked before, and the one that FFmpeg's filters call n. This is quick as
    long as the numbers do not fall. The last frame is kept, for its next box.

    Args:
        first_frame: the number of the first frame, 0 or 1.
    """

    def __init__(self, video: Path, first_frame: int = 1) -> None:
        self.video = video
        self.first_frame = first_frame
        self._av = import_extra("av", PURPOSE)
        self._fault: UnreadableError | None = None  # of all frames, once it is known
        self._count: int | None = None  # of the frames, once it is known
        self._broken_off = False  # whether reading ended with an error
        self._pixels: NDArray[np.uint8] | None = None  # of the last decoded frame, once they are asked for
        self._frames = self._decoded()
        self._rewind()

    def frame(self, number: int) -> NDArray[np.uint8]:
        """The pixels of a frame, (H, W, 3), which the caller does not change.

        Raises:
            UnreadableError: there is no such frame, it is damaged, or the file is no video.
        """
        index = number - self.first_frame
        if index < 0:
            raise self._unreadable(f"there is no frame {number}: they are numbered from {self.first_frame}", "missing")
        if index < self._index:
            self._rewind()
        try:
            while self._fault is None and self._index < index and self._count != self._index + 1:
                self._step()
        except UnreadableError as fault:
            self._fault = fault
        if self._fault is not None:
            raise self._fault
        if self._index != index:
            raise self._absent(number)
        if self._damaged:
            raise self._unreadable(f"frame {number} is damaged, or made from frames that are", "damaged")
        if self._pixels is None:
            try:
                self._pixels = self._convert(self._frame)
            except UnknownTurnError as error:
                raise self._unreadable(str(error), "no_picture") from None
        return self._pixels

    def close(self) -> None:
        """Close the file; another frame opens it again."""
        self._rewind()

    def _rewind(self) -> None:
        self._frames.close()
        self._frames = self._decoded()
        self._convert = UprightRgb()
        self._index = -1  # of the last decoded frame, from 0
        self._frame: Any = None
        self._damaged = False  # that frame
        self._pixels = None

    def _step(self) -> None:
        following = next(self._frames, None)
        if following is None:
            self._count = self._index + 1
        else:
            self._frame, self._damaged = following
            self._index, self._pixels = self._index + 1, None

    def _decoded(self) -> Generator[tuple[Any, bool]]:
        """The frames in the video's order, and whether one is damaged.

        After damage this is so up to the next frame that needs no other.

        Raises:
            UnreadableError: it is no video.
        """
        problem = self._av.error.FFmpegError
        try:
            container = self._av.open(str(self.video), options=FILES_ONLY)
        except problem as error:
            raise self._not_opened(error) from error
        with container:
            stream = container.streams.best("video")
            if stream is None or stream.codec_context is None:
                raise self._unreadable("it has no moving pictures that FFmpeg can decode", "no_picture")
            stream.thread_type = "SLICE"  # threads that decode several frames at once may lose some after damage
            damaged = False
            for packet in self._packets(container, stream):
                try:
                    frames = stream.codec_context.decode(packet)
                except problem:
                    damaged = True
                    continue
                for frame in frames:
                    damaged = frame.is_corrupt or (damaged and not frame.key_frame)
                    yield frame, damaged

    def _packets(self, container: Any, stream: Any) -> Iterator[Any]:
        """What the decoder takes; at last None, for the frames that it still holds."""
        try:
            yield from (packet for packet in container.demux(stream) if packet.size)
        except self._av.error.FFmpegError:
            self._broken_off = True
        yield None

    def _absent(self, number: int) -> UnreadableError:
        count, first = self._count or 0, self.first_frame
        if self._broken_off or not count:
            return self._unreadable(f"it breaks off after {plural(count, 'frame')}", "damaged")
        hint = "; if the boxes number them from 1, give first_frame=1" if not first and number == count else ""
        numbers = f"its {plural(count, 'frame')} are numbered from {first} to {count - 1 + first}"
        return self._unreadable(f"there is no frame {number}: {numbers}{hint}", "missing")

    def _not_opened(self, error: Any) -> UnreadableError:
        if not self.video.exists():
            return self._unreadable("No such file or directory", "missing")
        if self.video.is_file() and not self.video.stat().st_size:
            return self._unreadable("it is empty", "empty")
        return self._unreadable(f"FFmpeg cannot open it as a video ({one_line(error.strerror)})", "no_picture")

    def _unreadable(self, reason: str, fault: Fault) -> UnreadableError:
        return UnreadableError(f"Cannot read {self.video}: {reason}.", fault)


def frame_rate(video: Path) -> Fraction | None:
    """Frames per second of a video, on average; None if it does not say."""
    av = import_extra("av", PURPOSE)
    try:
        with av.open(str(video), options=FILES_ONLY) as container:
            stream = container.streams.best("video")
            return None if stream is None else stream.average_rate
    except av.error.FFmpegError:
        return None
