"""What a test score is worth, decided once: report, model card, leaderboard and terminal show the same sentence."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from gender_cls.evaluation.estimate import Estimate
from gender_cls.evaluation.metrics import p_female_of
from gender_cls.evaluation.schema import Standing
from gender_cls.evaluation.wording import listed

CHANCE = 0.5  # the balanced accuracy of guessing, and of the same answer for every image
TIED = 1e-6  # probabilities that differ by less are the same: float32 computes no finer differences


def standing_of(answers: Sequence[pd.DataFrame], score: Estimate, baseline: Mapping[str, Any] | None) -> Standing:
    """What the balanced accuracy of a model is worth; with several seeds, that of a candidate.

    The first of these that holds:

    - `undefined`: there is no score.
    - `constant`: every test image gets the same answer or the same probability, with at least half of the seeds.
    - `chance`: the interval of the score reaches 0.5, or there is no interval. AUROC has no say: a model that orders
      images well, but answers them no better than guessing, needs another threshold before it can be used.
    - `baseline`: the interval reaches the best trivial baseline.
    - `useful`: the whole interval is above both.

    Args:
        answers: the predictions on test, one table for each seed.
        score: the balanced accuracy at the threshold 0.5, the mean over the seeds.
        baseline: the best trivial baseline with its title and balanced_accuracy; None if there is none.
    """
    if score["value"] is None:
        return Standing(kind="undefined", level="stop", sentence=f"The model has no test score. {score['remark']}")
    constant = [one for one in answers if one["prediction"].nunique() == 1 or _is_tied(one)]
    if 2 * len(constant) >= len(answers):
        return Standing(kind="constant", level="stop", sentence=_of_constants(constant, len(answers)))
    standing = _against_chance(score) or _against_baseline(score, baseline)
    if constant:
        standing["level"] = "stop" if standing["level"] == "stop" else "warn"
        standing["sentence"] += f" But: {_of_constants(constant, len(answers))}"
    return standing


def _is_tied(answers: pd.DataFrame) -> bool:
    return bool(np.ptp(p_female_of(answers)) < TIED)


def _of_constants(tables: Sequence[pd.DataFrame], seeds: int) -> str:
    """What models that always give the same answer have in common."""
    model = "The model" if len(tables) == seeds else f"With {len(tables)} of {seeds} seeds the model"
    labels = sorted({label for table in tables for label in table["prediction"]})
    if all(map(_is_tied, tables)):
        same = "gives every test image the same probability"
    else:
        same = f"always answers {labels[0]}" if len(labels) == 1 else f"always gives one answer ({listed(labels)})"
    return f"{model} {same}, so the score says nothing about people."


def _against_chance(score: Estimate) -> Standing | None:
    """None if the score is above chance."""
    value, low, high = score["value"], score["low"], score["high"]
    assert value is not None
    if high is not None and high < CHANCE:
        sentence = "The model is worse than guessing: many labels of train or of test may be the wrong way round."
    elif value <= CHANCE:
        sentence = "The model is no better than guessing."
    elif low is None:
        sentence = "The model is not shown to be better than guessing: its balanced accuracy has no interval."
    elif low <= CHANCE:
        sentence = "The model is not shown to be better than guessing: the interval of balanced accuracy reaches 0.5."
    else:
        return None
    return Standing(kind="chance", level="stop", sentence=sentence)


def _against_baseline(score: Estimate, baseline: Mapping[str, Any] | None) -> Standing:
    """Of a score that is above chance."""
    value, low = score["value"], score["low"]
    assert value is not None
    assert low is not None
    if baseline is None:
        return Standing(kind="useful", level="fine", sentence="The model is better than guessing.")
    to_beat = baseline["balanced_accuracy"]
    rival = f"the best trivial baseline ({baseline['title']}, {to_beat:.3f})"
    if value <= to_beat:
        sentence = f"The model does not beat {rival}, which never looks at the person."
        return Standing(kind="baseline", level="stop", sentence=sentence)
    if low <= to_beat:
        sentence = f"The model is not shown to beat {rival}: the interval of balanced accuracy reaches that score."
        return Standing(kind="baseline", level="warn", sentence=sentence)
    sentence = f"The model beats {rival}: the whole interval of balanced accuracy is above it."
    return Standing(kind="useful", level="fine", sentence=sentence)
