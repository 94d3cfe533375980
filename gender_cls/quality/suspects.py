"""Suspect labels: images whose label contradicts models that did not see it, the most suspect first."""

import logging
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import logit

from gender_cls.config.audit import AuditConfig
from gender_cls.config.data import CLASSES, UNKNOWN
from gender_cls.data.image_store import ImageStore
from gender_cls.errors import GenderClsError
from gender_cls.evaluation.bootstrap import bootstrap, bootstrap_units, ratio
from gender_cls.quality.label_errors import intraclass_correlation, person_evidence, right_probabilities
from gender_cls.quality.label_probabilities import (
    EPSILON,
    combined_probabilities,
    out_of_fold_probabilities,
    probabilities_of_runs,
)
from gender_cls.quality.places import number_places
from gender_cls.quality.systematic_errors import find_systematic_errors

log = logging.getLogger(__name__)

REVIEWED = "reviewed_label"  # column with labels that somebody has checked; the ranking is scored where it is known


class Suspects(NamedTuple):
    """The result of the search."""

    ranked: pd.DataFrame | None  # rows of `suspects.csv`; None if no label was examined
    totals: dict[str, Any]  # for `audit.json`


def find_suspects(table: pd.DataFrame, images: ImageStore, config: AuditConfig, cache: Path) -> Suspects:
    """Rank the labels of readable images. If that fails, the result says why; the rest of the audit goes on.

    Args:
        table: rows of the manifest, with the column group.
        cache: folder for features.
    """
    problem = "audit.suspects=false."
    if config.audit.suspects:
        try:
            return _search(table, images, config, cache)
        except GenderClsError as error:
            log.warning(f"Suspect labels were not looked for: {error}")
            problem = str(error)
    return Suspects(None, {"problem": problem, "images": 0, "identities": 0, "groups": [], "review": None})


def _search(table: pd.DataFrame, images: ImageStore, config: AuditConfig, cache: Path) -> Suspects:
    from gender_cls.quality.features import backbone_features  # imports torch; the rest of the audit does not need it

    labelled = np.flatnonzero(table["label"] != UNKNOWN)
    paths = table["path"].tolist()  # also those without a label, so that the features serve after a correction too
    table = table.iloc[labelled].reset_index(drop=True)
    places = number_places(table)
    method, probabilities = "", None
    if config.audit.runs:
        method = "test predictions of the runs in audit.runs"
        probabilities = probabilities_of_runs([Path(run) for run in config.audit.runs], table)
    features: NDArray[np.floating] | None = None
    try:
        features = backbone_features(images, paths, config.data, config.model, cache / "features")[labelled]
    except GenderClsError as error:
        if probabilities is None:
            raise
        log.warning(f"Suspect labels are judged by the runs alone: {error}")
    else:
        light = out_of_fold_probabilities(features, table, places, config.audit.folds, config.seed)
        of_light = f"{config.model.title}, frozen, with logistic regression in {config.audit.folds} folds by group"
        method = of_light if probabilities is None else f"{method} together with {of_light}"
        probabilities = light if probabilities is None else combined_probabilities(light, probabilities)
    if not config.audit.runs:
        require_knowledge(table, probabilities, method)
    ranked = rank_suspects(table, probabilities, places)
    flagged = ranked[ranked["flagged"]]
    totals = {
        "problem": None,
        "method": method,
        "looked_at": len(ranked),
        "out_of_fold_balanced_accuracy": _balanced_accuracy(table["label"], probabilities),
        "images": len(flagged),
        "identities": int(flagged["identity"][flagged["identity"] != ""].nunique()),
        "groups": [] if features is None else _systematic_errors(features, table, config.seed),
        "review": _review_totals(ranked, table),
    }
    return Suspects(ranked, totals)


def _systematic_errors(features: NDArray[np.floating], table: pd.DataFrame, seed: int) -> list[dict[str, str]]:
    """Errors of cameras and of sources; of sources only if each camera is one source."""
    same = (pd.factorize(table["camera"])[0] == pd.factorize(table["source"])[0]).all()
    return [
        {"kind": error.kind, "sentence": error.sentence}
        for column in (["source"] if same else ["camera", "source"])
        for error in find_systematic_errors(column, features, table, seed)
    ]


def require_knowledge(table: pd.DataFrame, probabilities: NDArray[np.float64], method: str) -> None:
    """Raise GenderClsError if the model is no better than chance, because its suspects would be random images."""
    known = np.isfinite(probabilities).all(axis=1)
    judged = table.iloc[np.flatnonzero(known)]
    labels = judged["label"].to_numpy(str)
    right = labels == np.array(CLASSES)[probabilities[known].argmax(axis=1)]
    if len(set(labels)) < len(CLASSES):
        return  # without a score, nothing can be said about the model

    def balanced_accuracy(weights: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
        recalls = [ratio(weights @ (right & (labels == name)), weights @ (labels == name)) for name in CLASSES]
        return {"score": np.mean(recalls, axis=0)}

    draws = bootstrap(bootstrap_units(judged), balanced_accuracy, resamples=1000)["score"]
    if np.nanquantile(draws, 0.025) <= 0.5:
        score = np.mean([right[labels == name].mean() for name in CLASSES])
        raise GenderClsError(
            "No label is called suspect, because the model that judges them is no better than chance: its "
            f"balanced accuracy is {score:.2f} ({method}). Give it trained weights with model.weights=PATH, or name "
            "trained runs with audit.runs=[FOLDER]."
        )


def _balanced_accuracy(labels: pd.Series, probabilities: NDArray[np.float64]) -> float | None:
    """Of the rows that have probabilities; None if they have one label only."""
    known = np.flatnonzero(np.isfinite(probabilities).all(axis=1))
    labels = labels.iloc[known]
    right = (labels == np.array(CLASSES)[probabilities[known].argmax(axis=1)]).groupby(labels).mean()
    return float(right.mean()) if len(right) == len(CLASSES) else None


def rank_suspects(table: pd.DataFrame, probabilities: NDArray[np.float64], places: NDArray[np.intp]) -> pd.DataFrame:
    """The rows of `suspects.csv`: every image with a probability, the most suspect label first.

    People are ranked as a whole: images of one person with the same label are right or wrong together, and several that
    contradict their label say more than one. The images of a person are ordered by their own score.

    Args:
        table: n rows, with the columns path, label (one of CLASSES) and identity.
        probabilities: (n, 2) in the order of CLASSES, from models that did not see the label; rows with NaN are left
            out.
        places: (n,) from `number_places`.

    Returns:
        One row per image, with the columns

        - path, label, identity: as in the table.
        - suggested_label: what the person's images together look like.
        - score: probability of the label, 0 (certainly wrong) to 1. With two classes this is the normalised margin of
          confident learning (Northcutt, Jiang, Chuang, "Confident learning", JAIR 2021).
        - identity_score: probability that the label is right, from all images of the person with this label (from the
          image alone if no identity is known), the share of wrong labels in the place and the share of the label there;
          see `label_errors.py`. The people are ranked by it.
        - flagged: whether the confident joint of that paper counts the image as mislabelled (the probability of the
          other label reaches the mean of images with that label), and the person's other images agree.
        - corrected_label: empty; the user writes FEMALE, MALE or unknown and gives the file to `data.corrections`.
    """
    known = np.flatnonzero(np.isfinite(probabilities).all(axis=1))
    table, probabilities, places = table.iloc[known].reset_index(drop=True), probabilities[known], places[known]
    given = table["label"].map(CLASSES.index).to_numpy(dtype=int)
    rows = np.arange(len(table))
    score, other_score = probabilities[rows, given], probabilities[rows, 1 - given]
    means = pd.Series(score).groupby(given).mean()
    thresholds = means.reindex(range(len(CLASSES)), fill_value=np.inf).to_numpy()  # nothing reaches an absent label
    people = np.asarray(table.groupby([_identity_or_path(table), given]).ngroup(), dtype=np.intp)
    log_odds = logit(np.clip(probabilities[:, 1], EPSILON, 1 - EPSILON))
    correlation = intraclass_correlation(log_odds, people, len(CLASSES) * places + given)
    evidence = person_evidence(log_odds, people, correlation)
    second = np.bincount(people, given) > 0
    identity_score = right_probabilities(evidence, second, people, places)[people]
    contradicted = ((evidence > 0) != second)[people]
    suspects = pd.DataFrame(
        {
            "path": table["path"],
            "label": table["label"],
            "suggested_label": np.array(CLASSES)[np.where(contradicted, 1 - given, given)],
            "score": score,
            "identity": table["identity"],
            "identity_score": identity_score,
            "flagged": (other_score >= thresholds[1 - given]) & (other_score > score) & contradicted,
            "corrected_label": "",
        }
    )
    return suspects.sort_values(["identity_score", "identity", "label", "score", "path"], ignore_index=True)


def _identity_or_path(table: pd.DataFrame) -> pd.Series:
    return table["identity"].where(table["identity"] != "", "image:" + table["path"])


class Review(NamedTuple):
    """How fast somebody who goes down a list finds the wrong labels in it."""

    total: int
    wrong: int
    factor_at_5_percent: float | None  # wrong ones in the first 5 % divided by those in a random 5 %; None if none
    points: list[dict[str, float]]  # at most about 100 of `reviewed` (the share of the list), `precision`, `recall`


def review(suspects: pd.DataFrame, reviewed: pd.Series) -> tuple[Review, Review]:
    """The review of the images, and that of the identities (the image if none is known; wrong if any label is).

    Args:
        suspects: from `rank_suspects`.
        reviewed: true label by path; missing paths and values other than CLASSES do not count.
    """
    truth = suspects["path"].map(reviewed)
    known = truth.isin(CLASSES)
    wrong = (truth != suspects["label"])[known]
    identities = wrong.groupby(_identity_or_path(suspects[known]), sort=False).any()  # in the order of the list
    return _review(wrong.to_numpy()), _review(identities.to_numpy())


def _review(wrong: NDArray[np.bool_]) -> Review:
    """Of a list in the order of review."""
    found, total = np.cumsum(wrong).tolist(), len(wrong)
    if not wrong.any():
        return Review(total, 0, None, [])
    steps = np.unique(np.geomspace(1, total, 100).round().astype(int)).tolist()
    twentieth = max(1, round(total / 20))
    factor = found[twentieth - 1] / twentieth / (found[-1] / total)
    points = [{"reviewed": k / total, "precision": found[k - 1] / k, "recall": found[k - 1] / found[-1]} for k in steps]
    return Review(total, found[-1], factor, points)


def _review_totals(ranked: pd.DataFrame, table: pd.DataFrame) -> dict[str, Any] | None:
    if REVIEWED not in table:
        return None
    images, identities = review(ranked, table.set_index("path")[REVIEWED])
    return {
        "images": images.total,
        "wrong": images.wrong,
        "factor_at_5_percent": images.factor_at_5_percent,
        "identity_factor_at_5_percent": identities.factor_at_5_percent,
        "image_curve": images.points,
        "identity_curve": identities.points,
    }
