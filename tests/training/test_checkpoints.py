"""Checkpoints: whole or not there, the weights that were validated, and what a training goes on from."""

import os
import tempfile
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.classifiers import config_of, prepare, settings
from helpers.crops import ON_CPU
from helpers.tiny_training import fit as fit_tiny
from pytorch_lightning.callbacks import EMAWeightAveraging

from gender_cls.config.parsing import parse_config
from gender_cls.config.train import Config
from gender_cls.errors import GenderClsError
from gender_cls.runs.run import Run
from gender_cls.training import checkpoints
from gender_cls.training.checkpoints import (
    KeepCheckpoints,
    WholeFiles,
    best_score,
    last_whole_checkpoint,
    read_checkpoint,
)
from gender_cls.training.classifier import GenderClassifier
from gender_cls.training.fit import fit
from gender_cls.training.load_checkpoint import load_classifier


@pytest.mark.parametrize("averaged", [False, True])
def test_the_best_checkpoint_has_the_weights_that_were_validated(tmp_path, averaged) -> None:
    run = Run(tmp_path)
    callbacks = [EMAWeightAveraging(decay=0.5)] if averaged else []
    plain = settings(recipe={"lr": 0.01, "warmup_epochs": 0}, trainer={"max_epochs": 1})
    options = {"size": (32, 16), "max_epochs": 1, "enable_checkpointing": True}
    fit_tiny(tmp_path, [*callbacks, KeepCheckpoints(run, "val/loss")], lambda: GenderClassifier(plain), **options)
    best, last = (torch.load(file, weights_only=True) for file in (run.best_checkpoint, run.last_checkpoint))
    torch.testing.assert_close(best["state_dict"], last["state_dict"], rtol=0, atol=0)
    assert not {"optimizer_states", "lr_schedulers", "current_model_state"} & best.keys()
    assert (best["epoch"], best["global_step"]) == (last["epoch"], last["global_step"]) == (0, 4)
    assert best["hyper_parameters"] == last["hyper_parameters"]
    assert best["score"] == best_score(run, parse_config(plain, Config)) > 0
    assert ("current_model_state" in last) == averaged
    if averaged:  # the average is not by chance what training went on with
        raw = last["current_model_state"]
        assert any(not torch.equal(value, raw[name]) for name, value in best["state_dict"].items())


def test_a_checkpoint_loads_when_the_files_that_its_configuration_names_are_gone(tmp_path: Path) -> None:
    table, checkpoint = tmp_path / "suspects.csv", tmp_path / "best.ckpt"
    table.touch()
    classifier = GenderClassifier(settings(data={"corrections": str(table)}))
    torch.save({"hyper_parameters": dict(classifier.hparams), "state_dict": classifier.state_dict()}, checkpoint)
    table.unlink()
    loaded = load_classifier(checkpoint)
    assert loaded.settings.data.corrections == str(table)
    assert loaded.layout is torch.channels_last


def test_weights_that_are_no_numbers_are_not_loaded(tmp_path: Path) -> None:
    classifier = GenderClassifier(settings())
    classifier.network.head.bias.data[0] = torch.nan
    content = {"hyper_parameters": dict(classifier.hparams), "state_dict": classifier.state_dict()}
    torch.save(content, tmp_path / "best.ckpt")
    with pytest.raises(GenderClsError, match=r"best\.ckpt holds weights that are infinite or nan \(head\.bias\)"):
        load_classifier(tmp_path / "best.ckpt")


@pytest.mark.parametrize("place", ["here", "/dev/shm"])
def test_a_checkpoint_that_cannot_be_finished_leaves_the_earlier_ones(place, tmp_path, monkeypatch) -> None:
    if place != "here" and (not os.access(place, os.W_OK) or os.stat(place).st_dev == tmp_path.stat().st_dev):
        pytest.skip("there is no second file system")
    with tempfile.TemporaryDirectory(dir=tmp_path if place == "here" else place) as folder:
        run = Run(Path(folder))
        run.checkpoints.mkdir()
        files = WholeFiles({run.last_checkpoint: run.previous_checkpoint})
        for epoch in range(3):
            files.save_checkpoint({"epoch": epoch}, run.last_checkpoint)
        assert torch.load(run.last_checkpoint) == {"epoch": 2}
        assert torch.load(run.previous_checkpoint) == {"epoch": 1}
        there: list[bool] = []
        with monkeypatch.context() as patched:
            patched.setattr(os, "fsync", lambda handle: there.append(run.last_checkpoint.exists()))
            files.save_checkpoint({"epoch": 2}, run.last_checkpoint)
        assert there == [True], "it is never without a name, however long the disk takes"
        (temporary := tmp_path / "temporary").mkdir()
        monkeypatch.setattr(tempfile, "tempdir", str(temporary))

        def stops_half_way(content: Any, file: Any) -> None:
            file.write(b"half")
            file.flush()
            assert len(list(run.checkpoints.iterdir())) == 2, "the new one is written here, without the oldest one"
            assert not list(temporary.iterdir())
            raise KeyboardInterrupt

        monkeypatch.setattr(checkpoints.torch, "save", stops_half_way)
        with pytest.raises(KeyboardInterrupt):
            files.save_checkpoint({"epoch": 3}, run.last_checkpoint)
        assert torch.load(run.last_checkpoint) == {"epoch": 2}
        assert [file.name for file in run.checkpoints.iterdir()] == ["last.ckpt"]


def flipped(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


def halved(content: bytes) -> bytes:
    return content[: len(content) // 2]


@pytest.mark.parametrize("damage", [flipped, halved, bytes.lower, lambda _: b""])
def test_a_damaged_last_checkpoint_is_set_aside_for_the_one_before(damage, tmp_path, caplog) -> None:
    run = Run(tmp_path)
    run.checkpoints.mkdir()
    state = {"weights": torch.zeros(10_000), "optimizer_states": []}
    torch.save({"epoch": 1, **state}, run.previous_checkpoint)
    torch.save({"epoch": 2, **state}, run.last_checkpoint)
    whole = run.last_checkpoint.read_bytes()
    assert last_whole_checkpoint(run)[0] == run.last_checkpoint
    run.last_checkpoint.write_bytes(damage(whole))
    file, content = last_whole_checkpoint(run)
    assert (file, content["epoch"]) == (run.previous_checkpoint, 1)
    assert all(words in caplog.text for words in ("last.ckpt is damaged", "last.ckpt.damaged", "which is older"))
    torch.save({"epoch": 1}, run.previous_checkpoint)  # weights alone, such as a copy of best.ckpt
    assert last_whole_checkpoint(run) is None
    with pytest.raises(GenderClsError, match=r"best\.ckpt is missing or damaged .*remove .*checkpoints"):
        best_score(run, config_of())


def test_the_best_checkpoint_of_another_training_is_refused(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.checkpoints.mkdir()
    saved = settings(recipe={"lr": 0.25})
    saved["data"]["root"] = "x"  # as an earlier version recorded it
    torch.save({"score": 0.5, "hyper_parameters": {"config": saved}}, run.best_checkpoint)
    assert best_score(run, config_of(tmp_path, recipe={"lr": 0.25}, data={"num_workers": 1})) == 0.5
    with pytest.raises(GenderClsError, match=r"best\.ckpt belongs to another .*: it has recipe\.lr=0\.25, .* has 0\.5"):
        best_score(run, config_of(tmp_path, recipe={"lr": 0.5}))


class Stop(Exception):
    pass


def test_a_run_that_was_moved_keeps_its_best_checkpoint_and_counts_all_sessions(folders, tmp_path, monkeypatch) -> None:
    config, prepared = config_of(folders, trainer={"max_epochs": 2}), prepare(folders)
    run, moved = Run(tmp_path / "run"), Run(tmp_path / "moved")
    run.folder.mkdir()
    real = GenderClassifier.on_train_epoch_start

    def stops(classifier: GenderClassifier) -> None:
        real(classifier)
        if classifier.current_epoch == 1:
            raise Stop

    monkeypatch.setattr(GenderClassifier, "on_train_epoch_start", stops)
    with pytest.raises(Stop):
        fit(config, run, prepared, ON_CPU, lambda *_: [])
    monkeypatch.undo()
    run.folder.rename(moved.folder)
    for file, changes in (
        (moved.best_checkpoint, {"score": 2.0}),  # which the second epoch cannot reach
        (moved.last_checkpoint, {"callbacks": {"KeepCheckpoints": {"seconds": 1000.045, "peak_memory": 1 << 50}}}),
    ):
        content = torch.load(file, weights_only=True)
        content["callbacks"] = {**content.get("callbacks", {}), **changes.pop("callbacks", {})}
        torch.save({**content, **changes}, file)
    fit(config, moved, prepared, ON_CPU, lambda *_: [])
    assert read_checkpoint(moved.last_checkpoint)["epoch"] == 1
    status = moved.status
    assert (status["best_epoch"], status["best_validation"]) == (1, 2.0)
    assert 1000.045 < status["fit_seconds"] < 1100, "5 ms of this session are enough to reach the next tenth"
    assert status["peak_memory_bytes"] == 1 << 50
    assert not moved.previous_checkpoint.exists()


@pytest.mark.parametrize("monitor", ["balanced_accuracy", "loss"])
def test_weights_that_become_nan_in_the_last_step_end_the_run(monitor, folders, tmp_path, monkeypatch) -> None:
    config = config_of(folders, trainer={"max_epochs": 1}, recipe={"monitor": monitor})
    real = GenderClassifier.on_train_batch_end

    def breaks(classifier: GenderClassifier, *arguments: Any) -> None:
        real(classifier, *arguments)
        if classifier.trainer.is_last_batch:
            classifier.network.head.weight.data[0, 0] = torch.nan

    monkeypatch.setattr(GenderClassifier, "on_train_batch_end", breaks)
    run = Run(tmp_path / "run")
    run.folder.mkdir()
    with pytest.raises(GenderClsError, match=r"weights head\.weight became infinite or nan in epoch 1"):
        fit(config, run, prepare(folders), ON_CPU, lambda *_: [])
    assert not run.best_checkpoint.exists()
    assert not run.last_checkpoint.exists()
