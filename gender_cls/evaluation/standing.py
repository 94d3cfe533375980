"""What a test score is worth, decided once: report, model card, leaderboard and terminal show the same sentence."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from gender_cls.evaluation.estimate import Estimate
from gender_cls.evaluation.metrics import p_female_of
from gender_cls.evaluation.schema import Standing
from gender_cls.evaluation.wording import listed

CHANCE = 0.5  # the balanced accuracy of guessing, and of the same answer for every image
DEGENERATE = ("undefined", "constant", "chance")
"""Kinds of models that have shown nothing: none of them is worth its cost, or can be called the best."""


def standing_of(answers: Sequence[pd.DataFrame], score: Estimate, baseline: Mapping[str, Any] | None) -> Standing:
    """What the balanced accuracy of a model is worth; with several seeds, of a candidate.

    The first of these that holds:

    - `undefined`: there is no score.
    - `constant`: with at least half of the seeds, every test image gets the same answer.
    - `chance`: the interval of the balanced accuracy reaches 0.5, or there is no interval. AUROC does not decide: a
      model that only ranks well needs another threshold before it can be used.
    - `baseline`: the interval reaches the best trivial baseline.
    - `useful`: the interval lies above both.

    Args:
        answers: the predictions on test, one table for each seed.
        score: the balanced accuracy at the threshold 0.5, the mean over the seeds.
        baseline: the best trivial baseline with its title and balanced_accuracy, or None.
    """
    value, low, high = score["value"], score["low"], score["high"]
    if value is None:
        return Standing(kind="undefined", level="stop", sentence=f"The model has no test score: {score['remark']}")
    constant = [one for one in answers if one["prediction"].nunique() == 1]
    if 2 * len(constant) >= len(answers):
        return Standing(kind="constant", level="stop", sentence=_constant(constant, len(answers)))
    standing = _against_guessing(value, low, high) or _against_baseline(value, low, baseline)
    if constant:
        also = f"With {len(constant)} of {len(answers)} seeds, it gives every test image the same answer."
        standing["sentence"] += f" {also}"
        standing["level"] = "stop" if standing["level"] == "stop" else "warn"
    return standing


def _constant(tables: Sequence[pd.DataFrame], seeds: int) -> str:
    labels = sorted({str(table["prediction"].iloc[0]) for table in tables})
    some = f"With {len(tables)} of {seeds} seeds, the model" if len(tables) < seeds else "The model"
    if all(len(set(p_female_of(table))) == 1 for table in tables):
        return f"{some} gives every test image the same probability, so its score says nothing about people."
    always = f"always answers {labels[0]}" if len(labels) == 1 else f"always gives one answer ({listed(labels)})"
    return f"{some} {always}, so its score says nothing about people."


def _against_guessing(value: float, low: float | None, high: float | None) -> Standing | None:
    if high is not None and high < CHANCE:
        return Standing(
            kind="chance",
            level="stop",
            sentence="The model is worse than guessing: check whether the labels of some images are swapped.",
        )
    if value <= CHANCE:
        return Standing(kind="chance", level="stop", sentence="The model is not better than guessing.")
    if low is None:
        return Standing(
            kind="chance",
            level="stop",
            sentence="Whether the model is better than guessing is not known: its score has no interval.",
        )
    if low <= CHANCE:
        return Standing(
            kind="chance",
            level="stop",
            sentence="The model is not shown to be better than guessing: the interval of its score reaches 0.5.",
        )
    return None


def _against_baseline(value: float, low: float | None, baseline: Mapping[str, Any] | None) -> Standing:
    if baseline is None:
        return Standing(kind="useful", level="fine", sentence="The model is better than guessing.")
    rival = f"the best trivial baseline ({baseline['title']}, {baseline['balanced_accuracy']:.3f})"
    if value <= baseline["balanced_accuracy"]:
        sentence = f"The model does not beat {rival}, which never looks at the person."
        return Standing(kind="baseline", level="stop", sentence=sentence)
    if low is None or low <= baseline["balanced_accuracy"]:
        sentence = f"The model is not shown to beat {rival}: the interval of its score reaches that value."
        return Standing(kind="baseline", level="warn", sentence=sentence)
    sentence = f"The model beats {rival}: the whole interval of its score is above that value."
    return Standing(kind="useful", level="fine", sentence=sentence)
