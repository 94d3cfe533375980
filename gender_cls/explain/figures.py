"""Arrays -> pictures: the grid of explanation maps and the confusion matrix. Numpy and Pillow, no pyplot.

No message rests on colour alone: right and wrong are also a sign, a word and a frame, and the colour maps grow steadily
in lightness, so that they read in grey and without colour vision.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from math import ceil
from pathlib import Path

import matplotlib
import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image, ImageDraw, ImageFont

Picture = NDArray[np.uint8]
"""(height, width, 3), RGB."""

PAPER, INK, GREY, ALARM = "#fbfbf9", "#1f2328", "#686e76", "#b3261e"

MAX_WIDTH = 1704  # of a grid, unless a single panel is wider
MARGIN, GUTTER, GAP = 24, 24, 6  # around the picture, between panels, between the tiles of a panel
TILE = 256  # small inputs grow by a whole factor up to this longest side, inputs above LARGEST_TILE shrink to it
LARGEST_TILE = 320
NARROWEST_COLUMN, NARROWEST_GRID = 128, 640  # room for a column's heading and for the title
TITLE_HEIGHT, HEADING_HEIGHT, CAPTION_HEIGHT = 62, 40, 44


@dataclass(frozen=True)
class Caption:
    """What stands below a panel; `probability` in [0, 1] is that of the predicted label."""

    label: str
    predicted: str
    probability: float
    name: str


@dataclass(frozen=True)
class MapStyle:
    """A colour map of matplotlib, read at `value ** exponent`; below 1 brings out the low values.

    An overlay lies on the grey picture and is more opaque where the map is higher.
    """

    colours: str
    overlay: bool
    exponent: float = 1.0


STYLES = {"saliency": MapStyle("inferno", overlay=False, exponent=0.7), "Grad-CAM": MapStyle("viridis", overlay=True)}
"""By the name under which `map_grid` gets a map."""

OPACITY = 0.75  # of an overlay at 1, so that the person stays visible


def map_grid(
    images: ArrayLike, maps: Mapping[str, ArrayLike], captions: Sequence[Caption], title: str, note: str
) -> Picture:
    """One panel an image: the image and each map of it side by side, a caption below.

    Args:
        images: (N, 3, H, W), uint8.
        maps: by a name in `STYLES`, each (N, H, W) in [0, 1]. A map that is all zero or not finite says so.
        captions: one an image.
        title: heading of the whole grid.
        note: one line in small print below the title.
    """
    pictures = np.asarray(images).transpose(0, 2, 3, 1)
    values = {name: np.asarray(stack) for name, stack in maps.items()}
    tiles = {name: _coloured(stack, pictures, STYLES[name]) for name, stack in values.items()}
    size = _tile_size(*pictures.shape[1:3])
    pitch = max(size[0], NARROWEST_COLUMN) + GAP
    panel_width, panel_height = pitch * (1 + len(maps)) - GAP, size[1] + CAPTION_HEIGHT
    count = len(pictures)
    rows = ceil(count / max(1, (MAX_WIDTH - 2 * MARGIN + GUTTER) // (panel_width + GUTTER)))
    columns = ceil(count / rows)

    canvas = Image.new(
        "RGB",
        (
            2 * MARGIN + max(columns * (panel_width + GUTTER) - GUTTER, NARROWEST_GRID),
            2 * MARGIN + TITLE_HEIGHT + HEADING_HEIGHT + rows * (panel_height + MARGIN) - MARGIN,
        ),
        PAPER,
    )
    draw = ImageDraw.Draw(canvas)
    _text(draw, (MARGIN, MARGIN + 16), title, size=20, bold=True, width=canvas.width - 2 * MARGIN)
    _text(draw, (MARGIN, MARGIN + 38), note, size=12, colour=GREY, width=canvas.width - 2 * MARGIN)
    top = MARGIN + TITLE_HEIGHT
    for column in range(columns):
        left = MARGIN + column * (panel_width + GUTTER)
        _text(draw, (left, top + 14), "input", size=14, bold=True)
        for place, name in enumerate(maps, start=1):
            _text(draw, (left + place * pitch, top + 14), name, size=14, bold=True)
            _colour_bar(draw, canvas, (left + place * pitch, top + 22), size[0], STYLES[name])
    top += HEADING_HEIGHT
    for index, caption in enumerate(captions):
        row, column = divmod(index, columns)
        left, upper = MARGIN + column * (panel_width + GUTTER), top + row * (panel_height + MARGIN)
        canvas.paste(_resized(pictures[index], size), (left, upper))
        for place, name in enumerate(maps, start=1):
            corner = (left + place * pitch, upper)
            canvas.paste(_resized(tiles[name][index], size), corner)
            _remark(draw, corner, size, values[name][index])
        _caption(draw, (left, upper), (panel_width, size[1]), caption)
    return np.asarray(canvas)


def confusion_matrix_figure(matrix: ArrayLike, classes: Sequence[str]) -> Picture:
    """Counts, and below each its share of the true class, which also sets the shade.

    Args:
        matrix: (classes, classes), counts; row = true, column = predicted.
    """
    counts = np.asarray(matrix)
    totals = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, totals, out=np.zeros(counts.shape), where=totals > 0)
    cell, left, top = 168, MARGIN + 116, MARGIN + 58
    pitch = cell + GAP
    extent = len(classes) * pitch - GAP
    canvas = Image.new("RGB", (left + extent + MARGIN, top + extent + MARGIN), PAPER)
    draw = ImageDraw.Draw(canvas)
    _text(draw, (MARGIN, top - 14), "true", size=14, colour=GREY)
    _text(draw, (left + extent / 2, top - 42), "predicted", size=14, colour=GREY, anchor="ms")
    shades = _palette("Blues")[20:230]  # neither white paper nor near-black
    for row, label in enumerate(classes):
        middle = top + row * pitch + cell // 2
        _text(draw, (left + row * pitch + cell / 2, top - 14), label, size=16, bold=True, anchor="ms", width=cell)
        _text(draw, (MARGIN, middle), label, size=16, bold=True, width=left - MARGIN - 8)
        _text(draw, (MARGIN, middle + 20), f"n = {totals[row, 0]:,}", size=13, colour=GREY)
        for column, (count, share) in enumerate(zip(counts[row], shares[row], strict=True)):
            x = left + column * pitch
            shade = shades[round(share * (len(shades) - 1))]
            draw.rectangle((x, middle - cell // 2, x + cell - 1, middle + cell // 2 - 1), fill=tuple(shade.tolist()))
            ink = PAPER if share > 0.5 else INK
            _text(draw, (x + cell / 2, middle + 4), f"{count:,}", size=30, bold=True, colour=ink, anchor="ms")
            percent = f"{share:.1%}" if totals[row, 0] else "no images"
            _text(draw, (x + cell / 2, middle + 32), percent, size=14, colour=ink, anchor="ms")
    return np.asarray(canvas)


def _tile_size(height: int, width: int) -> tuple[int, int]:
    """(width, height) in pixels."""
    longest = max(height, width)
    if longest > LARGEST_TILE:
        return max(1, round(width * TILE / longest)), max(1, round(height * TILE / longest))
    factor = max(1, TILE // longest)
    return width * factor, height * factor


def _resized(tile: Picture, size: tuple[int, int]) -> Image.Image:
    image = Image.fromarray(tile)
    # Enlarged pixels stay pixels: the tile shows what the network was given.
    return image.resize(size, Image.Resampling.NEAREST if size[0] >= image.width else Image.Resampling.LANCZOS)


@cache
def _palette(name: str) -> NDArray[np.uint8]:
    """(256, 3), RGB."""
    return matplotlib.colormaps[name](np.arange(256), bytes=True)[:, :3]


def _coloured(values: NDArray[np.floating], pictures: Picture, style: MapStyle) -> NDArray[np.uint8]:
    """(N, H, W) in [0, 1] -> (N, H, W, 3)."""
    values = np.nan_to_num(values.astype(np.float32), nan=0.0).clip(0, 1) ** style.exponent
    colours = _palette(style.colours)[np.rint(values * 255).astype(np.uint8)]
    if not style.overlay:
        return colours
    alpha = OPACITY * values[..., np.newaxis]
    luminance = pictures @ np.array((0.299, 0.587, 0.114), np.float32)
    return np.rint(luminance[..., np.newaxis] * (1 - alpha) + colours * alpha).astype(np.uint8)


@cache
def _font(size: int, bold: bool) -> ImageFont.FreeTypeFont:
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"  # beside Latin: Greek, Cyrillic and the signs used here
    return ImageFont.truetype(str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / name), size)


def _text(
    draw: ImageDraw.ImageDraw,
    position: tuple[float, float],
    text: str,
    size: int,
    bold: bool = False,
    colour: str = INK,
    anchor: str = "ls",
    width: int | None = None,
) -> float:
    """Writes one line, shortened in its middle to at most `width` pixels; returns the width it took."""
    font = _font(size, bold)
    shown = text = " ".join(text.split())
    kept = len(text)
    while width is not None and kept > 1 and font.getlength(shown) > width:
        kept = min(kept - 1, ceil(kept * width / font.getlength(shown)))
        shown = f"{text[: (kept + 1) // 2]}…{text[len(text) - kept // 2 :]}"
    draw.text(position, shown, colour, font, anchor)
    return font.getlength(shown)


def _colour_bar(
    draw: ImageDraw.ImageDraw, canvas: Image.Image, corner: tuple[int, int], width: int, style: MapStyle
) -> None:
    """The colours of a map from low to high; an overlay's as they look on mid-grey."""
    left, top = corner
    right = left + max(width, NARROWEST_COLUMN) - GAP
    _text(draw, (left, top + 9), "low", size=11, colour=GREY)
    _text(draw, (right, top + 9), "high", size=11, colour=GREY, anchor="rs")
    ramp = np.linspace(0, 1, right - left - 56)[np.newaxis, np.newaxis].repeat(5, axis=1)
    bar = _coloured(ramp, np.full((*ramp.shape, 3), 128, np.uint8), style)[0]
    canvas.paste(Image.fromarray(bar), (left + 25, top + 3))


def _remark(draw: ImageDraw.ImageDraw, corner: tuple[int, int], size: tuple[int, int], values: NDArray) -> None:
    """Says on a tile why it shows nothing."""
    if not np.isfinite(values).all():
        remark = "not finite"
    elif not values.any():
        remark = "all zero"
    else:
        return
    centre = (corner[0] + size[0] // 2, corner[1] + size[1] // 2)
    draw.rectangle((corner[0], centre[1] - 12, corner[0] + size[0] - 1, centre[1] + 12), fill=PAPER)
    _text(draw, centre, remark, size=12, colour=INK, anchor="mm", width=size[0])


def _caption(draw: ImageDraw.ImageDraw, corner: tuple[int, int], size: tuple[int, int], caption: Caption) -> None:
    """Labels and verdict, then the file's name, below tiles of `size`; a frame around them if the label is wrong."""
    left, right = corner[0], corner[0] + size[0]
    upper = corner[1] + size[1]
    x: float = left
    for words, bold, colour, space in (
        ("true", False, GREY, 5),
        (caption.label, True, INK, 12),
        ("predicted", False, GREY, 5),
        (caption.predicted, True, INK, 5),
        (f"{caption.probability:.2f}", False, INK, 0),
    ):
        x += _text(draw, (x, upper + 22), words, size=14, bold=bold, colour=colour) + space
    if caption.label == caption.predicted:
        _text(draw, (right, upper + 22), "✓ right", size=13, colour=GREY, anchor="rs")
    else:
        draw.rounded_rectangle((right - 76, upper + 7, right - 1, upper + 27), radius=4, fill=ALARM)
        _text(draw, (right - 38, upper + 17), "✗ WRONG", size=12, bold=True, colour=PAPER, anchor="mm")
        draw.rectangle((left - 4, corner[1] - 4, right + 3, upper + 3), outline=ALARM, width=2)
    _text(draw, (left, upper + 42), caption.name, size=12, colour=GREY, width=size[0])
