"""What is asked: the images that the configuration names, and by what a request is known again."""

import hashlib
import logging
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd

from gender_cls import __version__
from gender_cls.config.parsing import recorded_config
from gender_cls.config.predict import PredictConfig
from gender_cls.data.cache.database import stamp
from gender_cls.data.folders import left_out_sentence
from gender_cls.data.requests.requested import Requested, read_requested, requested_dataset
from gender_cls.predict.answering import Answerer
from gender_cls.predict.table import ROWS_AT_ONCE
from gender_cls.system.progress import working

log = logging.getLogger(__name__)


def requested_images(config: PredictConfig, answerer: Answerer) -> Requested:
    """The images that the configuration names; labels and names are found as in the data of the first run.

    Raises:
        GenderClsError: see `read_requested`.
    """
    with working("Looking for images"):
        requested = _requested(config, answerer)
    if sentence := left_out_sentence(requested.left_out):
        log.warning(sentence)
    return requested


def _requested(config: PredictConfig, answerer: Answerer) -> Requested:
    if not config.image_names:
        return requested_dataset(config.data)
    data, root = config.data, None
    if answerer.runs:
        run = answerer.runs[0]
        data, root = recorded_config(run.config_file).data, config.images_now or run.data_root
    return read_requested(
        config.image_names, data, root, boxes=config.boxes, stride=config.stride, first_frame=config.first_frame
    )


def request_of(config: PredictConfig, rows: pd.DataFrame, answerer: Answerer) -> dict[str, Any]:
    """All that the table follows from, as plain values by what they are."""
    combined = answerer.combined
    return {
        "images": {
            "rows": len(rows),
            "hash": _rows_hash(rows),
            "first_frame": config.first_frame,
            "max_megapixels": config.data.max_megapixels,
        },
        "networks": [model.origin() for model in answerer.models],
        "rules": {**asdict(combined.rule), "temperatures": combined.temperatures},
        "batch_size": answerer.batch_size,
        "version": __version__,
    }


def _rows_hash(rows: pd.DataFrame) -> str:
    """A hash of the rows of a request, and of the stamps of their files: a changed file is another request."""
    digest = hashlib.blake2b(digest_size=16)
    stamps: dict[str, tuple[int, ...]] = {}
    for start in range(0, len(rows), ROWS_AT_ONCE):
        part = rows.iloc[start : start + ROWS_AT_ONCE]
        for name in part:
            digest.update("\0".join(map(str, part[name].to_numpy(object))).encode("utf-8", "surrogateescape"))
        for path in part["path"]:
            if path not in stamps:
                stamps[path] = stamp(path)
        digest.update(np.array([stamps[path] for path in part["path"]], np.int64).tobytes())
    return digest.hexdigest()
