"""Every key of `elsewhere` in `metrics.json` of a test on other data: how large the drop is, and why.

`schema.py` says what numbers and intervals are. Home is the run's own test split; here is the other data. The rest of
that file is as at home: `validation` is the run's own, `test` are the images here, with the temperature, threshold and
band that the run's own validation chose.
"""

from typing import Literal, TypedDict

from gender_cls.evaluation.estimate import Estimate

COMPARED_SCORES = ("balanced_accuracy", "macro_f1", "accuracy", "auroc", "log_loss", "ece")
"""Scores that are given for home and here. The first three are of the answers at the threshold 0.5, or at the run's
threshold where that is said; log loss and ECE are of calibrated probabilities."""
LOWER_IS_BETTER = ("log_loss", "ece")


class LeftOut(TypedDict):
    """Images here that the run knows from its own train or validation split, and that are not tested."""

    images: int  # all of the following, each image once
    copies: int  # the very same pixels
    near_copies: int  # near duplicates that are no exact copies
    people: int  # further images of people whom the run knows: the same identity of the same source, or on a copy
    remark: str | None  # what could not be looked for, and why


class HomeAndHere(TypedDict):
    """One score at home and here."""

    home: Estimate
    here: Estimate
    drop: Estimate  # home minus here; for log loss and ECE here minus home: above 0 it is worse here


class Ranking(TypedDict):
    """How well the probabilities order images; no threshold, temperature or share of labels changes that."""

    auroc: HomeAndHere


class Threshold(TypedDict):
    """What the choice of the threshold costs here."""

    threshold: float  # chosen on the run's validation
    balanced_accuracy: HomeAndHere  # at that threshold
    best_threshold: float | None  # the best any threshold could reach here; found with labels, so a user cannot have it
    best: Estimate  # balanced accuracy there; the interval allows for the threshold being chosen on these very images
    below_best: Estimate  # best minus here, on the same people; the interval allows for the same


class CalibrationElsewhere(TypedDict):
    """Whether probabilities are calibrated here, with the run's temperature."""

    ece: HomeAndHere
    log_loss: HomeAndHere
    mean_probability: Estimate  # of FEMALE; compare with the share of labels here


class ShareOfLabels(TypedDict):
    """The share of images labelled FEMALE."""

    trained_on: float  # in the run's train split
    prior: float  # what the network learnt: `trained_on`, or the share that data.balance made of it
    home: Estimate
    here: Estimate
    from_answers: Estimate  # here, estimated from the answers without labels (Saerens et al. 2002), see `prior.py`
    home_from_answers: Estimate  # the same at home; far from `home`, neither of the two can be trusted


class Adapted(TypedDict):
    """The same test after the network or its answers were adapted without labels."""

    method: Literal["batchnorm", "prior"]
    title: str
    remark: str | None  # why it cannot be done, so that nothing below is defined; or what is special about it
    sentence: str  # what it changed, in words
    # For each of COMPARED_SCORES, of the answers at the threshold 0.5 and of probabilities with the run's temperature.
    scores: dict[str, Estimate]
    difference: dict[str, Estimate]  # adapted minus plain, on the same people; of log loss and ECE, below 0 is better


class Elsewhere(TypedDict):
    """All that a test on other data has in addition to what every test has."""

    name: str
    part: Literal["all", "test"]  # all labelled images, or the test part of a given or published split
    left_out: LeftOut
    scores: dict[str, HomeAndHere]  # for each of COMPARED_SCORES
    ranking: Ranking
    threshold: Threshold
    calibration: CalibrationElsewhere
    share_of_labels: ShareOfLabels
    adapted: list[Adapted]  # as asked for with `adapt`
    sentences: list[str]  # the drop and its reasons, in words
