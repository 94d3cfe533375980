"""How good the answers are, where labels of the requested images are known: `scores.json`."""

from typing import TypedDict

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gender_cls.config.data import CLASSES
from gender_cls.errors import count, of_people, plural
from gender_cls.evaluation.bootstrap import bootstrap_units
from gender_cls.evaluation.calibration import calibrated, reliability
from gender_cls.evaluation.combined import CombinedRule
from gender_cls.evaluation.decisions import DecisionRule, accepted, answer_scores
from gender_cls.evaluation.estimate import Estimate
from gender_cls.evaluation.metrics import FEMALE, MALE, is_female, score_rows
from gender_cls.evaluation.schema import Accepted, Scored
from gender_cls.evaluation.tracks import track_of
from gender_cls.evaluation.wording import listed, percent, stated, stated_percent

SEEN = ("train", "val")
"""Splits that shaped the answers; their images are not scored."""

SCORED = ("label", "identity", "p_FEMALE", "p_MALE", "calibrated_p_FEMALE")
"""The columns that scores follow from."""


class Measured(Scored):
    """Scores of labelled images or tracks, with intervals over people.

    `scores` are those of the raw probabilities and of the threshold 0.5 for images, and of the calibrated ones for
    tracks.
    """

    at_threshold: dict[str, Estimate]  # balanced accuracy and recalls at the run's threshold, where nobody abstains
    abstention: Accepted  # with the run's band
    brier: Estimate  # of calibrated probabilities, as are log loss and ECE
    log_loss: Estimate
    ece: Estimate


class NotScored(TypedDict):
    """Images that are not scored, each counted once."""

    unreadable: int
    train: int  # known from the run's own train split
    val: int
    unlabelled: int


class Scores(TypedDict):
    """The content of `scores.json`; `evaluation/schema.py` says what numbers and intervals are."""

    left_out: NotScored
    images: Measured
    # Of tracks, each with the label that most of its labelled images have; none that holds an image of train or val.
    # Null without tracks and known people.
    tracks: Measured | None


def score_requested(table: pd.DataFrame, tracks: pd.DataFrame, combined: CombinedRule, resamples: int) -> Scores | None:
    """Scores of the labelled images that the run has not seen, and of their tracks; None if no image has a label.

    Args:
        table: the rows of `predict`.
        tracks: of the same rows, see `track_table`.
    """
    labelled = table["label"].isin(CLASSES)
    if not labelled.any():
        return None
    readable, seen = table["fault"] == "", table["known_as"].isin(SEEN)
    left_out = NotScored(
        unreadable=int((~readable).sum()),
        train=int((readable & (table["known_as"] == "train")).sum()),
        val=int((readable & (table["known_as"] == "val")).sum()),
        unlabelled=int((readable & ~seen & ~labelled).sum()),
    )
    track = track_of(table)
    # Few columns, because a million paths take much memory. The group is for people of unknown name: images of a track.
    people = table[[*SCORED]].assign(group=np.where(track >= 0, track.astype(str), ""))
    scored = people[readable & ~seen & labelled].reset_index(drop=True)
    rule = combined.rule
    if len(combined.temperatures) > 1:  # the raw probability of several models does not lead to their calibrated one
        scored, rule = _with_probability(scored, scored["calibrated_p_FEMALE"]), _of_calibrated(rule)
    scored = scored.assign(prediction=np.where(scored["p_FEMALE"] >= scored["p_MALE"], FEMALE, MALE))
    of_tracks = _labelled_tracks(table, track, tracks)
    return Scores(
        left_out=left_out,
        images=_measured(scored, rule, resamples),
        tracks=_measured(of_tracks, _of_calibrated(rule), resamples) if len(tracks) else None,
    )


def _measured(table: pd.DataFrame, rule: DecisionRule, resamples: int) -> Measured:
    probabilities = reliability(
        is_female(table), calibrated(table, rule.temperature), bootstrap_units(table), resamples
    )
    return Measured(
        **score_rows(table, resamples),
        at_threshold=answer_scores(table, DecisionRule(rule.temperature, rule.threshold, None), resamples),
        abstention=accepted(table, rule, resamples),
        brier=probabilities["brier"],
        log_loss=probabilities["log_loss"],
        ece=probabilities["ece"],
    )


def _of_calibrated(rule: DecisionRule) -> DecisionRule:
    """The same rule for probabilities that are calibrated already."""
    return DecisionRule(1.0, rule.threshold, rule.band)


def _with_probability(table: pd.DataFrame, p_female: pd.Series) -> pd.DataFrame:
    return table.assign(p_FEMALE=p_female, p_MALE=1 - p_female)


def _labelled_tracks(table: pd.DataFrame, track: NDArray[np.intp], tracks: pd.DataFrame) -> pd.DataFrame:
    """The tracks that are scored, as predictions."""
    rows = table[["label"]].assign(track=track)[(track >= 0) & table["label"].isin(CLASSES).to_numpy()]
    share = rows["label"].eq(FEMALE).groupby(rows["track"]).mean().reindex(range(len(tracks)))
    chosen = share.notna().to_numpy() & (tracks["images"] > 0).to_numpy() & ~tracks["known_as"].isin(SEEN).to_numpy()
    found = tracks[chosen].assign(label=np.where(share[chosen] >= 0.5, FEMALE, MALE)).reset_index(drop=True)
    found["prediction"] = np.where(found["probability"] >= 0.5, FEMALE, MALE)
    return _with_probability(found, found["probability"])


def score_lines(scores: Scores) -> list[str]:
    """The scores in three sentences at most; none about what no labelled image is left for."""
    images, tracks, left_out = scores["images"], scores["tracks"], scores["left_out"]
    lines = []
    if images["images"]:
        lines.append(_line(of_people(images["images"], "labelled image", images["identities"]), images))
    if tracks is not None and tracks["images"]:
        lines.append(_line(plural(tracks["images"], "labelled track or person", "labelled tracks or people"), tracks))
    known = [f"{count(left_out['train'])} of its training images"] * bool(left_out["train"])
    known += [f"{count(left_out['val'])} of its validation images"] * bool(left_out["val"])
    if known:
        lines.append(f"Not scored, because the run was trained on them or chose by them: {listed(known)}.")
    return lines


def _line(what: str, found: Measured) -> str:
    balanced, error = found["at_threshold"]["balanced_accuracy"], found["abstention"]["error"]
    answered = found["abstention"]["coverage"]["value"]
    if balanced["value"] is None:
        first = f"{what}: balanced accuracy is not known. {balanced['remark']}"
    else:
        both = f"balanced accuracy {stated(balanced)} at the run's threshold, log loss {stated(found['log_loss'])}"
        first = f"{what}: {both}." + (f" {balanced['remark']}" if balanced["remark"] else "")
    if answered is None or error["value"] is None or answered == 1:
        return first
    return f"{first} {percent(answered)} are answered, and {stated_percent(error)} of the answers are wrong."
