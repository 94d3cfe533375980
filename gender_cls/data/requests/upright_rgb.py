"""Decoded frames of a video -> upright RGB pixels. Imports no torch."""

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gender_cls.system.extras import import_extra

UPRIGHT = (1, 0, 0, 1)

_FILTERS: dict[tuple[int, ...], Sequence[tuple[str, str]]] = {
    UPRIGHT: [],
    (0, 1, -1, 0): [("transpose", "clock")],
    (-1, 0, 0, -1): [("hflip", ""), ("vflip", "")],
    (0, -1, 1, 0): [("transpose", "cclock")],
    (-1, 0, 0, 1): [("hflip", "")],
    (1, 0, 0, -1): [("vflip", "")],
    (0, 1, 1, 0): [("transpose", "cclock_flip")],
    (0, -1, -1, 0): [("transpose", "clock_flip")],
}
"""How a player turns the picture -> FFmpeg's filters. Where a step to the right leads (right, down), then one down."""


class UnknownTurnError(Exception):
    """The video asks for a turn that is no multiple of 90 degrees."""

    def __init__(self) -> None:
        super().__init__("it is to be shown turned by an angle that is no multiple of 90 degrees")


class UprightRgb:
    """Converts frames to the pixels that `ffmpeg -pix_fmt rgb24` writes, bit for bit for usual videos.

    The colour matrix and the range are those that a frame states; BT.601 and limited range where it states none. Where
    colours have fewer pixels than brightness, FFmpeg's quick conversion repeats them or, where there is none, its
    bicubic filter enlarges them. The result is turned as the video says.
    """

    def __init__(self) -> None:
        self._av = import_extra("av", "Reading a video")
        self._made_for: tuple[Any, ...] = ()  # the kind of frames that the graph takes
        self._graph: Any = None

    def __call__(self, frame: Any) -> NDArray[np.uint8]:
        """The pixels of one of PyAV's frames, (H, W, 3).

        Raises:
            UnknownTurnError: the frame is not shown upright.
        """
        turn = _turn(frame)
        kind = (frame.width, frame.height, frame.format.name, frame.colorspace, frame.color_range, turn)
        if kind != self._made_for:
            if turn not in _FILTERS:
                raise UnknownTurnError
            self._graph, self._made_for = self._new_graph(frame, _FILTERS[turn]), kind
        self._graph.push(frame)
        return self._graph.pull().to_ndarray()

    def _new_graph(self, frame: Any, turn: Sequence[tuple[str, str]]) -> Any:
        graph = self._av.filter.Graph()
        last = graph.add_buffer(
            width=frame.width, height=frame.height, format=frame.format, time_base=frame.time_base or Fraction(1, 1000)
        )
        for name, argument in (("scale", "flags=bicubic"), ("format", "rgb24"), *turn, ("buffersink", "")):
            following = graph.add(name, argument)
            last.link_to(following)
            last = following
        graph.configure()
        return graph


def _turn(frame: Any) -> tuple[int, ...]:
    """A key of `_FILTERS`, from the matrix that came with the frame."""
    data = frame.side_data.get("DISPLAYMATRIX")
    if data is None:
        return UPRIGHT
    numbers = np.frombuffer(bytes(data), np.int32)[[0, 1, 3, 4]] / 65536
    return tuple(np.rint(numbers).astype(int).tolist())
