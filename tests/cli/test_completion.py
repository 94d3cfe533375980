"""What the shells get: commands, groups, options, keys, values and paths."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from gender_cls.cli.commands import COMMANDS, SHELLS
from gender_cls.cli.completion import answers, complete
from gender_cls.config.parsing import group_options


def completed(line: str) -> list[str]:
    return answers(line.split(" "))


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("gender-cls tr", ["train"]),
        ("gender-cls comp", ["compare", "completion"]),
        ("gender-cls train model=mobilenetv2_", ["model=mobilenetv2_tv"]),
        ("gender-cls train +model=resnet152_", ["+model=resnet152_tv"]),
        ("gender-cls train -m model=convnext_xlarge,mobilenetv2_", ["model=convnext_xlarge,mobilenetv2_tv"]),
        ("gender-cls train -m recipe=scratch,linear_probe,fi", ["recipe=scratch,linear_probe,finetune"]),
        ("gender-cls train search=optuna search/space=s", ["search/space=scratch"]),
        ("gender-cls train search", ["search.", "search="]),
        ("gender-cls train -m launcher=slurm launcher.part", ["launcher.partition="]),
        ("gender-cls train model=custom_cnn recipe.lr", ["recipe.lr="]),
        ("gender-cls train trainer.prog", ["trainer.progress_bar="]),
        ("gender-cls train trainer.progress_bar=", ["trainer.progress_bar=true", "trainer.progress_bar=false"]),
        ("gender-cls train data.split_by=c", ["data.split_by=camera"]),
        ("gender-cls train recipe.monitor=f1", ["recipe.monitor=f1_FEMALE", "recipe.monitor=f1_MALE"]),
        ("gender-cls train data.batch_size=", ["data.batch_size=auto"]),
        ("gender-cls train explain.methods=[saliency,s", ["explain.methods=[saliency,smoothgrad"]),
        ("gender-cls export format=onnx,", ["format=onnx,pt2"]),
        ("gender-cls train --c", ["--cfg", "--config-dir"]),
        ("gender-cls train --cfg j", ["job"]),
        ("gender-cls train --mul", ["--multirun"]),
        ("gender-cls compare --mul", []),
        ("gender-cls compare mod", []),
        ("gender-cls compare thumb", ["thumbnails="]),
        ("gender-cls trian mod", []),
        ("gender-cls train data.aliases.MALE=", []),
        ("gender-cls train model.options.depths.x=", []),
        ("gender-cls completion z", ["zsh"]),
        ("python -m gender_cls.ev", ["gender_cls.evaluate"]),
        ("python3 -m gender_cls.train model=mobilenetv4", ["model=mobilenetv4_small"]),
        ("python -m gender_cls train model=mobilenetv4", ["model=mobilenetv4_small"]),
    ],
)
def test_the_last_word_is_completed(line: str, expected: list[str]) -> None:
    assert sorted(completed(line)) == sorted(expected)


def test_all_commands_groups_and_options_are_offered_and_nothing_else() -> None:
    assert set(completed("gender-cls ")) == {*COMMANDS, "completion", "--help", "--version"}
    offered = completed("gender-cls train ")
    assert {"model=", "model.", "recipe=", "seed=", "data=", "data_roots."} <= set(offered)
    assert not [one for one in offered if one.startswith(("hydra", "default_data", "elsewhere"))]
    assert completed("gender-cls train model=") == [f"model={option}" for option in group_options("model")]


def test_paths_are_completed_where_a_key_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "outputs" / "runs").mkdir(parents=True)
    (tmp_path / "of[fice").touch()
    (tmp_path / ".hidden").touch()
    assert completed("gender-cls compare runs=o") == ["runs=of[fice", "runs=outputs/"]
    assert completed("gender-cls compare runs=[outputs/r") == ["runs=[outputs/runs/"]
    assert completed("gender-cls train data.root=~/o") == ["data.root=~/of[fice", "data.root=~/outputs/"]
    assert completed("gender-cls train data.csv=of[f") == ["data.csv=of[fice"]
    assert completed("gender-cls train --config-dir outp") == ["outputs/"]


def test_files_of_the_users_own_folder_are_offered(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "mine.yaml").write_text("library: timm\nname: regnety_002\n")
    assert completed(f"gender-cls train --config-dir {tmp_path} model=mi") == ["model=mine"]


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("gender-cls train model=mobilenetv4", ["mobilenetv4_small"]),  # bash has taken model= for a word
        ("gender-cls train 'model=mobilenetv4", ["model=mobilenetv4_small"]),
        ("gender-cls compare thumb", ["thumbnails="]),
    ],
)
def test_bash_gets_what_it_puts_in(line: str, shown: list[str], capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMP_WORDBREAKS", " \t\n\"'@><=;|&(:")
    assert complete(["query", "bash", line]) == 0
    assert capsys.readouterr().out.split() == shown


@pytest.mark.parametrize("shell", SHELLS)
def test_the_scripts_are_valid(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    assert complete([shell]) == 0
    script = capsys.readouterr().out
    subprocess.run([shell, "-n"], input=script, text=True, check=True)
    assert sys.executable in script


def test_bash_completes_with_the_script(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    complete(["bash"])
    script = capsys.readouterr().out + (
        'complete -p gender-cls python >&2\nCOMP_LINE="python -m gender_cls.train model=mobilenetv2_t trainer.x=1"\n'
        "COMP_POINT=45\ncompopt() { :; }\n_gender_cls_python\nprintf '%s\\n' \"${COMPREPLY[@]}\"\n"
    )
    package = str(Path(__file__).resolve().parents[2])
    ran = subprocess.run(
        ["bash", "--norc", "-c", script],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": package}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert ran.stdout.split() == ["mobilenetv2_tv"]
    assert ran.stderr.count("-F _gender_cls") == 2
