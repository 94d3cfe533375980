"""The answers of exported files for the run's validation and test images."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from gender_cls.config.data import DataConfig
from gender_cls.data.datamodule import CropDataset
from gender_cls.data.image_store import ImageStore
from gender_cls.evaluation.conclusions import with_answers
from gender_cls.evaluation.predictions import predictions_table
from gender_cls.export.parity import BATCHES, Ask
from gender_cls.system.progress import working


def answers_by_file(
    files: Mapping[str, Ask], report: pd.DataFrame, images: ImageStore, data: DataConfig, metrics: dict[str, Any]
) -> dict[str, pd.DataFrame]:
    """By file: the run's table with the file's answers in place of its own, in the columns of `predictions.csv`.

    Args:
        files: by name; they take resized pixels.
        report: the run's answers, without what follows from the probabilities.
        data: of the run.
        metrics: of the run; its temperature, threshold and band make the answers.
    """
    crops = CropDataset(report, images, data)
    logits: dict[str, list[NDArray[np.float32]]] = {name: [] for name in files}
    with working("Asking the exported model about validation and test", len(report), "images") as work:
        for start in range(0, len(report), BATCHES[-1]):
            batch, _ = crops.__getitems__(range(start, min(start + BATCHES[-1], len(report))))
            pixels = batch.permute(0, 2, 3, 1).numpy()
            for name, ask in files.items():
                logits[name].append(ask(pixels).logits)
            work.advance(len(pixels))
    tables = {}
    for name, parts in logits.items():
        probabilities = torch.from_numpy(np.concatenate(parts)).double().softmax(dim=1).numpy()
        tables[name] = with_answers(predictions_table(report, probabilities), metrics)
    return tables
