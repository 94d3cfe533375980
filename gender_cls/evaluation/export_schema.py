"""Every key of `parity.json`, which `export` writes next to a run's exported files.

The run's network in float32 on the CPU is what a file has to agree with; nothing is written if one does not. The
report's answers may come from another precision: that difference is measured. Test images choose nothing.
"""

from typing import Any, TypedDict

from gender_cls.evaluation.estimate import Estimate

PARITY_VERSION = 2

LOGIT_TOLERANCE = 1e-3
"""A logit may differ by this, and a logit beyond 1 by this share of it."""

PROBABILITY_TOLERANCE = 1e-4
"""Of the calibrated probability. Answers to images that are nearer than this to a border are not compared."""

EQUAL_PIXELS = 0.99
"""This share of the bytes that a native file resizes must be those of the run's own resize."""

PIXEL_TOLERANCE = 2
"""No byte may differ by more, of 255."""


class Check(TypedDict):
    """One file and the run's network about the same validation images."""

    file: str
    batch: int | None  # images at once; null for a native file, which takes one crop of any size
    images: int  # some count several times if there are fewer than a batch
    largest_logit_difference: float
    largest_probability_difference: float  # of the calibrated probability
    changed_answers: int  # 0
    near_border: int  # answers that were not compared, because rounding alone may change them
    worst: str  # the image whose logits differ most


class ResizeCheck(TypedDict):
    """The resize inside native files and the run's own."""

    sizes: list[list[int]]  # (height, width) of the crops in pixels
    equal: float  # share of the bytes that are equal
    largest_difference: int  # of a byte, 0 to 255


class Speed(TypedDict):
    """The time per image on the CPU, from resized pixels in memory to the outputs; the fastest of calls in turn."""

    milliseconds_batch_1: float
    milliseconds_batch_1_spread: list[float]  # [low, high]: the fastest and the slowest call
    milliseconds_batch_32: float
    milliseconds_batch_32_spread: list[float]
    disturbed: str | None  # what other processes computed meanwhile; null if it was nothing, or cannot be told
    device: str  # for example `cpu, 2 threads, ONNX Runtime`


class ExportedFile(TypedDict):
    """A file that takes resized pixels: its answers against those in the run's `predictions.csv`, and its speed."""

    weights: str  # float32, float16 or int8
    bytes: int  # of the file
    answers_hash: str  # of its own answers (`predictions.answers_hash`)
    images: dict[str, int]  # by split: val, test
    changed_answers: dict[str, int]  # by split
    changed_by_rounding: dict[str, int] | None  # by split: answers other than model.onnx gives; null if it is float32
    difference: dict[str, Estimate]  # of test, the file's score minus the report's: see `against_report.SCORES`
    sentence: str
    cost: Speed | None  # null with seconds=0


class Parity(TypedDict):
    """The whole file."""

    version: int
    model: str
    checkpoint_sha256: str
    precision: str | None  # of the report's answers
    report_hash: str  # of the report's answers (`predictions.answers_hash`)
    rule: dict[str, Any]  # temperature, threshold and band, as in the files (`DecisionRule`)
    images: int  # of validation, that the files with float32 weights were compared on
    checks: list[Check]
    resize: ResizeCheck
    files: dict[str, ExportedFile]  # by name
    threads: int  # of the CPU, while the time was measured
    speed: dict[str, Speed]  # by title: the network in torch, and other libraries; empty with seconds=0
    environment: dict[str, str]  # versions and machine
