"""`.gender_cls.yaml` and GENDER_CLS_DATA: who wins, which command takes what, and what a wrong file says."""

import copy
import pickle
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hydra.core.config_store import ConfigStore

from gender_cls.cli.command import run_command
from gender_cls.cli.command_line import check_jobs, read_command_line
from gender_cls.config.data import DemoConfig
from gender_cls.config.local_defaults import DATA_VARIABLE, LOCAL_FILE, read_local_defaults
from gender_cls.config.parsing import COMPOSED, store_local_defaults, typed_config
from gender_cls.config.train import Config
from gender_cls.errors import GenderClsError


@pytest.fixture(autouse=True)
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The file to write, in the current folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(DATA_VARIABLE, raising=False)
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")  # a command sets it, which is to be undone
    yield tmp_path / LOCAL_FILE
    store_local_defaults("{}")


def jobs(*arguments: str, command: str = "train") -> list[Any]:
    line = read_command_line(list(arguments))
    schema = COMPOSED[command].__mro__[2] if command in ("train", "audit", "evaluate", "predict") else COMPOSED[command]
    return [config for config, _ in check_jobs(line, command, schema)]


def test_the_command_line_wins_over_the_file_that_over_the_variable_and_that_over_conf(
    own: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(DATA_VARIABLE, "of_variable")
    [config] = jobs()
    assert config.data.root == str(own.parent / "of_variable")
    own.write_text("data: {root: of_file, batch_size: 7}\nrecipe.lr: 2e-3\nmodel: custom_cnn\noutput_dir: there\n")
    [config] = jobs()
    assert config.data.root == str(own.parent / "of_file")
    assert (config.data.batch_size, config.recipe.lr, config.model.name) == (7, 2e-3, "custom_cnn")
    assert config.output_dir == str(own.parent / "there")
    [config] = jobs("data.root=typed", "data.batch_size=3", "recipe.lr=1e-5", "model=resnet152")
    assert config.data.root == str(own.parent / "typed")
    assert (config.data.batch_size, config.recipe.lr, config.model.title) == (3, 1e-5, "timm/resnet152.a1h_in1k")


@pytest.mark.parametrize("source", ["file", "variable"])
def test_data_that_are_named_in_another_way_keep_their_place(
    own: Path, source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(DATA_VARIABLE, "mine")
    roots = "data_roots: {peta: /data/PETA}\n"
    own.write_text(roots + "data: {root: mine}\n" if source == "file" else roots)
    [demo, peta, folders] = jobs("-m", "data=demo,peta,folders")
    assert (demo.data.root, demo.data.csv) == tuple(
        str(own.parent / "outputs" / "demo_data" / name) for name in ("", "manifest.csv")
    )
    assert peta.data.root == "/data/PETA"
    assert folders.data.root == str(own.parent / "mine")
    [table] = jobs("data.csv=table.csv")
    assert (table.data.csv, table.data.root) == (str(own.parent / "table.csv"), None)
    with pytest.raises(GenderClsError, match="Where rap_v1 lies"):
        jobs("data=rap_v1")


def test_a_sweep_over_models_needs_nothing_else(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(GenderClsError, match=r"GENDER_CLS_DATA=FOLDER.*data: {root: FOLDER}.*\.gender_cls\.yaml"):
        jobs("-m", "model=convnext_xlarge,mobilenetv2")
    monkeypatch.setenv(DATA_VARIABLE, "crops")
    for config, name in zip(
        jobs("-m", "model=convnext_xlarge,mobilenetv2"), ("convnext_xlarge", "mobile"), strict=True
    ):
        assert config.model.name.startswith(name)
        assert config.data.root == str(own.parent / "crops")


def test_a_table_in_the_file_takes_no_folder_from_the_variable(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(DATA_VARIABLE, "mine")
    own.write_text("data.csv: table.csv\n")
    [config] = jobs()
    assert (config.data.csv, config.data.root) == (str(own.parent / "table.csv"), None)


def test_each_command_takes_the_keys_that_it_has(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(DATA_VARIABLE, "mine")
    own.write_text(
        "seed: 5\nthreads: 2\nmodel: custom_cnn\nexplain: off\nexplain.images: 3\ndata: {root: crops, limit: 60}\n"
        "launcher: slurm\nlauncher.partition: gpu\ndata_roots: {peta: /data/PETA}\n"
    )
    [train] = jobs("-m", "seed=5")
    assert (train.explain.enabled, train.explain.images, train.data.limit) == (False, 3, 60)
    jobs("-m", "launcher=joblib", "seed=5")  # which has no partition
    [audit] = jobs(command="audit")
    assert (audit.seed, audit.data.root) == (5, str(own.parent / "crops"))
    assert audit.model.name == "mobilenetv2_100", "it makes features for suspect labels"
    [demo] = jobs(command="demo")
    assert demo.seed == 5
    [evaluate] = jobs("run=.", command="evaluate")
    assert evaluate.threads == 2
    assert not evaluate.data.named, "otherwise it would test on other data"
    assert evaluate.data.limit is None
    [elsewhere] = jobs("run=.", "data=peta", command="evaluate")
    assert elsewhere.data.root == "/data/PETA"
    [predict] = jobs("run=.", "images=.", command="predict")
    assert not predict.data.named
    for command in ("compare", "explain", "export"):
        jobs("runs=." if command == "compare" else "run=.", command=command)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("data: {rooot: x}", "data.rooot, a key that no command has; did you mean data.root"),
        ("trainer: {max_epoch: 3}", "trainer.max_epochs"),
        ("colour: 1", "sets colour, a key that no command has"),
        ("search/space: scratch", "search/space, a key that no command has"),
        ("hydra: {run: {dir: x}}", "hydra.run.dir: settings of Hydra belong to the command line"),
        ("model: [resnet50, resnet152]", "name one there"),
        ("a: [", "cannot be read as YAML"),
        ("a: 1\na: 2\n", "cannot be read as YAML"),
        ("- a\n", "holds no keys"),
        ("just text", "sets just text, a key that no command has"),
    ],
)
def test_a_file_that_cannot_be_used_is_named(own: Path, text: str, words: str) -> None:
    own.write_text(text)
    with pytest.raises(GenderClsError) as caught:
        read_local_defaults()
    assert words in str(caught.value)
    assert str(own) in str(caught.value)


def test_a_file_that_cannot_be_read_is_named(own: Path) -> None:
    own.mkdir()
    with pytest.raises(GenderClsError, match=r"\.gender_cls\.yaml cannot be read"):
        read_local_defaults()
    own.rmdir()
    own.write_bytes(b"data: {root: caf\xe9}")
    with pytest.raises(GenderClsError, match=r"\.gender_cls\.yaml cannot be read"):
        read_local_defaults()


@pytest.mark.parametrize("text", ["", "# nothing yet\n", "data:\n", "data: {}\n", "model: null\n"])
def test_a_file_without_values_changes_nothing(own: Path, text: str) -> None:
    before = jobs("data.root=x")
    own.write_text(text)
    assert jobs("data.root=x") == before
    assert not read_local_defaults().described


@pytest.mark.parametrize(
    ("sentence", "typed", "key"),
    [
        ("error: data.batch_size must be at least 1, not -1.", [], "data.batch_size"),
        ("error: data.batch_size must be at least 1, not -1.", ["data.batch_size=-1"], None),
        ("error: There is no model=nonesuch; there are", [], "model"),
        ("error: There is no model=other; there are", ["model=other"], None),
        ("error: data.root is not a folder: {here}/crops.", [], "data.root"),
        ("error: data.root is not a folder: {here}/other.", ["data=other"], None),
        ("error: model.name is not set: name any model", [], None),
        ("error: output_dir={here}/out cannot be used", [], "output_dir"),
    ],
)
def test_an_error_names_who_sets_the_key(own: Path, sentence: str, typed: list[str], key: str | None) -> None:
    own.write_text("data: {root: crops, batch_size: -1}\nmodel: nonesuch\noutput_dir: out\nname: mine\n")
    origin = read_local_defaults().of("train").origin(sentence.format(here=own.parent), typed)
    assert origin == ("" if key is None else f" ({own} sets {key}.)")


def test_an_error_names_the_variable(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(DATA_VARIABLE, "gone")
    local = read_local_defaults().of("train")
    sentence = f"data.root is not a folder: {own.parent / 'gone'}."
    assert DATA_VARIABLE in local.origin(sentence)
    assert not local.origin(sentence, ["data.root=gone"])


@pytest.mark.parametrize("root", ["$HOME/crops", "${oc.env:HOME}", "~nobody-of-this-name/crops"])
@pytest.mark.parametrize("by_file", [True, False])
def test_a_path_that_the_shell_did_not_fill_in_ends_in_a_sentence(
    own: Path, monkeypatch: pytest.MonkeyPatch, root: str, by_file: bool
) -> None:
    own.write_text(f"data: {{root: '{root}'}}\n") if by_file else monkeypatch.setenv(DATA_VARIABLE, root)
    with pytest.raises(GenderClsError) as caught:
        jobs("model=custom_cnn")
    assert root in str(caught.value)
    assert "sets data.root" in read_local_defaults().of("train").origin(str(caught.value))


def test_no_value_is_computed(own: Path) -> None:
    for text in (
        "data: {root: '${oc.env:HOME}'}",
        "output_dir: ${oc.env:HOME}",
        "data_roots: {peta: '${oc.env:HOME}'}",
    ):
        own.write_text(text)
        with pytest.raises(GenderClsError, match=r"oc\.env:HOME.* is computed by a function"):
            jobs("data=peta" if "roots" in text else "seed=0")


@pytest.mark.parametrize(("typed", "words"), [([], "sets images.)"), (["images=2"], "not 2")])
def test_a_command_says_where_its_defaults_are_from(
    own: Path, typed: list[str], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    own.write_text("images: 3")
    monkeypatch.setattr(sys, "argv", ["demo", *typed])
    with pytest.raises(SystemExit) as caught:
        run_command(print, "demo", DemoConfig, when_interrupted="")
    assert "images must be at least 48" in str(caught.value.code)
    assert words in str(caught.value.code)
    assert (str(own) in str(caught.value.code)) is not bool(typed)


def test_a_command_logs_its_defaults_once(own: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    own.write_text("images: 50\noutput_dir: there\n")
    monkeypatch.setattr(sys, "argv", ["demo"])
    done: list[DemoConfig] = []
    run_command(done.append, "demo", DemoConfig, when_interrupted="")
    assert [config.images for config in done] == [50]
    assert capsys.readouterr().out.count(f"Defaults from {own}: images.") == 1


def test_they_go_with_a_job_into_another_process(own: Path) -> None:
    own.write_text("data: {root: crops}\nseed: 9\n")
    jobs()
    sent = pickle.dumps({"store": ConfigStore.instance()})
    assert copy.deepcopy(ConfigStore.instance()) is ConfigStore.instance()
    store_local_defaults("{}")  # as in a process that has just started
    assert pickle.loads(sent)["store"] is ConfigStore.instance()
    from hydra import compose, initialize_config_dir

    from gender_cls.config.parsing import CONFIG_FOLDER

    own.unlink()
    with initialize_config_dir(str(CONFIG_FOLDER), version_base="1.3"):
        config = typed_config(compose("train"), Config)
    assert (config.seed, config.data.root) == (9, str(own.parent / "crops"))
