"""The table of epochs: its values, and that it stays true when a training is resumed."""

import math

import pandas as pd
import pytest
from helpers.classifiers import config_of, prepare
from helpers.crops import ON_CPU
from helpers.events import read_events

from gender_cls.runs.run import Run
from gender_cls.training.classifier import GenderClassifier
from gender_cls.training.epochs import epoch_line, epoch_row, epochs_csv
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

    scalars = read_events(run.folder).scalars
    for name in ("train/loss", "val/loss", "val/balanced_accuracy", "val/auroc"):
        curve = scalars[name.replace("train", "Train").replace("val", "Val")]
        assert after[name.replace("/", "_")].tolist() == pytest.approx(list(curve.values()), rel=1e-5), name
        assert after["step"].tolist() == list(curve)
    steps = math.ceil(len(prepared.manifest.table.query("split == 'train'")) / 8)
    assert after["step"].tolist() == [steps, 2 * steps, 3 * steps]
    assert (after["seconds"] > 0).all()
    assert after["learning_rate"].tolist()[0] > after["learning_rate"].tolist()[2] > 0


LOGGED = [(0.6931, 0.6902, 0.5), (0.5, 0.45, 0.79), (0.512, 0.4984, 0.7812)]


@pytest.mark.parametrize(
    ("monitor", "long", "short"),
    [
        (
            "balanced_accuracy",
            "epoch  3/20  train loss 0.512  val loss 0.498  val balanced accuracy 0.781  best 0.790 (epoch 2)  8.4 s",
            "epoch  3/20  loss 0.512, val 0.498  bal. acc. 0.781, best 0.790 (2)  8.4 s",
        ),
        (
            "loss",
            "epoch  3/20  train loss 0.512  val loss 0.498  val balanced accuracy 0.781  "
            "best val loss 0.450 (epoch 2)  8.4 s",
            "epoch  3/20  loss 0.512, val 0.498  bal. acc. 0.781, best loss 0.450 (2)  8.4 s",
        ),
        (
            "f1_MALE",
            "epoch  3/20  train loss 0.512  val loss 0.498  val f1 MALE 0.281  best 0.500 (epoch 1)  8.4 s",
            "epoch  3/20  loss 0.512, val 0.498  f1 MALE 0.281, best 0.500 (1)  8.4 s",
        ),
    ],
)
def test_the_line_of_an_epoch_names_its_numbers_and_the_best_so_far(monitor: str, long: str, short: str) -> None:
    rows = [
        epoch_row(number, 4 * number, 8.42, {
            "train/loss": train, "val/loss": val, "val/balanced_accuracy": score,
            "val/f1_MALE": 0.5 if number < 3 else 0.2812,  # the first of equal ones is the best
        })
        for number, (train, val, score) in enumerate(LOGGED, 1)
    ]  # fmt: skip
    assert epoch_line(rows, 20, monitor) == (long, short)
