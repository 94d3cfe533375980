"""A test on other data against the run's own: the drop, and whether ranking, threshold, calibration or the share of
labels explains it."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import pandas as pd

from gender_cls.config.data import Balance
from gender_cls.config.evaluation import Adapt, OperatingPointRule
from gender_cls.evaluation.bootstrap import Numbers, bootstrap_units, count_units, estimates, ratio
from gender_cls.evaluation.calibration import problem_of
from gender_cls.evaluation.decisions import DecisionRule, best_threshold
from gender_cls.evaluation.differences import difference_of_others
from gender_cls.evaluation.elsewhere_schema import (
    COMPARED_SCORES,
    LOWER_IS_BETTER,
    Adapted,
    CalibrationElsewhere,
    Elsewhere,
    HomeAndHere,
    LeftOut,
    Ranking,
    ShareOfLabels,
    Threshold,
)
from gender_cls.evaluation.elsewhere_sentences import adapted_sentence, elsewhere_sentences
from gender_cls.evaluation.estimate import Estimate, undefined
from gender_cls.evaluation.measured_here import MeasuredHere, measure_here, suggested_share
from gender_cls.evaluation.metrics import decision_scores, is_female, macro_f1, p_female_of
from gender_cls.evaluation.prior import prior_of_training
from gender_cls.evaluation.schema import Metrics

TITLES = {
    Adapt.batchnorm: "BatchNorm re-estimated on the images here",
    Adapt.prior: "re-weighed by the share of labels that the answers suggest",
}


def conclude_elsewhere(
    home: Metrics,
    home_predictions: pd.DataFrame,
    predictions: pd.DataFrame,
    conclusions: Mapping[str, Any],
    *,
    name: str,
    part: Literal["all", "test"],
    left_out: LeftOut,
    train: pd.DataFrame,
    balance: Balance,
    adapt: Sequence[Adapt] = (),
    batchnorm: pd.DataFrame | None = None,
    batchnorm_remark: str | None = None,
    resamples: int,
) -> Elsewhere:
    """The block `elsewhere` of `metrics.json`.

    Args:
        home: the run's own `metrics.json`.
        home_predictions: the run's own `predictions.csv`; its rows of test are home.
        predictions: of the images here, all of them test.
        conclusions: of `draw_conclusions` for the run's own validation and the images here.
        train: the rows of the run's manifest that it was trained on, with `label` and `source`.
        balance: `data.balance` of the training.
        batchnorm: p_FEMALE and p_MALE of each of `predictions` after BatchNorm was re-estimated. Without them
            `batchnorm_remark` says why there are none.
    """
    rule, prior = DecisionRule.from_metrics(conclusions), prior_of_training(train, balance)
    measured = measure_here(predictions, rule, prior, batchnorm, resamples)
    own = home_predictions[home_predictions["split"] == "test"].reset_index(drop=True)
    scores = _scores(home, own, conclusions, measured, resamples)
    at_home, at_threshold = (one["operating_point"]["test"] for one in (home, conclusions))
    best, below_best = measured.best()
    threshold, no_threshold = best_threshold(predictions, rule.temperature, OperatingPointRule.balanced_accuracy)
    elsewhere = Elsewhere(
        name=name,
        part=part,
        left_out=left_out,
        scores=scores,
        ranking=Ranking(auroc=scores["auroc"]),
        threshold=Threshold(
            threshold=rule.threshold,
            balanced_accuracy=_home_and_here(at_home["balanced_accuracy"], at_threshold["balanced_accuracy"]),
            best_threshold=None if no_threshold else threshold,
            best=best,
            below_best=below_best,
        ),
        calibration=CalibrationElsewhere(
            ece=scores["ece"], log_loss=scores["log_loss"], mean_probability=measured.of("mean_probability")
        ),
        share_of_labels=ShareOfLabels(
            trained_on=float(is_female(train).mean()),
            prior=prior,
            home=_share_of_female(own, resamples),
            here=_share_of_female(predictions, resamples),
            from_answers=measured.of("prior share"),
            home_from_answers=suggested_share(own, rule, prior, resamples),
        ),
        adapted=[],
        sentences=[],
    )
    for method in adapt:
        missing = method is Adapt.batchnorm and batchnorm is None
        remark = batchnorm_remark or "There are no answers after BatchNorm was re-estimated."
        share = elsewhere["share_of_labels"]
        elsewhere["adapted"].append(_adapted(method, measured, remark if missing else None, share))
    elsewhere["sentences"] = elsewhere_sentences(elsewhere)
    return elsewhere


def _scores(
    home: Metrics, own: pd.DataFrame, conclusions: Mapping[str, Any], measured: MeasuredHere, resamples: int
) -> dict[str, HomeAndHere]:
    """COMPARED_SCORES; those that both files hold are theirs to the last digit."""
    at_home, here = ({**one["test"]["scores"], **one["calibration"]["after"]} for one in (home, conclusions))
    at_home["macro_f1"], here["macro_f1"] = _macro_f1(own, resamples), measured.of("macro_f1")
    return {score: _home_and_here(at_home[score], here[score], score in LOWER_IS_BETTER) for score in COMPARED_SCORES}


def _home_and_here(home: Estimate, here: Estimate, lower_is_better: bool = False) -> HomeAndHere:
    drop = difference_of_others(here, home) if lower_is_better else difference_of_others(home, here)
    return HomeAndHere(home=home, here=here, drop=drop)


def _macro_f1(table: pd.DataFrame, resamples: int) -> Estimate:
    if problem := problem_of(p_female_of(table)):
        return undefined(problem)
    female, says_female, units = is_female(table), is_female(table, "prediction"), bootstrap_units(table)

    def statistics(weights: Numbers) -> dict[str, Numbers]:
        return {"macro_f1": macro_f1(decision_scores(female, says_female, weights))}

    return estimates(units, statistics, resamples, shares={"macro_f1": (count_units(units),)})["macro_f1"]


def _share_of_female(table: pd.DataFrame, resamples: int) -> Estimate:
    female, units = is_female(table), bootstrap_units(table)

    def statistics(weights: Numbers) -> dict[str, Numbers]:
        return {"share": ratio(weights @ female, weights.sum(axis=1))}

    remarks = {"share": "There are no images."}
    return estimates(units, statistics, resamples, remarks, shares={"share": (count_units(units),)})["share"]


def _adapted(method: Adapt, measured: MeasuredHere, remark: str | None, share: ShareOfLabels) -> Adapted:
    """The adapted answers against the plain ones; `remark` says why there are none, as far as that is known already."""
    names = {score: f"{method.value} {score}" for score in COMPARED_SCORES}
    if remark is None:
        scores = {score: measured.of(name) for score, name in names.items()}
        difference = {score: measured.difference(name, score) for score, name in names.items()}
        remark = measured.problem_of(names["accuracy"])
    else:
        scores, difference = ({score: undefined(remark) for score in names} for _ in range(2))
    if method is Adapt.prior and difference["auroc"]["value"] is not None:
        difference["auroc"] = Estimate(value=0.0, low=0.0, high=0.0, remark="Re-weighing keeps the order of images.")
    adapted = Adapted(
        method=method.value, title=TITLES[method], remark=remark, sentence="", scores=scores, difference=difference
    )
    return adapted | {"sentence": adapted_sentence(adapted, share)}
