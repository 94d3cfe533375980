"""The best checkpoint holds the weights that were validated, and needs no other file."""

from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.classifiers import settings
from helpers.tiny_training import fit
from pytorch_lightning.callbacks import EMAWeightAveraging, ModelCheckpoint

from gender_cls.training.classifier import GenderClassifier
from gender_cls.training.load_checkpoint import load_classifier


def train(folder: Path, callbacks: list[Any]) -> list[dict[str, Any]]:
    """The content of a checkpoint without and of one with the optimizer."""
    keepers = [
        ModelCheckpoint(folder, "best", "val/loss", save_weights_only=True, enable_version_counter=False),
        ModelCheckpoint(folder, "last", enable_version_counter=False),
    ]
    plain = settings(recipe={"lr": 0.01, "warmup_epochs": 0}, trainer={"max_epochs": 1})
    options = {"size": (32, 16), "max_epochs": 1, "enable_checkpointing": True}
    fit(folder, [*callbacks, *keepers], lambda: GenderClassifier(plain), **options)
    return [torch.load(folder / f"{name}.ckpt", weights_only=True) for name in ("best", "last")]


@pytest.mark.parametrize("averaged", [False, True])
def test_the_best_checkpoint_has_the_weights_that_were_validated(tmp_path, averaged) -> None:
    best, last = train(tmp_path, [EMAWeightAveraging(decay=0.5)] if averaged else [])
    torch.testing.assert_close(best["state_dict"], last["state_dict"], rtol=0, atol=0)
    assert not {"optimizer_states", "lr_schedulers", "current_model_state"} & best.keys()
    assert (best["epoch"], best["global_step"]) == (last["epoch"], last["global_step"]) == (0, 4)
    assert best["hyper_parameters"] == last["hyper_parameters"]
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
