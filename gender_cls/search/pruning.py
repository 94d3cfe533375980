"""The callback that ends a trial which is worse than most, and all callbacks that later rooms add to a training."""

from typing import Any

from pytorch_lightning import Callback, LightningModule, Trainer

from gender_cls.config.train import Config
from gender_cls.data.datamodule import CropDataModule
from gender_cls.explain.callback import explain_callbacks
from gender_cls.runs.run import Run
from gender_cls.search.optimiser import first_epoch_to_prune, is_hopeless
from gender_cls.search.study import read_search, read_trials
from gender_cls.training.classifier import GenderClassifier


def training_callbacks(
    config: Config, run: Run, classifier: GenderClassifier, datamodule: CropDataModule
) -> list[Callback]:
    """Explanations, and in a search the pruning of trials."""
    callbacks = list(explain_callbacks(config, run, classifier, datamodule))
    number = config.search.trial
    return callbacks if number is None or not config.search.prune else [*callbacks, Pruning(config, run, number)]


class Pruning(Callback):
    """Stops the training of a hopeless trial after an epoch, and notes the epoch as `pruned` in its `status.json`.

    The scores are kept in the checkpoints, so a resumed trial is judged as if it had never stopped.

    Args:
        number: of the trial, from 0.
    """

    def __init__(self, config: Config, run: Run, number: int) -> None:
        self.config, self.run, self.number = config, run, number
        self.scores: list[float] = []

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Judge the epochs of an earlier session, which may have been killed between the judgement and its end."""
        self._judge(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Judge the epoch, which has been validated."""
        self.scores.append(float(trainer.callback_metrics[f"val/{self.config.recipe.monitor}"]))
        self._judge(trainer)

    def _judge(self, trainer: Trainer) -> None:
        epoch, first = len(self.scores), first_epoch_to_prune(self.config)
        if not first <= epoch < self.config.trainer.max_epochs:
            return
        sweep = self.run.folder.parents[1]
        search = read_search(sweep)
        assert search is not None, "the command writes it before the trials"
        hopeless = is_hopeless(search, read_trials(sweep, search), self.number, self.scores, first)
        if trainer.strategy.reduce_boolean_decision(hopeless, all=False):  # processes read at different moments
            trainer.should_stop = True
            if trainer.is_global_zero:
                self.run.note(pruned=epoch)

    def state_dict(self) -> dict[str, Any]:
        """The scores so far."""
        return {"scores": self.scores}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Count on from an earlier session."""
        self.scores = [*state_dict["scores"]]
