"""Weights of a sweep and of a run: found, fetched or refused before anything else is done."""

import json
import sys
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import huggingface_hub
import pytest
import timm
from helpers.commands import SMALL, command
from helpers.stub_job import ending_quietly
from helpers.weight_caches import as_pth, as_safetensors, put_in_hub_cache

from gender_cls import train as train_module
from gender_cls.cli import weights as weights_module
from gender_cls.cli.command import run_command
from gender_cls.cli.weights import have_weights, with_weights_file
from gender_cls.config.model import Library, ModelConfig
from gender_cls.config.parsing import recorded_config
from gender_cls.config.train import Config
from gender_cls.errors import GenderClsError
from gender_cls.models.published_weights import UnavailableError
from gender_cls.runs.run import Run
from gender_cls.train import choose_folder, refuse_early, sweeps

BOTH = ["model=timm", "model.name=test_resnet,test_vit"]


@pytest.fixture
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The hub's cache, which is empty, without a network; `crops` is there."""
    monkeypatch.chdir(tmp_path)
    for label in ("MALE", "FEMALE"):
        (tmp_path / "crops" / label).mkdir(parents=True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")  # the command sets it, which is to be undone
    return tmp_path / "hub"


def sweep(monkeypatch: pytest.MonkeyPatch, *arguments: str, job: Any = None) -> tuple[list[str], str]:
    """The models of the jobs that began, and the sentence that the command ended with."""
    began: list[str] = []

    def note(config: Config) -> float:
        began.append(str(config.model.name))
        return 0.5

    monkeypatch.setattr(sys, "argv", ["train", "-m", "data.root=crops", *arguments])
    monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)
    try:
        run_command(
            job or note, "train", Config, before=refuse_early, claim=choose_folder, sweeps=sweeps,
            around=ending_quietly, when_interrupted="",
        )  # fmt: skip
    except SystemExit as ended:
        return began, str(ended.code)
    return began, ""


def test_a_sweep_is_refused_before_it_begins_with_all_models_that_have_no_weights(
    offline: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    put_in_hub_cache(
        offline, "timm/test_efficientnet.r160_in1k", as_safetensors(timm.create_model("test_efficientnet"))
    )
    began, sentence = sweep(monkeypatch, "model=timm", "model.name=test_resnet,test_vit,test_efficientnet")
    for words in ("of 2 models", "timm/test_resnet ", "timm/test_vit ", "HF_HUB_OFFLINE", "model.weights=FOLDER"):
        assert words in sentence
    assert "model.pretrained=false" in sentence
    assert "test_efficientnet" not in sentence
    assert "\n" not in sentence
    assert began == []
    assert not (tmp_path / "outputs").exists()


def test_a_sweep_begins_when_all_weights_are_there(offline: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("test_resnet", "test_vit"):
        put_in_hub_cache(offline, f"timm/{name}.r160_in1k", as_safetensors(timm.create_model(name)))
    assert sweep(monkeypatch, *BOTH) == (["test_resnet", "test_vit"], "")


def test_models_without_published_weights_start_no_process(offline: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights_module, "_fetch_in_child", Mock(side_effect=AssertionError))
    assert sweep(monkeypatch, "model=custom_cnn", "seed=0,1") == (["custom_cnn", "custom_cnn"], "")
    assert sweep(monkeypatch, *BOTH, "model.pretrained=false") == (["test_resnet", "test_vit"], "")


def test_a_search_asks_for_its_weights_too(offline: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("optuna")
    began, sentence = sweep(monkeypatch, "model=timm", "model.name=test_vit", "search=optuna", "search.trials=2")
    assert began == []
    assert "timm/test_vit" in sentence


def test_jobs_with_checkpoints_need_no_weights(offline: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    folder = tmp_path / "outputs" / "sweeps" / "begun"
    (folder / "0_timm_name-test_resnet" / "checkpoints").mkdir(parents=True)
    (folder / "0_timm_name-test_resnet" / "checkpoints" / "last.ckpt").touch()
    (folder / "1_timm_name-test_vit").mkdir()
    (folder / "1_timm_name-test_vit" / "status.json").write_text(json.dumps({"fitted": True}))
    (folder / "command.json").write_text(json.dumps({"multirun": True, "overrides": []}))
    again = [*BOTH, "name=begun", "trainer.resume=true"]
    assert sweep(monkeypatch, *again) == (["test_resnet", "test_vit"], "")
    (folder / "1_timm_name-test_vit" / "status.json").unlink()
    began, sentence = sweep(monkeypatch, *again)
    assert began == []
    assert "timm/test_vit " in sentence
    assert "test_resnet" not in sentence


@pytest.mark.parametrize("place", [0, 1])
def test_the_first_of_several_machines_fetches(
    offline: Path, monkeypatch: pytest.MonkeyPatch, place: int, tmp_path: Path
) -> None:
    for name, value in {"STEP_ID": 0, "STEP_NUM_NODES": 2, "NODEID": place, "STEP_NUM_TASKS": 2, "JOB_ID": 1}.items():
        monkeypatch.setenv(f"SLURM_{name}", str(value))
    fetch = Mock()
    monkeypatch.setattr(weights_module, "_fetch_in_child", fetch)
    monkeypatch.setattr(sys, "argv", ["train", "-m", "data.root=crops", *BOTH, "trainer.num_nodes=2"])
    claim = Mock(side_effect=GenderClsError("that is all"))
    with pytest.raises(SystemExit, match="that is all"):
        run_command(print, "train", Config, before=refuse_early, claim=claim, when_interrupted="")
    assert fetch.call_count == (1 if place == 0 else 0)


def test_each_job_finds_its_file_in_a_folder_and_records_it(tmp_path: Path, folders: Path) -> None:
    weights = tmp_path / "weights"
    weights.mkdir()
    (weights / "test_resnet.safetensors").write_bytes(as_safetensors(timm.create_model("test_resnet")))
    (weights / "test_vit_mine.pth").write_bytes(as_pth(timm.create_model("test_vit")))
    arguments = [one for one in SMALL if not one.startswith(("model=", "explain"))]
    command(
        "train", "-m", f"data.root={folders}", *arguments, *BOTH, f"model.weights={weights}", "name=two", "explain=off",
        "trainer.max_epochs=1", "evaluation.test=false", "data.image_size=[32,32]", cwd=tmp_path,
    )  # fmt: skip
    used = {}
    for folder in sorted((tmp_path / "outputs" / "sweeps" / "two").glob("*_timm_*")):
        assert Run(folder).finished
        used[folder.name] = Path(str(recorded_config(Run(folder).config_file).model.weights)).name
    assert used == {"0_timm_name-test_resnet": "test_resnet.safetensors", "1_timm_name-test_vit": "test_vit_mine.pth"}


def test_all_files_of_a_folder_are_found_before_the_first_job(
    offline: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "test_vit.pth").write_bytes(b"<html>")
    began, sentence = sweep(
        monkeypatch, "model=timm", "model.name=test_resnet,test_vit,test_byobnet", f"model.weights={tmp_path}"
    )
    assert began == []
    assert f"model.weights={tmp_path} has no file for timm/test_resnet and timm/test_byobnet." in sentence
    assert "test_vit.pth holds no weights, because it is a web page" in sentence


def test_one_file_for_several_models_is_refused_before_the_first_job(
    offline: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "test_vit.safetensors"
    file.write_bytes(as_safetensors(timm.create_model("test_vit")))
    began, sentence = sweep(monkeypatch, *BOTH, f"model.weights={file}")
    assert began == []
    for words in (str(file), "timm/test_resnet", "timm/test_vit", "model.weights=FOLDER"):
        assert words in sentence
    began, sentence = sweep(monkeypatch, "model=timm", "model.name=test_vit", "seed=0,1", f"model.weights={file}")
    assert (began, sentence) == (["test_vit", "test_vit"], "")


def test_a_model_without_published_weights_may_have_no_file(tmp_path: Path) -> None:
    config = Config(model=ModelConfig(Library.custom, "custom_cnn", weights=str(tmp_path)))
    assert with_weights_file(config).model.weights is None


def test_a_run_asks_for_its_weights_before_its_data_are_read(
    offline: Path, tmp_path: Path, folders: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = Mock(side_effect=AssertionError("the data were read"))
    monkeypatch.setattr("gender_cls.data.prepare.prepared_data", read)
    config = Config(model=ModelConfig(Library.timm, "test_vit"), output_dir=str(tmp_path))
    config.data.root = str(folders)
    with pytest.raises(UnavailableError, match="timm/test_vit"):
        train_module.fit_and_test(config, Run(tmp_path / "run"))
    config.model.weights = str(tmp_path / "empty.pth")
    Path(config.model.weights).touch()
    with pytest.raises(GenderClsError, match=r"empty\.pth holds no weights"):
        train_module.fit_and_test(config, Run(tmp_path / "run"))


def test_a_run_with_a_checkpoint_asks_for_nothing(offline: Path, tmp_path: Path) -> None:
    run = Run(tmp_path / "run")
    run.checkpoints.mkdir(parents=True)
    run.previous_checkpoint.touch()
    have_weights(Config(model=ModelConfig(Library.timm, "test_vit")), run)


def test_where_jobs_on_other_machines_read_the_weights_is_told(
    offline: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    put_in_hub_cache(offline, "timm/test_vit.r160_in1k", as_safetensors(timm.create_model("test_vit")))
    weights_module._fetch_in_child([ModelConfig(Library.timm, "test_vit")], "slurm", bars=False)
    told = "".join(capfd.readouterr().out.split())
    assert f"from{offline},whichmustbeonadiskthatallmachinesshare(HF_HOMEandTORCH_HOME" in told
