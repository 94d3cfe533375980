"""The batch that fits into memory: found before, halved while training, and the same steps in any case."""

import gc
import json
import logging
import signal
import weakref
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from helpers.crops import PATTERN
from pytorch_lightning.utilities.exceptions import MisconfigurationException

from gender_cls.cli import sweep
from gender_cls.config.parsing import parse_config
from gender_cls.config.train import Config
from gender_cls.data.prepare import PreparedData, prepare_data
from gender_cls.errors import GenderClsError
from gender_cls.runs.run import Run
from gender_cls.system import memory
from gender_cls.system.resources import Resources
from gender_cls.training import batch_size
from gender_cls.training.batch import Batch, halve_recorded_batch, images_per_step, record_batch, recorded_batch
from gender_cls.training.batch_size import choose_batch, smaller_batch
from gender_cls.training.classifier import GenderClassifier
from gender_cls.training.fit import fit
from gender_cls.training.trial import TrialTraining

pytestmark = pytest.mark.filterwarnings("ignore:Checkpoint directory")  # as the command does

CPU = Resources("cpu", "32-true", 1, 0)


def config(root: Path | str = "x", **sections: dict[str, Any]) -> Config:
    least = {
        "data": {"root": str(root), "pattern": PATTERN, "image_size": [32, 16], "batch_size": 8, "num_workers": 0},
        "model": {"library": "custom", "name": "custom_cnn", "options": {"widths": [4, 8]}},
        "trainer": {"max_epochs": 3, "accelerator": "cpu", "progress_bar": False},
        "explain": {"enabled": False},
    }
    return parse_config({key: {**least.get(key, {}), **sections.get(key, {})} for key in least | sections}, Config)


def test_halving_keeps_the_step() -> None:
    batch: Batch | None = Batch(12, 2)
    sizes = []
    while batch is not None:
        assert batch.step == 24
        sizes.append(batch.size)
        last, batch = batch, batch.halved()
    assert sizes == [12, 6, 3, 1]
    assert last.too_large == (12, 6, 3)
    assert str(last) == "batches of 1 image, 24 of them a step"
    assert Batch(5, 1).halved() == Batch(1, 5, (5,)), "2 does not divide 5"
    assert Batch(10, 1).halved() == Batch(5, 2, (10,))


def test_a_step_holds_as_many_images_whatever_fits() -> None:
    assert images_per_step("auto", 1) == images_per_step(32, 1) == images_per_step(8, 4) == 32
    assert images_per_step("auto", 2) == 64


def test_what_a_run_came_to_is_kept_unless_less_is_wanted(tmp_path: Path) -> None:
    run = Run(tmp_path)
    settings = config(trainer={"accumulate": 2})
    assert recorded_batch(settings, run) is None
    assert choose_batch(settings, run, CPU) == Batch(8, 2)
    record_batch(run, Batch(4, 4, (8,)))
    assert choose_batch(settings, run, CPU) == Batch(4, 4, (8,))
    assert choose_batch(config(data={"batch_size": 2}, trainer={"accumulate": 8}), run, CPU) == Batch(2, 8)
    record_batch(run, Batch(4, 4, (8,)))
    assert choose_batch(config(), run, CPU) == Batch(8, 1), "of other steps"
    assert json.loads(run.status_file.read_text())["batch"] == {"size": 8, "accumulate": 1, "too_large": []}


@pytest.mark.parametrize(
    ("first", "each", "size"),
    [(1.0, 0.01, 32), (1.0, 0.09, 32), (1.0, 0.1, 16), (1.0, 0.4, 8), (1.0, 1.0, 4), (3.0, 1.0, 2), (5.0, 0.1, 1)],
)
def test_the_most_that_fits_is_extrapolated(
    first: float,
    each: float,
    size: int,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Of 5 GiB available, 4 may be used."""
    gib = 2**30

    class Pool:
        def __init__(self, *_: Any, **__: Any) -> None: ...

        def __enter__(self) -> Any:
            return SimpleNamespace(submit=lambda *_: SimpleNamespace(result=lambda: (first * gib, each * gib)))

        def __exit__(self, *_: object) -> None: ...

    monkeypatch.setattr(batch_size, "ProcessPoolExecutor", Pool)
    monkeypatch.setattr(batch_size, "available_memory", lambda: 5 * gib)
    caplog.set_level(logging.INFO)
    batch = choose_batch(config(data={"batch_size": "auto"}, trainer={"accumulate": 2}), Run(tmp_path), CPU)
    assert (batch.size, batch.step) == (size, 64)
    assert f"data.batch_size=auto takes batches of {size} image" in caplog.text
    assert (
        f"a step takes {first:.2f} GiB for one image and {each:.3f} for each more, and 4.0 GiB (80% of" in caplog.text
    )


def test_steps_are_measured_in_a_process_of_their_own(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """And leave no trace in this one."""
    caplog.set_level(logging.INFO)
    state = torch.get_rng_state()
    wide = {"options": {"widths": [32, 64]}}
    settings = config(data={"batch_size": "auto", "image_size": [512, 512]}, model=wide)
    floats = 4 * 512 * 512 * (3 + 32)  # of one image and the first layer's output
    monkeypatch.setattr(batch_size, "available_memory", lambda: 40 * floats)
    batch = choose_batch(settings, Run(tmp_path), CPU)
    assert 1 < batch.size < 32, caplog.text
    assert batch.step == 32
    assert torch.equal(torch.get_rng_state(), state)


def test_a_trial_leaves_no_trace() -> None:
    settings = config(recipe={"ema_decay": 0.9})
    torch.manual_seed(5)
    state = torch.get_rng_state()
    trial = TrialTraining(settings, "32-true", "cpu")
    trial.step(3, accumulate=2)
    assert torch.equal(torch.get_rng_state(), state)
    weights = sum(parameter.nbytes for parameter in trial._classifier.network.parameters())
    assert 3 * weights <= trial.held_bytes < 3 * weights + 4 * 100, "the weights and two moments of each"


def test_steps_are_halved_where_an_accelerator_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    tried: list[int] = []

    def step(self: TrialTraining, images: int, accumulate: int = 1) -> None:
        tried.append(images)
        if images > 4:
            raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(TrialTraining, "step", step)
    assert batch_size._by_halving(config(), CPU) == (4, "a trial step with 8 images did not fit into memory")
    assert tried == [32, 16, 8, 4, 4]

    def other(*_: Any) -> None:
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    monkeypatch.setattr(TrialTraining, "step", other)
    with pytest.raises(RuntimeError, match="mat1"):
        batch_size._by_halving(config(), CPU)

    def missing(*_: Any) -> None:
        raise MisconfigurationException("no such device")

    monkeypatch.setattr(batch_size, "TrialTraining", missing)
    assert batch_size._by_halving(config(), CPU)[0] == 32, "the real trainer will say what is wrong"


@pytest.fixture
def prepared(folders: Path, tmp_path: Path) -> PreparedData:
    return prepare_data(config(folders).data, tmp_path / "cache")


class Failing:
    """Lets memory run out in training steps with more images than fit; notes who trained."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, fitting: int, from_epoch: int = 0) -> None:
        self.fitting, self.from_epoch = fitting, from_epoch
        self.steps: list[tuple[int, int]] = []  # epoch and images
        self.alive: list[weakref.ref] = []
        real = GenderClassifier.training_step

        def training_step(module: GenderClassifier, batch: Any, index: int) -> Any:
            if index == 0 and not any(one() is module for one in self.alive):
                gc.collect(0)  # the rest is `release_memory`'s
                self.alive = [one for one in self.alive if one() is not None] + [weakref.ref(module)]
                assert len(self.alive) == 1, "an earlier attempt's classifier is still there"
            self.steps.append((module.current_epoch, len(batch[1])))
            if len(batch[1]) > self.fitting and module.current_epoch >= self.from_epoch:
                raise torch.OutOfMemoryError("CUDA out of memory.\nTried to allocate 2.00 GiB.")
            return real(module, batch, index)

        monkeypatch.setattr(GenderClassifier, "training_step", training_step)


def weights(run: Run) -> dict[str, torch.Tensor]:
    content = torch.load(run.last_checkpoint, weights_only=True)
    return {key: value for key, value in content["state_dict"].items() if key.startswith("network.")}


def test_training_goes_on_with_smaller_batches(
    prepared: PreparedData,
    folders: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    settings = config(folders)
    run = Run(tmp_path / "run")
    failing = Failing(monkeypatch, fitting=2, from_epoch=1)
    fit(settings, run, prepared, CPU)
    status = run.status
    assert status["batch"] == {"size": 2, "accumulate": 4, "too_large": [8, 4]}
    assert status["fitted"]
    assert [epoch for epoch, _ in failing.steps] == sorted(epoch for epoch, _ in failing.steps), "no epoch is repeated"
    assert {size for epoch, size in failing.steps if epoch == 0} >= {8}
    assert (
        "Memory ran out with batches of 8 images: going on from the last epoch's checkpoint with batches of 4 images, "
        "2 of them a step. (OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB.)"
    ) in caplog.text
    content = torch.load(run.last_checkpoint, weights_only=True)
    assert content["hyper_parameters"]["config"]["data"]["batch_size"] == 8, "as the user wrote it"
    train = len(prepared.manifest.table.query("split == 'train'"))
    assert content["global_step"] == 3 * -(-train // 8)
    assert content["epoch"] == 2


def test_without_batchnorm_the_weights_are_the_same(
    prepared: PreparedData, folders: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether or not memory ran out on the way."""
    model = {
        "library": "timm",
        "name": "convnext_atto",
        "pretrained": False,
        "options": {"depths": [1, 1, 1, 1], "dims": [8, 12, 16, 24]},
    }
    settings = config(folders, data={"image_size": [64, 32]}, model=model)
    undisturbed, disturbed = Run(tmp_path / "1"), Run(tmp_path / "2")
    fit(settings, undisturbed, prepared, CPU)
    Failing(monkeypatch, fitting=4, from_epoch=1)
    fit(settings, disturbed, prepared, CPU)
    expected = weights(undisturbed)
    assert disturbed.status["batch"]["size"] == 4
    for key, value in weights(disturbed).items():
        torch.testing.assert_close(value, expected[key], rtol=0, atol=1e-5, msg=key)


def test_at_one_image_a_sentence_names_the_ways_out(
    prepared: PreparedData, folders: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Failing(monkeypatch, fitting=0)
    run = Run(tmp_path / "run")
    with pytest.raises(GenderClsError) as raised:
        fit(config(folders), run, prepared, CPU)
    assert str(raised.value) == (
        "Memory ran out with one image at a time (OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB.): "
        "set recipe.grad_checkpointing=true or trainer.precision=bf16-mixed or a smaller data.image_size, or take a "
        "smaller model than custom/custom_cnn."
    )
    assert raised.value.__context__ is None, "no traceback keeps the trainer"
    assert run.status["batch"] is None
    tried = config(recipe={"grad_checkpointing": True}, trainer={"precision": "bf16-true"})
    with pytest.raises(GenderClsError, match=r"\(full\): set a smaller data.image_size, or take a smaller model"):
        smaller_batch(tried, run, Batch(1, 8), "full")


def test_other_errors_are_no_matter_of_memory(
    prepared: PreparedData, folders: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> None:
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    monkeypatch.setattr(GenderClassifier, "training_step", broken)
    with pytest.raises(RuntimeError, match="mat1"):
        fit(config(folders), Run(tmp_path / "run"), prepared, CPU)


def test_resuming_needs_the_same_steps_only(prepared: PreparedData, folders: Path, tmp_path: Path) -> None:
    run = Run(tmp_path / "run")
    fit(config(folders, trainer={"max_epochs": 1}), run, prepared, CPU)
    run.note(fitted=False)
    fit(config(folders, data={"batch_size": 2}, trainer={"max_epochs": 2, "accumulate": 4}), run, prepared, CPU)
    assert torch.load(run.last_checkpoint, weights_only=True)["epoch"] == 1
    with pytest.raises(GenderClsError, match=r"was begun with 8 images a step, not 4: resume it with the same product"):
        fit(config(folders, data={"batch_size": 4}), run, prepared, CPU)


def killed_by_the_kernel(kill: bool, until: int = 0) -> Any:
    """Work of a sweep's job that dies while its batch is larger; the count of kills stands in a file."""

    def work(settings: Config, run: Run) -> None:
        with run.recording():
            batch = choose_batch(settings, run, CPU)
            if batch.size > until:
                counter = run.folder.parent / "kills"
                counter.write_text(str(int(counter.read_text()) + kill))
                signal.raise_signal(signal.SIGKILL)
            run.note(best_validation=0.5)

    return work


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    counter = tmp_path / "kills"
    counter.write_text("7")
    monkeypatch.setattr(sweep, "killed_for_memory", lambda: int(counter.read_text()))
    monkeypatch.setattr(sweep, "_write_leaderboard", lambda folder: "")
    return Run(tmp_path / "0_job")


def test_a_job_that_the_kernel_kills_starts_again_with_half_the_batch(
    job: Run, caplog: pytest.LogCaptureFixture
) -> None:
    sweep.run_job(killed_by_the_kernel(kill=True, until=2), config(), job)
    assert job.status["state"] == "finished"
    assert job.status["batch"] == {"size": 2, "accumulate": 4, "too_large": [8, 4]}
    assert "0_job: the kernel killed the process because memory ran out with batches of 8 images" in caplog.text


def test_a_job_that_cannot_do_with_less_fails(job: Run) -> None:
    with pytest.raises(GenderClsError, match=r"recipe\.grad_checkpointing=true"):
        sweep.run_job(killed_by_the_kernel(kill=True), config(), job)
    assert job.status["batch"] == {"size": 1, "accumulate": 8, "too_large": [8, 4, 2]}


def test_a_job_that_somebody_kills_fails(job: Run) -> None:
    with pytest.raises(GenderClsError, match=r"SIGKILL.*data\.batch_size"):
        sweep.run_job(killed_by_the_kernel(kill=False), config(), job)
    assert job.status["batch"]["size"] == 8


def test_a_job_that_trains_no_longer_is_not_halved(tmp_path: Path) -> None:
    run = Run(tmp_path)
    assert not halve_recorded_batch(run)
    record_batch(run, Batch(8, 1))
    run.note(fitted=True)
    assert not halve_recorded_batch(run)
    run.note(fitted=False)
    assert halve_recorded_batch(run)


def test_memory_is_given_back() -> None:
    cycle: dict[str, Any] = {"tensor": torch.ones(3)}
    cycle["itself"] = cycle
    tensor = weakref.ref(cycle["tensor"])
    del cycle
    memory.release_memory()
    assert tensor() is None
