"""Probabilities of the labels from models that did not see them: light classifiers, finished runs, or both."""

from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import expit, logit
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from gender_cls.config.data import CLASSES
from gender_cls.data.split import group_partition
from gender_cls.errors import require
from gender_cls.evaluation.predictions import read_table
from gender_cls.quality.places import looks_of_places

MOST_TRAINING_ROWS = 30_000  # a light classifier learns from; the features of a million would not fit into memory
EPSILON = 1e-6  # smallest distance of a probability from 0 and 1, where the log-odds are infinite
INVERSE_REGULARISATION = 0.0005  # small: features are many and correlated, and wrong labels must not be learned


def out_of_fold_probabilities(
    features: NDArray[np.floating], table: pd.DataFrame, places: NDArray[np.intp], folds: int, seed: int
) -> NDArray[np.float64]:
    """Probabilities (n, 2), in the order of CLASSES, from light classifiers that learned from the other folds.

    All rows of a group are in the same fold. Both labels have the same weight, so no prior is learned; the look of each
    place is subtracted, so that it is not taken for the labels that are frequent there, or wrong there.

    Args:
        features: (n, d).
        table: n rows, with the columns label (one of CLASSES) and group.
        places: (n,) from `number_places`.

    Raises:
        GenderClsError: a label has fewer groups than there are folds.
    """
    parts = group_partition(table, "group", np.full(folds, 1 / folds), seed)
    labels = table["label"].to_numpy()
    probabilities = np.empty((len(table), len(CLASSES)))
    for part in range(folds):
        train, held_out = np.flatnonzero(parts != part), np.flatnonzero(parts == part)
        probabilities[held_out] = predicted_probabilities(features, labels, train, held_out, places, seed)
    return probabilities


def predicted_probabilities(
    features: NDArray[np.floating],
    labels: NDArray[np.object_],
    train: NDArray[np.intp],
    predict: NDArray[np.intp],
    places: NDArray[np.intp],
    seed: int,
) -> NDArray[np.float64]:
    """Probabilities (m, 2), in the order of CLASSES, from a logistic regression on standardised features.

    Args:
        features: (n, d).
        labels: (n,) of CLASSES; both have the same weight.
        train: rows to learn from; a random part if there are more than MOST_TRAINING_ROWS.
        predict: (m,) rows.
        places: (n,) number of the place of each row, from 0, whose look is subtracted.
    """
    if len(train) > MOST_TRAINING_ROWS:
        train = np.sort(np.random.default_rng(seed).choice(train, MOST_TRAINING_ROWS, replace=False))
    known = features[train].astype(np.float32)
    looks = looks_of_places(known, labels[train], places[train], int(places.max()) + 1)
    classifier = LogisticRegression(C=INVERSE_REGULARISATION, class_weight="balanced", max_iter=1000)
    model = make_pipeline(StandardScaler(), classifier).fit(known - looks[places[train]], labels[train])
    blocks = np.array_split(predict, max(1, len(predict) // 8192))
    return np.concatenate(
        [model.predict_proba(features[rows].astype(np.float32) - looks[places[rows]]) for rows in blocks]
    )


def probabilities_of_runs(folders: list[Path], table: pd.DataFrame) -> NDArray[np.float64]:
    """Probabilities (n, 2) that finished runs gave to images of their test splits, so neither learned nor chosen by.

    Args:
        folders: runs, or sweeps, of which all jobs are used.
        table: n rows, with the column path.

    Returns:
        In the order of CLASSES, the mean over the runs that tested an image; NaN if no run did.

    Raises:
        GenderClsError: a folder is neither a run nor a sweep, or has no predictions, or none for these images.
    """
    columns = [f"p_{label}" for label in CLASSES]
    tested = []
    for file in [file for folder in folders for file in _prediction_files(folder)]:
        predictions = read_table(
            file,
            required=("path", "split", *columns),
            is_number=columns.__contains__,
            written_by="Training",
            again="evaluate the run again",
        )
        test = predictions[predictions["split"] == "test"]
        example = f", such as {test['path'].iloc[0]}" if len(test) else ""
        require(
            bool(test["path"].isin(table["path"]).any()),
            f"{file} tests {len(test)} images, and none is in these data{example}: name runs whose data.root and "
            "data.csv gave these paths.",
        )
        tested.append(test[["path", *columns]])
    require(bool(tested), "There are no runs to take predictions from: name their folders in audit.runs.")
    means = pd.concat(tested).groupby("path")[columns].mean()
    return means.reindex(table["path"]).to_numpy(dtype=float)


def combined_probabilities(light: NDArray[np.float64], runs: NDArray[np.float64]) -> NDArray[np.float64]:
    """Probabilities from both: the mean of their log-odds, each divided by its own spread.

    A fine-tuned network and a light classifier make different mistakes, and the network is more certain of itself.

    Args:
        light: (n, 2) in the order of CLASSES.
        runs: (n, 2), NaN if no run tested an image; there `light` alone counts.
    """
    both = np.flatnonzero(np.isfinite(runs).all(axis=1))
    log_odds = np.stack([logit(np.clip(one[both, 1], EPSILON, 1 - EPSILON)) for one in (light, runs)])
    spread = log_odds.std(axis=1, keepdims=True)
    combined = light.copy()
    combined[both, 1] = expit((log_odds / spread).mean(axis=0) * spread.mean())
    combined[both, 0] = 1 - combined[both, 1]
    return combined


def _prediction_files(folder: Path) -> list[Path]:
    """Of a run, or of all jobs of a sweep."""
    jobs = sorted(path.parent for path in folder.glob("*/status.json"))
    require(
        bool(jobs) or any((folder / name).is_file() for name in ("status.json", "predictions.csv")),
        f"{folder} is neither a run nor a sweep: it holds no predictions.csv and no job that does.",
    )
    files = [job / "predictions.csv" for job in jobs or [folder]]
    unfinished = [file.parent.name for file in files if not file.is_file()]
    where = f"{len(unfinished)} of {len(files)} jobs of {folder} ({', '.join(unfinished)})" if jobs else str(folder)
    require(
        not unfinished, f"No predictions.csv in {where}: finish with trainer.resume=true, or name finished runs only."
    )
    return files
