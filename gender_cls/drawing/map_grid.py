"""The grid of explanation maps: one panel per image, which shows the image and its maps side by side.

Colour alone carries no message: right and wrong are also marked by a sign and a word.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np
from numpy.typing import ArrayLike
from PIL import Image, ImageDraw

from gender_cls.drawing.canvas import ALARM, GAP, LIGHT, MARGIN, MAT, SOFT, Picture, wrapped, write
from gender_cls.drawing.map_colours import coloured, paste_bar, remark, write_name

MAX_WIDTH = 1272  # of a grid, unless a single panel is wider: nearly the width of a page, so that text stays readable
GUTTER = 16  # between panels
TILE = 256  # longest side: small inputs grow by a whole factor up to it, inputs above LARGEST_TILE shrink to it
LARGEST_TILE = 320
NARROWEST_COLUMN, NARROWEST_PANEL, NARROWEST_GRID = 128, 330, 640  # space for a heading, the verdict and the title
TITLE_HEIGHT, NOTE_LINE, HEADING_LINE, BAR_HEIGHT, BAND_HEIGHT, NOTE_HEIGHT, CAPTION_HEIGHT = 30, 20, 18, 16, 32, 20, 24


@dataclass(frozen=True)
class Caption:
    """The text of a panel."""

    label: str
    predicted: str
    p_female: float  # in [0, 1]
    name: str


@dataclass(frozen=True)
class MapColumn:
    """One kind of map, of every image."""

    title: str
    maps: ArrayLike  # (N, H, W), in [-1, 1] if signed, else in [0, 1]; may be all zero or not finite
    signed: bool  # whether values below 0 are evidence against the class
    notes: Sequence[str] = ()  # none, or for each image a short line below its tile, such as "outside 42 %"


# Writes into the band above the tiles of a panel: where to draw, its corner, its width, and the index of the image.
BandWriter = Callable[[ImageDraw.ImageDraw, tuple[int, int], int, int], None]


def map_grid(
    images: ArrayLike, columns: Sequence[MapColumn], captions: Sequence[Caption], title: str, note: str
) -> Picture:
    """One panel per image: the image and each of its maps side by side, with the answer above and its name below.

    Args:
        images: (N, 3, H, W), uint8.
        columns: the maps.
        captions: N.
        title: heading of the whole grid.
        note: small print below the title.
    """

    def write_band(draw: ImageDraw.ImageDraw, corner: tuple[int, int], width: int, index: int) -> None:
        write_answer(draw, corner, (width, BAND_HEIGHT - 4), captions[index], size=16)

    names = [caption.name for caption in captions]
    return panel_grid(images, columns, write_band, names, first="input", title=title, note=note)


def panel_grid(
    images: ArrayLike, columns: Sequence[MapColumn], write_band: BandWriter, names: Sequence[str], *, first: str,
    title: str, note: str,
) -> Picture:  # fmt: skip
    """`map_grid` with anything in the bands; `first` is the heading of the images, `names` stand below the panels."""
    pixels = np.ascontiguousarray(np.asarray(images).transpose(0, 2, 3, 1))
    values = [np.asarray(column.maps) for column in columns]
    tiles = [coloured(maps, pixels, column.signed) for maps, column in zip(values, columns, strict=True)]
    size = _tile_size(pixels.shape[1], pixels.shape[2], 1 + len(columns))
    column_width = max(size[0], NARROWEST_COLUMN)
    panel_width = max((column_width + GAP) * (1 + len(columns)) - GAP, NARROWEST_PANEL)
    below = (NOTE_HEIGHT if any(column.notes for column in columns) else 0) + CAPTION_HEIGHT
    panel_height = BAND_HEIGHT + size[1] + below
    rows = ceil(len(pixels) / max(1, (MAX_WIDTH - 2 * MARGIN + GUTTER) // (panel_width + GUTTER)))
    across = ceil(len(pixels) / rows)
    width = 2 * MARGIN + max(across * (panel_width + GUTTER) - GUTTER, NARROWEST_GRID)
    small_print = wrapped(note, 14, False, width - 2 * MARGIN)
    headings = [wrapped(column.title, 14, True, column_width - 28) for column in columns]
    lines = max(map(len, headings), default=1)
    top = MARGIN + TITLE_HEIGHT + NOTE_LINE * len(small_print) + HEADING_LINE * lines + BAR_HEIGHT

    canvas = Image.new("RGB", (width, top + rows * (panel_height + GUTTER) - GUTTER + MARGIN), MAT)
    draw = ImageDraw.Draw(canvas)
    write(draw, (MARGIN, MARGIN + 18), title, size=20, bold=True, width=width - 2 * MARGIN)
    for line, text in enumerate(small_print):
        write(draw, (MARGIN, MARGIN + TITLE_HEIGHT + 12 + NOTE_LINE * line), text, size=14, colour=SOFT)
    for panel in range(across):
        left = MARGIN + panel * (panel_width + GUTTER)
        base = top - BAR_HEIGHT
        write_name(draw, (left, base), first, column_width, 14, signed=None)
        for place, column in enumerate(columns):
            corner = (left + (place + 1) * (column_width + GAP), base)
            for line, text in enumerate(reversed(headings[place])):
                above = (corner[0], base - line * HEADING_LINE)
                write_name(draw, above, text, column_width, 14, signed=column.signed if line == 0 else None)
            paste_bar(canvas, (corner[0], base + 5), (column_width, 6), column.signed)
    for index, image in enumerate(pixels):
        row, panel = divmod(index, across)
        left, band = MARGIN + panel * (panel_width + GUTTER), top + row * (panel_height + GUTTER)
        upper = band + BAND_HEIGHT
        write_band(draw, (left, band), panel_width, index)
        canvas.paste(resized(image, size), (left, upper))
        for place, column in enumerate(columns):
            corner = (left + (place + 1) * (column_width + GAP), upper)
            canvas.paste(resized(tiles[place][index], size), corner)
            remark(draw, corner, size, values[place][index])
            if column.notes:
                under = (corner[0], upper + size[1] + 15)
                write(draw, under, column.notes[index], size=14, colour=SOFT, width=column_width)
        write(draw, (left, band + panel_height - 8), names[index], size=14, colour=SOFT, width=panel_width)
    return np.asarray(canvas)


def write_answer(
    draw: ImageDraw.ImageDraw,
    corner: tuple[int, int],
    extent: tuple[int, int],
    caption: Caption,
    *,
    size: int,
    inset: int = 0,
) -> None:
    """Write label, verdict and p(FEMALE) on a band of this (width, height), which is red if the answer is wrong.

    Args:
        size: of the letters.
        inset: pixels between the text and the ends of the band; at least 6 where it is red.
    """
    left, top = corner
    base, right = top + extent[1] / 2 + size * 0.36, caption.label == caption.predicted
    inset = inset if right else max(inset, 6)
    start = float(left + inset)
    if not right:
        draw.rectangle((left, top, left + extent[0] - 1, top + extent[1] - 1), fill=ALARM)
    start += write(draw, (start, base), caption.label, size, bold=True) + size * 0.7
    write(draw, (start, base), "✓ right" if right else "✗ wrong", size, bold=not right, colour=SOFT if right else LIGHT)
    write(draw, (left + extent[0] - inset, base), f"p(FEMALE) {caption.p_female:.2f}", size, anchor="rs")


def resized(tile: Picture, size: tuple[int, int]) -> Image.Image:
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
