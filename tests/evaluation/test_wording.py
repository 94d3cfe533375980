from collections.abc import Callable
from typing import Any

import pytest

from gender_cls.evaluation import wording
from gender_cls.evaluation.estimate import Estimate

WHOLE: Estimate = {"value": 0.8, "low": 0.75, "high": 0.85, "remark": None}


@pytest.mark.parametrize(
    ("write", "value", "text"),
    [
        (wording.listed, [], ""),
        (wording.listed, ["a"], "a"),
        (wording.listed, (name for name in "abc"), "a, b and c"),
        (wording.capitalised, "mA and AUROC", "MA and AUROC"),
        (wording.score_title, "f1_FEMALE", "F1 FEMALE"),
        (wording.score_title, "auroc", "AUROC"),
        (wording.decimal, -0.1204, "−0.120"),
        (wording.decimal, None, "–"),
        (wording.decimal, float("nan"), "–"),
        (wording.signed, 0.31, "+0.310"),
        (wording.signed, -0.31, "−0.310"),
        (wording.percent, 0.0, "0 %"),
        (wording.percent, 0.004, "0.4 %"),
        (wording.percent, 0.124, "12 %"),
        (wording.percent, 0.995, "99.5 %"),
        (wording.stated, WHOLE, "0.800 [0.750, 0.850]"),
        (wording.stated, {**WHOLE, "low": None, "high": None}, "0.800"),
        (wording.stated, {**WHOLE, "value": None}, "–"),
        (wording.stated_percent, WHOLE, "80.0 % [75.0, 85.0]"),
        (wording.p_value, 0.001, "0.001"),
        (wording.p_value, 0.0009, "< 0.001"),
        (wording.p_value, None, "–"),
        (wording.duration, 89.94, "89.9 s"),
        (wording.duration, 7100.0, "118 min"),
        (wording.duration, 9000.0, "2.5 h"),
        (wording.short, 4_201_000, "4.20 M"),
        (wording.short, 999, "999"),
        (wording.short, None, "–"),
        (wording.in_bytes, 2**30, "1.00 GiB"),
        (wording.in_bytes, 2**29, "512 MiB"),
    ],
)
def test_values_are_written_for_people(write: Callable[[Any], str], value: Any, text: str) -> None:
    assert write(value).replace("\u202f", " ") == text
