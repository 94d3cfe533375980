"""What stands in `metrics.json`: every key with its meaning. The layout changes only together with SCHEMA_VERSION.

Shares, scores and probabilities lie between 0 and 1. Intervals are 95 % expanded percentile intervals of a bootstrap
over people (`bootstrap.py`). What cannot be computed is null, and a `remark` beside it says why.
"""

from typing import Any, TypedDict

from gender_cls.evaluation.estimate import Estimate
from gender_cls.evaluation.explanation_schema import Explanations
from gender_cls.evaluation.robustness_schema import Shift, Shortcut, Slices, Stress

SCHEMA_VERSION = 2

SCORES = (
    "balanced_accuracy",
    "accuracy",
    "mA",
    "recall_FEMALE",
    "recall_MALE",
    "precision_FEMALE",
    "precision_MALE",
    "f1_FEMALE",
    "f1_MALE",
    "auroc",
    "average_precision_FEMALE",
    "average_precision_MALE",
    "brier",
    "log_loss",
    "ece",
)
"""Names of all scores, the headline first; `metrics.py` defines them."""


class Scored(TypedDict):
    """The scores of some rows, by image or by person. Decisions are the more probable label.

    Attributes:
        images: number of images.
        identities: number of people known by name; 0 when none is.
        units: number of what the bootstrap draws: people, and images of nobody known.
        confusion_matrix: counts; rows are the label, columns the prediction, in the order of CLASSES.
        scores: a number for each of SCORES.
    """

    images: int
    identities: int
    units: int
    confusion_matrix: list[list[int]]
    scores: dict[str, Estimate]


class SplitScores(Scored):
    """The scores of one split.

    Attributes:
        by_identity: the same with one row a person, whose probability is the mean over that person's images (track
            voting); null when nobody is known by name.
    """

    by_identity: Scored | None


class ReliabilityBin(TypedDict):
    """Images whose probability of FEMALE lies in [low, high), in the last bin [low, high].

    Attributes:
        probability: their mean probability of FEMALE; null in an empty bin.
        share: the share of them that is labelled FEMALE, with its interval.
    """

    low: float
    high: float
    images: int
    probability: float | None
    share: Estimate


class Reliability(TypedDict):
    """How far probabilities can be taken at their word, on test."""

    brier: Estimate
    log_loss: Estimate
    ece: Estimate
    bins: list[ReliabilityBin]


class Calibration(TypedDict):
    """Temperature scaling (Guo et al. 2017).

    Attributes:
        temperature: what logits are divided by; fitted on validation only. Above 1 the network was too sure of itself.
        remark: why it is not a fitted one (1, or an end of the range that was searched), or null.
        before: on test, without it.
        after: on test, with it.
    """

    temperature: float
    remark: str | None
    before: Reliability
    after: Reliability


class OperatingPoint(TypedDict):
    """The decision threshold, chosen on validation.

    Attributes:
        rule: balanced_accuracy or equal_recall.
        threshold: FEMALE is answered from this calibrated probability of FEMALE on.
        remark: why it could not be chosen and is 0.5, or null.
        validation: balanced_accuracy, recall_FEMALE and recall_MALE at the threshold.
        test: the same on test.
    """

    rule: str
    threshold: float
    remark: str | None
    validation: dict[str, Estimate]
    test: dict[str, Estimate]


class Accepted(TypedDict):
    """What is left when the doubtful images are answered `abstain`.

    Attributes:
        coverage: share of the images that get an answer.
        error: share of wrong answers among those (the selective risk).
    """

    coverage: Estimate
    error: Estimate


class RiskCoveragePoint(TypedDict):
    """One point of the curve: the `coverage` most certain images have this `error`, with its interval."""

    coverage: float
    error: float
    low: float | None
    high: float | None


class Abstention(TypedDict):
    """Answering only where the calibrated probability is far enough from the threshold.

    Attributes:
        target_error: the error that was asked for.
        band: [low, high] calibrated probability of FEMALE between which the answer is abstain: the narrowest that
            holds the target on validation (`decisions.py`); null when none does.
        remark: why there is no band, or null.
        validation: with the band; null without one.
        test: likewise.
        reached: whether the target lies inside or above the interval of the test error; null without a band.
        aurc: area under the risk-coverage curve of test (Geifman & El-Yaniv 2017); lower is better.
        curve: of test, by falling coverage, at most 100 points.
    """

    target_error: float
    band: list[float] | None
    remark: str | None
    validation: Accepted | None
    test: Accepted | None
    reached: bool | None
    aurc: Estimate
    curve: list[RiskCoveragePoint]


class Baseline(TypedDict):
    """What an answer that never looks at the person scores on test (`quality/baselines.py`)."""

    name: str
    title: str
    balanced_accuracy: float | None
    answered: float | None
    remark: str | None


class Cost(TypedDict):
    """What the model costs, on the machine named in `environment`.

    Attributes:
        parameters: of the network.
        flops: of one image, forward; a multiplication and an addition count as two. Null where it cannot be counted.
        milliseconds_batch_1: per image, forward, median, images one by one.
        milliseconds_batch_32: per image, in batches of 32; null where they do not fit into memory.
        device: where that was measured, such as `cpu, 2 threads`, with the precision.
        peak_memory_bytes: of training: of the process on a CPU, without the files that it has mapped, of the device's
            tensors on a GPU; null if not recorded.
        fit_seconds: of training and validation.
    """

    parameters: int
    flops: int | None
    milliseconds_batch_1: float
    milliseconds_batch_32: float | None
    device: str
    peak_memory_bytes: int | None
    fit_seconds: float


class Metrics(TypedDict):
    """The whole file.

    Attributes:
        model: library/name.
        monitor: the validation metric that chose the checkpoint.
        best_validation: its best value.
        best_epoch: in which; epochs count from 1.
        shortcuts: null when evaluation.shortcuts was false.
        stress: null when evaluation.stress was false.
        explanations: null while no test image has been explained (explain.enabled, evaluation.explained_images).
        data: where the data are, their fingerprint, leaks, corrected labels, licence, and images, people and labels of
            each split (`experiment.py`).
        environment: versions and machine.
    """

    schema_version: int
    model: str
    monitor: str
    best_validation: float
    best_epoch: int
    validation: SplitScores
    test: SplitScores
    baselines: list[Baseline]
    calibration: Calibration
    operating_point: OperatingPoint
    abstention: Abstention
    slices: Slices
    shift: Shift
    shortcuts: list[Shortcut] | None
    stress: Stress | None
    explanations: Explanations | None
    cost: Cost
    data: dict[str, Any]
    environment: dict[str, str]
