"""One answer for the images of a track or person: the mean of their calibrated logits, surer with more images."""

import os
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import expit

from gender_cls.config.data import SPLITS
from gender_cls.data.requests.mot import scene_of
from gender_cls.evaluation.bootstrap import SAME, Booleans, Numbers
from gender_cls.evaluation.calibration import log_odds, logit, problem_of
from gender_cls.evaluation.combined import CombinedRule
from gender_cls.evaluation.decisions import DecisionRule
from gender_cls.evaluation.metrics import is_female

FEWEST_PEOPLE = 20  # with fewer, the estimate is often worse than 1, see tests/evaluation/test_tracks.py
SURE = np.finfo(np.float64).eps / 2  # probabilities nearer to 0 or 1 count as that near: next to 1 there is no other

TRACK_COLUMNS = (
    "path", "track", "identity", "images", "unreadable", "mean_logit", "probability", "answer", "share_disagreeing",
    "known_as",
)  # fmt: skip
"""Of `tracks.csv`. `path` is the video, the MOT folder or the folder that holds all images; `images` are those that
could be read; `mean_logit` and `probability` are calibrated; `share_disagreeing` is the share of images that are on the
other side of the threshold than the track; `known_as` is the split of the run that holds one of the images."""


class TrackRule(NamedTuple):
    """How much more certain several images of a person are than one.

    With the correlation r between images of one person, n of them say as much as n / (1 + (n - 1) r) independent ones
    (Kish 1965), and the logit of the track is the mean logit of its images times that number. So one image keeps its
    probability; with r = 1 a track has the mean logit, with r = 0 the sum.
    """

    correlation: float  # 0 to 1
    people: int  # of validation with two or more images
    remark: str | None  # why it is 1 instead of an estimate

    def logits(self, mean: Numbers, images: NDArray[np.intp]) -> Numbers:
        """(tracks,) calibrated logits from the mean of those of the images, and how many there are."""
        return mean * images / (1 + (images - 1) * self.correlation)


def fit_track_rule(combined: CombinedRule) -> TrackRule:
    """The intraclass correlation of logits of validation people, as analysis of variance estimates it (Fisher 1925).

    It is the share of the variance between people in the variance of logits with the same label. A maximum-likelihood
    fit of r to the labels needs several times as many people, because few tracks are doubtful.
    """
    validation = combined.validation
    if validation is None or "identity" not in validation or not (validation["identity"] != "").any():
        return TrackRule(1.0, 0, _not_fitted("nobody on validation is known by name"))
    known = validation[validation["identity"] != ""]
    person, images = np.unique(known["identity"].to_numpy(str), return_inverse=True, return_counts=True)[1:]
    several = images[person] > 1
    known, person, people = known[several], person[several], int((images > 1).sum())
    if people < FEWEST_PEOPLE:
        held = f"only {people} of the people on validation have two images or more"
        return TrackRule(1.0, people, _not_fitted(f"{held}, and {FEWEST_PEOPLE} are needed"))
    logits = logit(known) / combined.rule.temperature
    if problem := problem_of(logits):
        return TrackRule(1.0, people, _not_fitted(f"on validation {problem[0].lower()}{problem[1:-1]}"))
    correlation = intraclass_correlation(np.clip(logits, *_SURE_LOGITS), person, is_female(known))
    if correlation is None:
        return TrackRule(1.0, people, _not_fitted("all images of validation people with one label look alike to it"))
    return TrackRule(correlation, people, None)


def _not_fitted(why: str) -> str:
    return f"A track counts as one image with the mean logit, however many it has: {why}."


def intraclass_correlation(values: Numbers, person: NDArray[np.intp], female: Booleans) -> float | None:
    """The share of the variance between people, 0 to 1, in the variance of values with the same label.

    None if there is no variance, or only one person of each label.

    Args:
        person: (rows,) whose value it is, as a whole number.
        female: (rows,) the label; a person has the one that most of the images have.
    """
    person = np.unique(person, return_inverse=True)[1]
    images = np.bincount(person)
    mean = np.bincount(person, weights=values) / images
    label = 2 * np.bincount(person, weights=female) >= images
    between = freedom = size = 0.0
    for of_label in (label, ~label):
        if of_label.any():
            counts, means = images[of_label], mean[of_label]
            between += float(counts @ (means - counts @ means / counts.sum()) ** 2)
            size += float(counts.sum() - (counts**2).sum() / counts.sum())
            freedom += len(counts) - 1
    if not freedom:
        return None
    noise = float(((values - mean[person]) ** 2).sum()) / (len(values) - len(images))
    own = max(0.0, (between / freedom - noise) / (size / freedom))
    return own / (own + noise) if own + noise > SAME else None


def track_table(table: pd.DataFrame, rule: DecisionRule, track_rule: TrackRule) -> pd.DataFrame:
    """One row per track or, of images without a track, per identity, in order of appearance; see TRACK_COLUMNS.

    The order of images does not change a bit. A track without a readable image has no answer.

    Args:
        table: the rows of `predict`; texts are empty where nothing is known.
        rule: its threshold and band are used.
    """
    track, scenes = _tracks_and_scenes(table)
    table, scenes, track = table[track >= 0], scenes[track >= 0], track[track >= 0]
    count = int(track.max(initial=-1)) + 1
    readable = (table["fault"] == "").to_numpy()
    p_image = table["calibrated_p_FEMALE"].to_numpy(np.float64)[readable]
    of_readable = track[readable]
    order = np.lexsort((p_image, of_readable))  # sums then do not depend on the order of the images
    p_image, of_readable = p_image[order], of_readable[order]

    images = np.bincount(of_readable, minlength=count)
    with np.errstate(invalid="ignore"):
        mean = np.bincount(of_readable, weights=logit_of_probability(p_image), minlength=count) / images
    probability = expit(track_rule.logits(mean, images))
    single = images[of_readable] == 1
    probability[of_readable[single]] = p_image[single]
    other = (p_image >= rule.threshold) != (probability >= rule.threshold)[of_readable]
    other |= ~np.isfinite(p_image)
    with np.errstate(invalid="ignore"):
        disagreeing = np.bincount(of_readable, weights=other, minlength=count) / images
    first = np.unique(track, return_index=True)[1]
    return pd.DataFrame({
        "path": _places(table["path"], scenes, track),
        "track": table["track"].to_numpy(object)[first],
        "identity": _only_one(table["identity"], track),
        "images": images,
        "unreadable": np.bincount(track[~readable], minlength=count),
        "mean_logit": mean,
        "probability": probability,
        "answer": np.where(images > 0, rule.decide(probability), "").astype(object),
        "share_disagreeing": disagreeing,
        "known_as": _first_split(table["known_as"], track),
    })  # fmt: skip


def logit_of_probability(p_female: Numbers) -> Numbers:
    """(rows,) log odds of calibrated probabilities, at most as far from 0 as SURE allows; NaN where one is NaN."""
    clipped = np.clip(p_female, SURE, 1 - SURE)
    return log_odds(clipped, 1 - clipped)


_SURE_LOGITS = logit_of_probability(np.array([0.0, 1.0]))


def track_of(table: pd.DataFrame) -> NDArray[np.intp]:
    """(rows,) the track of each row, as a code from 0 in order of appearance; -1 without track and identity.

    Tracks have the same name only within a video, within the folder of the frames or, of crops, within a camera.
    """
    return _tracks_and_scenes(table)[0]


def _tracks_and_scenes(table: pd.DataFrame) -> tuple[NDArray[np.intp], NDArray[np.object_]]:
    """What `track_of` returns, and (rows,) what `scene_of` says of a row with a box; empty for the others."""
    is_box = table["left"].notna().to_numpy()
    scenes = np.full(len(table), "", dtype=object)
    paths = table["path"][is_box]
    scenes[is_box] = paths.map({path: scene_of(path) for path in paths.unique()})
    has_track = (table["track"] != "").to_numpy()
    key = pd.DataFrame({
        "has_track": has_track,
        "name": table["track"].where(has_track, table["identity"]).to_numpy(object),
        "scene": np.where(has_track, scenes, ""),
        "camera": table["camera"].where(has_track, "").to_numpy(object),
    })  # fmt: skip
    named = (key["name"] != "").to_numpy()
    track = np.full(len(table), -1, np.intp)
    track[named] = key[named].groupby([*key], sort=False).ngroup()
    return track, scenes


def _places(paths: pd.Series, scenes: NDArray[np.object_], track: NDArray[np.intp]) -> NDArray[np.object_]:
    """(tracks,) the scene, or else the folder that holds all images of the track."""
    folders = paths.map({path: os.path.dirname(path) for path in paths.unique()})
    where = pd.DataFrame({"track": track, "place": np.where(scenes != "", scenes, folders)}).drop_duplicates()
    places = where.groupby("track")["place"].first()
    for several, rows in where[where["track"].duplicated(keep=False)].groupby("track")["place"]:
        places.at[several] = os.path.commonpath(rows.tolist())
    return places.to_numpy(object)


def _only_one(names: pd.Series, track: NDArray[np.intp]) -> NDArray[np.object_]:
    """(tracks,) the name that all rows of the track have, or else an empty text."""
    by_track = names.groupby(track)
    return by_track.first().where(by_track.nunique() == 1, "").to_numpy(object)


def _first_split(known_as: pd.Series, track: NDArray[np.intp]) -> NDArray[np.object_]:
    """(tracks,) train if one of the images is known from there, else val, else test, else an empty text."""
    ranks = {split: rank for rank, split in enumerate(SPLITS)}
    best = known_as.map(ranks).fillna(len(SPLITS)).groupby(track).min().astype(int)
    return np.array([*SPLITS, ""], dtype=object)[best.to_numpy()]
