from typing import Any

import numpy as np
import pytest
from helpers.prediction_tables import table_of

from gender_cls.evaluation.estimate import Estimate, undefined
from gender_cls.evaluation.standing import standing_of

BOTH, MEN, WOMEN = (table_of("FMFM", answers) for answers in ("FMMM", [0.1, 0.2, 0.3, 0.4], [0.6, 0.7, 0.8, 0.9]))
TIED = table_of("FMFM", [0.5 + 1e-8, 0.5 - 1e-8, 0.5, 0.5])  # both answers, from the last digits of float32
CAMERA: Any = {"title": "the camera alone", "balanced_accuracy": 0.742}


def score(value: float, low: float | None = None, high: float | None = None) -> Estimate:
    return Estimate(value=value, low=low, high=high, remark=None)


@pytest.mark.parametrize(
    ("answers", "found", "kind", "level", "part"),
    [
        (
            [BOTH],
            undefined("There is no FEMALE image."),
            "undefined",
            "stop",
            "no test score. There is no FEMALE image.",
        ),
        ([MEN], undefined("There is no FEMALE image."), "undefined", "stop", "no test score"),
        ([BOTH.iloc[:0]], undefined("There are no images."), "undefined", "stop", "There are no images."),
        ([MEN], score(0.5, 0.5, 0.5), "constant", "stop", "The model always answers MALE"),
        ([TIED], score(0.75, 0.6, 0.9), "constant", "stop", "The model gives every test image the same probability"),
        ([BOTH], score(0.5, 0.44, 0.57), "chance", "stop", "no better than guessing"),
        ([BOTH], score(0.6, 0.5, 0.7), "chance", "stop", "reaches 0.5"),
        ([BOTH], score(0.8), "chance", "stop", "no interval"),
        ([BOTH], score(0.2, 0.1, 0.3), "chance", "stop", "worse than guessing"),
        (
            [BOTH],
            score(0.742, 0.7, 0.78),
            "baseline",
            "stop",
            "does not beat the best trivial baseline (the camera alone,",
        ),
        ([BOTH], score(0.8, 0.742, 0.86), "baseline", "warn", "is not shown to beat .* (the camera alone, 0.742)"),
        ([BOTH], score(0.8, 0.75, 0.85), "useful", "fine", "beats the best trivial baseline (the camera alone, 0.742)"),
        ([BOTH, BOTH], score(0.8, 0.75, 0.85), "useful", "fine", "The model beats"),
        ([MEN, MEN], score(0.5, 0.5, 0.5), "constant", "stop", "The model always answers MALE"),
        (
            [BOTH, MEN, MEN],
            score(0.7, 0.6, 0.75),
            "constant",
            "stop",
            "With 2 of 3 seeds the model always answers MALE",
        ),
        ([BOTH, MEN], score(0.7, 0.6, 0.75), "constant", "stop", "With 1 of 2 seeds the model always answers MALE"),
        ([MEN, WOMEN], score(0.5, 0.5, 0.5), "constant", "stop", "one answer (FEMALE and MALE)"),
        (
            [BOTH, BOTH, MEN],
            score(0.8, 0.75, 0.85),
            "useful",
            "warn",
            "above it. But: With 1 of 3 seeds the model always",
        ),
        ([BOTH, BOTH, MEN], score(0.6, 0.4, 0.85), "chance", "stop", "reaches 0.5. But: With 1 of 3 seeds"),
    ],
)
def test_what_a_score_is_worth(answers: Any, found: Estimate, kind: str, level: str, part: str) -> None:
    standing = standing_of(answers, found, CAMERA)
    assert (standing["kind"], standing["level"]) == (kind, level)
    for words in part.split(" .* "):
        assert words in standing["sentence"]
    assert standing["sentence"].endswith(".")


def test_without_a_baseline_guessing_is_to_be_beaten() -> None:
    assert standing_of([BOTH], score(0.6, 0.55, 0.7), None)["kind"] == "useful"
    assert standing_of([BOTH], score(0.6, 0.45, 0.7), None)["kind"] == "chance"


def test_probabilities_that_differ_are_not_tied() -> None:
    close = table_of("FM", np.array([0.50001, 0.49999]))
    assert standing_of([close], score(1.0, 0.9, 1.0), CAMERA)["kind"] == "useful"
