import numpy as np
import pandas as pd
import pytest

from gender_cls.evaluation.metrics import predictions_table, score


@pytest.fixture
def predictions() -> pd.DataFrame:
    """Six rows: 4 FEMALE (3 right), 2 MALE (1 right)."""
    labels = ["FEMALE"] * 4 + ["MALE"] * 2
    female = np.array([0.9, 0.8, 0.7, 0.2, 0.6, 0.1])
    rows = pd.DataFrame(
        {
            "path": [f"{i}.png" for i in range(6)],
            "label": labels,
            "identity": ["a", "a", "b", "", "c", "c"],
            "camera": "",
            "source": "",
            "split": "test",
            "view": "front",
        }
    )
    return predictions_table(rows, np.stack([female, 1 - female], axis=1))


def test_columns_of_the_table(predictions: pd.DataFrame) -> None:
    columns = ["path", "label", "identity", "camera", "source", "split", "p_FEMALE", "p_MALE", "prediction"]
    assert list(predictions.columns) == columns
    assert list(predictions["prediction"]) == ["FEMALE", "FEMALE", "FEMALE", "MALE", "FEMALE", "MALE"]


def test_scores_worked_out_by_hand(predictions: pd.DataFrame) -> None:
    result = score(predictions)
    assert (result["images"], result["identities"]) == (6, 3)
    assert result["confusion_matrix"] == [[3, 1], [1, 1]]
    assert result["accuracy"] == pytest.approx(4 / 6)
    assert result["balanced_accuracy"] == pytest.approx((3 / 4 + 1 / 2) / 2)
    # pairs (FEMALE, MALE) in the right order: 0.9, 0.8 and 0.7 beat both, 0.2 beats 0.1 only: 7 of 8
    assert result["auroc"] == pytest.approx(7 / 8)
    assert result["recall_FEMALE"] == result["precision_FEMALE"] == result["f1_FEMALE"] == pytest.approx(3 / 4)
    assert result["recall_MALE"] == result["precision_MALE"] == result["f1_MALE"] == pytest.approx(1 / 2)
