"""Labels that a model which never saw them contradicts, the most suspect first."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import expit, logit
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from gender_cls.config.data import CLASSES
from gender_cls.data.split import group_partition
from gender_cls.errors import GenderClsError, require

CORRELATION = 0.5
"""Assumed between the log-odds of one person's images: many that agree say at most twice as much as one."""

MOST_LEARNT = 30_000
"""Rows that one light classifier learns from: as floats of 4 bytes a million would not fit into memory."""

EPSILON = 1e-6
"""Probabilities are kept so far from 0 and 1, where log-odds have no end."""

STRENGTH = 0.0005
"""Inverse of the regularisation. Small, for features are many and alike, and the wrong labels must not be learnt."""


def out_of_fold_probabilities(
    features: NDArray[np.floating], table: pd.DataFrame, folds: int, seed: int
) -> NDArray[np.float64]:
    """What a light classifier, taught with the other folds, says of each image.

    Rows of one group are in the same fold. Both labels weigh the same, so no prior is learnt.

    Args:
        features: (n, d).
        table: (n rows) with the columns label (one of CLASSES) and group.

    Returns:
        (n, 2) in the order of CLASSES.

    Raises:
        GenderClsError: a label has fewer groups than there are folds.
    """
    parts = group_partition(table, table["group"], np.full(folds, 1 / folds), seed)
    labels = table["label"].to_numpy()
    probabilities = np.empty((len(table), len(CLASSES)))
    for part in range(folds):
        asked = np.flatnonzero(parts == part)
        probabilities[asked] = learnt_probabilities(features, labels, np.flatnonzero(parts != part), asked, seed)
    return probabilities


def learnt_probabilities(
    features: NDArray[np.floating],
    labels: NDArray[np.object_],
    learnt: NDArray[np.intp],
    asked: NDArray[np.intp],
    seed: int,
) -> NDArray[np.float64]:
    """Learn from some rows, by logistic regression on standardised features, and say what that makes of others.

    Args:
        features: (n, d).
        labels: (n,) of CLASSES; both weigh the same.
        learnt: rows; of more than MOST_LEARNT a random part.
        asked: (m,) rows.

    Returns:
        (m, 2) in the order of CLASSES.
    """
    if len(learnt) > MOST_LEARNT:
        learnt = np.sort(np.random.default_rng(seed).choice(learnt, MOST_LEARNT, replace=False))
    classifier = LogisticRegression(C=STRENGTH, class_weight="balanced", max_iter=1000)
    model = make_pipeline(StandardScaler(), classifier).fit(features[learnt].astype(np.float32), labels[learnt])
    blocks = np.array_split(asked, max(1, len(asked) // 8192))
    return np.concatenate([model.predict_proba(features[block].astype(np.float32)) for block in blocks])


def probabilities_of_runs(folders: list[Path], table: pd.DataFrame) -> NDArray[np.float64]:
    """What finished runs said of the images of their test splits, which they neither learnt nor chose by.

    Args:
        folders: runs, or sweeps, whose jobs all count.
        table: (n rows) with the column `path`.

    Returns:
        (n, 2) in the order of CLASSES, the mean over the runs that tested an image; NaN where none did.

    Raises:
        GenderClsError: a folder is neither, a run has no predictions, or none for these images.
    """
    columns = [f"p_{label}" for label in CLASSES]
    tested = []
    for file in [file for folder in folders for file in _prediction_files(folder)]:
        predictions = pd.read_csv(file, dtype={"path": str})
        lacking = [column for column in ("path", "split", *columns) if column not in predictions]
        require(not lacking, f"{file} has no column {' and '.join(lacking)}: name a folder that training wrote.")
        test = predictions[predictions["split"] == "test"]
        require(
            bool(test["path"].isin(table["path"]).any()),
            f"{file} tests {len(test)} images, and none is in these data"
            + (f", such as {test['path'].iloc[0]}" if len(test) else "")
            + ": name runs whose data.root and data.csv gave these paths.",
        )
        tested.append(test[["path", *columns]])
    require(bool(tested), "There are no runs to take predictions from: name their folders in audit.runs.")
    means = pd.concat(tested).groupby("path")[columns].mean()
    return means.reindex(table["path"]).to_numpy(dtype=float)


def combined_probabilities(light: NDArray[np.float64], runs: NDArray[np.float64]) -> NDArray[np.float64]:
    """What two judges that never saw the labels say together: the mean of their log-odds, each by its own spread.

    A fine-tuned network and a light classifier err differently, and the network is the more certain of itself.

    Args:
        light: (n, 2) in the order of CLASSES.
        runs: likewise, NaN where no run tested an image; there the light classifier speaks alone.
    """
    both = np.flatnonzero(np.isfinite(runs).all(axis=1))
    log_odds = np.stack([logit(np.clip(judge[both, 1], EPSILON, 1 - EPSILON)) for judge in (light, runs)])
    spread = log_odds.std(axis=1, keepdims=True)
    combined = light.copy()
    combined[both, 1] = expit((log_odds / spread).mean(axis=0) * spread.mean())
    combined[both, 0] = 1 - combined[both, 1]
    return combined


def _prediction_files(folder: Path) -> list[Path]:
    """Of a run, or of all the jobs of a sweep."""
    jobs = sorted(path.parent for path in folder.glob("*/status.json"))
    if not jobs and not (folder / "status.json").is_file() and not (folder / "predictions.csv").is_file():
        raise GenderClsError(
            f"{folder} is neither a run nor a sweep: it holds no predictions.csv and no job that does."
        )
    files = [job / "predictions.csv" for job in jobs or [folder]]
    unfinished = [file.parent.name for file in files if not file.is_file()]
    if unfinished:
        what = f"{len(unfinished)} of {len(files)} jobs of {folder}" if jobs else str(folder)
        names = f" ({', '.join(unfinished)})" if jobs else ""
        raise GenderClsError(
            f"No predictions.csv in {what}{names}: finish with trainer.resume=true, or name finished runs only."
        )
    return files


def rank_suspects(table: pd.DataFrame, probabilities: NDArray[np.float64]) -> pd.DataFrame:
    """The rows of `suspects.csv`: every image with a probability, the most suspect label first.

    Whole people come first: images of one person with the same label are right or wrong together, and several that
    speak against their label say more than one. Within a person, the images go by their own score.

    Args:
        table: (n rows) with the columns path, label (one of CLASSES) and identity.
        probabilities: (n, 2) in the order of CLASSES, of models that did not see the label; rows with NaN are left out.

    Returns:
        A row an image, with the columns

        - path, label, identity: as in the table.
        - suggested_label: the one that the person's images speak for.
        - score: probability of the label, 0 (certainly wrong) to 1. With two classes this is the normalised margin of
          confident learning (Northcutt, Jiang, Chuang, "Confident learning", JAIR 2021).
        - identity_score: the same for all images of the person with this label together, or the image where no
          identity is known: the mean of their log-odds, times n / (1 + (n - 1) CORRELATION)
          for n images that are not independent; as a probability.
        - flagged: whether the confident joint of that paper counts the image as mislabelled (the probability of the
          other label reaches the mean that images so labelled have), and the person's other images agree.
        - corrected_label: empty, for the user to fill in FEMALE, MALE or unknown and hand to `data.corrections`.
    """
    known = np.flatnonzero(np.isfinite(probabilities).all(axis=1))
    table, probabilities = table.iloc[known].reset_index(drop=True), probabilities[known]
    given = table["label"].map(CLASSES.index).to_numpy(dtype=int)
    rows = np.arange(len(table))
    score, other_score = probabilities[rows, given], probabilities[rows, 1 - given]
    means = pd.Series(score).groupby(given).mean()
    thresholds = means.reindex(range(len(CLASSES)), fill_value=np.inf).to_numpy()  # no label is like one nobody has
    log_odds = logit(np.clip(score, EPSILON, 1 - EPSILON))
    people = pd.Series(log_odds).groupby([_identity_or_path(table), table["label"]])
    images = people.transform("size")
    identity_score = expit(people.transform("mean") * images / (1 + (images - 1) * CORRELATION))
    suspects = pd.DataFrame(
        {
            "path": table["path"],
            "label": table["label"],
            "suggested_label": np.array(CLASSES)[np.where(identity_score < 0.5, 1 - given, given)],
            "score": score,
            "identity": table["identity"],
            "identity_score": identity_score,
            "flagged": (other_score >= thresholds[1 - given]) & (other_score > score) & (identity_score < 0.5),
            "corrected_label": "",
        }
    )
    return suspects.sort_values(["identity_score", "identity", "label", "score", "path"], ignore_index=True)


def _identity_or_path(table: pd.DataFrame) -> pd.Series:
    return table["identity"].where(table["identity"] != "", "image:" + table["path"])


def review(suspects: pd.DataFrame, reviewed: pd.Series) -> dict[str, Any]:
    """How soon somebody who goes down the list finds the wrong labels.

    Args:
        suspects: from `rank_suspects`.
        reviewed: true label by path; paths that it lacks and values other than CLASSES do not count.

    Returns:
        For `images` and for `identities` (the image where none is known; wrong if any of its labels is): `total`,
        `wrong`, `factor_at_5_percent` (wrong labels in the first 5 % over those in a random 5 %; None without wrong
        ones) and `points`, up to about 100 of {`reviewed`: the first k, `precision`, `recall`}.
    """
    truth = suspects["path"].map(reviewed)
    known = truth.isin(CLASSES)
    shown = suspects[known]
    wrong = (truth != suspects["label"])[known]
    identities = wrong.groupby(_identity_or_path(shown), sort=False).any()  # in the order of the list
    return {"images": _curve(wrong.to_numpy()), "identities": _curve(identities.to_numpy())}


def _curve(wrong: NDArray[np.bool_]) -> dict[str, Any]:
    """Of a list of right and wrong in the order of review."""
    found = np.cumsum(wrong)
    total = int(wrong.sum())
    if not total:
        return {"total": len(wrong), "wrong": 0, "factor_at_5_percent": None, "points": []}
    steps = np.unique(np.geomspace(1, len(wrong), 100).round().astype(int))
    twentieth = max(1, round(len(wrong) / 20))
    return {
        "total": len(wrong),
        "wrong": total,
        "factor_at_5_percent": float(found[twentieth - 1] / twentieth / (total / len(wrong))),
        "points": [
            {"reviewed": int(k), "precision": float(found[k - 1] / k), "recall": float(found[k - 1] / total)}
            for k in steps
        ],
    }
