"""The confusion matrix as a picture."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike
from PIL import Image, ImageDraw

from gender_cls.drawing.canvas import GAP, GREY, INK, MARGIN, PAPER, Picture, colour_table, write


def confusion_matrix_figure(matrix: ArrayLike, classes: Sequence[str]) -> Picture:
    """Counts with their shares of the true class, which also set the shades of the cells.

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
    write(draw, (MARGIN, top - 14), "true", size=14, colour=GREY)
    write(draw, (left + extent / 2, top - 42), "predicted", size=14, colour=GREY, anchor="ms")
    shades = colour_table("Blues")[20:230]  # without both ends: cells differ from paper and ink
    for row, label in enumerate(classes):
        middle = top + row * pitch + cell // 2
        write(draw, (left + row * pitch + cell / 2, top - 14), label, size=16, bold=True, anchor="ms", width=cell)
        write(draw, (MARGIN, middle), label, size=16, bold=True, width=left - MARGIN - 8)
        write(draw, (MARGIN, middle + 20), f"n = {totals[row, 0]:,}", size=13, colour=GREY)
        for column, (count, share) in enumerate(zip(counts[row], shares[row], strict=True)):
            x = left + column * pitch
            shade = shades[round(share * (len(shades) - 1))]
            draw.rectangle((x, middle - cell // 2, x + cell - 1, middle + cell // 2 - 1), fill=tuple(shade.tolist()))
            ink = PAPER if share > 0.5 else INK
            write(draw, (x + cell / 2, middle + 4), f"{count:,}", size=30, bold=True, colour=ink, anchor="ms")
            percent = f"{share:.1%}" if totals[row, 0] else "no images"
            write(draw, (x + cell / 2, middle + 32), percent, size=14, colour=ink, anchor="ms")
    return np.asarray(canvas)
