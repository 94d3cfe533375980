"""The user's own file says where the datasets lie, for every command that reads data; no run records it."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gender_cls.cli.command_line import check_jobs, read_command_line
from gender_cls.config.audit import AuditConfig
from gender_cls.config.data import Importer
from gender_cls.config.evaluation import EvaluateConfig
from gender_cls.config.local_defaults import LOCAL_FILE
from gender_cls.config.parsing import CONFIG_FOLDER, recorded_config, store_local_defaults, to_plain
from gender_cls.config.train import Config
from gender_cls.errors import GenderClsError
from gender_cls.runs.run import Run
from gender_cls.training.resume import refuse_other_settings

COMMANDS: dict[str, tuple[type, list[str]]] = {
    "train": (Config, ["model=custom_cnn"]),
    "audit": (AuditConfig, []),
    "evaluate": (EvaluateConfig, ["run=."]),
}
PUBLISHED = sorted(importer.value for importer in Importer)


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The user's own file, in the current folder."""
    monkeypatch.chdir(tmp_path)
    yield write(tmp_path / LOCAL_FILE, "data_roots:\n  peta: /data/PETA\n  pa100k: ~/PA-100K\n")
    store_local_defaults("{}")


def write(own: Path, text: str) -> Path:
    own.write_text(text)
    return own


def jobs(command: str, *arguments: str) -> list[tuple[Any, Any]]:
    schema, least = COMMANDS[command]
    return check_jobs(read_command_line([*least, *arguments]), command, schema)


@pytest.mark.parametrize("command", COMMANDS)
def test_each_dataset_of_a_sweep_has_its_root(command: str, own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    roots = [config.data.root for config, _ in jobs(command, "-m", "data=peta,pa100k")]
    assert roots == ["/data/PETA", "/home/me/PA-100K"]
    [(config, _)] = jobs(command, "data=peta", "data.root=/elsewhere")
    assert config.data.root == "/elsewhere"


@pytest.mark.parametrize(
    ("command", "dataset"), [*(("train", one) for one in PUBLISHED), ("audit", "peta"), ("evaluate", "pa100k")]
)
def test_a_dataset_without_a_root_names_the_file_to_write(
    command: str, dataset: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    sentence = rf"^Where {dataset} lies is not known: .*data\.root=.*data_roots: {{{dataset}: .*\.gender_cls\.yaml"
    with pytest.raises(GenderClsError, match=sentence):
        jobs(command, f"data={dataset}")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("data_roots: {peta: '${oc.env:HOME}'}", "data_roots.peta=.* is computed by a function"),
        ("data_roots: {pa100k: /data}", "Where peta lies is not known"),
        ("# nothing yet", "Where peta lies is not known"),
        ("data_roots: {peta: ''}", "data.root is empty"),
    ],
)
def test_a_local_file_that_does_not_help_is_a_sentence(own: Path, text: str, words: str) -> None:
    write(own, text)
    with pytest.raises(GenderClsError, match=words):
        jobs("train", "data=peta")


def test_the_example_in_the_configuration_works(own: Path) -> None:
    example = "\n".join(re.findall(r"^  #   (.*)$", (CONFIG_FOLDER / "train.yaml").read_text(), re.MULTILINE))
    assert example.startswith("data: {root: ")
    write(own, example)
    [(config, _)] = jobs("train", "data=peta")
    assert config.data.root == "/data/PETA"


def test_a_run_records_the_root_that_it_used_and_not_the_local_file(own: Path, tmp_path: Path) -> None:
    [(config, composed)] = jobs("train", "data=peta")
    run = Run(tmp_path / "run")
    run.folder.mkdir()
    run.record_settings(to_plain(config), composed.hydra.runtime.choices)
    assert "data_roots" not in run.settings
    assert run.choices["data"] == "peta"
    write(own, "data_roots: {peta: /data/PETA, rap_v2: /data/RAP}")
    [(other, _)] = jobs("train", "data=peta")
    refuse_other_settings(run, to_plain(recorded_config(run.config_file)), other)
    write(own, "data_roots: {peta: /moved/PETA}")
    [(moved, _)] = jobs("train", "data=peta")
    with pytest.raises(GenderClsError, match=r"was started with data\.root=/data/PETA, not /moved/PETA"):
        refuse_other_settings(run, to_plain(recorded_config(run.config_file)), moved)


def test_settings_of_other_data_need_other_data() -> None:
    with pytest.raises(GenderClsError, match=r"^data\.pattern, data\.limit: .* data\.root=FOLDER"):
        jobs("evaluate", "data.limit=12", "data.pattern=(?P<identity>a)")
    [(config, _)] = jobs("evaluate")
    assert not config.data.named
