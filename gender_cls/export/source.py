"""A run that is exported: its network, its decision rule, its answers and its images."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gender_cls.config.export import ExportConfig
from gender_cls.config.parsing import recorded_config
from gender_cls.config.train import Config
from gender_cls.data.crops import balanced_sample, read_crops
from gender_cls.data.image_store import ImageStore
from gender_cls.data.run_images import decoded_when_needed, recorded_rows
from gender_cls.errors import require
from gender_cls.evaluation.decisions import DecisionRule
from gender_cls.evaluation.evaluated import require_evaluated
from gender_cls.evaluation.predictions import answers_of
from gender_cls.runs.run import Run, image_cache
from gender_cls.system.resources import choose_resources
from gender_cls.training.classifier import GenderClassifier
from gender_cls.training.predictor import Predictor


@dataclass(frozen=True)
class Source:
    """An evaluated run, in float32 on the CPU."""

    run: Run
    config: Config  # of its training
    rule: DecisionRule
    report: pd.DataFrame  # its answers for validation and test, see `read_predictions`
    images: ImageStore
    cache: Path  # keeps what was read from its images
    threads: int  # of the CPU

    @cached_property
    def classifier(self) -> GenderClassifier:
        """The network in eval mode.

        Raises:
            GenderClsError: the checkpoint is missing, damaged, or of another run.
        """
        return self.in_precision("32-true").classifier

    @property
    def precision(self) -> str:
        """That of the answers in the report."""
        return str(self.run.answers_from["precision"])

    def in_precision(self, precision: str) -> Predictor:
        """The network in another precision, read anew, on the CPU."""
        resources = choose_resources("cpu", precision, self.threads, 0, pixels_at_hand=True)
        return Predictor.of_run(self.run, resources, self.config)

    def training_crops(self, most: int) -> NDArray[np.uint8]:
        """(N, H, W, 3) of training images, resized and not augmented: both labels, different people first."""
        rows = recorded_rows(self.run)
        chosen = balanced_sample(rows[rows["split"] == "train"], most, self.config.data.split_seed)
        images = decoded_when_needed(chosen, self.images.root, self.cache, self.config.data)
        crops = read_crops(images.at(chosen["path"].tolist()), self.config.data)
        return np.ascontiguousarray(crops.images.permute(0, 2, 3, 1).numpy())


def read_source(run: Run, config: ExportConfig) -> Source:
    """Find all that an export needs; images are read when they are asked for.

    Raises:
        GenderClsError: the run was not evaluated by this version, or its images are gone.
    """
    require_evaluated(run)
    recorded, root = recorded_config(run.config_file), config.images_now or run.data_root
    require(
        root.is_dir(), f"{root}, where the images of {run.folder} lay, is gone: name the folder with data_root=FOLDER."
    )
    report, cache = answers_of(run), image_cache(config.output_dir)
    images = decoded_when_needed(report, root, cache, recorded.data)
    resources = choose_resources("cpu", "32-true", config.threads, 0, pixels_at_hand=True).apply()
    rule = DecisionRule.from_metrics(run.metrics)
    return Source(run, recorded, rule, report, images, cache, resources.threads)
