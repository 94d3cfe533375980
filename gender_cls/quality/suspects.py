"""The part of an audit that needs a model: which labels contradict the pictures."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gender_cls.config.audit import AuditConfig
from gender_cls.config.data import CLASSES, UNKNOWN
from gender_cls.data.image_store import ImageStore
from gender_cls.errors import GenderClsError
from gender_cls.quality.label_probabilities import (
    combined_probabilities,
    out_of_fold_probabilities,
    probabilities_of_runs,
    rank_suspects,
    review,
)
from gender_cls.quality.systematic_errors import find_systematic_errors

log = logging.getLogger(__name__)

REVIEWED = "reviewed_label"
"""Column of the data with labels that somebody has checked; where it is known, the ranking is judged by it."""


@dataclass(frozen=True)
class Suspects:
    """What was found.

    Attributes:
        ranked: rows of `suspects.csv`, most suspect first; None when labels were not looked at.
        totals: for `audit.json`.
    """

    ranked: pd.DataFrame | None
    totals: dict[str, Any]


def find_suspects(table: pd.DataFrame, images: ImageStore, config: AuditConfig, cache: Path) -> Suspects:
    """Rank the labels of readable images. What a model cannot do is said, and costs nothing else of the audit.

    Args:
        table: the manifest's rows, with the column `group`.
        images: whence their pixels come.
        cache: folder for features.
    """
    if not config.audit.suspects:
        return _not_looked_for("audit.suspects=false.")
    try:
        return _look(table, images, config, cache)
    except GenderClsError as error:
        log.warning(f"Suspect labels were not looked for: {error}")
        return _not_looked_for(str(error))


def _not_looked_for(why: str) -> Suspects:
    return Suspects(None, {"problem": why, "images": 0, "identities": 0, "groups": [], "review": None})


def _look(table: pd.DataFrame, images: ImageStore, config: AuditConfig, cache: Path) -> Suspects:
    from gender_cls.quality.features import frozen_features  # torch, which the rest of the audit does without

    labelled = np.flatnonzero(table["label"] != UNKNOWN)
    pictures = images.at(table["path"].tolist())  # all of them: whoever corrects a label finds the features kept
    table = table.iloc[labelled].reset_index(drop=True)
    runs = [Path(run) for run in config.audit.runs]
    method, probabilities = "test predictions of the runs in audit.runs", None
    if runs:
        probabilities = probabilities_of_runs(runs, table)
    features: NDArray[np.floating] | None = None
    try:
        features = frozen_features(pictures, config.data, config.model, cache / "features")[labelled]
    except GenderClsError as error:
        if probabilities is None:
            raise
        log.warning(f"Suspect labels are judged by the runs alone: {error}")
    if features is not None:
        light = out_of_fold_probabilities(features, table, config.audit.folds, config.seed)
        judge = f"{config.model.title}, frozen, with logistic regression in {config.audit.folds} folds by group"
        method = judge if probabilities is None else f"{method} together with {judge}"
        probabilities = light if probabilities is None else combined_probabilities(light, probabilities)
    assert probabilities is not None, "one of the two has spoken"
    ranked = rank_suspects(table, probabilities)
    flagged = ranked[ranked["flagged"]]
    totals = {
        "problem": None,
        "method": method,
        "looked_at": len(ranked),
        "out_of_fold_balanced_accuracy": _balanced_accuracy(table["label"], probabilities),
        "images": len(flagged),
        "identities": int(flagged["identity"].replace("", np.nan).nunique()),
        "groups": [] if features is None else _systematic_errors(features, table, config.seed),
        "review": _review(ranked, table),
    }
    return Suspects(ranked, totals)


def _systematic_errors(features: NDArray[np.floating], table: pd.DataFrame, seed: int) -> list[dict[str, str]]:
    """Of cameras and of sources, unless the two say the same."""
    columns = ["camera", "source"]
    if (pd.factorize(table["camera"])[0] == pd.factorize(table["source"])[0]).all():
        columns = ["source"]
    return [
        {"kind": fault.kind, "sentence": fault.sentence}
        for column in columns
        for fault in find_systematic_errors(column, features, table, seed)
    ]


def _balanced_accuracy(labels: pd.Series, probabilities: NDArray[np.float64]) -> float | None:
    """Of the rows that have probabilities; None where these show one label only."""
    known = np.flatnonzero(np.isfinite(probabilities).all(axis=1))
    labels = labels.iloc[known]
    right = (labels == np.array(CLASSES)[probabilities[known].argmax(axis=1)]).groupby(labels).mean()
    return float(right.mean()) if len(right) == len(CLASSES) else None


def _review(ranked: pd.DataFrame, table: pd.DataFrame) -> dict[str, Any] | None:
    if REVIEWED not in table:
        return None
    found = review(ranked, table.set_index("path")[REVIEWED])
    images, identities = found["images"], found["identities"]
    return {
        "images": images["total"],
        "wrong": images["wrong"],
        "factor_at_5_percent": images["factor_at_5_percent"],
        "identity_factor_at_5_percent": identities["factor_at_5_percent"],
        "image_curve": _by_share(images),
        "identity_curve": _by_share(identities),
    }


def _by_share(found: dict[str, Any]) -> list[dict[str, float]]:
    """Points of a curve over the share that has been reviewed, instead of the number."""
    return [{**point, "reviewed": point["reviewed"] / found["total"]} for point in found["points"]]
