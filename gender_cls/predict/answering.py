"""The models' answers for requested images, kept as they come."""

import time
from collections.abc import Sequence
from typing import Any, Self

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from gender_cls.config.data import CLASSES
from gender_cls.config.predict import OnUnreadable, PredictConfig, Tta
from gender_cls.data.pixel_modes import MID_GREY
from gender_cls.data.requests.crops import CropBatch, CropFacts, crop_batches
from gender_cls.evaluation.combined import combine, combined_answers
from gender_cls.predict.flip import FlipModel
from gender_cls.predict.models import ExportedModel, Model, RunModel, known_splits
from gender_cls.predict.store import PredictionFolder
from gender_cls.predict.table import typed
from gender_cls.runs.run import Run, image_cache
from gender_cls.system.progress import working
from gender_cls.system.resources import choose_resources

SECONDS_BETWEEN_SAVES = 20


class Answerer:
    """Models that answer together; each of them sees every batch."""

    def __init__(self, models: Sequence[Model]) -> None:
        self.models, self.combined = models, combine([model.member for model in models])
        self.runs = [model.run for model in models if model.run is not None]
        self.batch_size = min(model.batch_size for model in models)
        self.forms = list(dict.fromkeys(model.form for model in models))
        self._splits = known_splits(self.runs)

    @classmethod
    def of(cls, config: PredictConfig, runs: Sequence[Run]) -> Self:
        """The exported model that the configuration names, or the networks of these runs.

        Raises:
            GenderClsError: a model cannot be read, or images of a run that `tta` needs are gone.
        """
        if config.exported:
            return cls([ExportedModel(config.exported[0], config.threads)])
        models: Sequence[Model] = [
            RunModel(run, accelerator=config.accelerator, precision=config.precision, threads=config.threads)
            for run in runs
        ]
        if config.tta is Tta.flip:
            cache = image_cache(config.output_dir)
            models = [FlipModel(model, run, cache, config.images_now) for model, run in zip(models, runs, strict=True)]
        return cls(models)

    def probabilities(self, batch: CropBatch) -> NDArray[np.float64]:
        """(models, B, 2), in the order of CLASSES; NaN in a batch of which no image can be read."""
        if all(fact.fault is not None for fact in batch.facts):
            return np.full((len(self.models), len(batch.inputs[0]), len(CLASSES)), np.nan)
        return np.stack([model.probabilities(batch.inputs[self.forms.index(model.form)]) for model in self.models])

    def table(self, rows: pd.DataFrame, facts: Sequence[CropFacts], probabilities: NDArray[np.float64]) -> pd.DataFrame:
        """The table of `predict` for some rows of a request.

        Args:
            probabilities: (models, rows, 2).
        """
        readable = np.array([fact.fault is None for fact in facts])
        answers = combined_answers(np.where(readable[:, None], probabilities, np.nan), self.combined)
        whole = rows["width"].isna().to_numpy()
        known_as = [
            self._splits.get(fact.pixels, "") if is_whole else "" for fact, is_whole in zip(facts, whole, strict=True)
        ]
        measured: dict[str, Any] = {
            "native_height": pd.array([fact.native_height or None for fact in facts], dtype="Int64"),
            "brightness": np.array([fact.brightness for fact in facts], np.float32).round(1),
            "sharpness": np.array([fact.sharpness for fact in facts], np.float32).round(3),
            "fault": [fact.fault or "" for fact in facts],
            "reason": [fact.reason for fact in facts],
            "known_as": known_as,
        }
        answers["answer"] = answers["answer"].where(readable, "")
        return typed(pd.concat([rows.reset_index(drop=True), answers], axis=1).assign(**measured))


def answer_rows(rows: pd.DataFrame, answerer: Answerer, folder: PredictionFolder, config: PredictConfig) -> None:
    """Answer the rows of a request that the folder does not hold yet, and keep them there, whatever ends it.

    The last batch is filled up with grey: in a smaller one the processor may add numbers in another order, and the
    last bits of an answer would depend on how many images come with it. A request of one batch passes as it is, because
    an image by itself should not cost a whole batch.

    Raises:
        UnreadableError: an image gives no crop and `on_corrupt` is stop.
    """
    done, size = folder.rows_done, min(answerer.batch_size, len(rows))
    resources = choose_resources(
        config.accelerator, "32-true", config.threads, config.num_workers, pixels_at_hand=False
    )
    batches = crop_batches(
        rows.iloc[done:],
        answerer.forms,
        batch_size=size,
        num_workers=resources.num_workers,
        max_megapixels=config.data.max_megapixels,
        first_frame=config.first_frame,
        stop_at_fault=config.on_corrupt is OnUnreadable.stop,
    )
    with working("Answering", len(rows), "images") as work:
        work.advance(done)
        waiting: list[tuple[int, list[CropFacts], NDArray[np.float64]]] = []  # first row, facts and answers of batches

        def keep() -> None:
            first, facts = waiting[0][0], [fact for _, of_batch, _ in waiting for fact in of_batch]
            probabilities = np.concatenate([answers for _, _, answers in waiting], axis=1)
            folder.keep(first, answerer.table(rows.iloc[first : first + len(facts)], facts, probabilities))
            waiting.clear()

        next_save = 0.0  # the first batch at once: a look into the folder shows what comes
        try:
            for number, batch in enumerate(batches):
                first = done + number * size
                probabilities = answerer.probabilities(_filled(batch, size))
                waiting.append((first, batch.facts, probabilities[:, : len(batch.facts)]))
                work.advance(len(batch.facts))
                if time.monotonic() >= next_save:
                    keep()
                    next_save = time.monotonic() + SECONDS_BETWEEN_SAVES
        finally:
            if waiting:
                keep()


def _filled(batch: CropBatch, size: int) -> CropBatch:
    """The batch with grey after its images, so that it has this size."""
    missing = size - len(batch.facts)
    if not missing:
        return batch
    grey = (torch.full_like(images[:1], MID_GREY).expand(missing, -1, -1, -1) for images in batch.inputs)
    inputs = [torch.cat([images, more]) for images, more in zip(batch.inputs, grey, strict=True)]
    return batch._replace(inputs=tuple(inputs))
