"""What `conf/` holds, what the schemas refuse, and how paths are read."""

import copy
import re
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from omegaconf import OmegaConf

from gender_cls.config.audit import AuditConfig
from gender_cls.config.checks import make_paths_absolute
from gender_cls.config.data import DataConfig, DemoConfig, PixelCache
from gender_cls.config.evaluation import CompareConfig, EvaluateConfig, EvaluationConfig
from gender_cls.config.explain import ExplainConfig, ExplainRunConfig
from gender_cls.config.export import ExportConfig
from gender_cls.config.launcher import RayConfig
from gender_cls.config.parsing import CONFIG_FOLDER, parse_config, recorded_config, to_plain
from gender_cls.config.predict import STANDARD_INPUT, PredictConfig
from gender_cls.config.train import Config
from gender_cls.errors import GenderClsError

LEAST: dict[type, list[str]] = {
    Config: ["data.root=x", "model.name=resnet18"],
    AuditConfig: ["data.root=x", "model.name=resnet18"],
    EvaluateConfig: ["run=."],
    CompareConfig: ["runs=."],
    ExplainRunConfig: ["run=."],
    PredictConfig: ["run=.", "images=."],
    ExportConfig: ["run=."],
    DemoConfig: [],
}
GROUPS = sorted(
    f"{path.parent.name}={path.stem}" for path in CONFIG_FOLDER.glob("*/*.yaml") if path.parent.name != "experiment"
)
"""Those of experiment/ are in test_presets.py."""


def parse(schema: type, *overrides: str) -> Any:
    """The least configuration of a schema with these `key=value`."""
    return parse_config(OmegaConf.from_dotlist([*LEAST[schema], *overrides]), schema)


def composed(name: str, schema: type, *overrides: str) -> Any:
    with initialize_config_dir(str(CONFIG_FOLDER), version_base="1.3"):
        return parse_config(compose(name, list(overrides)), schema)


@pytest.mark.parametrize("choice", GROUPS)
def test_every_shipped_yaml_composes_and_passes_the_checks(choice: str) -> None:
    if choice == "launcher=ray" and find_spec("ray") is None:  # Hydra composes it only with the extra ray
        section = OmegaConf.load(CONFIG_FOLDER / "launcher" / "ray.yaml").launcher
        assert OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(RayConfig), section)) == RayConfig()
        return
    if choice.startswith("elsewhere="):
        assert (
            composed("evaluate", EvaluateConfig, "run=.", choice).elsewhere.datasets.value == choice.partition("=")[2]
        )
        return
    named = ["model.name=resnet18"] if choice in ("model=timm", "model=torchvision") else []
    assert composed("train", Config, "data.root=x", choice, *named).data.image_size in ([256, 128], [128, 64])
    if choice.startswith("data="):
        audit = composed("audit", AuditConfig, "data.root=x", choice)
        assert audit == AuditConfig(data=audit.data, model=audit.model, output_dir=audit.output_dir)
        assert audit.model.name == "mobilenetv2_100"


def test_hydra_copies_the_store_of_schemas_at_no_cost() -> None:
    store = ConfigStore.instance()
    assert copy.deepcopy({"store": store})["store"] is store


def test_the_yamls_show_the_defaults_of_their_schemas() -> None:
    here, outputs = str(Path.cwd()), str(Path.cwd() / "outputs")
    evaluate = composed("evaluate", EvaluateConfig, "run=.")
    assert evaluate == EvaluateConfig(run=here, output_dir=outputs, data=evaluate.data)
    assert composed("compare", CompareConfig, "runs=.") == CompareConfig(runs=here, output_dir=outputs)
    assert composed("explain", ExplainRunConfig, "run=.") == ExplainRunConfig(run=here)
    predict = composed("predict", PredictConfig, "run=.", "images=.")
    assert predict == PredictConfig(run=here, images=".", output_dir=outputs, data=predict.data)
    assert composed("export", ExportConfig, "run=.") == ExportConfig(run=here, output_dir=outputs)
    assert composed("demo", DemoConfig) == DemoConfig(folder=f"{outputs}/demo_data")
    train = composed("train", Config, "data.root=x")
    assert (train.explain, train.evaluation) == (ExplainConfig(), EvaluationConfig())


def test_plain_values_make_the_same_configuration_again() -> None:
    config = parse(Config, "recipe.frozen_epochs=null", "seed=0")
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
    paths = ["data.root=crops", "data.csv=~/a.csv", "data.corrections=table.csv", "model.weights=weights.safetensors"]
    config = parse(Config, *paths, "output_dir='~'")
    assert config.data.root == str(tmp_path / "runs")
    assert config.data.csv == str(tmp_path / "home" / "a.csv")
    assert config.data.corrections == str(tmp_path / "table.csv")
    assert config.output_dir == str(tmp_path / "home")
    assert config.model.weights == str(tmp_path / "weights.safetensors"), "the link has the suffix"
    assert parse(AuditConfig, "audit.runs=[runs]").audit.runs == [str(tmp_path / "runs")]
    compared = parse(CompareConfig, "runs=[runs,.]", "data_root=runs")
    assert (compared.folders, compared.data_root) == ([tmp_path / "runs", tmp_path], str(tmp_path / "runs"))
    assert parse(CompareConfig, "runs=runs").folders == [tmp_path / "runs"]
    assert parse(ExplainRunConfig, "images=table.csv").image_paths == [tmp_path / "table.csv"]
    assert parse(ExplainRunConfig).image_paths == []
    assert parse(EvaluateConfig, "run=runs").run == str(tmp_path / "runs")


@pytest.mark.parametrize(
    ("path", "words"), [("", "is empty"), (" ", "is empty"), ("a\x1b[2Jb", r"a\x1b[2Jb"), ("caf\udce9", r"caf\xe9")]
)
def test_paths_that_name_nothing_or_cannot_be_written_are_refused(path: str, words: str) -> None:
    for config in (Config(data=DataConfig(root=path)), Config(data=DataConfig(csv=path))):
        with pytest.raises(GenderClsError, match=rf"^data\.(root|csv).*{re.escape(words)}"):
            make_paths_absolute(config)
    with pytest.raises(GenderClsError, match=r"^images.* is empty"):
        make_paths_absolute(ExplainRunConfig(images=["a.png", " "]))


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


BOUNDS = (
    "augment.flip=1 augment.brightness=0.99 recipe.layer_decay=1 explain.images=64 recipe.gradient_clip=null "
    "data.batch_size=auto data.num_workers=0 explain.budget=1 data.near_duplicate_distance=16 "
    f"evaluation.resamples=100 seed={2**32 - 1}"
)


@pytest.mark.parametrize("override", BOUNDS.split())
def test_a_range_has_its_bounds(override: str) -> None:
    parse(Config, override)


REFUSED = [
    # What OmegaConf finds: keys, types, choices
    (Config, "recipe.lrr=1", "did you mean recipe.lr?"),
    (Config, "colour=1", "there are name, output_dir"),
    (Config, "recipe.lr=fast", "recipe.lr must be a number, not fast"),
    (Config, "tags=[a,{b:1}]", "tags must be words"),
    (Config, "callbacks.x=3", "callbacks.x names no class"),
    (Config, "loggers.x=3", "loggers.x names no class"),
    (Config, "seed=1.5", "seed must be a whole number, not 1.5"),
    (Config, "trainer.max_epochs=two", "trainer.max_epochs must be a whole number, not two"),
    (Config, "trainer.devices=1.5 data.batch_size=[8]", "must be a whole number, or auto, not"),
    (Config, "data.image_size=256", "data.image_size must be [height,width]"),
    (Config, "model.pretrained=maybe", "model.pretrained must be true or false, not maybe"),
    (Config, "data.balance=both", "[none, loss, sampler, source]"),
    (Config, "data.on_corrupt=replace", "[stop, drop]"),
    (Config, "data.cache=ram", "[none, disk]"),
    (Config, "data.importer=penn", "[peta, pa100k, rap_v1, rap_v2,"),
    (Config, "data.split_by=person data.val_by=person", "[identity, camera, source]"),
    (Config, "model.library=keras", "[custom, timm, torchvision]"),
    (Config, "explain.methods=[guided_backprop]", "[saliency, smoothgrad, grad_cam, integrated_gradients, "),
    (Config, "evaluation.operating_point=best", "[balanced_accuracy, equal_recall]"),
    # Ranges, several settings to a line
    (Config, "recipe.lr=0 recipe.lr=.nan recipe.gradient_clip=0 data.cache_gigabytes=0", "above 0"),
    (Config, "recipe.frozen_epochs=-1 recipe.views=-1 recipe.warmup_epochs=-1 recipe.weight_decay=-1", "at least 0"),
    (Config, "augment.mixup=-1 evaluation.explained_images=-1", "at least 0"),
    (Config, "recipe.layer_decay=1.5 recipe.backbone_lr_factor=0 explain.budget=0", "above 0 and at most 1"),
    (Config, "recipe.ema_decay=1.0 data.val_fraction=0 evaluation.target_error=1", "above 0 and below 1"),
    (Config, "recipe.label_smoothing=1 model.dropout=1 augment.brightness=1", "at least 0 and below 1"),
    (Config, "recipe.patience=0", "at least 1 epoch"),
    (Config, "recipe.monitor=test_accuracy", "balanced_accuracy, accuracy, auroc, f1_FEMALE, f1_MALE, loss"),
    (Config, "data.folds=2", "at least 3 (train, val, test)"),
    (Config, "data.batch_size=0 data.batch_size=all", "at least 1, or auto"),
    (Config, "trainer.threads=0 trainer.threads=100000", "between 1 and 1,024, or auto"),
    (Config, "data.num_workers=-1 data.num_workers=1000", "between 0 and 512, or auto"),
    (Config, "recipe.lr=.inf data.cache_gigabytes=.inf augment.mixup=.inf", "a finite number"),
    (Config, "name=..", "becomes a folder"),
    (Config, "data.limit=3", "at least 6 images"),
    (Config, "data.frame_gap=-1", "at least 0 frames"),
    (Config, "data.near_duplicate_distance=17", "between 0 and 16 of 64 bits"),
    (Config, "data.cache_days=0 trainer.max_epochs=0 trainer.accumulate=0 explain.every_n_epochs=0", "at least 1"),
    (Config, "data.split_seed=-1 seed=-1", "between 0 and 4,294,967,295"),
    (Config, "augment.flip=1.5", "between 0 and 1"),
    (Config, "augment.rotate_degrees=200", "between 0 and 180"),
    (Config, "trainer.precision=fp8", "auto, 32-true, bf16-mixed, 16-mixed, bf16-true, 64-true"),
    (Config, "trainer.accelerator=abacus", "auto, cpu, gpu, cuda, mps"),
    (Config, "explain.images=0", "between 1 and 64"),
    (AuditConfig, "audit.min_height=-1", "at least 0 pixels"),
    (AuditConfig, "audit.bright=256", "between 0 and 255"),
    (AuditConfig, "audit.blurred=-1", "at least 0"),
    (AuditConfig, "audit.min_aspect=0", "above 0"),
    (AuditConfig, "audit.folds=1", "at least 2"),
    (AuditConfig, "audit.thumbnails=501", "between 0 and 500"),
    (EvaluateConfig, "accelerator=abacus", "auto, cpu, gpu, cuda, mps"),
    (EvaluateConfig, "precision=fp8", "auto, 32-true"),
    (EvaluateConfig, "num_workers=-1", "between 0 and 512, or auto"),
    (EvaluateConfig, "target_error=0", "above 0 and below 1"),
    (EvaluateConfig, "resamples=99", "between 100 and 1,000,000"),
    (CompareConfig, "resamples=99", "between 100 and 1,000,000"),
    (CompareConfig, "thumbnails=-1", "between 0 and 500"),
    (ExplainRunConfig, "limit=0", "at least 1 image"),
    (PredictConfig, "stride=0", "at least 1 frame"),
    (PredictConfig, "first_frame=2", "between 0 and 1"),
    (ExportConfig, "images=0", "at least 1 validation image"),
    (ExportConfig, "seconds=-1", "at least 0 s"),
    (ExportConfig, "format=tflite", "onnx, pt2"),
    (ExportConfig, "also=[int8,int4]", "float16, int8, not int4"),
    (DemoConfig, "images=47", "at least 48"),
    # Names and paths
    (Config, "name=../up", "folder"),
    (CompareConfig, "name=a/b", "folder"),
    (Config, "model.weights=/no/file.pth data.corrections=/no/file.csv", "no file"),
    (AuditConfig, "audit.runs=[/no/run]", "no folder: /no/run"),
    (EvaluateConfig, "run=/no/run data_root=/no/folder", "no folder"),
    (CompareConfig, "runs=[.,/no/run] data_root=/no/folder", "folder: /no/"),
    (ExplainRunConfig, "images=/no/image.png", "no file or folder"),
    (PredictConfig, "images=/no/image.png images=/no/*.png images=[.,/no/image.png]", "no file or folder"),
    (PredictConfig, "boxes=/no/boxes.txt", "no file"),
    (PredictConfig, "name=a/b", "folder"),
    # Rules between settings, or within one
    (Config, "data.root=null", "data.root=FOLDER (with MALE/ and FEMALE/ inside), data.csv=FILE or data=demo"),
    (Config, "data.image_size=[256]", "[height,width] in pixels, each from 16 to 4096"),
    (Config, "data.image_size=[8,8]", "each from 16 to 4096"),
    (Config, "data.test_fraction=0.9", "data.val_fraction + data.test_fraction must be below 1, not 1.05"),
    (Config, "data.pattern=(a", "no regular expression"),
    (Config, "data.pattern=(a)", "(?P<identity>...)"),
    (Config, "data.aliases={CHILD:[]}", "FEMALE and MALE, not FEMALE, MALE, CHILD"),
    (Config, "data.aliases={FEMALE:[x],MALE:[X]}", "both labels the name x"),
    (Config, "data.published_split=1", "data=peta"),
    (Config, "data.leave_out=c1", "data.split_by=camera or data.split_by=source"),
    (Config, "model.name=null", "any timm model"),
    (Config, "augment.affine=0.5", "augment.rotate_degrees"),
    (Config, "recipe.optimizer=admw", "recipe.optimizer=admw is no optimizer of timm; did you mean adamw"),
    (Config, "recipe.optimizer=adahessian", "second derivatives"),
    (Config, "recipe.optimizer=bnbadam8bit", "bitsandbytes"),
    (Config, "recipe.optimizer_options.lr=1", "recipe.optimizer_options.lr is no option: recipe.lr sets it"),
    (Config, "recipe.momentum=1", "recipe.momentum must be at least 0 and below 1"),
    (Config, "explain.methods=[]", "saliency, smoothgrad, grad_cam, "),
    (Config, "explain.methods=[saliency,saliency]", "twice"),
    (AuditConfig, "audit.dark=230", "audit.bright=215.0"),
    (AuditConfig, "audit.min_aspect=5", "audit.max_aspect=4.0"),
    (EvaluateConfig, "run=null", "run=FOLDER"),
    (CompareConfig, "runs=[]", "runs=SWEEP_FOLDER or runs=[FOLDER,FOLDER]"),
    (ExplainRunConfig, "run=null", "run=FOLDER"),
    (PredictConfig, "run=null", "run=FOLDER"),
    (PredictConfig, "images=null", "images=FILE"),
    (PredictConfig, "images='' images=[.,'']", "images is empty"),
    (PredictConfig, "images=[-,.,-]", "standard input can be read once"),
    (ExportConfig, "run=null", "run=FOLDER"),
    (ExplainRunConfig, "name=mine", "images=..."),
    (ExplainRunConfig, "methods=[]", "saliency, smoothgrad, grad_cam, "),
]


@pytest.mark.parametrize(
    ("schema", "override", "words"),
    [(schema, override, words) for schema, overrides, words in REFUSED for override in overrides.split()],
)
def test_wrong_values_are_refused_in_one_sentence(schema: type, override: str, words: str) -> None:
    with pytest.raises(GenderClsError) as caught:
        parse(schema, override)
    sentence = str(caught.value)
    key, value = override.split("=")
    assert words in sentence
    assert key in sentence or value in ("null", "[]")
    if words.startswith(("at least", "above", "between", "no file", "no folder", "[")):
        assert value.rpartition(",")[2].strip("[].") in sentence
    assert "\n" not in sentence


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ("importer=peta csv=a.csv", "leave out data.csv"),
        ("split_by=camera leave_out=c1 folds=3", "data.leave_out and data.folds"),
        ("folds=5 fold=5", "data.fold must lie between 0 and data.folds - 1 = 4, not 5"),
    ],
)
def test_settings_of_data_that_exclude_each_other(values: str, words: str) -> None:
    with pytest.raises(GenderClsError) as caught:
        parse(Config, *(f"data.{value}" for value in values.split()))
    assert words in str(caught.value)


def test_images_may_be_named_in_any_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a b ü.jpg", "[1].jpg", "x/1.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "x"))
    names = ["a b ü.jpg", "[1].jpg", "~/1.jpg", "~/*.jpg", "**/1.jpg", STANDARD_INPUT]
    config = PredictConfig(run=".", images=names)
    config.check()
    here = ("a b ü.jpg", "[1].jpg", "x/1.jpg", "x/*.jpg", "**/1.jpg")
    assert config.image_names == [*(str(tmp_path / name) for name in here), STANDARD_INPUT]
