"""How a test on other data is written: the same rows and sentences on pages, in TensorBoard and in the terminal."""

from dataclasses import dataclass

from gender_cls.errors import plural
from gender_cls.evaluation.elsewhere_schema import Elsewhere, HomeAndHere, LeftOut
from gender_cls.evaluation.estimate import Estimate
from gender_cls.evaluation.wording import decimal, listed, score_title

PARTS = {"all": "all labelled images of", "test": "the test part of"}


@dataclass(frozen=True)
class DropRow:
    """One row of the table of drops on other data; None where a number does not exist."""

    title: str
    home: Estimate | None
    here: Estimate | None
    drop: Estimate | None  # above 0 it is worse here
    lower: bool = False  # lower is better


def drop_rows(elsewhere: Elsewhere) -> dict[str, list[DropRow]]:
    """The rows by what they are about: answers, ranking, threshold, calibration and share of labels."""
    scores, threshold, share = elsewhere["scores"], elsewhere["threshold"], elsewhere["share_of_labels"]
    calibration, best = elsewhere["calibration"], threshold["best_threshold"]
    where = "" if best is None else f", {decimal(best)}"
    return {
        "Answers, at the threshold 0.5": [
            _compared(score_title(name), scores[name]) for name in ("balanced_accuracy", "macro_f1", "accuracy")
        ],
        "Ranking, which no threshold changes": [_compared("AUROC", elsewhere["ranking"]["auroc"])],
        "Threshold, balanced accuracy": [
            _compared(f"at the run's threshold, {decimal(threshold['threshold'])}", threshold["balanced_accuracy"]),
            DropRow(f"at the best threshold{where} (needs labels)", None, threshold["best"], None),
            DropRow("how far the run's threshold is below it", None, None, threshold["below_best"]),
        ],
        "Calibration, with the run's temperature": [
            _compared("ECE", calibration["ece"], lower=True),
            _compared("log loss", calibration["log_loss"], lower=True),
        ],
        "Share of FEMALE": [
            DropRow("of the labels", share["home"], share["here"], None),
            DropRow("mean probability", None, calibration["mean_probability"], None),
            DropRow(
                "estimated from the answers, without labels", share["home_from_answers"], share["from_answers"], None
            ),
            DropRow("of the labels that it was trained on", _exact(share["trained_on"]), None, None),
        ],
    }


def _compared(title: str, score: HomeAndHere, lower: bool = False) -> DropRow:
    return DropRow(title, score["home"], score["here"], score["drop"], lower)


def _exact(value: float) -> Estimate:
    return Estimate(value=value, low=None, high=None, remark=None)


def left_out_words(left_out: LeftOut) -> str:
    """How many images the run knew already, why, and what could not be looked for; empty if there is nothing to say."""
    reasons = [
        plural(left_out["copies"], "exact copy", "exact copies") * bool(left_out["copies"]),
        plural(left_out["near_copies"], "near copy", "near copies") * bool(left_out["near_copies"]),
        f"{left_out['people']} of people whom it knows" * bool(left_out["people"]),
    ]
    found = ""
    if left_out["images"]:
        known = plural(left_out["images"], "image is", "images are")
        found = f"{known} left out, because the run trained on them or chose by them: {listed(filter(None, reasons))}."
    return " ".join(filter(None, [found, left_out["remark"]]))
