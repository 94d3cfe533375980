"""The difference between a file's answers and the report's, on tables small enough to count."""

import numpy as np
import pandas as pd
import pytest

from gender_cls.evaluation.against_report import against_report
from gender_cls.evaluation.decisions import DecisionRule

RULE = DecisionRule(temperature=1.0, threshold=0.5, band=(0.45, 0.55))
LABELS = ["FEMALE", "FEMALE", "FEMALE", "MALE", "MALE", "MALE"]
REPORT = [0.9, 0.8, 0.3, 0.1, 0.2, 0.6]  # recalls 2/3 and 2/3; 8 of 9 pairs in order but (0.3, 0.6)
EXPORTED = [0.9, 0.8, 0.7, 0.1, 0.2, 0.5]  # recalls 1 and 2/3, because 0.5 is FEMALE; all pairs in order


def table(p_female: list[float]) -> pd.DataFrame:
    """Test rows of six people, and the first of them once more on validation."""
    rows = pd.DataFrame({"label": LABELS, "identity": list("abcdef"), "split": "test", "p_FEMALE": p_female})
    rows = pd.concat([rows.head(1).assign(split="val"), rows], ignore_index=True)
    return rows.assign(p_MALE=1 - rows["p_FEMALE"])


def test_answers_and_scores_are_counted() -> None:
    found = against_report(table(REPORT), table(EXPORTED), RULE, 200, file="model.onnx", precision="bf16-mixed")
    assert found["images"] == {"val": 1, "test": 6}
    assert found["changed_answers"] == {"val": 0, "test": 2}  # MALE to FEMALE, and FEMALE to abstain
    balanced, auroc = found["difference"]["balanced_accuracy"], found["difference"]["auroc"]
    assert balanced["value"] == pytest.approx((1 + 2 / 3) / 2 - 2 / 3)
    assert auroc["value"] == pytest.approx(1 - 8 / 9)
    for one in (balanced, auroc):
        assert one["low"] is not None
        assert one["high"] is not None
        assert one["low"] < one["value"] < one["high"]
    for word in ("model.onnx", "2 of 6 test images of 6 people", "bf16-mixed", "+0.167", "+0.111"):
        assert word in found["sentence"]


def test_the_same_answers_have_no_difference() -> None:
    found = against_report(table(REPORT), table(REPORT), RULE, 200, file="model.onnx", precision=None)
    assert found["changed_answers"] == {"val": 0, "test": 0}
    assert all(one["value"] == 0 for one in found["difference"].values())
    assert "all 6 test images" in found["sentence"]
    assert "change" not in found["sentence"]


def test_what_cannot_be_compared_says_why() -> None:
    broken = table(EXPORTED)
    broken.loc[3, ["p_FEMALE", "p_MALE"]] = np.nan
    found = against_report(table(REPORT), broken, RULE, 200, file="model_float16.onnx", precision="32-true")
    assert found["difference"]["auroc"]["value"] is None
    assert "not finite" in found["sentence"]
    one_label = [frame[frame["label"] == "FEMALE"] for frame in (table(REPORT), table(EXPORTED))]
    found = against_report(*one_label, RULE, 200, file="model.onnx", precision=None)
    assert found["difference"]["balanced_accuracy"]["value"] is None
    assert "MALE" in found["sentence"]
