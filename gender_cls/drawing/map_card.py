"""One image with its maps in the size of TensorBoard's cards."""

from collections.abc import Sequence
from math import ceil

import numpy as np
from numpy.typing import ArrayLike
from PIL import Image, ImageDraw

from gender_cls.drawing.canvas import MAT, Picture
from gender_cls.drawing.map_colours import coloured, paste_bar, remark, write_name
from gender_cls.drawing.map_grid import Caption, MapColumn, write_answer

CARD = (700, 430)
"""Twice the (width, height) that the tabs Images and Time Series give a picture.

They leave pixels out to make a picture smaller, so all strokes are thick. Dense screens show every pixel.
"""
BAND, BAR, NAME, GAP = 44, 12, 32, 8  # heights in pixels, and what lies between tiles
NARROWEST = 520  # width in pixels that the answer needs
TILES_IN_ROW = 4


def map_cards(
    images: ArrayLike, columns: Sequence[MapColumn], captions: Sequence[Caption], below_image: str
) -> list[Picture]:
    """For each image a picture: the answer, then the image and its maps side by side, each with its colours and name.

    Args:
        images: (N, 3, H, W), uint8.
        columns: the maps; their notes are not shown.
        captions: N; the names are not shown.
        below_image: such as "epoch 3".
    """
    pixels = np.ascontiguousarray(np.asarray(images).transpose(0, 2, 3, 1))
    values = [np.asarray(column.maps) for column in columns]
    tiles = [pixels, *(coloured(maps, pixels, column.signed) for maps, column in zip(values, columns, strict=True))]
    rows = ceil(len(tiles) / TILES_IN_ROW)
    in_row = ceil(len(tiles) / rows)
    most = (CARD[0] + GAP) // max(3, in_row) - GAP, CARD[1] - BAND - BAR - NAME
    scale = min(most[0] / pixels.shape[2], most[1] / pixels.shape[1])
    size = max(1, round(pixels.shape[2] * scale)), max(1, round(pixels.shape[1] * scale))
    row_height = size[1] + BAR + NAME
    width = max(in_row * (size[0] + GAP) - GAP, NARROWEST)
    indent = (width - in_row * (size[0] + GAP) + GAP) // 2
    cards = []
    for index, caption in enumerate(captions):
        canvas = Image.new("RGB", (width, BAND + rows * row_height), MAT)
        draw = ImageDraw.Draw(canvas)
        write_answer(draw, (0, 0), (width, BAND - 4), caption, size=26, inset=10)
        for place, tile in enumerate(tiles):
            row, column = divmod(place, in_row)
            left, top = indent + column * (size[0] + GAP), BAND + row * row_height
            canvas.paste(Image.fromarray(tile[index]).resize(size, Image.Resampling.BICUBIC), (left, top))
            position = (left, top + row_height - 8)
            if place == 0:
                write_name(draw, position, below_image, size[0], 22, signed=None)
                continue
            shown = columns[place - 1]
            remark(draw, (left, top), size, values[place - 1][index])
            paste_bar(canvas, (left, top + size[1] + 3), (size[0], BAR - 3), shown.signed)
            write_name(draw, position, shown.title, size[0], 22, shown.signed)
        cards.append(np.asarray(canvas))
    return cards
