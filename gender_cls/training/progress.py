"""The progress bar, drawn often enough for the eye."""

import time
from typing import Any

from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import TQDMProgressBar

PACE = 1.0  # seconds between drawings


class PacedProgressBar(TQDMProgressBar):
    """Lightning's own, which redraws after every batch; here at most once in `PACE`, and at an epoch's two ends."""

    _drawn = 0.0

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Draw if it is time."""
        if self._is_time() or batch_idx == 0 or batch_idx + 1 == trainer.num_training_batches:
            super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Draw if it is time."""
        if self._is_time():
            super().on_validation_batch_end(trainer, pl_module, outputs, batch, batch_idx, dataloader_idx)

    def _is_time(self) -> bool:
        now = time.monotonic()
        if now - self._drawn < PACE:
            return False
        self._drawn = now
        return True
