"""What validation alone says of a run whose test split was left alone (`evaluation.test=false`)."""

import csv

from gender_cls.runs.run import Run


def validation_score(run: Run) -> float | None:
    """The balanced accuracy on validation, at the threshold 0.5, of the chosen checkpoint; None if it is not known."""
    if (kept := run.status.get("best_balanced_accuracy")) is not None:
        return float(kept)
    if not run.epochs.is_file():  # an earlier version did not note it
        return None
    with run.epochs.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            if row.get("epoch") == str(run.status.get("best_epoch")) and row.get("val_balanced_accuracy"):
                return float(row["val_balanced_accuracy"])
    return None


def testing_sentence(folder: object) -> str:
    """The command that tests the run in this folder."""
    return f"python -m gender_cls.evaluate run={folder} tests it."
