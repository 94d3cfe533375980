"""What an experiment was, from hand-made files of a run."""

import json
from pathlib import Path
from typing import Any

import pytest
from helpers.comparing import write_yaml

from gender_cls.pages.experiment import experiment_facts
from gender_cls.runs.run import Run

SETTINGS: dict[str, Any] = {
    "seed": 0,
    "data": {"image_size": [256, 128], "resize_mode": "stretch", "split_by": "identity", "split_seed": 3},
    "model": {"library": "timm", "name": "mobilenetv2_100", "pretrained": True, "weights": None},
    "augment": {"flip": 0.5, "blur": 0.0},
    "recipe": {"lr": 0.0005},
    "trainer": {"max_epochs": 8},
}
DATA = {
    "root": "/data/crops",
    "split_origin": "made",
    "missing_splits": [],
    "leaky": False,
    "train": {"images": 1200, "identities": 70, "FEMALE": 500, "MALE": 700},
    "val": {"images": 96, "identities": 1, "FEMALE": 48, "MALE": 48},
    "test": {"images": 84, "identities": 0, "FEMALE": 42, "MALE": 42},
}
STATUS = {
    "model": "timm/mobilenetv2_100",
    "started": "2026-11-30T07:40:09+00:00",
    "best_epoch": 3,
    "batch": {"size": 16, "accumulate": 2},
    "resources": {"device": "cpu", "precision": "bf16-mixed"},
    "environment": {"gender_cls": "0.1.0", "torch": "2.14.1", "timm": "1.0.31", "commit": "0123456789ab"},
}


def run_at(folder: Path, **changes: dict[str, Any]) -> Run:
    """A run with these files; `changes` replaces single values in a section of the settings, in `data` or `status`."""
    settings = {
        key: value | changes.get(key + "_settings", {}) if isinstance(value, dict) else value
        for key, value in SETTINGS.items()
    }
    run = Run(folder)
    (run.folder / ".hydra").mkdir(parents=True)
    write_yaml(run.config_file, settings)
    choices = {"data": "peta", "recipe": "finetune", "augment": "light"} | changes.get("choices", {})
    write_yaml(run.config_file.with_name("hydra.yaml"), {"hydra": {"runtime": {"choices": choices}}})
    run.data_file.write_text(json.dumps(DATA | changes.get("data", {})))
    run.status_file.write_text(json.dumps(STATUS | changes.get("status", {})))
    return run


def test_facts_are_those_of_the_files(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    command = {"overrides": ["data=peta", "name=a b"], "multirun": False, "directory": "/"}
    (tmp_path / "run" / "command.json").write_text(json.dumps(command))
    assert experiment_facts(run_at(tmp_path / "run")) == [
        ("dataset", "peta, in /data/crops"),
        ("train", "1,200 images of 70 people: 500 FEMALE, 700 MALE"),
        ("validation", "96 images of 1 person: 48 FEMALE, 48 MALE"),
        ("test", "84 images: 42 FEMALE, 42 MALE"),
        ("split", "made by person, split seed 3"),
        ("model", "timm/mobilenetv2_100"),
        ("weights", "pretrained, from timm"),
        ("image size", "256 x 128 (height x width), stretch"),
        ("recipe", "finetune"),
        ("epochs", "at most 8"),
        ("best epoch", "3, by validation"),
        ("learning rate", "0.0005"),
        ("batch", "16, 2 of them to a step"),
        ("augmentation", "light"),
        ("seed", "0"),
        ("computed", "cpu, bf16-mixed"),
        ("command", "python -m gender_cls.train data=peta 'name=a b'"),
        ("version", "gender_cls 0.1.0, torch 2.14.1, timm 1.0.31"),
        ("git commit", "0123456789ab"),
        ("started", "2026-11-30 07:40"),
    ]


def test_a_job_of_a_sweep_tells_the_command_of_the_sweep_and_a_run_not_that_of_its_parent(tmp_path: Path) -> None:
    run, file = run_at(tmp_path / "0_job"), tmp_path / "command.json"
    assert "command" not in dict(experiment_facts(run))
    for multirun, expected in ((True, "python -m gender_cls.train -m seed=0,1"), (False, None)):
        file.write_text(json.dumps({"overrides": ["seed=0,1"], "multirun": multirun, "directory": "/"}))
        assert dict(experiment_facts(run)).get("command") == expected


@pytest.mark.parametrize(
    ("changes", "name", "expected"),
    [
        ({"data": {"leaky": True}}, "split", "made by person, split seed 3; it leaks"),
        (
            {"data_settings": {"split_by": "source", "leave_out": "PRID"}},
            "split",
            "made by source, split seed 3, test is source PRID",
        ),
        (
            {"data_settings": {"split_by": "source", "leave_out": "PRID", "val_by": "source"}},
            "split",
            "made by source, split seed 3, test is source PRID, validation is whole sources",
        ),
        (
            {"data_settings": {"folds": 5, "fold": 0}},
            "split",
            "made by person, split seed 3, test is fold 0 of 5 (counted from 0)",
        ),
        (
            {"data": {"split_origin": "published", "missing_splits": ["val"]}, "data_settings": {"published_split": 1}},
            "split",
            "published with the data (1), but validation taken from train (split seed 3)",
        ),
        ({"model_settings": {"pretrained": False}}, "weights", "random"),
        ({"model_settings": {"weights": "/a/net.safetensors"}}, "weights", "net.safetensors"),
        ({"choices": {"data": "folders"}}, "dataset", "/data/crops"),
        ({"status": {"best_epoch": None}}, "epochs", "at most 8"),
        ({"status": {"ended": "by trainer.max_time=00:01:00:00"}}, "ended", "by trainer.max_time=00:01:00:00"),
        ({"trainer_settings": {"limit_val_batches": 2}}, "debugging run", "trainer.limit_val_batches=2"),
        (
            {"recipe_settings": {"optimizer": "sgd", "momentum": 0.5, "optimizer_options": {"nesterov": False}}},
            "optimizer",
            "sgd, momentum 0.5, nesterov False",
        ),
    ],
)  # fmt: skip
def test_one_fact_for_one_setting(changes: dict[str, Any], name: str, expected: str, tmp_path: Path) -> None:
    assert dict(experiment_facts(run_at(tmp_path, **changes)))[name] == expected


def test_tags_and_notes_are_facts(tmp_path: Path) -> None:
    run = run_at(tmp_path)
    write_yaml(run.config_file, {**run.settings, "tags": ["night", "second try"], "notes": "With the new lens."})
    facts = dict(experiment_facts(run))
    assert (facts["tags"], facts["notes"]) == ("night, second try", "With the new lens.")


def test_a_run_that_hydra_did_not_start_lists_its_augmentations(tmp_path: Path) -> None:
    run = run_at(tmp_path)
    run.config_file.with_name("hydra.yaml").unlink()
    assert dict(experiment_facts(run))["augmentation"] == "flip 0.5"
    assert "recipe" not in dict(experiment_facts(run))


def test_an_empty_folder_has_no_facts(tmp_path: Path) -> None:
    assert experiment_facts(Run(tmp_path)) == []
