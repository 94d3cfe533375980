"""Answers as pictures: a sheet of crops, and boxes on the frames of a video.

An answer always has its word; its colours differ in lightness too, and the box of an abstention is dashed.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw

from gender_cls.config.data import CLASSES
from gender_cls.drawing.canvas import GAP, LIGHT, MARGIN, MAT, SOFT, Picture, text_width, wrapped, write

COLOURS = {CLASSES[0]: "#ffb000", CLASSES[1]: "#4aa3ff"}
OTHER = "#dfe3e8"  # of abstentions, and of crops without an answer

COLUMNS, TILE = 8, (142, 240)  # of the sheet: tiles side by side, and their largest (width, height)
BAND, LINE = 48, 16  # heights of what stands above a tile, and of a line below it
STRIP = 30  # height of what is written below a frame
DASH = 7


Box = tuple[float, float, float, float]
"""Left, top, width and height in pixels."""


class Answered(NamedTuple):
    """A crop or a box with its answer."""

    answer: str  # FEMALE, MALE or abstain; anything else is why there is no answer
    p_female: float  # calibrated, of the crop or of its track; NaN: none
    name: str = ""  # of the crop, or of its track
    label: str = ""  # if one is known


def answer_sheet(crops: Sequence[Picture], answers: Sequence[Answered], title: str, note: str) -> Picture:
    """Crops in rows, in their order, each with its answer and probability above, and its name and label below.

    A small crop is enlarged by a whole factor.
    """
    across = min(COLUMNS, max(4, len(crops)))
    width = 2 * MARGIN + across * (TILE[0] + GAP) - GAP
    small_print = wrapped(note, 14, False, width - 2 * MARGIN)
    tiles = [_fitted(crop, TILE) for crop in crops]
    rows = [range(start, min(start + across, len(tiles))) for start in range(0, len(tiles), across)]
    below = 2 * GAP + LINE * (2 if any(answered.label for answered in answers) else 1)
    heights = [BAND + max(tiles[place].height for place in row) + below for row in rows]
    upper = MARGIN + 34 + 20 * len(small_print)
    canvas = Image.new("RGB", (width, upper + sum(heights) + MARGIN - GAP), MAT)
    draw = ImageDraw.Draw(canvas)
    write(draw, (MARGIN, MARGIN + 18), title, 20, bold=True, width=width - 2 * MARGIN)
    for line, text in enumerate(small_print):
        write(draw, (MARGIN, MARGIN + 42 + 20 * line), text, 14, colour=SOFT)
    for row, height in zip(rows, heights, strict=True):
        for column, place in enumerate(row):
            answered, tile, left = answers[place], tiles[place], MARGIN + column * (TILE[0] + GAP)
            colour = COLOURS.get(answered.answer, OTHER)
            draw.rectangle((left, upper + 8, left + 3, upper + BAND - 5), fill=colour)
            write(draw, (left + 9, upper + 22), answered.answer, 15, bold=True, width=TILE[0] - 9)
            write(draw, (left + 9, upper + 40), f"p(FEMALE) {answered.p_female:.3f}", 14, width=TILE[0] - 9)
            canvas.paste(tile, (left, upper + BAND))
            base = upper + BAND + tile.height + LINE
            write(draw, (left, base), answered.name, 12, colour=SOFT, width=TILE[0])
            if answered.label:
                write(draw, (left, base + LINE), f"label {answered.label}", 12, colour=SOFT, width=TILE[0])
        upper += height
    return np.asarray(canvas)


def frame_with_answers(frame: Picture, boxes: Sequence[Box], answers: Sequence[Answered], below: str) -> Picture:
    """The frame with its boxes (left, top, width, height), and a strip below it; smaller boxes lie over larger ones.

    Args:
        below: what is written into the strip.
    """
    height, width = frame.shape[:2]
    canvas = Image.new("RGB", (width, height + STRIP), MAT)
    canvas.paste(Image.fromarray(frame), (0, 0))
    draw = ImageDraw.Draw(canvas)
    size = min(max(round(height / 45), 12), 24)
    order = sorted(range(len(boxes)), key=lambda index: -boxes[index][2] * boxes[index][3])
    for index in order:
        _outline(draw, boxes[index], answers[index].answer, max(2, round(height / 360)))
    taken: list[Box] = []
    for index in order:
        taken.append(_label(draw, boxes[index], answers[index], size, (width, height), taken))
    draw.rectangle((0, height, width, height + STRIP), fill=MAT)
    write(draw, (10, height + 20), below, 14, colour=LIGHT, width=width - 20)
    return np.asarray(canvas)


def _fitted(crop: Picture, size: tuple[int, int]) -> Image.Image:
    """The crop as large as it fits, with its aspect ratio; by a whole factor if it grows."""
    scale = min(size[0] / crop.shape[1], size[1] / crop.shape[0])
    scale = float(int(scale)) if scale >= 1 else scale
    to = max(1, round(crop.shape[1] * scale)), max(1, round(crop.shape[0] * scale))
    return Image.fromarray(crop).resize(to, Image.Resampling.NEAREST if scale >= 1 else Image.Resampling.LANCZOS)


def _outline(draw: ImageDraw.ImageDraw, box: Box, answer: str, width: int) -> None:
    """Draw the edges of a box on a dark ground; in dashes if the answer is no label."""
    left, top, right, bottom = box[0], box[1], box[0] + box[2] - 1, box[1] + box[3] - 1
    if right <= left or bottom <= top:
        return
    draw.rectangle((left - 1, top - 1, right + 1, bottom + 1), outline=MAT, width=width + 2)
    if answer in COLOURS:
        draw.rectangle((left, top, right, bottom), outline=COLOURS[answer], width=width)
        return
    for start in np.arange(left, right, 2 * DASH):
        for y in (top, bottom - width + 1):
            draw.rectangle((start, y, min(start + DASH, right), y + width - 1), fill=OTHER)
    for start in np.arange(top, bottom, 2 * DASH):
        for x in (left, right - width + 1):
            draw.rectangle((x, start, x + width - 1, min(start + DASH, bottom)), fill=OTHER)


def _label(
    draw: ImageDraw.ImageDraw, box: Box, answered: Answered, size: int,
    frame: tuple[int, int], taken: Sequence[Box],
) -> Box:  # fmt: skip
    """Write the answer at an edge of the box where no other label lies, and return the label's place."""
    text = f"{answered.name} {answered.answer}".strip()
    if answered.p_female == answered.p_female:
        text += f" {answered.p_female:.2f}"
    width, height = text_width(text, size, bold=True) + 8, size + 6
    left, top = box[0], box[1]
    x = min(max(left, 0), max(frame[0] - width, 0))
    places = [
        (x, min(max(y, 0), frame[1] - height))
        for y in (top - height, top + box[3], top, top + box[3] - height, top + height, top + 2 * height)
    ]
    free = [place for place in places if not any(_overlap((*place, width, height), other) for other in taken)]
    x, y = (free or places)[0]
    draw.rectangle((x, y, x + width - 1, y + height - 1), fill=COLOURS.get(answered.answer, OTHER))
    write(draw, (x + 4, y + height - 5 - size * 0.06), text, size, bold=True, colour=MAT)
    return x, y, width, height


def _overlap(one: Box, other: Box) -> bool:
    return all(one[axis] < other[axis] + other[axis + 2] and other[axis] < one[axis] + one[axis + 2] for axis in (0, 1))
