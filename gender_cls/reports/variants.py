"""The test images again, each changed in some way: the logits of the network, kept in `variants.csv`."""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd
from torch import Tensor

from gender_cls.data.corruptions import apply_corruption
from gender_cls.data.csv_text import csv_text
from gender_cls.data.image_files import UnreadableError
from gender_cls.data.image_store import ImageStore
from gender_cls.data.shortcuts import apply_shortcut
from gender_cls.data.variant_names import SHORTCUTS
from gender_cls.errors import GenderClsError
from gender_cls.evaluation.calibration import logit
from gender_cls.evaluation.predictions import read_table
from gender_cls.runs.files import write_atomically
from gender_cls.runs.result_folder import ResultFolder
from gender_cls.system.progress import working
from gender_cls.training.predictor import Predictor

LOGIT_DECIMALS = 4  # in variants.csv


def answer_variants(
    folder: ResultFolder, rows: pd.DataFrame, images: ImageStore, predictor: Predictor, wanted: Sequence[str]
) -> None:
    """Add the logits of the wanted variants to `variants.csv`; those that are there are not computed again.

    Args:
        rows: the predictions on test.
        wanted: names of variants, see `evaluation.stress.variants`.

    Raises:
        GenderClsError: the file is damaged or about other images, or an image cannot be read.
    """
    if not wanted:
        return
    logits = _read_logits(folder, rows)
    missing = [name for name in wanted if name not in logits]
    with working("Testing changed images", len(missing), "variants") as work:
        for name in missing:
            try:
                probabilities = predictor.probabilities(rows, images, Distortion(name))
            except UnreadableError as error:
                raise GenderClsError(f"{error} If the images were moved, name the folder with data_root.") from error
            logits[name] = logit(pd.DataFrame(probabilities, columns=["p_FEMALE", "p_MALE"])).round(LOGIT_DECIMALS)
            write_atomically(folder.variants, csv_text(logits))
            work.advance()


def kept_logits(folder: ResultFolder, rows: pd.DataFrame) -> pd.DataFrame:
    """Logits of the test images, one column per variant, from `variants.csv`; no column if they cannot be read."""
    with contextlib.suppress(GenderClsError):  # `answer_variants` has raised the same error
        return _read_logits(folder, rows)
    return rows[["path"]].copy()


def _read_logits(folder: ResultFolder, rows: pd.DataFrame) -> pd.DataFrame:
    """`path` and the logits in `variants.csv`; `path` alone if there is no such file."""
    if not folder.variants.exists():
        return rows[["path"]].copy()
    logits = read_table(
        folder.variants,
        required=("path",),
        is_number=lambda name: name != "path",
        written_by="Evaluation",
        again="evaluate the run again",
    ).round(LOGIT_DECIMALS)
    if logits["path"].tolist() != rows["path"].tolist():
        raise GenderClsError(f"{folder.variants} is not about the images in {folder.predictions.name}: remove it.")
    return logits


@dataclass(frozen=True)
class Distortion:
    """What a variant does to a native crop; an object, because it may be sent to worker processes."""

    variant: str

    def __call__(self, image: Tensor, path: str) -> Tensor:
        """The changed crop, (3, H, W) uint8 as before; the path seeds what is random."""
        if self.variant in SHORTCUTS:
            return apply_shortcut(image, self.variant)
        name, _, severity = self.variant.rpartition("_")
        return apply_corruption(image, name, int(severity), path)
