"""When a run may go on from its last checkpoint."""

from pathlib import Path
from typing import Any

import pytest
import torch

from gender_cls.config.parsing import parse_config, to_plain
from gender_cls.config.train import Config
from gender_cls.errors import GenderClsError
from gender_cls.runs.run import Run
from gender_cls.system.resources import Resources
from gender_cls.training.resume import check_machine
from gender_cls.training.session import checkpoint_to_resume


def settings(**changes: Any) -> Config:
    data = {"root": "crops", "batch_size": 8, **changes.pop("data", {})}
    return parse_config({"data": data, "model": {"name": "a"}, **changes}, Config)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A run with a checkpoint of these settings, in the folder where commands are typed."""
    monkeypatch.chdir(tmp_path)
    run = Run(tmp_path / "run")
    assert checkpoint_to_resume(settings(), run) is None
    run.checkpoints.mkdir(parents=True)
    torch.save({"hyper_parameters": {"config": to_plain(settings())}, "optimizer_states": []}, run.last_checkpoint)
    run.note(resources={"device": "cpu", "precision": "32-true"})
    return run


def test_settings_that_change_no_result_may_differ(run: Run) -> None:
    others = {"trainer": {"threads": 1, "compile": True}, "explain": {"enabled": False}, "name": "other"}
    others |= {"tags": ["night"], "notes": "after the power cut"}
    others["trainer"] |= {"max_time": {"hours": 1}, "profiler": "simple", "deterministic": "warn"}
    assert checkpoint_to_resume(settings(**others), run) == run.last_checkpoint
    same_step = {"data": {"batch_size": 4}, "trainer": {"accumulate": 2}}
    assert checkpoint_to_resume(settings(**same_step), run) == run.last_checkpoint


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"recipe": {"lr": 0.5}}, "recipe.lr=0.001, not 0.5"),
        ({"data": {"limit": 40}}, "data.limit=None, not 40"),
        ({"data": {"root": "others"}}, "data.root="),
        ({"data": {"batch_size": 16}}, "8 images per step, not 16"),
        ({"trainer": {"max_epochs": 99}}, "trainer.max_epochs=20, not 99"),
        ({"trainer": {"limit_train_batches": 2}}, "trainer.limit_train_batches=None, not 2"),
        ({"trainer": {"max_epochs": 1}}, "trainer.max_epochs=20, not 1: "),
        ({"trainer": {"precision": "bf16-mixed"}}, "trainer.precision=32-true, not bf16-mixed"),
    ],
)
def test_other_settings_are_refused(run: Run, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(GenderClsError) as caught:
        checkpoint_to_resume(settings(**changes), run)
    assert words in str(caught.value)
    assert str(run.folder) in str(caught.value)


def test_paths_recorded_as_they_were_typed_are_the_same(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    recorded = to_plain(settings())
    recorded["data"]["root"] = "crops"
    torch.save({"hyper_parameters": {"config": recorded}, "optimizer_states": []}, run.last_checkpoint)
    assert checkpoint_to_resume(settings(), run) == run.last_checkpoint
    Path("crops").mkdir()
    with pytest.raises(GenderClsError, match=r"data\.root="):
        checkpoint_to_resume(settings(data={"root": str(run.folder)}), run)


def test_data_that_were_moved_are_read_again_to_see_whether_they_are_the_same(run: Run, tmp_path: Path) -> None:
    (tmp_path / "moved").mkdir()
    assert checkpoint_to_resume(settings(data={"root": "moved"}), run) == run.last_checkpoint
    (tmp_path / "crops").mkdir()
    with pytest.raises(GenderClsError, match=r"data\.root=.*crops, not .*moved"):
        checkpoint_to_resume(settings(data={"root": "moved"}), run)


def test_a_key_that_an_earlier_version_lacked_counts_as_its_default(run: Run) -> None:
    recorded = to_plain(settings())
    del recorded["recipe"]["optimizer"]
    torch.save({"hyper_parameters": {"config": recorded}, "optimizer_states": []}, run.last_checkpoint)
    assert checkpoint_to_resume(settings(), run) == run.last_checkpoint
    with pytest.raises(GenderClsError, match=r"recipe\.optimizer=adamw, not sgd"):
        checkpoint_to_resume(settings(recipe={"optimizer": "sgd"}), run)


def test_the_precision_counts_as_what_it_was_on_the_machine(run: Run, caplog) -> None:
    assert checkpoint_to_resume(settings(trainer={"precision": "32-true"}), run) == run.last_checkpoint
    with pytest.raises(GenderClsError, match=r"precision=32-true, not bf16-mixed"):
        check_machine(run, Resources("cpu", "bf16-mixed", 1, 0))
    check_machine(run, Resources("cpu", "32-true", 4, 2))
    assert not caplog.text
    check_machine(run, Resources("cuda", "32-true", 4, 2))
    assert "was trained on cpu so far and continues on cuda" in caplog.text
