"""`tta=flip`: the mean of an image and its mirror image, with a rule that the run's own validation chooses for it."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy import float64
from numpy.typing import NDArray
from scipy.special import expit
from torch import Tensor

from gender_cls.config.data import DataConfig
from gender_cls.config.evaluation import OperatingPointRule
from gender_cls.config.parsing import recorded_config
from gender_cls.data.datamodule import CropDataset, crop_loader
from gender_cls.data.image_store import ImageStore
from gender_cls.data.run_images import scan_for_answers
from gender_cls.errors import count, first_few, plural, require
from gender_cls.evaluation.calibration import logit_of
from gender_cls.evaluation.combined import Member, choose_rule
from gender_cls.evaluation.predictions import answers_of
from gender_cls.predict.models import Model
from gender_cls.reports.answers import PROBABILITIES, answer_images
from gender_cls.runs.locks import locked
from gender_cls.runs.result_folder import ResultFolder
from gender_cls.runs.run import Run

FLIP = "flip"
"""In a run's folder: what it answers for its validation images and their mirror images."""


class FlipModel:
    """A run's network that looks at each image and its mirror image; the answer is the mean of both logits.

    Its answers for the run's validation are kept in the run's folder, and computed anew when another checkpoint or
    precision gave them.

    Args:
        model: of the run.
        cache: keeps what was read from the run's images.
        data_root: where they lie now, if they were moved since training.

    Raises:
        GenderClsError: the run's validation images are gone or have changed.
    """

    def __init__(self, model: Model, run: Run, cache: Path, data_root: Path | None) -> None:
        self._model = model
        self.form, self.batch_size = model.form, model.batch_size
        self.run: Run | None = run
        validation, metrics = self._validation(run, cache, data_root), run.metrics
        operating_point = OperatingPointRule(metrics["operating_point"]["rule"])
        target_error = metrics["abstention"]["target_error"]
        rule, remarks = choose_rule(validation, operating_point, target_error)
        self.member = Member(rule, validation, operating_point, target_error, tuple(remarks))

    def probabilities(self, images: Tensor) -> NDArray[float64]:
        """See Model."""
        both = [logit_of(self._model.probabilities(side)) for side in (images, images.flip(-1))]
        mean = (both[0] + both[1]) / 2
        return np.stack([expit(mean), expit(-mean)], axis=1)

    def origin(self) -> dict[str, str]:
        """See Model."""
        return {**self._model.origin(), "tta": FLIP}

    def _validation(self, run: Run, cache: Path, data_root: Path | None) -> pd.DataFrame:
        """The run's validation predictions, those of this model."""
        folder, origin = ResultFolder(run.folder / FLIP), self.origin()
        with locked(folder.folder):
            folder.remove_unfinished_files()
            if folder.status.get("origin") != origin:
                for file in (folder.predictions, folder.begun):
                    file.unlink(missing_ok=True)
                folder.note(origin=origin)
            if not folder.predictions.exists():
                own = answers_of(run)
                rows = own[own["split"] == "val"].drop(columns=[*PROBABILITIES, "prediction"]).reset_index(drop=True)
                data, root = recorded_config(run.config_file).data, data_root or run.data_root
                _require_there(rows, root)
                answer_images(folder, rows, scan_for_answers(rows, root, cache, data).images, _OfRows(self, data))
            return answers_of(folder)


@dataclass(frozen=True)
class _OfRows:
    """The model's answers for images of its run."""

    model: FlipModel
    data: DataConfig  # of the run

    @property
    def batch_size(self) -> int:
        return self.model.batch_size

    def probabilities(self, rows: pd.DataFrame, images: ImageStore) -> NDArray[float64]:
        """(rows, 2), in the order of CLASSES."""
        batches = crop_loader(CropDataset(rows, images, self.data), batch_size=self.batch_size)
        return np.concatenate([self.model.probabilities(pixels) for pixels, _ in batches])


def _require_there(rows: pd.DataFrame, root: Path) -> None:
    gone = [path for path in rows["path"] if not (root / path).is_file()]
    require(
        not gone,
        f"tta=flip chooses its temperature and threshold on the run's validation images, and {count(len(gone))} of "
        f"{plural(len(rows), 'image')} are not in {root}: {first_few(gone)}. Name the folder where they lie now with "
        "data_root, or leave out tta=flip.",
    )
