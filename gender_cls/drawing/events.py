"""What TensorBoard shows besides curves: test scores and figures, the confusion matrix, PNG files as they are."""

from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from PIL import Image, ImageDraw
from tensorboard.compat.proto.summary_pb2 import Summary
from torch.utils.tensorboard import SummaryWriter

from gender_cls.drawing.canvas import GAP, GREY, INK, MARGIN, PAPER, Picture, colour_table, write
from gender_cls.evaluation.estimate import Estimate
from gender_cls.evaluation.schema import Explanations, Metrics
from gender_cls.runs.run import HPARAMS_SCORES

SUFFIX = ".evaluation"


def add_png(writer: SummaryWriter, tag: str, png: bytes, step: int) -> None:
    """Write a PNG file as it is; `add_image` would compress it again, which takes much longer."""
    width, height = Image.open(BytesIO(png)).size
    image = Summary.Image(height=height, width=width, colorspace=3, encoded_image_string=png)
    writer._get_file_writer().add_summary(Summary(value=[Summary.Value(tag=tag, image=image)]), step)


def write_events(folder: Path, metrics: Metrics, test: pd.DataFrame, figures: Mapping[str, bytes], step: int) -> None:
    """Write one event file; it replaces the file of an earlier evaluation.

    Args:
        folder: of the run.
        test: the predictions on test.
        figures: name -> PNG.
        step: of the checkpoint that was tested.
    """
    for earlier in folder.glob(f"events.out.tfevents.*{SUFFIX}"):
        earlier.unlink()
    female = (test["label"] == "FEMALE").to_numpy()
    with SummaryWriter(folder, filename_suffix=SUFFIX) as writer:
        for tag, estimate in _tagged(metrics).items():
            if estimate["value"] is not None:
                writer.add_scalar(tag, estimate["value"], step)
        if np.isfinite(test["p_FEMALE"]).all() and female.any():
            writer.add_pr_curve("test/precision_recall_FEMALE", female, test["p_FEMALE"].to_numpy(), step)
        for name, png in figures.items():
            add_png(writer, f"test/{name}", png, step)


def _tagged(metrics: Metrics) -> dict[str, Estimate]:
    """Tag -> score."""
    test, by_identity = metrics["test"]["scores"], metrics["test"]["by_identity"]
    headline = (metrics["validation"]["scores"]["balanced_accuracy"], test["balanced_accuracy"], test["auroc"])
    tagged = dict(zip(HPARAMS_SCORES, headline, strict=True))
    tagged |= {f"test/{name}": estimate for name, estimate in test.items()}
    if by_identity is not None:
        tagged |= {f"test_by_identity/{name}": estimate for name, estimate in by_identity["scores"].items()}
    return tagged if metrics["explanations"] is None else tagged | _tagged_maps(metrics["explanations"])


def _tagged_maps(explanations: Explanations) -> dict[str, Estimate]:
    """Areas by game and baseline, shares by place, hits of a known cue, and what is left with all weights random."""
    tagged: dict[str, Estimate] = {}
    for method in explanations["methods"]:
        tag = f"test_explanations/{method['name']}"
        for game in method["games"]:
            tagged[f"{tag}/deletion_{game['baseline']}"] = game["deletion"]
            tagged[f"{tag}/insertion_{game['baseline']}"] = game["insertion"]
            tagged[f"{tag}/random_{game['baseline']}"] = game["random"]
        tagged |= {f"{tag}/{place['name']}": place["share"] for place in method["places"]}
        for label, cue in (method["cue"] or {}).items():
            tagged |= {f"{tag}/cue_hit_{label}": cue["hit"], f"{tag}/cue_mass_{label}": cue["mass"]}
        if method["randomisation"] is not None:
            tagged[f"{tag}/randomisation"] = method["randomisation"]["stages"][-1]["similarity"]
    return tagged


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
