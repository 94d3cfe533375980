"""What can only be known on a GPU: two or three minutes on one, skipped where there is none.

python -m pytest tests/test_cuda.py                         on a GPU
TEST_DEVICE=cpu python -m pytest tests/test_cuda.py         the same calls on a CPU, as far as they go
"""

import os
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.classifiers import TINY_CONVNEXT, config_of, prepare, random_images, settings
from helpers.commands import SMALL, command
from helpers.crops import draw_folders
from pytorch_lightning import Callback, Trainer

from gender_cls.config.explain import Method
from gender_cls.config.train import Config
from gender_cls.data.prepare import PreparedData
from gender_cls.explain.attribution import attribute
from gender_cls.explain.callback import explain_callbacks
from gender_cls.runs.run import Run
from gender_cls.system.resources import Resources, choose_resources
from gender_cls.training.checkpoints import read_checkpoint
from gender_cls.training.classifier import GenderClassifier
from gender_cls.training.fit import fit
from gender_cls.training.predictor import Predictor
from gender_cls.training.weight_average import WeightAverage

DEVICE = os.environ.get("TEST_DEVICE", "cuda")
ON_GPU = DEVICE == "cuda"
pytestmark = pytest.mark.skipif(ON_GPU and not torch.cuda.is_available(), reason="there is no CUDA")

ON_DEVICE = [*[one for one in SMALL if not one.startswith("trainer.acc")], f"trainer.accelerator={DEVICE}"]
AUGMENT = {"flip": 0.5, "affine": 0.5, "translate": 0.1, "brightness": 0.3, "low_resolution": 0.5, "blur": 0.5}
AUGMENT |= {"erase": 0.3, "jpeg": 0.3}
PLAIN: dict[str, Any] = {"recipe": {"frozen_epochs": 0, "lr": 0.003, "warmup_epochs": 0}}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> PreparedData:
    return prepare(draw_folders(tmp_path_factory.mktemp("data") / "crops"))


def resources(precision: str = "32-true", device: str = DEVICE) -> Resources:
    return choose_resources(device, precision, 1, 2 if ON_GPU else 0, pixels_at_hand=True).apply()


def config(precision: str = "32-true", **sections: Any) -> Config:
    """Two epochs of about eight steps."""
    trainer = {"accelerator": DEVICE, "precision": precision, **sections.pop("trainer", {})}
    return config_of(trainer=trainer, data={"batch_size": 4, "image_size": [64, 32]}, **sections)


def trained(folder: Path, prepared: PreparedData, config: Config, *more: Callback, device: str = DEVICE) -> Run:
    """A run in this folder that was trained to the end, on its device, in finite numbers."""
    run, precision = Run(folder), config.trainer.precision
    folder.mkdir(exist_ok=True)

    def callbacks(*arguments: Any) -> list[Callback]:
        return [*explain_callbacks(*arguments), *more]

    fit(config, run, prepared, resources(precision, device), callbacks)
    assert run.status["fitted"]
    assert run.status["precision"] == precision
    weights = read_checkpoint(run.best_checkpoint)["state_dict"].values()
    assert {weight.device.type for weight in weights} == {"cpu"}
    assert all(weight.isfinite().all() for weight in weights)
    return run


@pytest.mark.parametrize(
    ("precision", "sections"),
    [
        pytest.param("32-true", {"augment": AUGMENT, **PLAIN}, id="augmentation"),
        pytest.param("bf16-mixed", {"augment": AUGMENT, "recipe": {"frozen_epochs": 1, "views": 2}}, id="features"),
        pytest.param("bf16-mixed", {"recipe": {"frozen_epochs": 0, "ema_decay": 0.9}}, id="ema"),
        pytest.param("bf16-mixed", {"augment": {"mixup": 0.2, "cutmix": 1.0}, **PLAIN}, id="mixing"),
        pytest.param("16-mixed", {"augment": AUGMENT, **PLAIN, "trainer": {"accumulate": 2}}, id="16-mixed"),
        pytest.param("bf16-true", {"explain": {"enabled": True, "images": 2}, **PLAIN}, id="bf16-true"),
        pytest.param(
            "bf16-mixed",
            {"model": TINY_CONVNEXT, "recipe": {"frozen_epochs": 0, "grad_checkpointing": True}},
            id="checkpointing",
        ),
        pytest.param("bf16-mixed", {"trainer": {"compile": True}, **PLAIN}, id="compile"),
    ],
)
def test_two_epochs(precision: str, sections: dict[str, Any], tmp_path: Path, prepared: PreparedData) -> None:
    if precision == "16-mixed" and not ON_GPU:
        pytest.skip("torch scales gradients on a GPU only")
    run = trained(tmp_path, prepared, config(precision, **sections))
    assert len(run.epochs.read_text().splitlines()) == 3
    assert run.status["peak_memory_bytes"] > 0
    assert bool(list(tmp_path.glob("explanations/epoch_*.png"))) == ("explain" in sections)


def test_a_gpu_learns_what_a_cpu_learns(tmp_path: Path, prepared: PreparedData) -> None:
    images, answers = random_images(6, (64, 32)), []
    for device in (DEVICE, "cpu"):
        run = trained(tmp_path / f"on_{len(answers)}", prepared, config(**PLAIN), device=device)
        answers.append(Predictor.of_run(run, resources(device=device), config(**PLAIN)).answer(images))
    assert answers[0] == pytest.approx(answers[1], abs=5e-3)


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_no_step_waits_for_the_device(precision: str, tmp_path: Path, prepared: PreparedData) -> None:
    """From the end of the first step, which is logged, to the beginning of the last one."""
    watched = []

    class Watch(Callback):
        def on_train_batch_end(self, trainer: Trainer, *arguments: Any) -> None:
            watched.append(trainer.global_step)
            watch(trainer.num_training_batches - 2 > arguments[-1])

    def watch(on: bool) -> None:
        if ON_GPU:
            torch.cuda.set_sync_debug_mode("error" if on else "default")

    recipe = {"frozen_epochs": 0, "ema_decay": 0.9}
    try:
        trained(tmp_path, prepared, config(precision, augment=AUGMENT, recipe=recipe), Watch())
    finally:
        watch(False)
    assert len(watched) > 10


def test_the_average_lies_on_the_device(tmp_path: Path, prepared: PreparedData) -> None:
    places = set()

    class Look(Callback):
        def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
            [average] = [one for one in trainer.callbacks if isinstance(one, WeightAverage)]
            assert average._average_model is not None
            places.update(value.device.type for value in average._average_model.state_dict().values())

    trained(tmp_path, prepared, config(recipe={"frozen_epochs": 0, "ema_decay": 0.9}), Look())
    assert places == {DEVICE}


def test_a_training_goes_on_where_it_was_interrupted(tmp_path: Path, prepared: PreparedData) -> None:
    class Stop(Callback):
        def on_train_epoch_start(self, trainer: Trainer, *_: Any) -> None:
            if trainer.current_epoch == 1:
                raise InterruptedError

    asked = config("bf16-mixed", augment=AUGMENT, recipe={"frozen_epochs": 0, "ema_decay": 0.9})
    whole = trained(tmp_path / "whole", prepared, asked)
    (tmp_path / "resumed").mkdir()
    with pytest.raises(InterruptedError):
        trained(tmp_path / "resumed", prepared, asked, Stop())
    resumed = trained(tmp_path / "resumed", prepared, asked)
    steps = [read_checkpoint(run.last_checkpoint)["global_step"] for run in (whole, resumed)]
    assert steps[0] == steps[1]
    scores = [read_checkpoint(run.best_checkpoint)["score"] for run in (whole, resumed)]
    assert scores[0] == pytest.approx(scores[1], abs=0.05)  # cuDNN may have chosen other kernels


def test_every_method_explains_as_on_a_cpu() -> None:
    maps = []
    for device in (DEVICE, "cpu"):
        torch.manual_seed(0)
        classifier = GenderClassifier(settings()).to(device).eval()
        inputs = classifier.normalise(random_images(3))
        maps.append(attribute(classifier.network, inputs, [*Method], classifier.feature_map, torch.tensor([0, 1, 0])))
    for method in Method:
        ours, expected = (one.maps[method] for one in maps)
        torch.testing.assert_close(ours, expected, rtol=1e-3, atol=1e-3 * float(expected.abs().max()))


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two jobs, each forked from a process that must not have touched the GPU, tested and explained by all methods."""
    cwd = tmp_path_factory.mktemp("sweep")
    crops = draw_folders(cwd / "crops")
    jobs = ["-m", "seed=0,1", "name=sweep", "trainer.max_epochs=1", "explain=all", "evaluation.explained_images=3"]
    command("train", f"data.root={crops}", *ON_DEVICE, *jobs, cwd=cwd)
    return cwd / "outputs" / "sweeps" / "sweep"


def test_forked_jobs_of_a_sweep_use_the_device(sweep: Path) -> None:
    runs = [Run(folder) for folder in sorted(sweep.glob("[01]_*"))]
    assert [run.state for run in runs] == ["finished"] * 2
    name = torch.cuda.get_device_name() if ON_GPU else "cpu"
    for run in runs:
        assert not run.metrics["problems"]
        assert run.answers_from["device"] == DEVICE
        cost = run.metrics["cost"]
        assert name in cost["device"] or not ON_GPU
        assert cost["milliseconds_batch_1"] > 0
        assert len(run.explained.read_text().splitlines()) > 3
    assert (sweep / "leaderboard.html").is_file()


def test_new_images_are_answered_as_in_the_test(sweep: Path) -> None:
    cwd = sweep.parents[2]
    asked = ["run=outputs/sweeps/sweep/0_custom_cnn_seed-0", "images=crops", f"accelerator={DEVICE}", "name=new"]
    command("predict", *asked, "num_workers=0", "resamples=200", cwd=cwd)
    answers = (sweep / "0_custom_cnn_seed-0" / "predictions" / "new" / "predictions.csv").read_text().splitlines()
    assert len(answers) == 1 + 48


@pytest.mark.skipif(ON_GPU and torch.cuda.device_count() < 2, reason="there are no two GPUs")
def test_two_devices_learn_what_one_learns(tmp_path: Path) -> None:
    crops, losses = draw_folders(tmp_path / "crops"), []
    network = ["model=timm", "model.name=convnext_atto", "+model.options.depths=[1,1,1,1]", "model.pretrained=false"]
    network += ["+model.options.dims=[8,12,16,24]", "data.image_size=[64,32]", "recipe=scratch"]
    for devices in (1, 2):
        options = [f"trainer.devices={devices}", f"name=on_{devices}", "trainer.max_epochs=2", "explain=off"]
        command("train", f"data.root={crops}", *ON_DEVICE, *network, *options, "evaluation.test=false", cwd=tmp_path)
        rows = (tmp_path / "outputs" / "runs" / f"on_{devices}" / "epochs.csv").read_text().splitlines()
        losses.append([float(row.split(",")[rows[0].split(",").index("val_loss")]) for row in rows[1:]])
    assert losses[0] == pytest.approx(losses[1], abs=1e-4)
