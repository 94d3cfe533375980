"""Command lines of people who know other programs: each ends in a sentence with the words to type instead."""

import re
import shlex
import sys
from functools import cache
from pathlib import Path

import pytest
from hydra.errors import HydraException

from gender_cls.cli.command import run_command
from gender_cls.cli.command_line import check_jobs, read_command_line
from gender_cls.cli.mistyped import _unknown_keys, command_keys, naming_the_right_key, refuse_other_forms
from gender_cls.config.evaluation import CompareConfig
from gender_cls.config.parsing import COMPOSED
from gender_cls.config.predict import PredictConfig
from gender_cls.config.similar_keys import OTHER_NAMES, Keys, as_size
from gender_cls.config.train import Config
from gender_cls.errors import GenderClsError

keys_of = cache(command_keys)


@pytest.mark.parametrize(
    ("command", "typed", "better"),
    [
        ("train", "learning_rate=0.1", "recipe.lr=0.1"),
        ("train", "+lr=0.1", "recipe.lr=0.1"),
        ("train", "++trainer.lr=0.1", "recipe.lr=0.1"),
        ("train", "model.lr=0.1", "recipe.lr=0.1"),
        ("train", "optimizer.lr=1e-3,1e-4", "recipe.lr=1e-3,1e-4"),
        ("train", "learningRate=3", "recipe.lr=3"),
        ("train", "epochs=5", "trainer.max_epochs=5"),
        ("train", "recipe.epochs=5", "trainer.max_epochs=5"),
        ("train", "max_epochs=5", "trainer.max_epochs=5"),
        ("train", "num_epochs=null", "trainer.max_epochs=VALUE"),
        ("train", "bs=16", "data.batch_size=16"),
        ("train", "data.batch=16", "data.batch_size=16"),
        ("train", "datamodule.batch_size=16", "data.batch_size=16"),
        ("train", "workers=4", "data.num_workers=4"),
        ("evaluate", "workers=4", "num_workers=4"),
        ("train", "gpus=2", "trainer.devices=2"),
        ("train", "devices=auto", "trainer.devices=auto"),
        ("train", "device=cuda", "trainer.accelerator=cuda"),
        ("train", "device=cuda:0", "trainer.accelerator=cuda"),
        ("predict", "device=cpu", "accelerator=cpu"),
        ("train", "img_size=224", "'data.image_size=[224,224]'"),
        ("train", "image_size=256x128", "'data.image_size=[256,128]'"),
        ("train", "data_dir=/a/b", "data.root=/a/b"),
        ("train", "data_path=~/crops", "data.root=~/crops"),
        ("train", "data.path=My Pictures", "data.root=My Pictures"),
        ("audit", "dataset=crops", "data.root=crops"),
        ("predict", "source=crops", "images=crops"),
        ("predict", "model=outputs/runs/x", "run=outputs/runs/x"),
        ("predict", "checkpoint=outputs/runs/x", "run=outputs/runs/x"),
        ("explain", "runs=outputs/runs/x", "run=outputs/runs/x"),
        ("export", "ckpt=outputs/runs/x", "run=outputs/runs/x"),
        ("compare", "sweep=outputs/sweeps/x", "runs=outputs/sweeps/x"),
        ("train", "backbone=regnety_002", "model=timm model.name=regnety_002"),
        ("train", "arch=resnet152", "model=resnet152"),
        ("train", "model.architecture=convnext_tiny.fb_in1k", "model=timm model.name=convnext_tiny.fb_in1k"),
        ("train", "wd=0.1", "recipe.weight_decay=0.1"),
        ("train", "dropout=0.1", "model.dropout=0.1"),
        ("train", "pretrained=False", "model.pretrained=False"),
        ("train", "checkpoint=a.ckpt", "model.weights=a.ckpt"),
        ("train", "ckpt_path=a.ckpt", "model.weights=a.ckpt or trainer.resume=true"),
        ("train", "resume=outputs/runs/x", "trainer.resume=true"),
        ("train", "seed_everything=7", "seed=7"),
        ("train", "precision=16", "trainer.precision=16-mixed"),
        ("train", "precision=bf16", "trainer.precision=bf16-mixed"),
        ("train", "amp=true", "trainer.precision=auto"),
        ("train", "fp16=true", "trainer.precision=16-mixed"),
        ("train", "patience=3", "recipe.patience=3"),
        ("train", "early_stopping=true", "recipe.patience=VALUE"),
        ("train", "out_dir=results", "output_dir=results"),
        ("train", "log_dir=results", "output_dir=results"),
        ("train", "exp_name=mine", "name=mine"),
        ("train", "run_name=a/b", "name=VALUE"),
        ("train", "mixup=0.2", "augment.mixup=0.2"),
        ("train", "label_smoothing=0.1", "recipe.label_smoothing=0.1"),
        ("train", "accumulate_grad_batches=2", "trainer.accumulate=2"),
        ("train", "recipe.lrr=1", "recipe.lr=1"),
        ("train", "max_steps=1000", "trainer.max_epochs=VALUE"),
        ("train", "check_val_every_n_epoch=2", "trainer.val_check_interval=VALUE"),
        ("train", "benchmark=true", "trainer.deterministic=VALUE"),
        ("train", "strategy=auto", "trainer.devices=VALUE"),
        ("train", "trainer.max_epoch=3", "trainer.max_epochs=3"),
        ("train", "lr=0.1 epochs=5", "recipe.lr=0.1 trainer.max_epochs=5"),
    ],
)
def test_names_of_other_programs(command: str, typed: str, better: str) -> None:
    sentence = _unknown_keys(re.split(r" (?=\w+=)", typed), keys_of(command), None)
    assert re.search(rf"(write|did you mean) {re.escape(better)}[.?]$", sentence)
    assert typed.split("=")[0].lstrip("+") in sentence


@pytest.mark.parametrize(
    "typed", ["recipe.lr=1", "+model.options.x=1", "hydra.verbose=true", "+search.space.a.b=1", "model@x=1", "seed=1"]
)
def test_keys_that_exist_or_are_free_are_not_named(typed: str) -> None:
    assert _unknown_keys([typed, "zzzz=1"], keys_of("train"), None) == ""


def test_every_key_with_other_names_exists_in_some_command() -> None:
    places = set().union(*({*keys_of(command).settings, *keys_of(command).groups} for command in COMPOSED))
    assert {*OTHER_NAMES} - {"loggers", "callbacks", "recipe.optimizer"} <= places


@pytest.mark.parametrize(
    ("line", "better"),
    [
        ("train --lr 0.1 --batch-size=32", "recipe.lr=0.1 data.batch_size=32"),
        ("train data.root=x --epochs 5 --resume", "trainer.max_epochs=5 trainer.resume=true"),
        ("train --no-pretrained -b 8 -j 2", "model.pretrained=false data.batch_size=8 data.num_workers=2"),
        ("train --img-size 256 128", "'data.image_size=[256,128]'"),
        ("train --data crops --model resnet152", "data.root=crops model=resnet152"),
        ("train --data tab.csv", "data.csv=tab.csv"),
        ("train data.root=x –m", "-m"),
        ("train lr: 0.1", "recipe.lr=0.1"),
        ("train lr:0.1", "recipe.lr=0.1"),
        ("train recipe.lr = 0.1", "recipe.lr=0.1"),
        ("train recipe.lr =0.1", "recipe.lr=0.1"),
        ("train recipe.lr= 0.1", "recipe.lr=0.1"),
        ("train recipe.lr 0.1", "recipe.lr=0.1"),
        ("train -m model=a, b , c", "model=a,b,c"),
        ("train model=a, b -m", "model=a,b"),
        ("train -m seed=0 1 2", "seed=0,1,2"),
        ("train resnet152", "model=resnet152"),
        ("train a/crops", "data.root=a/crops"),
        ("audit a/crops.csv", "data.csv=a/crops.csv"),
        ("compare outputs/sweeps/x", "runs=outputs/sweeps/x"),
        ("compare outputs/sweeps/x outputs/sweeps/y", "'runs=[outputs/sweeps/x,outputs/sweeps/y]'"),
        ("compare runs=a b", "'runs=[a,b]'"),
        ("compare runs=[a, b]", "'runs=[a,b]'"),
        ("evaluate outputs/sweeps/x", "run=outputs/sweeps/x"),
        ("explain outputs/sweeps/x", "run=outputs/sweeps/x"),
        ("export outputs/runs/x", "run=outputs/runs/x"),
        ("predict outputs/runs/x new/crops", "run=outputs/runs/x images=new/crops"),
        ("predict run=outputs/runs/x new/a.jpg new/b.jpg", "'images=[new/a.jpg,new/b.jpg]'"),
        ("predict model.onnx new/a.jpg", "run=model.onnx images=new/a.jpg"),
        ("demo my/demo", "folder=my/demo"),
        ("train data.image_size=224", "'data.image_size=[224,224]'"),
        ("train data.image_size=256x128", "'data.image_size=[256,128]'"),
        ("train data.image_size=(256,128)", "'data.image_size=[256,128]'"),
        ("train data.image_size=256,128", "'data.image_size=[256,128]'"),
        ("train -m hydra/launcher=submitit_slurm", "launcher=slurm"),
        ("train -m hydra/sweeper=optuna", "search=optuna"),
    ],
)
def test_other_forms_of_a_command_line(line: str, better: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    command, *arguments = shlex.split(line.replace("(", "'(").replace(")", ")'"))
    with pytest.raises(GenderClsError) as caught:
        refuse_other_forms(arguments, command)
    assert re.search(rf"(write|here) .*{re.escape(better)}([., ]|$)", str(caught.value))


def test_a_path_with_a_blank_is_quoted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "My Pictures").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(GenderClsError, match=r"'data\.root=My Pictures'"):
        refuse_other_forms(["data.root=My", "Pictures"], "train")


@pytest.mark.parametrize(
    "line",
    [
        "-m data.root=x model=a,b",
        "data.root=x --cfg job --resolve",
        "--info defaults -c job -p model",
        "--config-dir own --multi seed=0,1 ~x",
        "data.image_size=[256,128] data.image_size=[256,128],[64,32]",
        "recipe.lr=-1 name= --info",
    ],
)
def test_what_hydra_takes_is_let_through(line: str) -> None:
    refuse_other_forms(line.split(), "train")


def test_flags_that_hydra_cannot_read_are_a_sentence() -> None:
    for arguments in (["--cfg", "foo"], ["--multirun=true"]):
        with pytest.raises(GenderClsError, match=arguments[0].split("=")[0]):
            read_command_line(arguments)
    with pytest.raises(GenderClsError, match="--config 3"):
        refuse_other_forms(["--config", "3"], "train")


@pytest.mark.parametrize(
    ("typed", "size"),
    [
        ("224", "[224,224]"),
        ("256 x 128", "[256,128]"),
        ("[256,128]", "[256,128]"),
        ("256*128", "[256,128]"),
        ("a", "a"),
    ],
)
def test_sizes(typed: str, size: str) -> None:
    assert as_size(typed) == size


def test_a_key_that_exists_is_left_to_its_own_sentence() -> None:
    line = read_command_line(["data.root=x", "recipe.lr=-1", "launcher.partition=gpu", "-m"])
    with pytest.raises(HydraException), naming_the_right_key(line.overrides, "train", None):
        check_jobs(line, "train", Config)


def test_a_misspelt_key_in_a_file_of_the_users_own_names_the_file_and_the_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, text in {
        "launcher/ours": "# @package _global_\ndefaults: [slurm]\nlauncher: {partitoin: gpu}",
        "model/mine": "library: timm\nlr: 3",
        "search/space/mine": "3",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / f"{name}.yaml").write_text(text)
    for arguments, words in (
        (["launcher=ours"], "launcher/ours.yaml: launcher.partitoin .* launcher.partition"),
        (["model=mine"], "model/mine.yaml: model.lr .* recipe.lr"),
        (["search=optuna", "search/space=mine"], "search/space/mine.yaml holds no keys"),
        (["search=optuna", "~search.space"], "search.space cannot be taken out"),
    ):
        assert re.search(words, ended(monkeypatch, "train", Config, "--config-dir", str(tmp_path), "-m", *arguments))


@pytest.mark.parametrize(
    ("command", "schema", "typed", "words"),
    [
        ("train", Config, "data=a/crops", "data.root=a/crops"),
        ("train", Config, "model=regnety_002", "model=timm model.name=regnety_002"),
        ("train", Config, "model=a/best.ckpt", "model.weights=a/best.ckpt"),
        ("train", Config, "+recipe.lr=1", "recipe.lr=... without the +"),
        ("train", Config, "data.root=${HOME}/x", "has no key HOME"),
        ("train", Config, "model.options.drop=1", "+model.options.drop="),
        ("predict", PredictConfig, "recipe=scratch", "no recipe"),
        ("predict", PredictConfig, "data_roots.petra=x", "data_roots.peta"),
        ("predict", PredictConfig, "data_roots.peta=[1]", "data_roots.peta must be text"),
        ("compare", CompareConfig, "learning_rate=1", "there are runs, "),
    ],
)
def test_what_hydra_says_is_put_in_our_words(
    monkeypatch: pytest.MonkeyPatch, command: str, schema: type, typed: str, words: str
) -> None:
    assert words in ended(monkeypatch, command, schema, typed)


def ended(monkeypatch: pytest.MonkeyPatch, command: str, schema: type, *arguments: str) -> str:
    monkeypatch.setattr(sys, "argv", [command, *arguments])
    monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)
    with pytest.raises(SystemExit) as caught:
        run_command(print, command, schema, when_interrupted="")
    return str(caught.value.code)


def test_several_values_need_no_brackets_where_there_are_no_sweeps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a", "b", "c,d"):
        (tmp_path / name).mkdir()
    for typed, runs in (("a,b", ["a", "b"]), ("c,d", ["c,d"])):
        monkeypatch.setattr(sys, "argv", ["compare", f"runs={typed}"])
        run_command(lambda config: print(config.folders), "compare", CompareConfig, when_interrupted="")
        assert capsys.readouterr().out.strip() == str([tmp_path / run for run in runs])


def test_the_keys_of_a_command_are_those_of_its_schema() -> None:
    keys = Keys.of(COMPOSED["train"])
    assert keys.has("recipe.lr")
    assert keys.has("launcher.partition")
    assert keys.has("model.options.anything.below")
    assert not keys.has("recipe.lr.x")
    assert not keys.has("lr")
