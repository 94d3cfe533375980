"""The README's commands run as they stand; its form is checked in `test_readme_form.py`."""

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers.commands import (
    COMPARING,
    COMPARING_EXPORTED,
    DATASETS,
    EACH_ON_THE_OTHERS,
    ELSEWHERE,
    EVALUATING,
    EXPLAINING,
    EXPORTING,
    ON_DEVICES,
    ON_MACHINES,
    ON_SLURM,
    PREDICTING,
    PRESET,
    SEARCHING,
    command,
    python,
)
from helpers.crops import PATTERN, draw_folders
from omegaconf import OmegaConf

from gender_cls.cli.command_line import check_jobs, read_command_line
from gender_cls.config.local_defaults import DATA_VARIABLE, LOCAL_FILE
from gender_cls.config.parsing import CONFIG_FOLDER, store_local_defaults
from gender_cls.config.train import Config
from gender_cls.runs.run import tensorboard_command
from gender_cls.system.resources import multiplies_bf16

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```bash\n(.*?)```", README, re.DOTALL)
COMMANDS = [line for block in BLOCKS for line in re.sub(r"\\\n\s*", "", block).splitlines()]
ONLY_READ = [DATASETS, ON_DEVICES, ON_MACHINES, ON_SLURM, PRESET, SEARCHING]
"""They need published datasets, several devices or machines, a cluster, or hours. Here their command lines are read;
what they do is tested in `test_evaluate_elsewhere.py`, `training/test_launch.py`, `cli/test_launchers.py` and
`cli/test_search.py`."""
TRAINING = [line for line in COMMANDS if line.startswith("python -m gender_cls.train") and line not in ONLY_READ]
MODELS = ["convnext_xlarge", "mobilenetv2"]
SWEEPING = f"python -m gender_cls.train -m model={','.join(MODELS)}"
"""As users type it, once GENDER_CLS_DATA or `.gender_cls.yaml` says where the crops are."""
SHALLOWER = {"convnext_xlarge": ["+model.options.depths=[1,1,1,1]"]}
"""To draw, keep and read all weights would take longer than all else here."""
AUDITING = [line for line in COMMANDS if line.startswith("python -m gender_cls.audit")]
TESTED_ELSEWHERE = {ELSEWHERE, EACH_ON_THE_OTHERS}
"""In `test_evaluate_elsewhere.py`."""
USED = {PREDICTING, EXPORTING, COMPARING_EXPORTED}
"""In `test_use_it.py`."""
QUICKLY = [
    f"data.pattern={PATTERN}", "data.image_size=[64,32]", "data.batch_size=4", "data.num_workers=0", "data.limit=24",
    "model.pretrained=false", "recipe=linear_probe", "trainer.max_epochs=1", "trainer.accelerator=cpu",
    "explain.images=2", "trainer.progress_bar=false", "evaluation.resamples=200", "evaluation.shortcuts=false",
]  # fmt: skip


def test_the_readme_has_no_command_that_is_not_run_here_or_by_make() -> None:
    run_elsewhere = {COMPARING, EVALUATING, EXPLAINING, *ONLY_READ, *TESTED_ELSEWHERE, *USED}
    others = set(COMMANDS) - set(TRAINING) - set(AUDITING) - run_elsewhere
    made = {line for line in others if line.startswith(("make ", "git clone "))}  # test_readme_form.py has them
    assert others == made | {tensorboard_command("outputs/sweeps/NAME")}
    assert len(TRAINING) >= 4
    assert len(AUDITING) == 1
    assert SWEEPING in TRAINING


@pytest.mark.parametrize("line", TRAINING)
def test_the_readmes_commands_run(line: str, tmp_path: Path) -> None:
    draw_folders(tmp_path / "crops")
    _, _, _, *arguments = shlex.split(line)
    if "--config-dir" in arguments:
        own = tmp_path / arguments[arguments.index("--config-dir") + 1] / "model"
        own.mkdir(parents=True)
        example = re.search(r"```yaml\n(# (my_conf/\S+)\n.*?)```", README, re.DOTALL)
        assert example is not None
        (own / Path(example[2]).name).write_text(example[1])
    jobs = [arguments]
    if line == SWEEPING:  # each model by itself, because one of them takes an option more
        rest = [one for one in arguments if not one.startswith("model=")]
        jobs = [[*rest, f"model={model}", f"name={model}", *SHALLOWER.get(model, [])] for model in MODELS]
    explained = 0 if {"model=resnet152", SWEEPING} & {line, *arguments} else 1  # test_attribution_models.py has them
    for job in jobs:
        variables = {"GENDER_CLS_DATA": "crops"} if line == SWEEPING else {}
        command("train", *job, *QUICKLY, f"evaluation.explained_images={explained}", cwd=tmp_path, **variables)
    assert len(list((tmp_path / "outputs").glob("*/*/**/predictions.csv"))) == len(jobs)
    for file in (tmp_path / "outputs").rglob("status.json"):
        status = json.loads(file.read_text())
        assert status["precision"] == ("bf16-mixed" if multiplies_bf16() else "32-true"), "what auto is here"
        assert status["resources"]["precision"] == status["precision"]


@pytest.fixture
def own_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The README's `.gender_cls.yaml` in the current folder."""
    monkeypatch.chdir(tmp_path)
    example = re.search(r"```yaml\n(# \.gender_cls\.yaml.*?)```", README, re.DOTALL)
    assert example is not None
    (tmp_path / LOCAL_FILE).write_text(example[1])
    yield
    store_local_defaults("{}")


@pytest.mark.usefixtures("own_file")
def test_the_readmes_datasets_are_swept() -> None:
    jobs = [config for config, _ in check_jobs(read_command_line(shlex.split(DATASETS)[3:]), "train", Config)]
    assert [(job.data.root, job.data.importer and job.data.importer.value) for job in jobs] == [
        (root, name)
        for root, name in (("/data/PETA", "peta"), ("/data/PA-100K", "pa100k"), ("/data/Market-1501", "market1501"))
        for _ in range(2)
    ]


@pytest.mark.usefixtures("own_file")
def test_the_readmes_own_file_is_read(tmp_path: Path) -> None:
    [(config, composed)] = check_jobs(read_command_line([]), "train", Config)
    assert (config.data.root, composed.hydra.runtime.choices["model"]) == (str(tmp_path / "crops"), "resnet152")
    assert config.trainer.accelerator == "cpu"


@pytest.mark.parametrize(
    ("line", "models", "key", "value"),
    [
        (SWEEPING, MODELS, "trainer.devices", 1),
        (ON_DEVICES, ["convnext_xlarge"], "trainer.devices", 4),
        (ON_MACHINES, ["mobilenetv2"], "trainer.num_nodes", 2),
        (ON_SLURM, ["convnext_xlarge", "resnet152", "mobilenetv2"], "launcher.minutes", 240),
        (SEARCHING, ["mobilenetv2"], "search.trials", 30),
        (PRESET, ["custom_cnn", "mobilenetv2", "resnet152", "convnext_xlarge"], "data.batch_size", "auto"),
    ],
)
def test_the_readmes_commands_for_clusters_are_read(
    line: str, models: list[str], key: str, value: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw_folders(tmp_path / "crops")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(DATA_VARIABLE, "crops")
    jobs = list(check_jobs(read_command_line(line.partition("gender_cls.train ")[2].split()), "train", Config))
    assert [composed.hydra.runtime.choices["model"] for _, composed in jobs] == models
    assert {OmegaConf.select(composed, key) for _, composed in jobs} == {value}


def test_the_readmes_audit_runs_and_its_corrections_go_back(tmp_path: Path) -> None:
    draw_folders(tmp_path / "crops")
    _, _, _, *arguments = shlex.split(AUDITING[0])
    quickly = ["data.image_size=[64,64]", "data.num_workers=0", "model.pretrained=false"]
    command("audit", *arguments, *quickly, cwd=tmp_path)
    [folder] = (tmp_path / "outputs" / "audits").iterdir()
    assert (folder / "audit.html").is_file()
    command("audit", *arguments, *quickly, f"data.corrections={folder / 'suspects.csv'}", cwd=tmp_path)


def test_the_commands_within_the_text_run_too(tmp_path: Path) -> None:
    inline = re.findall(r"`(python -m [^`]+)`", README)
    assert inline == ["python -m gender_cls.demo cue=false"]
    _, *arguments = shlex.split(inline[0])
    printed = python(*arguments, "images=48", cwd=tmp_path).stdout
    assert f"48 crops of 8 drawn figures are in {tmp_path / 'outputs' / 'demo_data'}." in printed
    manifest = (tmp_path / "outputs" / "demo_data" / "manifest.csv").read_text()
    assert manifest.startswith("path,label,identity,camera,cue_left,cue_top,cue_right,cue_bottom\n")


def test_the_keys_that_the_readme_names_exist() -> None:
    [(_, composed)] = check_jobs(read_command_line(["data.root=crops", "model.pretrained=false"]), "train", Config)
    for key in set(re.findall(r"\b((?:data|model|recipe|trainer|evaluation|explain|launcher)\.\w+)=", README)):
        section, _, name = key.partition(".")
        launchers = (CONFIG_FOLDER / "launcher").glob("*.yaml") if section == "launcher" else ()
        assert name in composed[section] or any(f"  {name}: " in file.read_text() for file in launchers), key
    groups = set(re.findall(r"`(model|recipe|augment|data|explain|callbacks|loggers)=(\w+)`", README))
    groups |= {("experiment", name) for name in re.findall(r"experiment=(\w+)", README)}
    for group, option in groups:
        assert (CONFIG_FOLDER / group / f"{option}.yaml").is_file(), (group, option)
