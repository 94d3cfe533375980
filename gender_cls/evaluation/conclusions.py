"""One table of predictions -> everything in `metrics.json` that follows from it."""

from typing import Any

import pandas as pd

from gender_cls.config.evaluation import EvaluationConfig
from gender_cls.evaluation.calibration import calibrate, calibrated
from gender_cls.evaluation.decisions import DecisionRule, choose_abstention, choose_operating_point
from gender_cls.evaluation.metrics import score_split
from gender_cls.evaluation.shift import split_shift
from gender_cls.evaluation.slices import slice_scores
from gender_cls.evaluation.stress import shortcut_scores, stress_scores, variants


def draw_conclusions(predictions: pd.DataFrame, logits: pd.DataFrame, settings: EvaluationConfig) -> dict[str, Any]:
    """Scores, calibration, decisions, slices and shift; also shortcuts and stress if their logits are there.

    What is chosen (temperature, threshold, band) is chosen on validation; test is only measured.

    Args:
        predictions: of validation and test, see `read_predictions`.
        logits: of the test images, one column per variant; see `stress.py`.
    """
    validation, test = (predictions[predictions["split"] == split].reset_index(drop=True) for split in ("val", "test"))
    resamples = settings.resamples
    calibration = calibrate(validation, test, resamples)
    temperature = calibration["temperature"]
    point = choose_operating_point(validation, test, temperature, settings.operating_point, resamples)
    without_band = DecisionRule(temperature, point["threshold"], None)
    chosen = {
        "calibration": calibration,
        "operating_point": point,
        "abstention": choose_abstention(validation, test, without_band, settings.target_error, resamples),
    }
    band = DecisionRule.from_metrics(chosen).band
    measured = set(logits.columns)
    shortcuts = measured.issuperset(variants(stress=False, shortcuts=True))
    stress = measured.issuperset(variants(stress=True, shortcuts=False))
    return {
        "validation": score_split(validation, resamples),
        "test": score_split(test, resamples),
        **chosen,
        "slices": slice_scores(test, resamples),
        "shift": split_shift(validation, test),
        "shortcuts": shortcut_scores(test, logits, resamples) if shortcuts else None,
        "stress": stress_scores(test, logits, temperature, band, resamples) if stress else None,
    }


def with_answers(predictions: pd.DataFrame, conclusions: dict[str, Any]) -> pd.DataFrame:
    """The predictions with the calibrated probability and the answer, which may be to abstain."""
    rule = DecisionRule.from_metrics(conclusions)
    probabilities = calibrated(predictions, rule.temperature)
    return predictions.assign(calibrated_p_FEMALE=probabilities, answer=rule.answers(predictions))
