"""What `metrics.json` says of where and when a model fails: slices, shift, shortcuts and stress; see `schema.py`."""

from typing import TypedDict

from gender_cls.evaluation.estimate import Estimate


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
