"""What `conf/` holds, what the schemas refuse, and how paths are read."""

from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir

from gender_cls.config.audit import AuditConfig
from gender_cls.config.data import PixelCache
from gender_cls.config.demo import DemoConfig
from gender_cls.config.evaluation import CompareConfig, EvaluateConfig, EvaluationConfig
from gender_cls.config.explain import ExplainConfig, ExplainRunConfig
from gender_cls.config.parsing import CONFIG_FOLDER, parse_config, recorded_config, to_plain
from gender_cls.config.train import Config
from gender_cls.errors import GenderClsError

LEAST: dict[type, dict[str, Any]] = {
    Config: {"data": {"root": "x"}, "model": {"name": "resnet18"}},
    AuditConfig: {"data": {"root": "x"}, "model": {"name": "resnet18"}},
    EvaluateConfig: {"run": "."},
    CompareConfig: {"runs": "."},
    ExplainRunConfig: {"run": "."},
    DemoConfig: {},
}
GROUPS = sorted(f"{path.parent.name}={path.stem}" for path in CONFIG_FOLDER.glob("*/*.yaml"))


def parse(schema: type, **values: object) -> Any:
    """The least configuration of a schema with these values; a key may be `section__name`."""
    settings = {key: dict(value) if isinstance(value, dict) else value for key, value in LEAST[schema].items()}
    for key, value in values.items():
        section, _, name = key.rpartition("__")
        (settings.setdefault(section, {}) if section else settings)[name] = value
    return parse_config(settings, schema)


def composed(name: str, schema: type, *overrides: str) -> Any:
    with initialize_config_dir(str(CONFIG_FOLDER), version_base="1.3"):
        return parse_config(compose(name, list(overrides)), schema)


@pytest.mark.parametrize("choice", GROUPS)
def test_every_shipped_yaml_composes_and_passes_the_checks(choice: str) -> None:
    named = ["model.name=resnet18"] if choice in ("model=timm", "model=torchvision") else []
    assert composed("train", Config, "data.root=x", choice, *named).data.image_size in ([256, 128], [128, 64])
    if choice.startswith("data="):
        audit = composed("audit", AuditConfig, "data.root=x", choice)
        assert audit == AuditConfig(data=audit.data, model=audit.model, output_dir=audit.output_dir)
        assert audit.model.name == "mobilenetv2_100"


def test_the_yamls_show_the_defaults_of_their_schemas() -> None:
    here, outputs = str(Path.cwd()), str(Path.cwd() / "outputs")
    assert composed("evaluate", EvaluateConfig, "run=.") == EvaluateConfig(run=here, output_dir=outputs)
    assert composed("compare", CompareConfig, "runs=.") == CompareConfig(runs=here, output_dir=outputs)
    assert composed("explain", ExplainRunConfig, "run=.") == ExplainRunConfig(run=here)
    assert composed("demo", DemoConfig) == DemoConfig(folder=f"{outputs}/demo_data")
    train = composed("train", Config, "data.root=x")
    assert (train.explain, train.evaluation) == (ExplainConfig(), EvaluationConfig())


def test_plain_values_make_the_same_configuration_again() -> None:
    config = parse(Config, recipe__frozen_epochs=None, seed=0)
    plain = to_plain(config)
    assert plain["data"]["balance"] == "none"
    assert plain["recipe"]["frozen_epochs"] is None
    assert parse_config(plain, Config) == config


def test_paths_become_absolute_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "runs").mkdir()
    (tmp_path / "table.csv").touch()
    (tmp_path / "blob").touch()
    (tmp_path / "weights.safetensors").symlink_to("blob")
    (tmp_path / "crops").symlink_to("runs")
    config = parse(
        Config, data__root="crops", data__csv="~/a.csv", data__corrections="table.csv", output_dir="~",
        model__weights="weights.safetensors",
    )  # fmt: skip
    assert config.data.root == str(tmp_path / "runs")
    assert config.data.csv == str(tmp_path / "home" / "a.csv")
    assert config.data.corrections == str(tmp_path / "table.csv")
    assert config.output_dir == str(tmp_path / "home")
    assert config.model.weights == str(tmp_path / "weights.safetensors"), "the link has the suffix"
    assert parse(AuditConfig, audit__runs=["runs"]).audit.runs == [str(tmp_path / "runs")]
    compared = parse(CompareConfig, runs=["runs", "."], data_root="runs")
    assert (compared.folders, compared.data_root) == ([tmp_path / "runs", tmp_path], str(tmp_path / "runs"))
    assert parse(CompareConfig, runs="runs").folders == [tmp_path / "runs"]
    assert parse(ExplainRunConfig, images="table.csv").image_paths == [tmp_path / "table.csv"]
    assert parse(ExplainRunConfig).image_paths == []
    assert parse(EvaluateConfig, run="runs").run == str(tmp_path / "runs")


def test_a_recorded_configuration_needs_none_of_its_files(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    with pytest.raises(GenderClsError, match=r"config\.yaml is missing"):
        recorded_config(file)
    file.write_text("model:\n  weights: /gone.pth\ndata:\n  cache: ram\n")
    assert recorded_config(file).model.weights == "/gone.pth"
    assert recorded_config(file).data.cache is PixelCache.disk, "an earlier version could keep pixels in memory"
    file.write_text("modle: 1\n")
    with pytest.raises(GenderClsError, match="modle"):
        recorded_config(file)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("augment__flip", 1), ("augment__brightness", 0.99), ("recipe__layer_decay", 1), ("explain__images", 64),
        ("recipe__gradient_clip", None), ("data__batch_size", "auto"), ("data__num_workers", 0), ("explain__budget", 1),
        ("data__near_duplicate_distance", 16), ("evaluation__resamples", 100), ("seed", 2**32 - 1),
    ],
)  # fmt: skip
def test_a_range_has_its_bounds(key: str, value: object) -> None:
    parse(Config, **{key: value})


@pytest.mark.parametrize(
    ("schema", "key", "value", "words"),
    [
        # What OmegaConf finds: keys, types, choices
        (Config, "recipe__lrr", 1, "did you mean lr?"),
        (Config, "colour", 1, "there are name, output_dir, seed"),
        (Config, "recipe__lr", "fast", "Float"),
        (Config, "seed", 1.5, "Integer"),
        (Config, "data__balance", "both", "[none, loss, sampler]"),
        (Config, "data__on_corrupt", "replace", "[stop, drop]"),
        (Config, "data__cache", "ram", "[none, disk]"),
        (Config, "data__importer", "penn", "[peta, pa100k, rap_v1, rap_v2,"),
        (Config, "data__split_by", "person", "[identity, camera, source]"),
        (Config, "model__library", "keras", "[custom, timm, torchvision]"),
        (Config, "explain__methods", ["guided_backprop"], "[saliency, smoothgrad, grad_cam, integrated_gradients, "),
        (Config, "evaluation__operating_point", "best", "[balanced_accuracy, equal_recall]"),
        # Ranges
        (Config, "recipe__lr", 0, "above 0"),
        (Config, "recipe__lr", float("nan"), "above 0"),
        (Config, "recipe__frozen_epochs", -1, "at least 0"),
        (Config, "recipe__views", -1, "at least 0"),
        (Config, "recipe__layer_decay", 1.5, "above 0 and at most 1"),
        (Config, "recipe__backbone_lr_factor", 0, "above 0 and at most 1"),
        (Config, "recipe__ema_decay", 1.0, "above 0 and below 1"),
        (Config, "recipe__patience", 0, "at least 1 epoch"),
        (Config, "recipe__label_smoothing", 1, "at least 0 and below 1"),
        (Config, "recipe__gradient_clip", 0, "above 0"),
        (Config, "recipe__warmup_epochs", -1, "at least 0"),
        (Config, "recipe__weight_decay", -1, "at least 0"),
        (Config, "recipe__monitor", "test_accuracy", "balanced_accuracy, accuracy, auroc, f1_FEMALE, f1_MALE, loss"),
        (Config, "data__val_fraction", 0, "above 0 and below 1"),
        (Config, "data__folds", 2, "at least 3 (train, val, test)"),
        (Config, "data__batch_size", 0, "at least 1, or auto"),
        (Config, "data__batch_size", "all", "at least 1, or auto"),
        (Config, "data__num_workers", -1, "at least 0, or auto"),
        (Config, "data__limit", 3, "at least 6 images"),
        (Config, "data__frame_gap", -1, "at least 0 frames"),
        (Config, "data__near_duplicate_distance", 17, "between 0 and 16 of 64 bits"),
        (Config, "data__cache_gigabytes", 0, "above 0"),
        (Config, "data__cache_days", 0, "at least 1"),
        (Config, "data__split_seed", -1, "between 0 and 4,294,967,295"),
        (Config, "seed", -1, "between 0 and 4,294,967,295"),
        (Config, "model__dropout", 1, "at least 0 and below 1"),
        (Config, "augment__flip", 1.5, "between 0 and 1"),
        (Config, "augment__brightness", 1, "at least 0 and below 1"),
        (Config, "augment__rotate_degrees", 200, "between 0 and 180"),
        (Config, "augment__mixup", -1, "at least 0"),
        (Config, "trainer__max_epochs", 0, "at least 1"),
        (Config, "trainer__accumulate", 0, "at least 1"),
        (Config, "trainer__threads", 0, "at least 1, or auto"),
        (Config, "trainer__precision", "fp8", "auto, 32-true, bf16-mixed, 16-mixed, bf16-true, 64-true"),
        (Config, "trainer__accelerator", "abacus", "auto, cpu, gpu, cuda, mps"),
        (Config, "explain__images", 0, "between 1 and 64"),
        (Config, "explain__every_n_epochs", 0, "at least 1"),
        (Config, "explain__budget", 0, "above 0 and at most 1"),
        (Config, "evaluation__explained_images", -1, "at least 0"),
        (Config, "evaluation__target_error", 1, "above 0 and below 1"),
        (AuditConfig, "audit__min_height", -1, "at least 0 pixels"),
        (AuditConfig, "audit__bright", 256, "between 0 and 255"),
        (AuditConfig, "audit__blurred", -1, "at least 0"),
        (AuditConfig, "audit__min_aspect", 0, "above 0"),
        (AuditConfig, "audit__folds", 1, "at least 2"),
        (AuditConfig, "audit__thumbnails", 501, "between 0 and 500"),
        (EvaluateConfig, "accelerator", "abacus", "auto, cpu, gpu, cuda, mps"),
        (EvaluateConfig, "precision", "fp8", "auto, 32-true"),
        (EvaluateConfig, "num_workers", -1, "at least 0, or auto"),
        (EvaluateConfig, "target_error", 0, "above 0 and below 1"),
        (EvaluateConfig, "resamples", 99, "between 100 and 1,000,000"),
        (CompareConfig, "resamples", 99, "between 100 and 1,000,000"),
        (CompareConfig, "thumbnails", -1, "between 0 and 500"),
        (ExplainRunConfig, "limit", 0, "at least 1 image"),
        (DemoConfig, "images", 47, "at least 48"),
        # Names and paths
        (Config, "name", "../up", "folder"),
        (CompareConfig, "name", "a/b", "folder"),
        (Config, "model__weights", "/no/file.pth", "no file"),
        (Config, "data__corrections", "/no/file.csv", "no file"),
        (AuditConfig, "audit__runs", ["/no/run"], "no folder: /no/run"),
        (EvaluateConfig, "run", "/no/run", "no folder"),
        (EvaluateConfig, "data_root", "/no/folder", "no folder"),
        (CompareConfig, "runs", [".", "/no/run"], "no folder: /no/run"),
        (CompareConfig, "data_root", "/no/folder", "no folder"),
        (ExplainRunConfig, "images", "/no/image.png", "no file or folder"),
        # Rules between settings, or within one
        (Config, "data__root", None, "data.root=FOLDER (with MALE/ and FEMALE/ inside), data.csv=FILE or data=demo"),
        (Config, "data__image_size", [256], "[height,width] in pixels, each from 16 to 4096"),
        (Config, "data__image_size", [8, 8], "each from 16 to 4096"),
        (Config, "data__test_fraction", 0.9, "data.val_fraction + data.test_fraction must be below 1, not 1.05"),
        (Config, "data__pattern", "(a", "no regular expression"),
        (Config, "data__pattern", "(a)", "(?P<identity>...)"),
        (Config, "data__aliases", {"CHILD": []}, "FEMALE and MALE, not FEMALE, MALE, CHILD"),
        (Config, "data__published_split", "1", "data=peta"),
        (Config, "data__leave_out", "c1", "data.split_by=camera or data.split_by=source"),
        (Config, "model__name", None, "any timm model"),
        (Config, "augment__affine", 0.5, "augment.rotate_degrees"),
        (Config, "explain__methods", [], "saliency, smoothgrad, grad_cam, "),
        (Config, "explain__methods", ["saliency", "saliency"], "twice"),
        (AuditConfig, "audit__dark", 230, "audit.bright=215.0"),
        (AuditConfig, "audit__min_aspect", 5, "audit.max_aspect=4.0"),
        (EvaluateConfig, "run", None, "run=FOLDER"),
        (CompareConfig, "runs", [], "runs=SWEEP_FOLDER or runs=[FOLDER,FOLDER]"),
        (ExplainRunConfig, "run", None, "run=FOLDER"),
        (ExplainRunConfig, "name", "mine", "images=..."),
        (ExplainRunConfig, "methods", [], "saliency, smoothgrad, grad_cam, "),
    ],
)
def test_wrong_values_are_refused_in_one_sentence(schema: type, key: str, value: object, words: str) -> None:
    with pytest.raises(GenderClsError) as caught:
        parse(schema, **{key: value})
    sentence = str(caught.value)
    assert words in sentence
    assert key.replace("__", ".") in sentence or value is None or value == [], "the key"
    if words.startswith(("at least", "above", "between", "no file", "no folder", "[")):
        assert str(value[-1] if isinstance(value, list) else value) in sentence, "the value"
    assert "\n" not in sentence


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"importer": "peta", "csv": "a.csv"}, "leave out data.csv"),
        ({"split_by": "camera", "leave_out": "c1", "folds": 3}, "data.leave_out and data.folds"),
        ({"folds": 5, "fold": 5}, "data.fold must lie between 0 and data.folds - 1 = 4, not 5"),
    ],
)
def test_settings_of_data_that_exclude_each_other(values: dict[str, object], words: str) -> None:
    with pytest.raises(GenderClsError) as caught:
        parse(Config, **{f"data__{key}": value for key, value in values.items()})
    assert words in str(caught.value)
