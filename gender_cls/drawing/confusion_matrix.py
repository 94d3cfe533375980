"""The confusion matrix as a picture."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike
from PIL import Image, ImageDraw

from gender_cls.drawing.canvas import GAP, LIGHT, MARGIN, MAT, SOFT, Picture, colour_table, write

CELL = (190, 150)  # (width, height) in pixels; text is large, because TensorBoard shows the picture at half its size


def confusion_matrix_figure(matrix: ArrayLike, classes: Sequence[str]) -> Picture:
    """Counts with their shares of the true class, which also set the shades of the cells.

    Args:
        matrix: (classes, classes), counts; row = true, column = predicted.
    """
    counts = np.asarray(matrix)
    totals = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, totals, out=np.zeros(counts.shape), where=totals > 0)
    left, top = MARGIN + 150, MARGIN + 56
    extent = np.array(CELL) * len(classes) + GAP * (len(classes) - 1)
    canvas = Image.new("RGB", (left + int(extent[0]) + MARGIN, top + int(extent[1]) + MARGIN), MAT)
    draw = ImageDraw.Draw(canvas)
    write(draw, (MARGIN, top - 10), "true", size=24, colour=SOFT)
    write(draw, (left + extent[0] / 2, top - 38), "predicted", size=24, colour=SOFT, anchor="ms")
    shades = colour_table("Blues_r")[30:200]  # without both ends: cells differ from the mat, and text can be read
    for row, label in enumerate(classes):
        upper = top + row * (CELL[1] + GAP)
        middle = upper + CELL[1] // 2
        across = left + row * (CELL[0] + GAP) + CELL[0] / 2
        write(draw, (across, top - 10), label, size=26, bold=True, anchor="ms", width=CELL[0])
        write(draw, (MARGIN, middle), label, size=26, bold=True, width=left - MARGIN - 8)
        write(draw, (MARGIN, middle + 30), f"n = {totals[row, 0]:,}", size=22, colour=SOFT, width=left - MARGIN - 8)
        for column, (count, share) in enumerate(zip(counts[row], shares[row], strict=True)):
            x = left + column * (CELL[0] + GAP)
            shade = shades[round(share * (len(shades) - 1))]
            draw.rectangle((x, upper, x + CELL[0] - 1, upper + CELL[1] - 1), fill=tuple(shade.tolist()))
            ink = MAT if share > 0.6 else LIGHT
            write(draw, (x + CELL[0] / 2, middle + 6), f"{count:,}", size=44, bold=True, colour=ink, anchor="ms")
            percent = f"{share:.1%}" if totals[row, 0] else "no images"
            write(draw, (x + CELL[0] / 2, middle + 46), percent, size=26, colour=ink, anchor="ms")
    return np.asarray(canvas)
