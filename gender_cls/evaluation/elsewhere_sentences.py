"""The drop on other data and its reasons, in sentences: what was found, never what to choose."""

from gender_cls.evaluation.elsewhere_schema import (
    LOWER_IS_BETTER,
    Adapted,
    CalibrationElsewhere,
    Elsewhere,
    HomeAndHere,
    ShareOfLabels,
    Threshold,
)
from gender_cls.evaluation.estimate import Estimate, is_above_0
from gender_cls.evaluation.metrics import FEMALE
from gender_cls.evaluation.wording import capitalised, decimal, listed, percent, score_title, stated, stated_percent

TOLD = {
    "prior": ("balanced_accuracy", "accuracy", "log_loss"),
    "batchnorm": ("balanced_accuracy", "accuracy", "auroc", "log_loss"),
}
"""The scores that a sentence about a method names."""


def elsewhere_sentences(elsewhere: Elsewhere) -> list[str]:
    """The drop; then what ranking, threshold, and calibration and share of labels have to do with it."""
    return [
        _drop(elsewhere["scores"]["balanced_accuracy"]),
        _of_ranking(elsewhere["ranking"]["auroc"]),
        _of_threshold(elsewhere["threshold"]),
        f"{_of_calibration(elsewhere['calibration'])} {_of_labels(elsewhere['share_of_labels'])}",
    ]


def _drop(score: HomeAndHere) -> str:
    home, here, drop = score["home"], score["here"], score["drop"]
    if drop["value"] is None:
        return f"The drop of balanced accuracy is not known: {drop['remark']}"
    both = f"Balanced accuracy at the threshold 0.5 is {stated(here)} here and {stated(home)} at home"
    if drop["low"] is None:
        return f"{both}, a difference of {decimal(abs(drop['value']))}. {drop['remark']}"
    if is_above_0(drop):
        return f"{both}, a drop of {stated(drop)}."
    if is_above_0(turned := _turned(drop)):
        return f"{both}: it is {stated(turned)} higher here."
    return f"{both}. No drop is shown: home minus here is {stated(drop)}."


def _of_ranking(auroc: HomeAndHere) -> str:
    home, here, drop = auroc["home"], auroc["here"], auroc["drop"]
    if drop["value"] is None:
        return f"Whether images are ordered worse here is not known: {drop['remark']}"
    both = f"AUROC is {decimal(here['value'])} here and {decimal(home['value'])} at home"
    if is_above_0(drop):
        return (
            f"Images are ordered worse here: {both}, {stated(drop)} lower. No other threshold, temperature or share of "
            "labels can repair this part."
        )
    if is_above_0(turned := _turned(drop)):
        return f"Images are ordered better here: {both}, {stated(turned)} higher."
    return f"Images are not shown to be ordered worse here: {both}, home minus here is {stated(drop)}."


def _of_threshold(threshold: Threshold) -> str:
    here, best = threshold["balanced_accuracy"]["here"], threshold["best"]
    below_best = threshold["below_best"]
    if below_best["value"] is None:
        return f"What the threshold costs here is not known: {below_best['remark']}"
    if threshold["best_threshold"] is None:
        return "No threshold does better here than the same answer for every image."
    compared = (
        f"at the run's threshold, {decimal(threshold['threshold'])}, balanced accuracy is {decimal(here['value'])}, "
        f"and the best of all thresholds, {decimal(threshold['best_threshold'])}, reaches {decimal(best['value'])}"
    )
    if is_above_0(below_best):
        return (
            f"The threshold does not fit here: {compared}, {stated(below_best)} more. It can be found only with labels."
        )
    return f"The threshold is not shown to cost anything here: {compared}, {stated(below_best)} more."


def _of_calibration(calibration: CalibrationElsewhere) -> str:
    ece = calibration["ece"]
    if ece["drop"]["value"] is None:
        return f"Whether probabilities are worse here is not known: {ece['drop']['remark']}"
    here, home = decimal(ece["here"]["value"]), decimal(ece["home"]["value"])
    both = f"the calibration error (ECE) is {here} here and {home} at home"
    if is_above_0(ece["drop"]):
        return f"Probabilities are worse here: {both}."
    if is_above_0(_turned(ece["drop"])):
        return f"Probabilities are better here: {both}."
    return f"Probabilities are not shown to be worse here: {both}."


def _of_labels(share: ShareOfLabels) -> str:
    trained = f"{percent(share['trained_on'])} in training"
    if share["prior"] != share["trained_on"]:
        trained += f", which the run weighed as {percent(share['prior'])}"
    here = share["here"]
    counted = (
        "Nothing is labelled here" if here["value"] is None else f"{percent(here['value'])} of the labels are {FEMALE}"
    )
    sentence = f"{counted}, against {trained}"
    if share["from_answers"]["value"] is None:
        return f"{sentence}."
    sentence += f"; the answers alone suggest {stated_percent(share['from_answers'], 0)}."
    home, at_home = share["home"]["value"], share["home_from_answers"]
    if home is None or at_home["low"] is None or at_home["high"] is None or at_home["low"] <= home <= at_home["high"]:
        return sentence
    wrong = f"At home they suggest {stated_percent(at_home, 0)}, where {percent(home)} are labelled"
    return f"{sentence} {wrong}: do not rely on this."


def adapted_sentence(adapted: Adapted, share: ShareOfLabels) -> str:
    """What an adaptation changed, or why it cannot be done."""
    title, difference = capitalised(adapted["title"]), adapted["difference"]
    told = {score: difference[score] for score in TOLD[adapted["method"]] if difference[score]["value"] is not None}
    if not told:
        return f"{title}: this cannot be done. {adapted['remark'] or difference['accuracy']['remark']}"
    if adapted["method"] == "prior":
        title += f", {stated_percent(share['from_answers'], 0)} {FEMALE} instead of {percent(share['prior'])}"
    changes = listed(f"{score_title(score)} changes by {stated(found)}" for score, found in told.items())
    gains = {score: _turned(found) if score in LOWER_IS_BETTER else found for score, found in told.items()}
    better = [score_title(score) for score, gain in gains.items() if is_above_0(gain)]
    worse = [score_title(score) for score, gain in gains.items() if is_above_0(_turned(gain))]
    verdicts = [f"better in {listed(better)}"] * bool(better) + [f"worse in {listed(worse)}"] * bool(worse)
    verdict = f"It is {' and '.join(verdicts)}" if verdicts else "Neither a gain nor a drop is shown"
    reason = _LEANS if worse and adapted["method"] == "batchnorm" and _share_differs(share) else ""
    return f"{title}: {changes}. {verdict}.{reason}"


_LEANS = (
    " The share of labels differs from training, which moves these statistics too: answers can then lean to the label "
    "that is rarer here."
)


def _share_differs(share: ShareOfLabels) -> bool:
    low, high = share["here"]["low"], share["here"]["high"]
    return low is not None and high is not None and not low <= share["trained_on"] <= high


def _turned(found: Estimate) -> Estimate:
    """The same difference the other way round."""
    value, low, high = (None if end is None else -end for end in (found["value"], found["high"], found["low"]))
    return Estimate(value=value, low=low, high=high, remark=found["remark"])
