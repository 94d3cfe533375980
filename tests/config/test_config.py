from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from gender_cls.config.audit import AuditConfig
from gender_cls.config.data import PixelCache
from gender_cls.config.demo import DemoConfig
from gender_cls.config.evaluation import CompareConfig, EvaluateConfig, EvaluationConfig
from gender_cls.config.explain import ExplainConfig, ExplainRunConfig
from gender_cls.config.parsing import CONFIG_FOLDER, parse_config, recorded_config, to_plain
from gender_cls.config.train import Config
from gender_cls.errors import GenderClsError

LEAST = {"data": {"root": "x"}, "model": {"name": "resnet18"}}
GROUPS = sorted(
    f"{path.parent.name}={path.stem}" for path in CONFIG_FOLDER.glob("*/*.yaml") if path.parent.name != "hydra"
)


def with_value(key: str, value: object) -> dict:
    section, _, name = key.rpartition(".")
    changed = {group: dict(values) for group, values in LEAST.items()}
    if section:
        changed.setdefault(section, {})[name] = value
    else:
        changed[name] = value
    return changed


@pytest.mark.parametrize("choice", GROUPS)
def test_every_shipped_yaml_composes_and_passes_the_checks(choice: str) -> None:
    overrides = ["data.root=x", choice]
    if choice in ("model=timm", "model=torchvision"):
        overrides.append("model.name=resnet18")
    with initialize_config_dir(str(CONFIG_FOLDER), version_base="1.3"):
        config = parse_config(compose("train", overrides), Config)
    assert config.data.image_size in ([256, 128], [128, 64])


AUDIT = [
    ("min_height", -1, "audit.min_height must be at least 0 pixels, not -1."),
    ("bright", 256, "audit.bright must lie between 0 and 255 (mean brightness), not 256.0."),
    ("dark", 230, "audit.dark=230.0 must stay below audit.bright=215.0."),
    ("blurred", -1, "audit.blurred must be at least 0, not -1.0."),
    ("min_aspect", 5, "audit.min_aspect=5.0 must be above 0 and below audit.max_aspect=4.0 (height divided by width)."),
    ("folds", 1, "audit.folds must be at least 2, not 1."),
    ("runs", ["/no/run"], "audit.runs names no run or sweep folder: /no/run"),
    ("thumbnails", 501, "audit.thumbnails must lie between 0 and 500, not 501."),
]


@pytest.mark.parametrize(("key", "value", "message"), AUDIT)
def test_wrong_values_of_an_audit_are_refused(key: str, value: object, message: str) -> None:
    with pytest.raises(GenderClsError) as caught:
        parse_config({**LEAST, "audit": {key: value}}, AuditConfig)
    assert str(caught.value) == message


@pytest.mark.parametrize("choice", [choice for choice in GROUPS if choice.startswith("data=")])
def test_the_audit_yaml_composes_with_every_dataset(choice: str) -> None:
    with initialize_config_dir(str(CONFIG_FOLDER), version_base="1.3"):
        config = parse_config(compose("audit", ["data.root=x", choice]), AuditConfig)
    assert config == AuditConfig(data=config.data, model=config.model)  # the YAML shows the schema's own defaults
    assert config.model.name == "mobilenetv2_100"


def test_the_other_yamls_show_the_defaults_of_their_schemas() -> None:
    with initialize_config_dir(str(CONFIG_FOLDER), version_base="1.3"):
        evaluate = parse_config(compose("evaluate", ["run=."]), EvaluateConfig)
        compare = parse_config(compose("compare", ["runs=."]), CompareConfig)
        explain = parse_config(compose("explain", ["run=."]), ExplainRunConfig)
        train = parse_config(compose("train", ["data.root=x"]), Config)
    assert evaluate == EvaluateConfig(run=".")
    assert compare == CompareConfig(runs=".")
    assert explain == ExplainRunConfig(run=".")
    assert train.explain == ExplainConfig()
    assert train.evaluation == EvaluationConfig()
    assert compare.folders == [Path()]
    assert parse_config({"runs": [".", ".."]}, CompareConfig).folders == [Path(), Path("..")]


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("run", None, "No run is named: give run=FOLDER, a run's folder or a sweep's."),
        ("data_root", "/no/folder", "data_root names no folder: /no/folder"),
        ("accelerator", "abacus", "accelerator must be one of auto, cpu, gpu, cuda, mps, not abacus."),
        (
            "precision",
            "fp8",
            "precision must be one of auto, 32-true, bf16-mixed, 16-mixed, bf16-true, 64-true, not fp8.",
        ),
        ("num_workers", -1, "num_workers must be at least 0, or auto, not -1."),
        ("target_error", 0, "target_error must lie between 0 and 1, not 0.0."),
        ("resamples", 99, "resamples must lie between 100 and 1,000,000, not 99."),
    ],
)
def test_wrong_values_of_an_evaluation_are_refused(key: str, value: object, message: str) -> None:
    with pytest.raises(GenderClsError) as caught:
        parse_config({"run": ".", key: value}, EvaluateConfig)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("runs", [], "No runs are named: give runs=SWEEP_FOLDER or runs=[FOLDER,FOLDER]."),
        ("runs", [".", "/no/folder"], "runs names no folder: /no/folder"),
        ("data_root", "/no/folder", "data_root names no folder: /no/folder"),
        ("resamples", 99, "resamples must lie between 100 and 1,000,000, not 99."),
        ("thumbnails", -1, "thumbnails must lie between 0 and 500, not -1."),
        ("name", "a/b", "name becomes a folder: letters, digits and _ . + - only, not 'a/b'."),
    ],
)
def test_wrong_values_of_a_comparison_are_refused(key: str, value: object, message: str) -> None:
    with pytest.raises(GenderClsError) as caught:
        parse_config({"runs": ".", key: value}, CompareConfig)
    assert str(caught.value) == message


def test_data_keys_that_exclude_each_other() -> None:
    for data, message in (
        ({"importer": "peta", "csv": "a.csv", "root": "x"}, "data.importer reads the dataset under data.root"),
        (
            {"root": "x", "split_by": "camera", "leave_out": "c1", "folds": 3},
            "data.leave_out and data.folds both choose",
        ),
    ):
        with pytest.raises(GenderClsError, match=message):
            parse_config({"data": data, "model": {"name": "a"}}, Config)


def test_the_demo_yaml_composes() -> None:
    with initialize_config_dir(str(CONFIG_FOLDER), version_base="1.3"):
        config = parse_config(compose("demo"), DemoConfig)
    assert (config.images, config.cue, config.seed) == (600, True, 0)


def test_plain_values_make_the_same_configuration_again() -> None:
    config = parse_config({**LEAST, "recipe": {"frozen_epochs": None}, "seed": 0}, Config)
    plain = to_plain(config)
    assert plain["data"]["balance"] == "none"
    assert plain["recipe"]["frozen_epochs"] is None
    assert parse_config(plain, Config) == config


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("recipe.lrr", 1, "recipe.lrr is no key of the configuration; did you mean lr?"),
        ("colour", 1, "colour is no key of the configuration; there are name, output_dir, seed"),
        ("recipe.lr", "fast", "recipe.lr: Value 'fast' of type 'str' could not be converted to Float."),
        ("recipe.lr", 0, "recipe.lr must be above 0, not 0.0."),
        ("recipe.lr", float("nan"), "recipe.lr must be above 0, not nan."),
        ("recipe.monitor", "test_accuracy", "recipe.monitor must be a validation metric (balanced_accuracy,"),
        ("recipe.frozen_epochs", -1, "recipe.frozen_epochs must be at least 0, not -1."),
        ("recipe.layer_decay", 1.5, "recipe.layer_decay must be above 0 and at most 1, not 1.5."),
        ("recipe.ema_decay", 1.0, "recipe.ema_decay must lie between 0 and 1, not 1.0."),
        ("recipe.patience", 0, "recipe.patience must be at least 1 epoch, not 0."),
        ("recipe.label_smoothing", 1, "recipe.label_smoothing must lie in [0, 1), not 1.0."),
        ("recipe.gradient_clip", 0, "recipe.gradient_clip must be above 0, not 0.0."),
        ("recipe.warmup_epochs", -1, "recipe.warmup_epochs must be at least 0, not -1.0."),
        ("recipe.weight_decay", -1, "recipe.weight_decay must be at least 0, not -1.0."),
        ("data.root", None, "No data are named: give data.root=FOLDER"),
        ("data.balance", "both", "data.balance: Invalid value 'both', expected one of [none, loss, sampler]."),
        ("data.on_corrupt", "replace", "data.on_corrupt: Invalid value 'replace', expected one of [stop, drop]."),
        (
            "data.image_size",
            [256],
            "data.image_size must be [height,width] in pixels, each from 16 to 4096, not [256].",
        ),
        ("data.image_size", [8, 8], "each from 16 to 4096, not [8, 8]."),
        ("data.val_fraction", 0, "data.val_fraction must lie between 0 and 1 (exclusive), not 0.0."),
        ("data.test_fraction", 0.9, "data.val_fraction + data.test_fraction must stay below 1, not 1.05."),
        ("data.folds", 2, "data.folds must be at least 3 (train, val, test), not 2."),
        ("data.batch_size", 0, "data.batch_size must be at least 1, or auto, not 0."),
        ("data.num_workers", -1, "data.num_workers must be at least 0, or auto, not -1."),
        ("data.limit", 3, "data.limit must be at least 6 images (3 splits, 2 labels), not 3."),
        ("data.pattern", "(a", "data.pattern is no regular expression (missing )"),
        ("data.pattern", "(a)", "data.pattern has no named group such as (?P<identity>...)"),
        (
            "data.aliases",
            {"CHILD": []},
            "data.aliases must have the keys FEMALE and MALE, not FEMALE, MALE, CHILD.",
        ),
        (
            "model.library",
            "keras",
            "model.library: Invalid value 'keras', expected one of [custom, timm, torchvision].",
        ),
        (
            "data.importer",
            "penn",
            "data.importer: Invalid value 'penn', expected one of [peta, pa100k, rap_v1, rap_v2,",
        ),
        ("data.published_split", "1", "data.published_split belongs to a dataset with an importer, such as data=peta"),
        ("data.cache", "ram", "data.cache: Invalid value 'ram', expected one of [none, disk]."),
        ("data.corrections", "/no/file.csv", "data.corrections names no file: /no/file.csv"),
        ("data.frame_gap", -1, "data.frame_gap must be at least 0 frames, not -1."),
        (
            "data.near_duplicate_distance",
            17,
            "data.near_duplicate_distance must lie between 0 and 16 of 64 bits, not 17.",
        ),
        (
            "data.split_by",
            "person",
            "data.split_by: Invalid value 'person', expected one of [identity, camera, source].",
        ),
        ("data.leave_out", "c1", "data.leave_out names a camera or a source: set data.split_by=camera or"),
        ("model.name", None, "model.name is not set: name any timm model"),
        ("model.weights", "/no/file.pth", "model.weights names no file: /no/file.pth"),
        ("model.dropout", 1, "model.dropout must lie in [0, 1), not 1.0."),
        ("augment.flip", 1.5, "augment.flip must lie between 0 and 1, not 1.5."),
        ("augment.brightness", 1, "augment.brightness must lie in [0, 1), not 1.0."),
        ("augment.affine", 0.5, "augment.affine is a probability and needs a range (augment.rotate_degrees"),
        ("augment.rotate_degrees", 200, "augment.rotate_degrees must lie between 0 and 180, not 200.0."),
        ("augment.mixup", -1, "augment.mixup must be at least 0, not -1.0."),
        ("trainer.max_epochs", 0, "trainer.max_epochs must be at least 1, not 0."),
        ("trainer.precision", "fp8", "trainer.precision must be one of auto, 32-true, bf16-mixed"),
        ("trainer.accelerator", "abacus", "trainer.accelerator must be one of auto, cpu"),
        ("explain.images", 0, "explain.images must lie between 1 and 64, not 0."),
        ("explain.every_n_epochs", 0, "explain.every_n_epochs must be at least 1, not 0."),
        ("explain.budget", 0, "explain.budget is a share of the time of training, above 0 and at most 1, not 0.0."),
        ("explain.methods", [], "explain.methods is empty: name at least one of saliency, smoothgrad, grad_cam, "),
        ("explain.methods", ["saliency", "saliency"], "explain.methods names a method twice."),
        (
            "explain.methods",
            ["guided_backprop"],
            "Invalid value 'guided_backprop', expected one of [saliency, smoothgrad, grad_cam, integrated_gradients, ",
        ),
        ("evaluation.explained_images", -1, "explained_images must be at least 0, not -1."),
        (
            "evaluation.operating_point",
            "best",
            "evaluation.operating_point: Invalid value 'best', expected one of [balanced_accuracy, equal_recall].",
        ),
        ("evaluation.target_error", 1, "target_error must lie between 0 and 1, not 1.0."),
        ("data.split_seed", -1, "data.split_seed must lie between 0 and 2**32 - 1, not -1."),
        ("seed", -1, "seed must lie between 0 and 2**32 - 1, not -1."),
        ("seed", 1.5, "seed: Value '1.5' of type 'float' could not be converted to Integer."),
        ("name", "../up", "name becomes a folder: letters, digits and _ . + - only, not '../up'."),
    ],
)
def test_wrong_values_are_refused_in_one_sentence(key: str, value: object, message: str) -> None:
    with pytest.raises(GenderClsError) as caught:
        parse_config(with_value(key, value), Config)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_fold_lies_within_folds() -> None:
    data = {"data": {"root": "x", "folds": 5, "fold": 5}, "model": {"name": "a"}}
    with pytest.raises(GenderClsError, match=r"data.fold must lie between 0 and data.folds - 1 = 4, not 5\."):
        parse_config(data, Config)


def test_a_run_recorded_with_the_former_cache_in_memory_can_be_read(tmp_path: Path) -> None:
    recorded = to_plain(parse_config({"data": {"root": "x"}, "model": {"name": "a"}}, Config))
    recorded["data"]["cache"] = "ram"
    (tmp_path / "config.yaml").write_text(OmegaConf.to_yaml(recorded))
    assert recorded_config(tmp_path / "config.yaml").data.cache is PixelCache.disk
