"""Every key of `metrics.json` with its meaning; those of `explanations` are in `explanation_schema.py`,
those of `elsewhere` in `elsewhere_schema.py`.

The layout changes only together with SCHEMA_VERSION.

Shares, scores and probabilities lie between 0 and 1. Intervals are 95 % and cover the chance in the people drawn: those
of shares are Wilson's for an effective number of people (`share_interval.py`), the others expanded percentiles of a
bootstrap over people (`bootstrap.py`). A value that cannot be computed is null, and the `remark` next to it says why; a
`remark` is null if there is nothing to say.
"""

from typing import Any, Literal, TypedDict

from gender_cls.config.data import CLASSES
from gender_cls.evaluation.elsewhere_schema import Elsewhere
from gender_cls.evaluation.estimate import Estimate
from gender_cls.evaluation.explanation_schema import Explanations

SCHEMA_VERSION = 6
SCORES = (
    *("balanced_accuracy", "accuracy", "mA"),
    *(f"{score}_{label}" for score in ("recall", "precision", "f1") for label in CLASSES),
    *("auroc", *(f"average_precision_{label}" for label in CLASSES)),
    *("brier", "log_loss", "ece"),
)
"""Names of all scores, the main one first; `metrics.py` defines them."""


class Scored(TypedDict):
    """Scores of some rows, by image or by person; the prediction is the more probable label."""

    images: int
    identities: int  # known people; 0 if nobody is known
    units: int  # what the bootstrap draws from: people, and images of unknown people
    confusion_matrix: list[list[int]]  # counts; a row per label, a column per prediction, in the order of CLASSES
    scores: dict[str, Estimate]  # one for each of SCORES


class SplitScores(Scored):
    """Scores of one split."""

    by_identity: Scored | None  # of people, by the mean probability over their images; null if nobody is known


class ReliabilityBin(TypedDict):
    """Images whose probability of FEMALE lies in [low, high), in the last bin [low, high]."""

    low: float
    high: float
    images: int
    probability: float | None  # their mean probability of FEMALE; null in an empty bin
    share: Estimate  # the share of them that is labelled FEMALE


class Reliability(TypedDict):
    """How well probabilities agree with the labels of test."""

    brier: Estimate
    log_loss: Estimate
    ece: Estimate
    bins: list[ReliabilityBin]


class Standing(TypedDict):
    """What the test score is worth (`standing.py`)."""

    kind: Literal["undefined", "constant", "chance", "baseline", "useful"]
    level: Literal["stop", "warn", "fine"]  # stop: do not rely on the scores; warn: read with care
    sentence: str


class Calibration(TypedDict):
    """Temperature scaling (Guo et al. 2017)."""

    temperature: float  # logits are divided by it; fitted on validation only. Above 1: the network was overconfident
    remark: str | None  # why the temperature is 1 or an end of the searched range instead of a fitted value
    before: Reliability  # on test, without the temperature
    after: Reliability  # on test, with it


class OperatingPoint(TypedDict):
    """The decision threshold, chosen on validation."""

    rule: str  # balanced_accuracy or equal_recall
    threshold: float  # the answer is FEMALE from this calibrated probability of FEMALE on
    remark: str | None  # why none could be chosen, so that it is 0.5
    validation: dict[str, Estimate]  # balanced_accuracy, recall_FEMALE and recall_MALE at the threshold
    test: dict[str, Estimate]  # the same on test


class Accepted(TypedDict):
    """What is left when the answer for doubtful images is `abstain`."""

    coverage: Estimate  # share of images that get an answer
    error: Estimate  # share of wrong answers among those (the selective risk)


class RiskCoveragePoint(TypedDict):
    """One point of the curve: the error, with its interval, of the share `coverage` of the most certain images."""

    coverage: float
    error: float
    low: float | None
    high: float | None


class Abstention(TypedDict):
    """Answering only if the calibrated probability is far enough from the threshold."""

    target_error: float  # the error that was asked for
    # [low, high] probability, low < high; between them the model abstains; chosen by `decisions.py`. Null without a
    # band: then every image is answered.
    band: list[float] | None
    remark: str | None  # why there is no band: none is needed, or none reaches the target
    validation: Accepted  # with the band, if there is one
    test: Accepted  # the same on test
    reached: bool | None  # whether the target is inside or above the interval of the test error; null without an error
    aurc: Estimate  # area under the risk-coverage curve of test (Geifman & El-Yaniv 2017); lower is better
    curve: list[RiskCoveragePoint]  # of test, by falling coverage, at most 100 points


class Baseline(TypedDict):
    """The test score of an answer that never looks at the person (`data/baselines.py`)."""

    name: str
    title: str
    balanced_accuracy: float | None
    answered: float | None  # share of images about which it knows something
    remark: str | None


class Slice(TypedDict):
    """Test images with the same value of a column."""

    column: str  # of the manifest, or native_height, brightness or sharpness, which are cut into terciles
    value: str  # for example the name of a camera, or `39 to 96` for a range
    images: int
    identities: int
    balanced_accuracy: Estimate
    recall_FEMALE: Estimate
    recall_MALE: Estimate
    recall_gap: Estimate  # recall of MALE minus recall of FEMALE
    few: bool  # fewer than 50 people (or images, where nobody is known): not reliable


class WorstSlice(TypedDict):
    """The slice with the lowest balanced accuracy among those that are not `few`."""

    column: str
    value: str
    balanced_accuracy: float


class Slices(TypedDict):
    """Scores of parts of the test split."""

    cells: list[Slice]  # by column in the order of the table
    worst: WorstSlice | None  # null if no slice has both labels and enough people
    remark: str | None  # why there is no worst slice


class ShiftedColumn(TypedDict):
    """How one column differs between validation and test."""

    column: str  # as in slices, or `label`, or `probability` (of FEMALE)
    statistic: str  # ks (Kolmogorov-Smirnov distance) for numbers, tv (total variation distance) for names
    value: float  # of the statistic, 0 to 1
    p_value: float  # share of random exchanges of people between the two splits that give a value as large
    p_holm: float  # the same, corrected for the number of columns (Holm 1979)


class Shift(TypedDict):
    """Whether test looks like validation; where it does not, choices made on validation may not hold."""

    columns: list[ShiftedColumn]  # smallest p-value first
    shifted: list[str]  # names of those with p_holm below 0.05
    remark: str | None  # why nothing could be compared, or which columns were left out


class Shortcut(TypedDict):
    """The score of test when part of each image is removed."""

    name: str
    title: str
    balanced_accuracy: Estimate


class Severity(TypedDict):
    """Scores of test under one corruption at one severity."""

    severity: int  # 1 to 5
    balanced_accuracy: Estimate
    ece: Estimate  # with the run's temperature
    flip_rate: Estimate  # share of images whose prediction changes
    coverage: Estimate | None  # share of images still answered outside the abstention band; null without one


class CorruptionScores(TypedDict):
    """One corruption; `mean` and `worst` are balanced accuracies over its severities."""

    name: str
    title: str
    severities: list[Severity]
    mean: float | None
    worst: float | None


class WorstCorruption(TypedDict):
    """The corruption and severity with the lowest balanced accuracy."""

    name: str
    severity: int
    balanced_accuracy: float


class Stress(TypedDict):
    """Test under corruptions of the native crop."""

    corruptions: list[CorruptionScores]
    mean: float | None  # balanced accuracy over all corruptions and severities
    worst: WorstCorruption | None


class Cost(TypedDict):
    """What the model costs, on the machine named in `environment`."""

    parameters: int | None  # null if the cost could not be measured
    flops: int | None  # of one image, forward; a multiplication and an addition are two. Null if it cannot be counted
    # Per image, forward, one image at a time: the fastest call. If other processes computed meanwhile on the CPU that
    # was measured, the least CPU time of a call, which hardly depends on them.
    milliseconds_batch_1: float | None
    milliseconds_batch_1_spread: list[float] | None  # [low, high]: from that time to the longest of a call
    milliseconds_batch_32: float | None  # per image, in batches of 32; null if they do not fit into memory
    milliseconds_batch_32_spread: list[float] | None
    disturbed: str | None  # what other processes computed meanwhile; null if it was nothing, or cannot be told
    device: str  # where that was measured, for example `cpu, 2 threads`, with the precision; or empty
    peak_memory_bytes: int | None  # of training. CPU: the process without mapped files; GPU: tensors. Null if unknown
    fit_seconds: float  # of training and validation


class Metrics(TypedDict):
    """The whole file."""

    schema_version: int
    model: str  # library/name
    monitor: str  # the validation metric that chose the checkpoint
    best_validation: float  # its best value
    best_epoch: int  # the epoch of that value, counted from 1
    validation: SplitScores
    test: SplitScores
    standing: Standing
    baselines: list[Baseline]
    calibration: Calibration
    operating_point: OperatingPoint
    abstention: Abstention
    slices: Slices
    shift: Shift
    shortcuts: list[Shortcut] | None  # null if evaluation.shortcuts was false
    stress: Stress | None  # null if evaluation.stress was false
    explanations: Explanations | None  # null while no test image is explained (explain.enabled)
    elsewhere: Elsewhere | None  # null for the run's own test
    cost: Cost
    data: dict[str, Any]  # paths, fingerprint, leaks, corrected labels, licence; images, people and labels per split
    environment: dict[str, str]  # versions and machine
    problems: dict[str, str]  # a part that was asked for but could not be made, and why; mostly empty
