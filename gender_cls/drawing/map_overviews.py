"""Overviews of maps: strips for a gallery, mean maps of groups, and tiles with one colour scale to compare models."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image, ImageDraw

from gender_cls.drawing.canvas import MAT, SOFT, Picture, write
from gender_cls.drawing.map_colours import coloured, own_scale, paint
from gender_cls.drawing.map_grid import MapColumn, panel_grid
from gender_cls.errors import plural


@dataclass(frozen=True)
class MeanMaps:
    """The averages over a group of images."""

    name: str
    images: int
    picture: ArrayLike  # (3, H, W), the mean image, 0 to 255
    columns: Sequence[MapColumn]  # the mean of each kind of map, N = 1, of any scale; the same kinds in every group


def map_strip(image: ArrayLike, columns: Sequence[tuple[ArrayLike, bool]], height: int) -> Picture:
    """The input and its maps side by side, without text.

    Args:
        image: (3, H, W), uint8.
        columns: for each map, its values (H, W) of any scale and whether it is signed. A map that is not finite is
            crossed out.
        height: of the strip in pixels.
    """
    full = Image.fromarray(np.ascontiguousarray(np.asarray(image).transpose(1, 2, 0)))
    size = (height, max(1, round(height * full.width / full.height)))
    small = np.asarray(full.resize(size[::-1], Image.Resampling.LANCZOS))
    tiles = [small, *(_strip_tile(np.asarray(values, np.float32), small, signed) for values, signed in columns)]
    gap = max(2, height // 64)
    strip = Image.new("RGB", ((size[1] + gap) * len(tiles) - gap, height), MAT)
    for place, tile in enumerate(tiles):
        strip.paste(Image.fromarray(tile), (place * (size[1] + gap), 0))
    return np.asarray(strip)


def mean_map_grid(groups: Sequence[MeanMaps], title: str, note: str) -> Picture:
    """One panel per group: its mean image and its mean maps side by side, with its name above.

    Each map is scaled to its own largest magnitude, and a sentence after `note` says so: groups are compared by where
    their maps are large. With one scale for all, a group of few images, whose mean has the highest peaks, would make
    the other maps dark.
    """

    def write_group(draw: ImageDraw.ImageDraw, corner: tuple[int, int], width: int, index: int) -> None:
        write(draw, (corner[0], corner[1] + 20), groups[index].name, size=16, bold=True, width=width)

    columns = [
        replace(
            column,
            maps=own_scale(np.concatenate([np.asarray(group.columns[place].maps, np.float32) for group in groups])),
            notes=[note for group in groups for note in group.columns[place].notes],
        )
        for place, column in enumerate(groups[0].columns)
    ]
    images = np.rint(np.stack([np.asarray(group.picture) for group in groups])).astype(np.uint8)
    note = f"{note} Each mean map is scaled to its own largest magnitude.".strip()
    counts = [f"mean of {plural(group.images, 'image')}" for group in groups]
    return panel_grid(images, columns, write_group, counts, first="mean picture", title=title, note=note)


def density_tile(image: Image.Image, density: ArrayLike, end: float, signed: bool, size: tuple[int, int]) -> Picture:
    """A map on a colour scale that many tiles share.

    Args:
        image: what the map explains, of any size; the map lies on it.
        density: (H, W), in units of a uniform map: a map that is the same everywhere is 1. Values that are not finite
            count as 0. It is not smoothed: kept maps are coarse enough.
        end: the value at the end of the colour scale, which begins at 0, or at -`end` if signed; above 0.
        signed: whether values below 0 are evidence against the class.
        size: (height, width) of the tile in pixels.
    """
    pixels = np.asarray(image.convert("RGB").resize(size[::-1], Image.Resampling.LANCZOS))
    values = _resized_map(np.asarray(density, np.float32) / end, size)
    return paint(values[np.newaxis], pixels[np.newaxis], signed)[0]


def _strip_tile(values: NDArray[np.float32], below: Picture, signed: bool) -> Picture:
    """A map, shrunk before it is scaled: a single pixel could set the scale and then vanish when the map shrinks."""
    size = (below.shape[0], below.shape[1])
    if not np.isfinite(values).all():
        return _crossed_out(size)
    small = own_scale(_resized_map(values, size)[np.newaxis])
    return coloured(small, below[np.newaxis], signed)[0]


def _resized_map(values: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float32]:
    return np.asarray(Image.fromarray(values).resize(size[::-1], Image.Resampling.BILINEAR))


def _crossed_out(size: tuple[int, int]) -> Picture:
    height, width = size
    tile = Image.new("RGB", (width, height), MAT)
    draw = ImageDraw.Draw(tile)
    draw.line((0, 0, width - 1, height - 1), fill=SOFT)
    draw.line((0, height - 1, width - 1, 0), fill=SOFT)
    draw.rectangle((0, 0, width - 1, height - 1), outline=SOFT)
    return np.asarray(tile)
