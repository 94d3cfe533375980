"""Stop a training between two steps when a scheduler's signal asks for it, and go on from there to the same numbers."""

import logging
import signal
import time
from contextlib import ExitStack
from typing import Any, cast

import torch
import torch.distributed as group
from lightning_fabric.utilities import move_data_to_device
from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.callbacks import EarlyStopping

from gender_cls.runs.run import Run
from gender_cls.system.signals import NotedStop, Stopped, noting_stops
from gender_cls.training import ranks
from gender_cls.training.classifier import GenderClassifier

log = logging.getLogger(__name__)


class Preemption(Callback):
    """Writes `last.ckpt` after the current step when a signal asks to stop, and raises Stopped.

    A validation ends early, and the resumed run makes it again: of the training itself, no step is lost. All ranks stop
    at the same step, whichever of them got the signal.

    The position in an epoch is counted in optimizer steps, because a resumed run may cut them into other batches. The
    callback must stand after those that change weights at the end of a validation.
    """

    def __init__(self, run: Run) -> None:
        self.run = run
        self._begun: dict[str, Any] | None = None  # of the epoch in whose middle the checkpoint is written
        self._resumed = False
        self._noting = ExitStack()
        self._stop = NotedStop()
        self._agreement = Agreement()

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Train no further if early stopping had ended the training, which Lightning forgets."""
        for callback in trainer.callbacks:  # type: ignore[attr-defined]  # Lightning sets it from another class
            if self._resumed and isinstance(callback, EarlyStopping) and callback.wait_count >= callback.patience:
                trainer.should_stop = True

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Note signals from here on, and go on in the middle of an epoch if the checkpoint was written there."""
        self._stop = self._noting.enter_context(noting_stops())
        self._shared_batches = self._agreement.least(int(sum(trainer.num_val_batches)))
        begun, self._begun = self._begun, None
        if begun is not None:
            _go_on(trainer, cast(GenderClassifier, pl_module), begun)
        if self._resumed and trainer.is_global_zero:
            part = "the validation of " if begun is not None and begun["steps"] is None else ""
            log.info(
                f"Training goes on with {part}epoch {trainer.current_epoch + 1}, after step {trainer.global_step}."
            )

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop if it was asked at the end of the epoch before, whose checkpoint is written."""
        if self._is_asked(at_once=True):
            self._end(trainer)

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Stop between two steps."""
        steps, batches = divmod(batch_idx, trainer.accumulate_grad_batches)
        if steps > 0 and batches == 0 and self._is_asked():
            classifier = cast(GenderClassifier, pl_module)
            classifier.totals.sum_over_ranks()
            self._keep(trainer, classifier, steps, time.perf_counter())

    def on_validation_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """End a validation early, but not one in the middle of an epoch: the next step is soon."""
        if trainer.is_last_batch and batch_idx < self._shared_batches and self._is_asked():
            raise StopIteration  # as if there were no more batches, so that all callbacks clean up

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop before this validation counts anywhere; the other ranks wait here for explanations of rank 0."""
        if trainer.is_last_batch and self._is_asked(at_once=True):
            classifier = cast(GenderClassifier, pl_module)
            self._keep(trainer, classifier, None, classifier.last_batch_ended)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop if it was asked at the end of the last epoch."""
        if self._is_asked(at_once=True):
            self._end(trainer)
        self._noting.close()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Raise stops at once again, as before the training."""
        self._noting.close()

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Let a checkpoint from the middle of an epoch look to Lightning like one from between two batches."""
        self._resumed = True
        begun = checkpoint["callbacks"].get(self.state_key, {}).get("begun")
        if begun is None:
            return
        loops = checkpoint["loops"]["fit_loop"]
        total = loops["epoch_loop.batch_progress"]["total"]
        total.update(dict.fromkeys(total, total["completed"]))
        if begun["steps"] is None:  # one validation batch has been started: Lightning validates before it trains
            validated = loops["epoch_loop.val_loop.batch_progress"]
            validated["total"].update(ready=1, started=1, processed=0, completed=0)
            validated["current"].update(dict.fromkeys(validated["current"], 0))

    def state_dict(self) -> dict[str, Any]:
        """What only a checkpoint from the middle of an epoch needs."""
        return {"begun": self._begun}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Keep it until training starts."""
        self._begun = state_dict["begun"]

    def _is_asked(self, at_once: bool = False) -> bool:
        """Whether a rank was asked to stop; all of them must call this, and get the same answer."""
        number = self._agreement.most(self._stop.signal or 0, at_once)
        if number:
            self._stop.note(number)
        return number > 0

    def _keep(self, trainer: Trainer, classifier: GenderClassifier, steps: int | None, now: float) -> None:
        """Write `last.ckpt` after this many steps of the epoch; None: all, and the validation is to be made."""
        self._begun = {
            "steps": steps,
            "seconds": now - classifier.epoch_began,
            "totals": classifier.totals.state_dict(),  # of all ranks
            "on_features": classifier.on_features,
            "logged": {name: value.clone() for name, value in trainer.callback_metrics.items()},
        }
        trainer.save_checkpoint(self.run.last_checkpoint, weights_only=False)
        self._end(trainer)

    def _end(self, trainer: Trainer) -> None:
        number = self._stop.signal
        assert number is not None
        if trainer.is_global_zero:
            where = f"step {trainer.global_step}, in epoch {trainer.current_epoch + 1}"
            log.info(f"{signal.Signals(number).name}: {self.run.last_checkpoint} holds the training up to {where}.")
        raise Stopped(number)


def _go_on(trainer: Trainer, classifier: GenderClassifier, begun: dict[str, Any]) -> None:
    """Do what Lightning leaves out when it begins in the middle of an epoch."""
    steps = begun["steps"]
    current = trainer.fit_loop.epoch_loop.batch_progress.current
    batches = trainer.num_training_batches if steps is None else steps * trainer.accumulate_grad_batches
    current.load_state_dict(dict.fromkeys(vars(current), int(batches)))
    if steps is not None and trainer.val_check_batch and batches % trainer.val_check_batch == 0:
        # After a validation in the middle of an epoch, Lightning first makes a turn without a batch, and counts it.
        trainer.fit_loop.epoch_loop._batches_that_stepped -= 1
    for callback in trainer.callbacks:  # type: ignore[attr-defined]  # Lightning sets it from another class
        callback.on_train_epoch_start(trainer, classifier)
    classifier.on_train_epoch_start()
    classifier.last_batch_ended = time.perf_counter()
    classifier.epoch_began = classifier.last_batch_ended - begun["seconds"]
    classifier.on_features = begun["on_features"]
    if steps is None or trainer.is_global_zero:  # sums over ranks are still made at the end of the epoch
        classifier.totals.load_state_dict(move_data_to_device(begun["totals"], classifier.device))
    trainer.callback_metrics.update(begun["logged"])
    trainer.train_dataloader.batch_sampler.skip = steps or 0  # type: ignore[union-attr]  # it is that of StepBatchSampler


class Agreement:
    """Numbers that all ranks know. No GPU waits for them."""

    def __init__(self) -> None:
        self._earlier: tuple[group.Work, torch.Tensor] | None = None

    def most(self, number: int, at_once: bool = False) -> int:
        """The largest number that a rank gave in the call before this one, or in this one if `at_once`."""
        if ranks.number() == 1:
            return number
        given = torch.tensor(number)
        work = group.all_reduce(given, group.ReduceOp.MAX, async_op=True)
        assert work is not None
        asked, self._earlier = self._earlier, (work, given)
        if at_once:
            asked, self._earlier = self._earlier, None
        if asked is None:
            return 0
        asked[0].wait()
        return int(asked[1])

    def least(self, number: int) -> int:
        """The smallest number that a rank gives."""
        return -self.most(-number, at_once=True)
