"""The command line as a user meets it: one sentence, exit code 1, quickly, and no torch."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from helpers.crops import PATTERN, write_crop

from gender_cls.cli.command_line import check_jobs, read_command_line
from gender_cls.config.train import Config
from gender_cls.errors import GenderClsError
from gender_cls.train import folder_of


def train(*arguments: str, cwd: Path, module: str = "train") -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    environment.pop("HYDRA_FULL_ERROR", None)
    return subprocess.run(
        [sys.executable, "-m", f"gender_cls.{module}", *arguments],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["recipe.lrr=1"], "recipe.lrr is no key of the configuration; did you mean lr?"),
        (["+recipe.lrr=1"], "recipe.lrr is no key of the configuration; did you mean lr?"),
        (
            ["model=mobilnetv2"],
            "There is no model=mobilnetv2; did you mean mobilenetv2 or mobilenetv2_tv? There are conv",
        ),
        (["recipe.lr=quick"], "recipe.lr: Value 'quick' of type 'str' could not be converted to Float."),
        (["recipe.lr=-1"], "recipe.lr must be above 0, not -1.0."),
        (["-m", "recipe.lr=0.1,-1"], "recipe.lr must be above 0, not -1.0."),
        (["-m", "model=custom_cnn,nonesuch"], "There is no model=nonesuch; there are convnext_tiny"),
        (["recipe.lr=0.1,0.2"], "recipe.lr has several values: add -m to sweep over them."),
        (["nonsense"], "'nonsense' is no override: write key=value"),
        (["model=timm"], "model.name is not set: name any timm model"),
        (["model.weights=/no/such.pth"], "model.weights names no file: /no/such.pth"),
        (["trainer.resume=true"], "There is nothing to resume under"),
        (["trainer.resume=true", "name=never_begun"], "There is nothing to resume in"),
    ],
)
def test_configuration_errors(tmp_path: Path, arguments: list[str], message: str) -> None:
    result = train("data.root=nowhere", *arguments, cwd=tmp_path)
    assert result.returncode == 1
    assert result.stderr.startswith("error: ")
    assert message in result.stderr
    assert result.stderr.count("\n") == 1, result.stderr
    assert result.stdout == ""
    assert not list(tmp_path.rglob("*.json")), "nothing was begun"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "No data are named: give data.root=FOLDER"),
        (["data.root=nowhere"], "data.root is no folder: nowhere"),
        (["data=demo"], "Draw the demo data first: python -m gender_cls.demo."),
        (["data.root=empty"], "There are no images under"),
        (["data.root=one"], "holds one class only: none of its 1 images is FEMALE"),
        (["data.root=few"], "FEMALE has 2 groups of images that belong together (people), fewer than the 3 parts"),
    ],
)
def test_data_errors(tmp_path: Path, arguments: list[str], message: str) -> None:
    (tmp_path / "empty").mkdir()
    write_crop(tmp_path / "one" / "MALE" / "a.png", 0)
    for number in range(4):
        write_crop(tmp_path / "few" / "MALE" / f"{number}.png", number)
        write_crop(tmp_path / "few" / "FEMALE" / f"{number}.png", 50 + number) if number < 2 else None
    result = train(*arguments, cwd=tmp_path)
    assert result.returncode == 1
    assert result.stderr.splitlines()[-1].startswith("error: ")
    assert message in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("module", ["train", "evaluate", "compare", "audit", "demo"])
def test_help_lists_the_choices(tmp_path: Path, module: str) -> None:
    result = train("--help", cwd=tmp_path, module=module)
    assert result.returncode == 0
    assert f"gender_cls.{module}" in result.stdout or "demo dataset" in result.stdout
    if module == "train":
        assert "mobilenetv2_tv" in result.stdout
        assert "frozen_epochs" in result.stdout


def test_whoever_reads_the_output_may_stop(tmp_path: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "gender_cls.train", "--help"]
    result = subprocess.run(command, cwd=tmp_path, stdout=write, stderr=subprocess.PIPE)
    os.close(write)
    assert result.stderr == b""
    assert result.returncode == 128 + signal.SIGPIPE


@pytest.mark.parametrize(
    ("command", "arguments"),
    [
        ("train", ["--help"]),
        ("train", ["data.root=x", "recipe.lrr=1"]),
        ("train", ["data.root=x", "-m", "model=custom_cnn,nonesuch"]),
        ("train", ["data.root=x", "trainer.resume=true"]),
        ("evaluate", ["--help"]),
        ("evaluate", ["run=nowhere"]),
        ("compare", ["--help"]),
        ("compare", ["runs=[nowhere]"]),
        ("explain", ["--help"]),
        ("explain", ["run=nowhere"]),
        ("audit", ["--help"]),
        ("audit", ["audit.folds=1", "data.root=x"]),
        ("demo", ["--help"]),
        ("demo", ["images=3"]),
    ],
)
def test_neither_help_nor_errors_import_torch(tmp_path: Path, command: str, arguments: list[str]) -> None:
    assert imported(tmp_path, command, arguments, ["torch"]) == []


@pytest.mark.parametrize("command", ["train", "audit"])
@pytest.mark.parametrize("source", ["data.root=nowhere", "data.csv=nowhere.csv"])
def test_data_that_are_not_there_need_not_wait_for_pandas(tmp_path: Path, command: str, source: str) -> None:
    assert imported(tmp_path, command, [source], ["pandas", "scipy", "sklearn", "torch"]) == []
    status = json.loads(next(tmp_path.rglob("status.json")).read_text())
    assert status["state"] == "failed"
    assert status["error"].startswith(f"{source.split('=')[0]} is no ")


def imported(folder: Path, command: str, arguments: list[str], names: list[str]) -> list[str]:
    """Which of these modules a command has imported by its end."""
    script = (
        "import runpy, sys\n"
        f"sys.argv = ['{command}', *{arguments!r}]\n"
        f"try: runpy.run_module('gender_cls.{command}', run_name='__main__', alter_sys=True)\n"
        "except SystemExit: pass\n"
        f"sys.stderr.write(' '.join(['imported', *(name for name in {names!r} if name in sys.modules)]))"
    )
    result = subprocess.run([sys.executable, "-c", script], cwd=folder, capture_output=True, text=True)
    first, *others = result.stderr.splitlines()[-1].split()
    assert first == "imported", result.stderr
    return others


@pytest.mark.parametrize("value", [PATTERN, r"(?P<camera>it's c\d{1,3})_[a,b]", r"(?P<camera>a\'b)\\"])
def test_values_outside_hydras_grammar_are_text(value: str) -> None:
    command = read_command_line(["data.root=/data/My Pictures (1)", f"data.pattern={value}"])
    [(config, _)] = check_jobs(command, "train", Config)
    assert config.data.root == "/data/My Pictures (1)"
    assert config.data.pattern == value


def test_every_job_of_a_sweep_is_checked() -> None:
    command = read_command_line(["data.root=x", "seed=0,1", "-m", "model=custom_cnn,resnet152"])
    assert command.multirun
    assert command.swept == ["seed", "model"]
    jobs = check_jobs(command, "train", Config)
    assert [(job.seed, job.model.name) for job, _ in jobs] == [
        (0, "custom_cnn"),
        (0, jobs[1][0].model.name),
        (1, "custom_cnn"),
        (1, jobs[1][0].model.name),
    ]


def claimed(tmp_path: Path, *arguments: str) -> Path:
    command = read_command_line(["data.root=x", f"output_dir={tmp_path}", *arguments])
    return folder_of(command, check_jobs(command, "train", Config)[0][0], "mobilenetv2")


def test_names_sort_and_never_collide(tmp_path: Path) -> None:
    command = read_command_line(["data.root=x", f"output_dir={tmp_path}"])
    config = check_jobs(command, "train", Config)[0][0]
    names: list[str] = []
    threads = [
        threading.Thread(target=lambda: names.append(folder_of(command, config, "mobilenetv2").name)) for _ in range(5)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(names)) == 5
    assert all(re.match(r"\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d_mobilenetv2", name) for name in names)
    assert claimed(tmp_path, "-m", "seed=0,1").parent == tmp_path / "sweeps"


def test_a_taken_name_is_refused(tmp_path: Path) -> None:
    assert claimed(tmp_path, "name=mine") == tmp_path / "runs" / "mine"
    with pytest.raises(
        GenderClsError, match=r"runs/mine exists already: choose another name, or continue .*resume=true"
    ):
        claimed(tmp_path, "name=mine")


def test_resume_finds_the_newest_unfinished_folder_of_the_same_command(tmp_path: Path) -> None:
    first = claimed(tmp_path, "seed=1")
    second = claimed(tmp_path, "seed=1")
    claimed(tmp_path, "seed=2")
    assert claimed(tmp_path, "seed=1", "trainer.resume=true") == second
    (second / "status.json").write_text('{"state": "finished"}')
    assert claimed(tmp_path, "seed=1", "trainer.resume=true") == first
    assert claimed(tmp_path, "name=" + second.name, "trainer.resume=true") == second
    with pytest.raises(GenderClsError, match="none of its unfinished folders was made by this same command"):
        claimed(tmp_path, "seed=3", "trainer.resume=true")
