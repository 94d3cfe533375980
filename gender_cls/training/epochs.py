"""The metrics of every epoch: a row of `epochs.csv` and a line on the screen and in `train.log`."""

import logging
import math
import time
from typing import Any, cast

import pandas as pd
from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.callbacks import Checkpoint

from gender_cls.data.csv_text import csv_text
from gender_cls.runs.files import write_atomically
from gender_cls.runs.run import Run
from gender_cls.system.progress import Work
from gender_cls.training.classifier import GenderClassifier

log = logging.getLogger(__name__)

FIRST_COLUMNS = (
    "epoch", "step", "seconds", "learning_rate", "train_loss", "val_loss", "val_balanced_accuracy", "val_auroc",
)  # fmt: skip


class EpochTable(Checkpoint):
    """After each epoch, adds a row to `epochs.csv` with all that Lightning logged for it, and logs a line.

    Its rows are kept in the checkpoints too. So a resumed training continues with the rows of those epochs that it
    does not train again. It must come before the callback that saves them. (Lightning calls a `Checkpoint` last, when
    the metrics of the epoch are complete.)

    Args:
        monitor: the validation metric that chooses the checkpoint, such as `balanced_accuracy`.
    """

    def __init__(self, run: Run, monitor: str) -> None:
        self.run, self.monitor = run, monitor
        self.rows: list[dict[str, float]] = []

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Note how long a validation in the middle of an epoch took, which is no time of training."""
        classifier = cast(GenderClassifier, pl_module)
        if classifier.totals.images and not trainer.is_last_batch:
            classifier.paused += time.perf_counter() - classifier.last_batch_ended

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the table with the new row; the epoch has been validated."""
        seconds = time.perf_counter() - cast(GenderClassifier, pl_module).epoch_began
        logged = {name: float(value) for name, value in trainer.callback_metrics.items()}
        self.rows.append(epoch_row(trainer.current_epoch + 1, trainer.global_step, seconds, logged))
        if not trainer.is_global_zero:
            return
        write_atomically(self.run.epochs, epochs_csv(self.rows))
        line, narrow = epoch_line(self.rows, trainer.max_epochs or 0, self.monitor)
        log.info(line, extra={"narrow": narrow})

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
        logged: metrics by the names that they are logged with. Of the learning rates (`lr/...`) the highest counts.
    """
    rates = [value for name, value in logged.items() if name.startswith("lr/")]
    others = ("train/loss_step", "step")
    means = {name: value for name, value in logged.items() if not name.startswith("lr/") and name not in others}
    return {
        **{"epoch": epoch, "step": step, "seconds": seconds},
        **({"learning_rate": max(rates)} if rates else {}),
        **{name.replace("/", "_"): value for name, value in means.items()},
    }


def epoch_line(rows: list[dict[str, float]], epochs: int, monitor: str) -> tuple[str, str]:
    """What the last row says, in one line, and the same shorter.

    `epoch 3/20  train loss 0.512  val loss 0.498  val balanced accuracy 0.781  best 0.790 (epoch 2)  8.4 s`
    """
    row, key = rows[-1], f"val_{monitor}"
    best = (min if monitor == "loss" else max)(rows, key=lambda one: one[key])  # the first one of equal ones
    shown = "balanced_accuracy" if monitor == "loss" else monitor
    long, short = shown.replace("_", " "), shown.replace("balanced_accuracy", "bal. acc.").replace("_", " ")
    of, of_val = ("loss ", "val loss ") if monitor == "loss" else ("", "")
    number = f"epoch {row['epoch']:{len(str(epochs))}}/{epochs}"
    train, val, score = row["train_loss"], row["val_loss"], row[f"val_{shown}"]
    return (
        f"{number}  train loss {train:.3f}  val loss {val:.3f}  val {long} {score:.3f}  "
        f"best {of_val}{best[key]:.3f} (epoch {best['epoch']})  {row['seconds']:.1f} s"
    ), (
        f"{number}  loss {train:.3f}, val {val:.3f}  {short} {score:.3f}, best {of}{best[key]:.3f} "
        f"({best['epoch']})  {row['seconds']:.1f} s"
    )


class EpochProgress(Callback):
    """Moves the line that shows how far the epoch is; epochs count from 1."""

    def __init__(self, work: Work) -> None:
        self._work = work

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """A new bar. Each epoch ends with a line of its own, so only a long one says in between how far it is."""
        self._turn_to("", trainer, trainer.num_training_batches)

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        """One batch further. The loss is read in those steps that are logged: reading it makes a GPU wait."""
        self._work.advance()
        if trainer.global_step % trainer.log_every_n_steps == 0:  # type: ignore[attr-defined]  # Lightning sets it
            loss = float(trainer.callback_metrics.get("train/loss_step", math.nan))
            self._work.what = f"Epoch {trainer.current_epoch + 1}/{trainer.max_epochs}, loss {loss:.3f}"

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """A bar for the validation of the epoch."""
        self._turn_to(", validation", trainer, sum(map(int, trainer.num_val_batches)))

    def on_validation_batch_end(self, *_: Any) -> None:
        """One batch further."""
        self._work.advance()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """What follows has no batches: the maps of the probe images, and saving the checkpoints."""
        self._turn_to(", maps and checkpoints", trainer, None)

    def _turn_to(self, part: str, trainer: Trainer, total: int | float | None) -> None:
        epoch = f"Epoch {trainer.current_epoch + 1}/{trainer.max_epochs}{part}"
        self._work.turn_to(epoch, None if total is None else int(total), "batches", first_line=30.0)


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
