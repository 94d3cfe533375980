"""What stands in `metrics.json`: every key with its meaning. The layout changes only together with SCHEMA_VERSION.

Shares, scores and probabilities lie between 0 and 1. Intervals are 95 % expanded percentile intervals of a bootstrap
over people (`bootstrap.py`). What cannot be computed is null, and a `remark` beside it says why.
"""

from typing import Any, TypedDict

SCHEMA_VERSION = 1

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


class Estimate(TypedDict):
    """A number and its interval.

    Attributes:
        value: null where it is not defined.
        low: null where the interval is not defined, as is high.
        remark: why something is null, or what is special about the interval; else null.
    """

    value: float | None
    low: float | None
    high: float | None
    remark: str | None


def stated(estimate: Estimate, digits: int = 3) -> str:
    """`0.801 [0.771, 0.831]`, as far as there is a number and an interval."""
    value, low, high = estimate["value"], estimate["low"], estimate["high"]
    if value is None:
        return "–"
    if low is None or high is None:
        return f"{value:.{digits}f}"
    return f"{value:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"


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


class Slice(TypedDict):
    """Test images that share a value of a column.

    Attributes:
        column: of the manifest, or native_height, brightness or sharpness, cut into terciles.
        value: such as a camera's name, or `39 to 96` for a range.
        recall_gap: recall of MALE minus recall of FEMALE.
        few: whether fewer than 50 people are in it (or images, where nobody is known): read it with care.
    """

    column: str
    value: str
    images: int
    identities: int
    balanced_accuracy: Estimate
    recall_FEMALE: Estimate
    recall_MALE: Estimate
    recall_gap: Estimate
    few: bool


class WorstSlice(TypedDict):
    """The slice with the lowest balanced accuracy among those that are not `few`."""

    column: str
    value: str
    balanced_accuracy: float


class Slices(TypedDict):
    """The test split cut up.

    Attributes:
        cells: all slices, by column in the order of the table.
        worst: null where no slice has both labels and people enough.
        remark: why there is no worst slice, or null.
    """

    cells: list[Slice]
    worst: WorstSlice | None
    remark: str | None


class ShiftedColumn(TypedDict):
    """How one column differs between validation and test.

    Attributes:
        column: as in slices, or `label`, or `probability` (of FEMALE).
        statistic: ks (Kolmogorov-Smirnov distance) for numbers, tv (total variation distance) for names; both 0 to 1.
        value: of the statistic.
        p_value: share of random exchanges of people between the two splits that give as large a value.
        p_holm: the same, corrected for the number of columns (Holm 1979).
    """

    column: str
    statistic: str
    value: float
    p_value: float
    p_holm: float


class Shift(TypedDict):
    """Whether test looks like validation; where it does not, what was chosen on validation may not hold.

    Attributes:
        columns: smallest p-value first.
        shifted: names of those with p_holm below 0.05.
        remark: why nothing could be compared, or which columns were left out, or null.
    """

    columns: list[ShiftedColumn]
    shifted: list[str]
    remark: str | None


class Severity(TypedDict):
    """Test under one corruption at one severity, 1 to 5.

    Attributes:
        ece: with the run's temperature.
        flip_rate: share of the images whose prediction changes.
        coverage: share of the images that still get an answer outside the abstention band; null without one.
    """

    severity: int
    balanced_accuracy: Estimate
    ece: Estimate
    flip_rate: Estimate
    coverage: Estimate | None


class StressedBy(TypedDict):
    """One corruption; `mean` and `worst` are balanced accuracies over its severities."""

    name: str
    title: str
    severities: list[Severity]
    mean: float | None
    worst: float | None


class WorstStress(TypedDict):
    """The corruption and severity with the lowest balanced accuracy."""

    name: str
    severity: int
    balanced_accuracy: float


class Stress(TypedDict):
    """Test under corruptions of the native crop; `mean` is over all corruptions and severities."""

    corruptions: list[StressedBy]
    mean: float | None
    worst: WorstStress | None


class Shortcut(TypedDict):
    """Test with part of the picture taken away: how much of the score remains."""

    name: str
    title: str
    balanced_accuracy: Estimate


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
        peak_memory_bytes: of training: of the process on a CPU, of the device's tensors on a GPU; null if not recorded.
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
    cost: Cost
    data: dict[str, Any]
    environment: dict[str, str]
