"""The command line as a user meets it: one sentence, exit code 1, quickly, and no torch."""

import errno
import logging
import os
import re
import signal
import subprocess
import sys
import threading
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from helpers.commands import command, command_line, python
from helpers.crops import PATTERN, write_crop
from omegaconf import OmegaConf

from gender_cls.cli import command as command_module
from gender_cls.cli.command import run_command
from gender_cls.cli.command_line import check_jobs, read_command_line
from gender_cls.cli.sweep import job_folder
from gender_cls.config.checks import list_keys, one_or_several
from gender_cls.config.data import Balance, DemoConfig
from gender_cls.config.evaluation import CompareConfig
from gender_cls.config.export import ExportConfig, Format, Smaller
from gender_cls.config.train import Config
from gender_cls.errors import GenderClsError
from gender_cls.runs.run import Run
from gender_cls.train import choose_folder


@pytest.fixture(autouse=True)
def _logging_stays_as_it_was() -> Iterator[None]:
    """What a command sets up for its whole process."""
    root, factory, show = logging.getLogger(), logging.getLogRecordFactory(), warnings.showwarning
    handlers, level = [*root.handlers], root.level
    yield
    root.handlers[:], warnings.showwarning = handlers, show
    root.setLevel(level)
    logging.setLogRecordFactory(factory)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["recipe.lrr=1"], "recipe.lrr is not a key of the configuration; did you mean recipe.lr=1?"),
        (["+recipe.lrr=1"], "recipe.lrr is not a key of the configuration; did you mean recipe.lr=1?"),
        (["model=mobilnetv2"], "did you mean mobilenetv2 or mobilenetv2_tv? There are conv"),
        (["recipe.lr=quick"], "recipe.lr must be a number, not quick"),
        (["recipe.lr=-1"], "recipe.lr must be above 0, not -1.0."),
        (["-m", "recipe.lr=0.1,-1"], "recipe.lr must be above 0, not -1.0."),
        (["-m", "model=custom_cnn,nonesuch"], "There is no model=nonesuch; there are convnext_tiny"),
        (["recipe.lr=0.1,0.2"], "recipe.lr has several values: add -m"),
        (["nonsense"], "'nonsense' is not an override"),
        (["data.root=null"], "data.root=FOLDER"),
        (["model=timm"], "model.name is not set"),
        (["=3"], "'=3' names no key: write key=value."),
        (["name=.."], "name becomes a folder"),
        (["hydra.output_subdir=.hydra"], "hydra.output_subdir=.hydra: the command keeps the configuration itself"),
        (["--config-dir", "nowhere"], "--config-dir names no folder: /"),
        (["model.name=${oc.env:HOME}"], "model.name=${oc.env:HOME} is computed"),
        (["hydra/nonesuch=1"], "nonesuch"),
        (["explain=saliency"], "There is no explain=saliency; there are all, maps, off. explain.methods=[...] chooses"),
        (["launcher=slurm"], "launcher=slurm starts the jobs of a sweep: add -m"),
        (["-m", "launcher=sluurm"], "There is no launcher=sluurm; did you mean slurm?"),
        (["-m", "launcher=slurm", "launcher.partitoin=gpu"], "launcher.partitoin is not a key of"),
        (["-m", "launcher=slurm", "launcher.partitoin=gpu"], "did you mean launcher.partition=gpu?"),
        (
            ["-m", "launcher=joblib", "launcher.partition=gpu"],
            "launcher.partition is not a key of the configuration; launcher=slurm has it",
        ),
        (["-m", "launcher.gpus=1"], "launcher=slurm_local and launcher=slurm"),
        (["-m", "launcher=slurm", "+launcher.nonesuch=1"], "launcher.nonesuch is not a key"),
        (["-m", "launcher=slurm", "launcher.minutes=0"], "launcher.minutes must be at least 2 minutes, not 0"),
        (["-m", "launcher=slurm", "launcher.minutes=2"], "launcher.grace_seconds=120 is no shorter than"),
        (["-m", "launcher=slurm", "trainer.devices=1,2"], "no key of launcher may vary"),
        (["-m", "launcher=slurm", "trainer.accelerator=cpu"], "add launcher.gpus=0"),
    ],
)
def test_errors_of_the_command_line_are_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], words: str
) -> None:
    keeps_memory: list[bool] = []
    monkeypatch.setattr(command_module, "keep_freed_memory", lambda: keeps_memory.append(True))
    monkeypatch.setattr(sys, "argv", ["train", "data.root=nowhere", *arguments])
    monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as caught:
        run_command(print, "train", Config, claim=choose_folder, when_interrupted="")
    sentence = str(caught.value.code)
    assert sentence.startswith("error: ")
    assert words in sentence
    assert "\n" not in sentence
    assert not list(tmp_path.rglob("*.json")), "nothing was begun"
    assert keeps_memory


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["data=demo"], "Draw the demo data first: python -m gender_cls.demo."),
        (["data.root=one"], "among 1 image none is FEMALE"),
        (["data.root=few"], "FEMALE has 2 groups of images that belong together (people), fewer than the 3 parts"),
    ],
)
def test_errors_of_the_data_are_one_sentence(tmp_path: Path, arguments: list[str], words: str) -> None:
    write_crop(tmp_path / "one" / "MALE" / "a.png", 0)
    for number in range(4):
        write_crop(tmp_path / "few" / "MALE" / f"{number}.png", number)
        write_crop(tmp_path / "few" / "FEMALE" / f"{number}.png", 50 + number) if number < 2 else None
    result = command("train", *arguments, "model.pretrained=false", cwd=tmp_path, code=1)
    assert result.stderr.splitlines()[-1].startswith("error: ")
    assert words in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("number", "words"), [(signal.SIGTERM, "Ended by SIGTERM. Again."), (signal.SIGINT, "Interrupted. Again.")]
)
def test_a_signal_ends_the_work_in_a_sentence(tmp_path: Path, monkeypatch, capsys, number: int, words: str) -> None:
    run = Run(tmp_path / "run")

    def task(_: DemoConfig) -> None:
        with run.recording():
            signal.raise_signal(number)

    monkeypatch.setattr(sys, "argv", ["demo"])
    monkeypatch.chdir(tmp_path)
    before = signal.signal(number, signal.SIG_DFL)  # tests that run in the background ignore Ctrl-C
    try:
        with pytest.raises(SystemExit) as caught:
            run_command(task, "demo", DemoConfig, when_interrupted="Again.")
    finally:
        signal.signal(number, before)
    assert caught.value.code == 128 + number
    assert words in capsys.readouterr().err
    assert run.status["state"] == "interrupted"


def test_a_full_disk_prints_no_traceback_of_threads(monkeypatch) -> None:
    shown: list[str] = []
    monkeypatch.setattr(threading, "excepthook", lambda failed: shown.append(str(failed.exc_value)))

    def fails(error: Exception) -> None:
        raise error

    with command_module._quiet_on_a_full_disk():
        for error in (OSError(errno.ENOSPC, "full"), ValueError("a fault of ours")):
            thread = threading.Thread(target=fails, args=[error])
            thread.start()
            thread.join()
    assert shown == ["a fault of ours"]


def test_a_traceback_is_shown_on_request(tmp_path: Path) -> None:
    assert "Traceback" in command("demo", "images=3", cwd=tmp_path, code=1, HYDRA_FULL_ERROR="1").stderr


def test_the_reader_of_the_output_may_stop(tmp_path: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    result = subprocess.run(command_line("train", "--help"), cwd=tmp_path, stdout=write, stderr=subprocess.PIPE)
    os.close(write)
    assert result.stderr == b""
    assert result.returncode == 128 + signal.SIGPIPE


@pytest.mark.parametrize(
    ("name", "arguments", "shown"),
    [
        ("train", ["--help"], "mobilenetv2_tv"),
        ("evaluate", ["--help"], "target_error"),
        ("compare", ["--help"], "thumbnails"),
        ("explain", ["--help"], "faithfulness"),
        ("audit", ["--help"], "min_height"),
        ("predict", ["--help"], "first_frame"),
        ("export", ["--help"], "seconds"),
        ("demo", ["--help"], "cue"),
        ("train", ["data.root=x", "recipe.lrr=1"], "did you mean recipe.lr=1?"),
        ("train", ["data.root=x", "-m", "model=custom_cnn,nonesuch"], "nonesuch"),
        ("train", ["data.root=.", "-m", "model=resnet152,mobilenetv2", "model.weights=."], "a1h_in1k and timm/mobile"),
        ("evaluate", ["run=."], "There is no run in /"),
        ("evaluate", ["-m", "run=a,b"], "leave out -m."),
        ("compare", ["runs=[.]"], "There is no run in /"),
        ("compare", ["-m", "runs=a,b"], "leave out -m."),
        ("explain", ["run=."], "There is no run in /"),
        ("explain", ["-m", "run=."], "leave out -m."),
        ("predict", ["run=.", "images=."], "There is no run in /"),
        ("predict", ["run=.", "images=gone.jpg"], "images names no file or folder: /"),
        ("predict", ["-m", "run=.", "images=a,b"], "leave out -m."),
        ("export", ["run=."], "There is no run in /"),
        ("export", ["run=.", "format=tflite"], "format must be one of onnx, pt2, not tflite"),
        ("export", ["-m", "run=a,b"], "leave out -m."),
        ("audit", ["audit.folds=1", "data.root=x"], "audit.folds must be at least 2"),
        ("demo", ["images=3"], "images must be at least 48"),
    ],
)
def test_neither_help_nor_errors_import_torch(tmp_path: Path, name: str, arguments: list[str], shown: str) -> None:
    output, imported = run_and_list_imports(tmp_path, name, arguments)
    assert shown in output
    assert "Traceback" not in output
    assert not {"torch", "pandas"} & imported
    assert not list(tmp_path.rglob("*.json")), "nothing was begun"


@pytest.mark.parametrize("name", ["train", "audit"])
@pytest.mark.parametrize("source", ["data.root=nowhere", "data.csv=nowhere.csv"])
def test_data_that_are_not_there_need_not_wait_for_pandas(tmp_path: Path, name: str, source: str) -> None:
    output, imported = run_and_list_imports(tmp_path, name, [source])
    assert not {"pandas", "scipy", "sklearn", "torch"} & imported
    assert f"{source.split('=')[0]} is not a " in output
    assert str(tmp_path / source.split("=")[1]) in output
    assert not list(tmp_path.rglob("*.json")), "no folder of a failed start is left"


def run_and_list_imports(folder: Path, name: str, arguments: list[str]) -> tuple[str, set[str]]:
    """What a command prints, and the modules that it has imported by its end."""
    script = (
        "import runpy, sys\n"
        f"sys.argv = ['{name}', *{arguments!r}]\n"
        f"try: runpy.run_module('gender_cls.{name}', run_name='__main__', alter_sys=True)\n"
        "except SystemExit as end: sys.stderr.write(f'{end}\\n')\n"
        "sys.stderr.write(' '.join(['imported', *sys.modules]))"
    )
    result = python("-c", script, cwd=folder)
    first, *modules = result.stderr.splitlines()[-1].split()
    assert first == "imported", result.stderr
    return result.stdout + result.stderr.rpartition("imported")[0], set(modules)


@pytest.mark.parametrize("value", [PATTERN, r"(?P<camera>it's c\d{1,3})_[a,b]", r"(?P<camera>a\'b)\\"])
def test_values_outside_hydras_grammar_are_text(value: str) -> None:
    line = read_command_line(["data.root=/data/My Pictures (1)", f"data.pattern={value}"])
    [(config, _)] = check_jobs(line, "train", Config)
    assert config.data.root == "/data/My Pictures (1)"
    assert config.data.pattern == value


def test_every_job_of_a_sweep_is_checked() -> None:
    line = read_command_line(["data.root=x", "seed=0,1", "-m", "model=custom_cnn,resnet152"])
    assert line.multirun
    assert line.swept == ["seed", "model"]
    jobs = [(config.seed, config.model.title) for config, _ in check_jobs(line, "train", Config)]
    models = ["custom/custom_cnn", "timm/resnet152.a1h_in1k"]
    assert jobs == [(seed, model) for seed in (0, 1) for model in models]


@pytest.mark.parametrize("values", ["onnx,pt2", "[onnx,pt2]", "pt2,onnx"])
def test_several_values_of_a_list_need_no_brackets(values: str) -> None:
    line = read_command_line(["run=.", f"format={values}", "also=float16"], lists=("format", "also"))
    assert not line.swept
    [(config, _)] = check_jobs(line, "export", ExportConfig)
    assert config.formats == [Format.onnx, Format.pt2]
    assert config.smaller == [Smaller.float16]


@pytest.mark.parametrize(("typed", "tags"), [("night", ["night"]), ("a,b", ["a", "b"]), ("[a]", ["a"]), ("[]", [])])
def test_a_single_value_of_a_list_needs_no_brackets(typed: str, tags: list[str]) -> None:
    for name, schema, given in (("train", Config, "data.root=x"), ("compare", CompareConfig, "runs=.")):
        line = read_command_line([given, f"tags={typed}"], one_or_several(schema), list_keys(schema))
        [(config, _)] = check_jobs(line, name, schema)
        assert list(config.tags) == tags


def test_only_lists_need_no_brackets() -> None:
    for lists in ((), ("also",)):
        with pytest.raises(GenderClsError, match="format"):
            check_jobs(read_command_line(["run=.", "format=onnx,pt2"], lists), "export", ExportConfig)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["format=onnx,tflite"], "tflite"),
        (["format=[]"], "format"),
        (["format=pt2", "also=int8"], "format=onnx"),
        (["also=int4"], "int4"),
    ],
)
def test_wrong_values_of_a_list_are_named(arguments: list[str], named: str) -> None:
    line = read_command_line(["run=.", *arguments], lists=("format", "also"))
    with pytest.raises(GenderClsError, match=named):
        check_jobs(line, "export", ExportConfig)


def claimed(tmp_path: Path, *arguments: str) -> Path:
    line = read_command_line(["data.root=x", f"output_dir={tmp_path}", *arguments])
    return choose_folder(line, *check_jobs(line, "train", Config)[0])


def test_names_sort_and_never_collide(tmp_path: Path) -> None:
    line = read_command_line(["data.root=x", f"output_dir={tmp_path}"])
    job = check_jobs(line, "train", Config)[0]
    with ThreadPoolExecutor(5) as pool:
        names = list(pool.map(lambda _: choose_folder(line, *job).name, range(5)))
    assert len(set(names)) == 5
    assert all(re.match(r"\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d_mobilenetv2", name) for name in names)
    assert claimed(tmp_path, "-m", "seed=0,1").parent == tmp_path / "sweeps"


def test_a_name_that_is_taken_and_a_folder_that_cannot_be_made_are_named(tmp_path: Path) -> None:
    assert claimed(tmp_path, "name=mine") == tmp_path / "runs" / "mine"
    with pytest.raises(GenderClsError, match=r"runs/mine exists already: .*trainer\.resume=true"):
        claimed(tmp_path, "name=mine")
    (tmp_path / "file").touch()
    with pytest.raises(GenderClsError, match=f"output_dir={tmp_path / 'file'}"):
        claimed(tmp_path, f"output_dir={tmp_path / 'file'}")


def test_an_output_dir_on_a_read_only_disk_cannot_be_used_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(folder: Path, **_: bool) -> None:
        raise OSError(errno.EROFS, "", str(folder))

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(GenderClsError, match="the disk is read-only") as caught:
        claimed(tmp_path)
    assert str(caught.value).startswith(f"output_dir={tmp_path}: ")
    assert str(caught.value).count("cannot be used") == 1


def test_hydra_works_in_the_folder_that_was_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for flags, kind in (([], "run"), (["-m"], "sweep")):
        line = read_command_line(["data.root=x", "output_dir=~/out", "name=mine", *flags])
        [(config, composed)] = check_jobs(line, "train", Config)
        folder = choose_folder(line, config, composed)
        assert folder == tmp_path / "out" / f"{kind}s" / "mine"
        assert composed.hydra[kind].dir == str(folder)


def test_resume_finds_the_newest_unfinished_folder_of_the_same_command_or_starts(tmp_path: Path, caplog) -> None:
    caplog.set_level(logging.INFO)
    first = claimed(tmp_path, "seed=1")
    second = claimed(tmp_path, "seed=1")
    third = claimed(tmp_path, "seed=2")
    assert claimed(tmp_path, "seed=1", "trainer.resume=true") == second
    (second / "status.json").write_text('{"state": "finished"}')
    assert claimed(tmp_path, "seed=1", "trainer.resume=true") == first
    assert claimed(tmp_path, "launcher=joblib", "seed=1", "launcher.jobs_at_once=3", "trainer.resume=true") == first
    assert claimed(tmp_path, "name=" + second.name, "trainer.resume=true") == second
    (third / "command.json").write_text("")
    assert claimed(tmp_path, "seed=1", "trainer.resume=true") == first, "a damaged file blocks no other folder"
    assert claimed(tmp_path, "name=" + third.name, "trainer.resume=true") == third
    assert f"{third} is skipped" in caplog.text
    others = set((tmp_path / "runs").iterdir())
    for started in (("seed=3",), ("seed=1", "name=never_begun")):
        assert claimed(tmp_path, *started, "trainer.resume=true") not in others
        assert "nothing to resume" in caplog.text


@pytest.mark.parametrize(
    ("key", "value", "folder"),
    [
        ("recipe.lr", 1e30, "0_m_lr-1e+30"),
        ("recipe.lr", 1e-30, "0_m_lr-1e-30"),
        ("recipe.lr", 0.1 + 0.2, "0_m_lr-0.3"),
        ("recipe.lr", 100 / 7, "0_m_lr-14.29"),
        ("data.balance", Balance.sampler, "0_m_balance-sampler"),
        ("model.weights", None, "0_m_weights-null"),
        ("trainer.compile", True, "0_m_compile-true"),
        ("data.image_size", [32, 16], "0_m_image_size-32-16"),
        ("model.options.widths", [0.1 + 0.2, None, -1], "0_m_widths-0.3-null--1"),
        ("recipe.mixup", -0.5, "0_m_mixup--0.5"),
        ("data.root", "/home/o'neil/my crops/", "0_m_root-home-o-neil-my-crops"),
        ("data.root", "Fußgänger/人", "0_m_root-Fu-g-nger"),
        ("data.root", "人", "0_m_root-"),
        ("data.pattern", "(?P<identity>[^_]+)_", "0_m_pattern-P-identity-_-+-_"),
        ("data.root", "/x" * 99, "0_m_root-" + "x-" * 20),
    ],
)
def test_the_folder_of_a_job_names_a_value_as_it_is_typed(key: str, value: object, folder: str) -> None:
    job = OmegaConf.create({"hydra": {"job": {"num": 0}, "runtime": {"choices": {"model": "m"}}}})
    OmegaConf.update(job, key, value)
    assert job_folder(key, _root_=job) == folder


def test_folders_of_jobs_differ_and_end_somewhere_whatever_their_values() -> None:
    job = OmegaConf.create({"hydra": {"job": {"num": 0}, "runtime": {"choices": {"model": "m" * 60}}}})
    names = []
    for number, value in enumerate(["x" * 300 + "a", "x" * 300 + "b", 0.12345678, 0.12345679]):
        job.hydra.job.num = number
        OmegaConf.update(job, "data", dict.fromkeys("abcdef", value))
        names.append(job_folder(*(f"data.{key}" for key in "abcdef"), _root_=job))
    assert len(set(names)) == 4
    assert max(map(len, names)) == 120
