"""The table of epochs: its values, and that it stays true when a training is resumed."""

import math

import pandas as pd
import pytest
from helpers.classifiers import config_of, prepare
from helpers.crops import ON_CPU
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from gender_cls.runs.run import Run
from gender_cls.training.classifier import GenderClassifier
from gender_cls.training.epochs import epoch_row, epochs_csv
from gender_cls.training.fit import fit


def test_a_row_holds_what_was_logged_and_the_highest_learning_rate() -> None:
    first = {"val/auroc": 0.75, "train/loss": 0.123456789, "train/loss_step": 9.0, "val/loss": 2.0, "lr/head": 1e-3}
    second = {"train/loss": 0.1, "val/loss": 1e-9, "val/auroc": 1.0, "speed/x": 123456.7, "lr/a": 2e-4, "lr/head": 1e-4}
    rows = [epoch_row(1, 4, 8.456, first), epoch_row(2, 8, 7.0, second)]
    assert epochs_csv(rows) == (
        "epoch,step,seconds,learning_rate,train_loss,val_loss,val_auroc,speed_x\n"
        "1,4,8.46,0.001,0.123457,2.0,0.75,\n"
        "2,8,7.0,0.0002,0.1,1e-09,1.0,123457.0\n"
    )


class Stop(Exception):
    pass


@pytest.mark.parametrize("hook", ["on_train_epoch_start", "on_save_checkpoint"])
def test_a_resumed_training_replaces_the_rows_of_epochs_that_it_trains_again(
    hook, folders, tmp_path, monkeypatch
) -> None:
    """Stopped in the third epoch, or after its row was written but before its checkpoint was."""
    config, prepared, run = config_of(folders, trainer={"max_epochs": 3}), prepare(folders), Run(tmp_path / "run")
    run.folder.mkdir()
    real = getattr(GenderClassifier, hook)

    def stops(classifier: GenderClassifier, *arguments) -> None:
        real(classifier, *arguments)
        if classifier.current_epoch == 2:
            raise Stop

    monkeypatch.setattr(GenderClassifier, hook, stops)
    with pytest.raises(Stop):
        fit(config, run, prepared, ON_CPU, lambda *_: [])
    monkeypatch.undo()
    before = pd.read_csv(run.epochs)
    assert before["epoch"].tolist() == ([1, 2] if hook == "on_train_epoch_start" else [1, 2, 3])
    fit(config, run, prepared, ON_CPU, lambda *_: [])
    after = pd.read_csv(run.epochs)
    assert after["epoch"].tolist() == [1, 2, 3]
    pd.testing.assert_frame_equal(after[:2], before[:2])

    events = EventAccumulator(str(run.folder))
    events.Reload()
    for name in ("train/loss", "val/loss", "val/balanced_accuracy", "val/auroc"):
        curve = {event.step: event.value for event in events.Scalars(name)}  # the last value of a step counts
        assert after[name.replace("/", "_")].tolist() == pytest.approx(list(curve.values()), rel=1e-5), name
    steps = math.ceil(len(prepared.manifest.table.query("split == 'train'")) / 8)
    assert after["step"].tolist() == [steps, 2 * steps, 3 * steps]
    assert (after["seconds"] > 0).all()
    assert after["learning_rate"].tolist()[0] > after["learning_rate"].tolist()[2] > 0
