"""The grid of explanation maps: one panel per image, which shows the image and its maps side by side.

Colour alone carries no message: right and wrong are also marked by a sign, a word and a frame.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np
from numpy.typing import ArrayLike
from PIL import Image, ImageDraw

from gender_cls.drawing.canvas import ALARM, GAP, GREY, INK, MARGIN, PAPER, Picture, wrapped, write
from gender_cls.drawing.map_colours import colour_bar, coloured, remark

MAX_WIDTH = 1704  # of a grid, unless a single panel is wider
GUTTER = 24  # between panels
TILE = 256  # longest side: small inputs grow by a whole factor up to it, inputs above LARGEST_TILE shrink to it
LARGEST_TILE = 320
NARROWEST_COLUMN, NARROWEST_PANEL, NARROWEST_GRID = 128, 286, 640  # space for a heading, the labels and the title
ONE_LINE = 380  # from this width on, labels and verdict of a panel fit on one line
TITLE_HEIGHT, HEADING_LINE, BAR_HEIGHT, NOTE_HEIGHT, CAPTION_HEIGHT = 56, 17, 24, 18, 44


@dataclass(frozen=True)
class Caption:
    """The text below a panel."""

    label: str
    predicted: str
    probability: float  # of the predicted label, in [0, 1]
    name: str


@dataclass(frozen=True)
class MapColumn:
    """One kind of map, of every image."""

    title: str
    maps: ArrayLike  # (N, H, W), in [-1, 1] if signed, else in [0, 1]; may be all zero or not finite
    signed: bool  # whether values below 0 are evidence against the class
    notes: Sequence[str] = ()  # none, or for each image a short line below its tile, such as "outside 42 %"


# Writes below a panel: where to draw, the corner of its tiles, their (width, height) together, and its index.
CaptionWriter = Callable[[ImageDraw.ImageDraw, tuple[int, int], tuple[int, int], int], None]


def map_grid(
    images: ArrayLike, columns: Sequence[MapColumn], captions: Sequence[Caption], title: str, note: str
) -> Picture:
    """One panel per image: the image and each of its maps side by side, with its caption below.

    Args:
        images: (N, 3, H, W), uint8.
        columns: the maps.
        captions: N.
        title: heading of the whole grid.
        note: one line in small print below the title.
    """

    def write_caption(draw: ImageDraw.ImageDraw, corner: tuple[int, int], size: tuple[int, int], index: int) -> None:
        _write_caption(draw, corner, size, captions[index])

    return panel_grid(images, columns, write_caption, first="input", title=title, note=note)


def panel_grid(
    images: ArrayLike, columns: Sequence[MapColumn], write_caption: CaptionWriter, *, first: str, title: str, note: str
) -> Picture:
    """`map_grid` with any caption; `first` is the heading of the images."""
    pixels = np.ascontiguousarray(np.asarray(images).transpose(0, 2, 3, 1))
    values = [np.asarray(column.maps) for column in columns]
    tiles = [coloured(maps, pixels, column.signed) for maps, column in zip(values, columns, strict=True)]
    size = _tile_size(pixels.shape[1], pixels.shape[2], 1 + len(columns))
    column_width = max(size[0], NARROWEST_COLUMN)
    tiles_width = (column_width + GAP) * (1 + len(columns)) - GAP
    panel_width = max(tiles_width, NARROWEST_PANEL)
    note_height = NOTE_HEIGHT if any(column.notes for column in columns) else 0
    panel_height = size[1] + note_height + CAPTION_HEIGHT
    rows = ceil(len(pixels) / max(1, (MAX_WIDTH - 2 * MARGIN + GUTTER) // (panel_width + GUTTER)))
    across = ceil(len(pixels) / rows)
    headings = [wrapped(heading, 14, True, column_width) for heading in (first, *(column.title for column in columns))]
    lines = max(map(len, headings))
    top = MARGIN + TITLE_HEIGHT + lines * HEADING_LINE + BAR_HEIGHT

    width = 2 * MARGIN + max(across * (panel_width + GUTTER) - GUTTER, NARROWEST_GRID)
    canvas = Image.new("RGB", (width, top + rows * (panel_height + MARGIN)), PAPER)
    draw = ImageDraw.Draw(canvas)
    write(draw, (MARGIN, MARGIN + 16), title, size=20, bold=True, width=width - 2 * MARGIN)
    write(draw, (MARGIN, MARGIN + 38), note, size=12, colour=GREY, width=width - 2 * MARGIN)
    for panel in range(across):
        for place, heading in enumerate(headings):
            left = MARGIN + panel * (panel_width + GUTTER) + place * (column_width + GAP)
            for line, text in enumerate(reversed(heading)):
                baseline = top - BAR_HEIGHT - 4 - line * HEADING_LINE
                write(draw, (left, baseline), text, size=14, bold=True, width=column_width)
            if place > 0:
                colour_bar(draw, canvas, (left, top - BAR_HEIGHT + 3), column_width - GAP, columns[place - 1].signed)
    for index, image in enumerate(pixels):
        row, panel = divmod(index, across)
        left, upper = MARGIN + panel * (panel_width + GUTTER), top + row * (panel_height + MARGIN)
        canvas.paste(_resized(image, size), (left, upper))
        for place, column in enumerate(columns):
            corner = (left + (place + 1) * (column_width + GAP), upper)
            canvas.paste(_resized(tiles[place][index], size), corner)
            remark(draw, corner, size, values[place][index])
            if column.notes:
                below = (corner[0], upper + size[1] + 13)
                write(draw, below, column.notes[index], size=11, colour=GREY, width=column_width)
        write_caption(draw, (left, upper), (tiles_width, size[1] + note_height), index)
    return np.asarray(canvas)


def _resized(tile: Picture, size: tuple[int, int]) -> Image.Image:
    """A tile of this (width, height). Pixels are enlarged as squares, to show what the network was given."""
    image = Image.fromarray(tile)
    return image.resize(size, Image.Resampling.NEAREST if size[0] >= image.width else Image.Resampling.LANCZOS)


def _tile_size(height: int, width: int, count: int) -> tuple[int, int]:
    """(width, height) in pixels of each of `count` tiles side by side."""
    longest = max(height, width)
    scale = TILE / longest if longest > LARGEST_TILE else max(1, TILE // longest)
    room = max(NARROWEST_COLUMN, (MAX_WIDTH - 2 * MARGIN + GAP) // count - GAP)
    if scale * width > room:
        scale = room // width or room / width
    return max(1, round(width * scale)), max(1, round(height * scale))


def _write_caption(draw: ImageDraw.ImageDraw, corner: tuple[int, int], size: tuple[int, int], caption: Caption) -> None:
    """Write labels, verdict and file name below tiles of `size`; frame the tiles if the prediction is wrong."""
    left, right = corner[0], corner[0] + max(size[0], NARROWEST_PANEL)
    upper = corner[1] + size[1]
    x: float = left
    for words, bold, colour, space in (
        ("true", False, GREY, 5),
        (caption.label, True, INK, 12),
        ("predicted", False, GREY, 5),
        (caption.predicted, True, INK, 5),
        (f"{caption.probability:.2f}", False, INK, 0),
    ):
        x += write(draw, (x, upper + 22), words, size=14, bold=bold, colour=colour) + space
    drop = 0 if right - left >= ONE_LINE else 20  # in a narrow panel the verdict is on the line of the name
    if caption.label == caption.predicted:
        write(draw, (right, upper + drop + 22), "✓ right", size=13, colour=GREY, anchor="rs")
    else:
        draw.rounded_rectangle((right - 76, upper + drop + 7, right - 1, upper + drop + 27), radius=4, fill=ALARM)
        write(draw, (right - 38, upper + drop + 17), "✗ WRONG", size=12, bold=True, colour=PAPER, anchor="mm")
        draw.rectangle((left - 4, corner[1] - 4, right + 3, upper + 3), outline=ALARM, width=2)
    write(draw, (left, upper + 42), caption.name, size=12, colour=GREY, width=right - left - (84 if drop else 0))
