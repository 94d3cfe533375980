"""A table of predictions -> numbers. Needs neither a model nor torch."""

from typing import Any

import numpy as np
import pandas as pd
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    confusion_matrix,
    precision_recall_fscore_support,
    roc_auc_score,
)

from gender_cls.data_config import CLASSES


def predictions_table(rows: pd.DataFrame, probabilities: np.ndarray) -> pd.DataFrame:
    """The rows of `predictions.csv`.

    Args:
        rows: of the manifest.
        probabilities: (rows, 2) in the order of CLASSES.
    """
    table = rows[["path", "label", "identity", "camera", "source", "split"]].reset_index(drop=True)
    for index, name in enumerate(CLASSES):
        table[f"p_{name}"] = probabilities[:, index]
    table["prediction"] = np.array(CLASSES, dtype=object)[probabilities.argmax(axis=1)]
    return table


def score(predictions: pd.DataFrame) -> dict[str, Any]:
    """Counts and scores of one split's predictions; both labels must occur.

    `auroc` takes the first of CLASSES as the positive one (it is the same for the other). Confusion matrix: rows are
    the true label, columns the prediction, in the order of CLASSES.
    """
    true, predicted = predictions["label"], predictions["prediction"]
    precision, recall, f1, _ = precision_recall_fscore_support(true, predicted, labels=list(CLASSES), zero_division=0)
    result: dict[str, Any] = {
        "images": len(predictions),
        "identities": int(predictions["identity"].replace("", np.nan).nunique()),
        "balanced_accuracy": float(balanced_accuracy_score(true, predicted)),
        "accuracy": float(accuracy_score(true, predicted)),
        "auroc": float(roc_auc_score(true == CLASSES[0], predictions[f"p_{CLASSES[0]}"])),
    }
    for index, name in enumerate(CLASSES):
        result[f"precision_{name}"] = float(precision[index])
        result[f"recall_{name}"] = float(recall[index])
        result[f"f1_{name}"] = float(f1[index])
    result["confusion_matrix"] = confusion_matrix(true, predicted, labels=list(CLASSES)).tolist()
    return result
