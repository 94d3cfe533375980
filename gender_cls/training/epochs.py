"""The metrics of every epoch as a table in the run's folder: `epochs.csv`."""

import time
from typing import Any

import pandas as pd
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import Checkpoint

from gender_cls.data.csv_text import csv_text
from gender_cls.runs.files import write_atomically
from gender_cls.runs.run import Run

FIRST_COLUMNS = ("epoch", "step", "seconds", "learning_rate", "train_loss", "val_loss", "val_balanced_accuracy")


class EpochTable(Checkpoint):
    """Adds a row to `epochs.csv` after each epoch, with all that Lightning logged as its mean.

    Its rows are kept in the checkpoints too. So a resumed training continues with the rows of those epochs that it
    does not train again. It must come before the callback that saves them. (Lightning calls a `Checkpoint` last, when
    the metrics of the epoch are complete.)
    """

    def __init__(self, run: Run) -> None:
        self.run = run
        self.rows: list[dict[str, float]] = []
        self._began = time.monotonic()

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Note when the epoch began."""
        self._began = time.monotonic()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the table with the new row; the epoch has been validated."""
        seconds = time.monotonic() - self._began
        logged = {name: float(value) for name, value in trainer.callback_metrics.items()}
        self.rows.append(epoch_row(trainer.current_epoch + 1, trainer.global_step, seconds, logged))
        write_atomically(self.run.epochs, epochs_csv(self.rows))

    def state_dict(self) -> dict[str, Any]:
        """The rows so far."""
        return {"rows": self.rows}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue with the rows of an earlier session."""
        self.rows = [*state_dict["rows"]]


def epoch_row(epoch: int, step: int, seconds: float, logged: dict[str, float]) -> dict[str, float]:
    """One row of the table.

    Args:
        epoch: counted from 1.
        step: how many optimizer steps were made until its end.
        seconds: what the epoch took, with its validation and explanations.
        logged: metrics by their names in TensorBoard. Of the learning rates (`lr/...`) the highest counts.
    """
    rates = [value for name, value in logged.items() if name.startswith("lr/")]
    means = {name: value for name, value in logged.items() if not name.startswith("lr/") and name != "train/loss_step"}
    return {
        **{"epoch": epoch, "step": step, "seconds": seconds},
        **({"learning_rate": max(rates)} if rates else {}),
        **{name.replace("/", "_"): value for name, value in means.items()},
    }


def epochs_csv(rows: list[dict[str, float]]) -> str:
    """One row per epoch; what an epoch has not logged is an empty cell."""
    names = {name for row in rows for name in row}
    first = [name for name in FIRST_COLUMNS if name in names]
    others = sorted(names - {*first}, key=lambda name: (not name.startswith("val_"), name))
    columns = {name: [_short(name, row.get(name)) for row in rows] for name in (*first, *others)}
    return csv_text(pd.DataFrame(columns, dtype=object))


def _short(name: str, value: float | None) -> float | None:
    """Metrics with six significant digits, more than their noise; seconds with two decimals."""
    if value is None or isinstance(value, int):
        return value
    return round(value, 2) if name == "seconds" else float(f"{value:.6g}")
