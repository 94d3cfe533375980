"""Several models as one: the mean of their calibrated logits, and the answer that follows from it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

import numpy as np
import pandas as pd
from scipy.special import expit

from gender_cls.config.evaluation import OperatingPointRule
from gender_cls.errors import plural
from gender_cls.evaluation.bootstrap import Numbers
from gender_cls.evaluation.calibration import fit_temperature, log_odds, logit, logit_of
from gender_cls.evaluation.decisions import DecisionRule, best_threshold, narrowest_band
from gender_cls.evaluation.metrics import is_female

IMAGE = ["path", "label", "pixels"]
"""The columns by which the runs' validation images are known to be the same."""


class Member(NamedTuple):
    """What the combination needs to know about one model."""

    rule: DecisionRule
    validation: pd.DataFrame | None  # its predictions on validation; None if they are not known
    operating_point: OperatingPointRule | None = None  # how its threshold was chosen
    target_error: float | None = None  # of its band
    remarks: tuple[str, ...] = ()  # sentences on the rule
    test: pd.DataFrame | None = None  # its predictions on test, if they are known

    @classmethod
    def of_run(cls, metrics: Mapping[str, Any], predictions: pd.DataFrame) -> Self:
        """That of an evaluated run.

        Args:
            metrics: the content of its `metrics.json`.
            predictions: of validation and test, see `read_predictions`.
        """
        remarks = (metrics[part]["remark"] for part in ("calibration", "operating_point", "abstention"))
        validation, test = (predictions[predictions["split"] == one].reset_index(drop=True) for one in ("val", "test"))
        return cls(
            DecisionRule.from_metrics(metrics),
            validation,
            OperatingPointRule(metrics["operating_point"]["rule"]),
            metrics["abstention"]["target_error"],
            tuple(filter(None, remarks)),
            test,
        )


@dataclass(frozen=True)
class CombinedRule:
    """How models answer together."""

    temperatures: list[float]  # by which the logits of each model are divided before the mean; 1 for a single model
    rule: DecisionRule  # for the mean
    # Of the validation images: `p_FEMALE` and `p_MALE` of that mean, for `rule`. None if they are not known.
    validation: pd.DataFrame | None
    remarks: list[str]  # sentences
    test: pd.DataFrame | None = None  # the same of test; None too unless all models have the same test images
    # Whether `validation` has the answer of all models for each image; else, only of those that have it in validation.
    whole: bool = True


def combine(members: Sequence[Member]) -> CombinedRule:
    """The rule of one model, or of several together.

    Where all have the same validation images, temperature, threshold and band of the mean are chosen there, as each run
    chose its own. Elsewhere, such as after cross-validation, no image is new to all of them: then threshold and band
    are the mean of theirs, in logits.
    """
    if len(members) == 1:
        [one] = members
        return CombinedRule([1.0], one.rule, one.validation, [*one.remarks], one.test)
    temperatures = [member.rule.temperature for member in members]
    validation, shared = _mean_of([member.validation for member in members], temperatures)
    test, same_test = _mean_of([member.test for member in members], temperatures)
    test = test if same_test else None
    ways = {(member.operating_point, member.target_error) for member in members}
    operating_point, target_error = members[0].operating_point, members[0].target_error
    if validation is None or not shared or len(ways) > 1 or operating_point is None or target_error is None:
        why = "not all of them have the same validation images" if not shared else "they chose theirs in different ways"
        remark = f"Threshold and band are the mean of those of {plural(len(members), 'model')}, because {why}."
        rule = _mean_rule([member.rule for member in members])
        return CombinedRule(temperatures, rule, validation, [remark], test, shared)
    rule, remarks = choose_rule(validation, operating_point, target_error)
    return CombinedRule(temperatures, rule, validation, remarks, test)


def choose_rule(
    validation: pd.DataFrame, operating_point: OperatingPointRule, target_error: float
) -> tuple[DecisionRule, list[str]]:
    """Temperature, threshold and band for these predictions, chosen as those of a run; and the remarks of each."""
    temperature, no_temperature = fit_temperature(is_female(validation), logit(validation))
    threshold, no_threshold = best_threshold(validation, temperature, operating_point)
    band, no_band = narrowest_band(validation, DecisionRule(temperature, threshold, None), target_error)
    found = (no_temperature, no_threshold, no_band)
    return DecisionRule(temperature, threshold, band), [remark for remark in found if remark is not None]


def _mean_of(
    predictions: Sequence[pd.DataFrame | None], temperatures: Sequence[float]
) -> tuple[pd.DataFrame | None, bool]:
    """The images of all models, each with the mean over those that have it; whether all have all of them."""
    tables = [
        table.assign(logit=logit(table) / temperature)
        for table, temperature in zip(predictions, temperatures, strict=True)
        if table is not None and len(table)
    ]
    if not tables:
        return None, False
    every = pd.concat(tables, ignore_index=True)
    image = every.groupby([column for column in IMAGE if column in every], sort=False, dropna=False).ngroup()
    # NaN of one model is NaN of the mean: `np.bincount` keeps it where pandas would leave it out.
    models = np.bincount(image)
    mean = np.bincount(image, weights=every["logit"]) / models
    first = every[~image.duplicated()].drop(columns="logit").reset_index(drop=True)
    return first.assign(p_FEMALE=expit(mean), p_MALE=expit(-mean)), bool((models == len(predictions)).all())


def _mean_rule(rules: Sequence[DecisionRule]) -> DecisionRule:
    """The mean of thresholds and bands in logits; a model without a band counts with one of no width."""
    bands = [rule.band or (rule.threshold, rule.threshold) for rule in rules]
    chosen = np.array([(low, rule.threshold, high) for rule, (low, high) in zip(rules, bands, strict=True)])
    low, threshold, high = expit(log_odds(chosen, 1 - chosen).mean(axis=0)).tolist()
    return DecisionRule(1.0, threshold, (low, high) if any(rule.band for rule in rules) else None)


def combined_answers(probabilities: Numbers, combined: CombinedRule) -> pd.DataFrame:
    """One row per image, with the columns that `predict` adds.

    `p_FEMALE` and `p_MALE` follow from the mean of the raw logits, `calibrated_p_FEMALE` from that of the calibrated
    ones; of one model they are its own to the last bit. `distance` is `calibrated_p_FEMALE` minus the threshold.
    `spread` is the standard deviation over models of their calibrated probabilities, NaN for one model. An image for
    which a model gives no finite number has none here, and the answer is to abstain.

    Args:
        probabilities: (models, rows, 2) in the order of CLASSES.
    """
    rule = combined.rule
    logits = logit_of(probabilities)
    calibrated = logits / np.array(combined.temperatures)[:, None]
    p_female = expit(calibrated.mean(axis=0) / rule.temperature)
    if len(probabilities) == 1:
        raw, spread = probabilities[0], np.full(len(p_female), np.nan)
    else:
        mean = logits.mean(axis=0)
        raw, spread = np.stack([expit(mean), expit(-mean)], axis=1), expit(calibrated).std(axis=0, ddof=1)
    return pd.DataFrame({
        "p_FEMALE": raw[:, 0],
        "p_MALE": raw[:, 1],
        "calibrated_p_FEMALE": p_female,
        "distance": p_female - rule.threshold,
        "spread": spread,
        "answer": rule.decide(p_female).astype(object),
    })  # fmt: skip
