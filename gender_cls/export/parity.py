"""Parity or no file: an exported file has to answer as the run's network does, in float32 on the CPU."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from scipy.special import softmax
from torch import Tensor

from gender_cls.config.data import CLASSES
from gender_cls.errors import GenderClsError, count, first_few, one_line, plural, require, visible
from gender_cls.evaluation.calibration import calibrated
from gender_cls.evaluation.decisions import DecisionRule
from gender_cls.evaluation.export_schema import (
    EQUAL_PIXELS,
    LOGIT_TOLERANCE,
    PIXEL_TOLERANCE,
    PROBABILITY_TOLERANCE,
    Check,
    ResizeCheck,
)
from gender_cls.models.exported import ANSWERS
from gender_cls.models.onnx_model import Outputs

BATCHES = (1, 7, 32)  # images at once
FULL_BATCHES = 8  # of the smaller sizes, so many batches are asked for; of the largest, as many as there are images

NOTHING = "Nothing was written. Another version of torch, onnx or onnxruntime may export it rightly."

Ask = Callable[[NDArray[np.uint8]], Outputs]
"""Pixels as the file takes them -> what it says of them."""


def eager_logits(classifier: Callable[[Tensor], Tensor], images: Tensor) -> NDArray[np.float32]:
    """(N, 3, H, W) uint8 -> (N, 2): what the run's network says, in batches of the largest size."""
    with torch.inference_mode():
        return torch.cat([classifier(part) for part in images.split(BATCHES[-1])]).numpy()


def check_batches(
    file: str,
    ask: Ask,
    pixels: NDArray[np.uint8],
    expected: NDArray[np.float32],
    rule: DecisionRule,
    names: Sequence[str],
) -> Iterator[Check]:
    """Compare a file that takes batches, with each of BATCHES.

    Args:
        file: its name.
        pixels: (N, H, W, 3) of validation images.
        expected: (N, 2) logits of the run's network.
        names: of the images.

    Raises:
        GenderClsError: it answers differently from the run's network, or not at all.
    """
    for size in BATCHES:
        least = len(pixels) if size == BATCHES[-1] else min(len(pixels), size * FULL_BATCHES)
        # A batch that is not full comes last: with few images, some come several times.
        rows = [row % len(pixels) for row in range(max(least, size))]
        parts = [_outputs(file, ask, pixels[rows[start : start + size]]) for start in range(0, len(rows), size)]
        yield _checked(file, size, _joined(parts), expected[rows], rule, [names[row] for row in rows])


def check_crops(
    file: str,
    ask: Ask,
    crops: Sequence[NDArray[np.uint8]],
    expected: NDArray[np.float32],
    rule: DecisionRule,
    names: Sequence[str],
) -> Check:
    """Compare a native file with the run's network, crop by crop (H, W, 3); the rest as for `check_batches`.

    Args:
        expected: (N, 2) logits of the run's network for the pixels of the file's resize.
    """
    return _checked(file, None, _joined([_outputs(file, ask, crop) for crop in crops]), expected, rule, names)


def check_resize(
    resized: Sequence[NDArray[np.uint8]],
    expected: Sequence[NDArray[np.uint8]],
    sizes: Sequence[tuple[int, int]],
    names: Sequence[str],
) -> ResizeCheck:
    """Compare the bytes that the resize of the graph gives with those of the run's own.

    Raises:
        GenderClsError: too many differ, or one by too much.
    """
    differences = [np.abs(one.astype(int) - other) for one, other in zip(resized, expected, strict=True)]
    equal = np.array([float((difference == 0).mean()) for difference in differences])
    largest = np.array([int(difference.max()) for difference in differences])
    found = ResizeCheck(
        sizes=[list(size) for size in sizes], equal=float(equal.mean()), largest_difference=int(largest.max())
    )
    if not (found["equal"] >= EQUAL_PIXELS and found["largest_difference"] <= PIXEL_TOLERANCE):
        worst = int(np.lexsort((equal, -largest))[0])
        height, width = sizes[worst]
        raise GenderClsError(
            f"The resize of the exported model is not the run's: of {visible(names[worst])} ({height} x {width} "
            f"pixels), {100 * equal[worst]:.3g} % of the bytes are equal and one differs by {largest[worst]}. {NOTHING}"
        )
    return found


def _outputs(file: str, ask: Ask, pixels: NDArray[np.uint8]) -> Outputs:
    shape, images = " x ".join(map(str, pixels.shape)), len(pixels) if pixels.ndim == 4 else 1
    try:
        found = ask(pixels)
    except Exception as error:  # each library has errors of its own
        raise GenderClsError(
            f"{file} cannot answer pixels of the shape {shape} ({one_line(error)}). {NOTHING}"
        ) from None
    lengths = {len(output) for output in found}
    require(lengths == {images}, f"{file} gives {first_few(lengths)} answers to pixels of the shape {shape}. {NOTHING}")
    return found


def _joined(parts: Sequence[Outputs]) -> Outputs:
    return Outputs(*(np.concatenate(of_all) for of_all in zip(*parts, strict=True)))


def _checked(
    file: str,
    batch: int | None,
    found: Outputs,
    expected: NDArray[np.float32],
    rule: DecisionRule,
    names: Sequence[str],
) -> Check:
    logits = expected.astype(np.float64)
    table = pd.DataFrame(softmax(logits, axis=1), columns=[f"p_{name}" for name in CLASSES])
    probability = calibrated(table, rule.temperature)
    borders = np.array([rule.threshold, *(rule.band or ())])
    near = (np.abs(probability[:, None] - borders) < PROBABILITY_TOLERANCE).any(axis=1)
    changed = (np.array(ANSWERS)[found.answer] != rule.answers(table)) & ~near

    by_logit, by_probability = np.abs(found.logits - logits), np.abs(found.probability - probability)
    # As shares of what is allowed; what is no number is worse than any.
    excess = np.nan_to_num(by_logit / (LOGIT_TOLERANCE * np.maximum(1, np.abs(logits))), nan=np.inf).max(axis=1)
    beyond = np.maximum(excess, np.nan_to_num(by_probability / PROBABILITY_TOLERANCE, nan=np.inf))
    worst = int(np.argmax(np.where(changed, np.inf, beyond)))
    if changed.any() or beyond.max() > 1:
        how = "at its native size" if batch is None else f"in batches of {batch}"
        here, there = (
            f"{one:.6g} and {other:.6g}, {p:.6g} and {answer}"
            for (one, other), p, answer in (
                (found.logits[worst], found.probability[worst], ANSWERS[found.answer[worst]]),
                (logits[worst], probability[worst], rule.answers(table)[worst]),
            )
        )
        raise GenderClsError(
            f"{file} answers differently from the run's network in float32: {how}, the logits, the probability and the "
            f"answer of {visible(names[worst])} are {here} instead of {there}, and "
            f"{plural(int((changed | (beyond > 1)).sum()), 'image')} of {count(len(names))} differ by more than is "
            f"allowed. {NOTHING}"
        )
    return Check(
        file=file,
        batch=batch,
        images=len(names),
        largest_logit_difference=float(by_logit.max()),
        largest_probability_difference=float(by_probability.max()),
        changed_answers=int(changed.sum()),
        near_border=int(near.sum()),
        worst=names[int(by_logit.max(axis=1).argmax())],
    )
