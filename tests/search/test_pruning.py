"""The callback ends a hopeless trial, also one that was killed before its end was noted."""

from pathlib import Path

import torch
from helpers.classifiers import batches, trainer_for
from helpers.searching import search_config, write_trial
from helpers.tiny_training import Tiny

from gender_cls.runs.run import Run
from gender_cls.search.pruning import Pruning
from gender_cls.search.study import keep_search, search_of

VALUES = {"recipe.lr": 0.01, "recipe.weight_decay": 0.5, "recipe.frozen_epochs": 0}


class Scored(Tiny):
    """Validates with 0.6 in every epoch."""

    def on_validation_epoch_end(self) -> None:
        self.log("val/balanced_accuracy", torch.tensor(0.6))


def test_a_hopeless_trial_stops_and_stays_stopped(tmp_path: Path) -> None:
    config = search_config()
    keep_search(search_of(config), tmp_path)
    for number in range(5):  # the medians are 0.6, 0.6, 0.6, 0.7
        write_trial(tmp_path, number, VALUES, [0.6, 0.6, 0.6, 0.7, 0.8, 0.9])
    run = Run(write_trial(tmp_path, 7, VALUES, state="running"))
    checkpoint = tmp_path / "last.ckpt"

    def train(resumed: Path | None = None) -> int:
        trainer = trainer_for(max_epochs=6, callbacks=[Pruning(config, run, number=7)])
        trainer.fit(Scored(), batches(4), batches(4), ckpt_path=resumed)
        trainer.save_checkpoint(checkpoint)
        return int(trainer.current_epoch)

    assert train() == 4
    assert run.status["pruned"] == 4
    run.note(pruned=None)  # as if it had been killed before
    assert train(checkpoint) == 4, "no further epoch"
    assert run.status["pruned"] == 4
