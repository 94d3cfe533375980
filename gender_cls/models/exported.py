"""What an exported model says of itself: the same metadata in every format, as texts by name. Imports no torch."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Self

from gender_cls.errors import GenderClsError

FORMAT_VERSION = 1

OUTPUTS = ("logits", "probability", "answer")
"""Of every exported model: logits (B, 2) float32 in the order of the classes; the calibrated probability of FEMALE (B,)
float32; the answer (B,) int64: an index into ANSWERS."""

ANSWERS = ("FEMALE", "MALE", "abstain")


@dataclass(frozen=True)
class Metadata:
    """All that is needed to use an exported model, and where it comes from."""

    model: str  # the title of the backbone
    classes: list[str]  # in the order of the logits
    answers: list[str]  # what the numbers of the output `answer` mean
    image_size: list[int]  # (height, width) of the input of the resized form
    resize_mode: str  # stretch, letterbox or crop
    mean: list[float]  # of red, green and blue in [0, 1]
    std: list[float]
    temperature: float  # the logits are divided by it
    threshold: float  # the answer is FEMALE from this calibrated probability of FEMALE on, MALE below it
    band: list[float] | None  # [low, high]: strictly between them the answer is abstain
    test_precision: str | None  # of the answers in the report
    weights: str  # of the file: float32, float16 or int8
    native: bool  # whether the resize is part of the file: it takes one crop of any size
    checkpoint_sha256: str
    manifest_sha256: str
    licence: str | None  # of the training images
    test: dict[str, Any]  # scores of the run's own test, as metrics.json has them, with intervals
    limits: str  # what the model is not for
    gender_cls: str  # the version that wrote the file
    format_version: int = FORMAT_VERSION

    def to_texts(self) -> dict[str, str]:
        """Each field as JSON, for a file that keeps texts by name."""
        return {name: json.dumps(value, ensure_ascii=False, allow_nan=False) for name, value in asdict(self).items()}

    @classmethod
    def from_texts(cls, texts: Mapping[str, str], file: object) -> Self:
        """The metadata in a file.

        Raises:
            GenderClsError: it is no model that this package exported, or one of another version.
        """
        foreign = f"{file} is no model that python -m gender_cls.export wrote: name another file, or a run's folder."
        try:
            values = {one.name: json.loads(texts[one.name]) for one in fields(cls)}
        except (KeyError, ValueError):
            raise GenderClsError(foreign) from None
        if values["format_version"] != FORMAT_VERSION:
            raise GenderClsError(f"{file} was exported by another version of gender_cls: export the run again.")
        return cls(**values)
