"""The network's answers for the images of a test. They are kept as they come: a killed test goes on where it was."""

import time
from typing import Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gender_cls.config.data import CLASSES
from gender_cls.data.csv_text import csv_text
from gender_cls.data.image_store import ImageStore
from gender_cls.evaluation.predictions import answers_hash, predictions_table, read_table
from gender_cls.runs.files import write_atomically
from gender_cls.runs.result_folder import ResultFolder
from gender_cls.system.progress import working

SECONDS_BETWEEN_SAVES = 20
FIRST_BATCHES = 4  # until the first save, which tells how many images are answered until the next one

PROBABILITIES = [f"p_{name}" for name in CLASSES]


class RowPredictor(Protocol):
    """A network that answers for rows of a manifest, such as Predictor."""

    @property
    def batch_size(self) -> int:
        """How many images pass at once."""
        ...

    def probabilities(self, rows: pd.DataFrame, images: ImageStore) -> NDArray[np.float64]:
        """(rows, 2), in the order of CLASSES."""
        ...


def answer_images(folder: ResultFolder, rows: pd.DataFrame, images: ImageStore, predictor: RowPredictor) -> None:
    """Write `predictions.csv` with a probability for each of these rows of a manifest.

    Until all are there, `predictions_begun.csv` keeps those that the network has given.
    """
    answers = _begun(folder, rows)
    size = FIRST_BATCHES * predictor.batch_size
    with working("Testing", len(rows), "images") as work:
        work.advance(len(answers))
        while (done := len(answers)) < len(rows):
            began = time.monotonic()
            chunk = rows.iloc[done : done + size].reset_index(drop=True)
            answers = np.concatenate([answers, predictor.probabilities(chunk, images)])
            work.advance(len(chunk))
            if len(answers) < len(rows):
                kept = rows[_about(rows)].head(len(answers)).assign(**dict(zip(PROBABILITIES, answers.T, strict=True)))
                write_atomically(folder.begun, csv_text(kept))
            batches = len(chunk) / predictor.batch_size * SECONDS_BETWEEN_SAVES / (time.monotonic() - began)
            size = max(1, int(batches)) * predictor.batch_size  # so that a batch holds the same images as without saves
    table = predictions_table(rows, answers)
    folder.note(answers_hash=answers_hash(table))
    write_atomically(folder.predictions, csv_text(table))
    folder.begun.unlink(missing_ok=True)


def _begun(folder: ResultFolder, rows: pd.DataFrame) -> NDArray[np.float64]:
    """(n, 2) what the network answered for the first n rows before it was interrupted."""
    nothing = np.empty((0, len(CLASSES)))
    if not folder.begun.exists():
        return nothing
    kept = read_table(
        folder.begun,
        required=[*_about(rows), *PROBABILITIES],
        is_number=PROBABILITIES.__contains__,
        written_by="Evaluation",
        again="evaluate the run again",
    )
    same = all(kept[name].tolist() == rows[name].head(len(kept)).tolist() for name in _about(rows))
    return kept[PROBABILITIES].to_numpy(np.float64) if same else nothing


def _about(rows: pd.DataFrame) -> list[str]:
    """The columns by which an image is known to be the same; earlier versions did not record `pixels`."""
    return [name for name in ("path", "pixels") if name in rows]
