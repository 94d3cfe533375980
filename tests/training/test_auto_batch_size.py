"""The batch that fits into memory: found before training, halved during training, and the same steps in any case."""

import gc
import json
import logging
import signal
import weakref
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pandas as pd
import pytest
import torch
from helpers.classifiers import TINY_CONVNEXT, config_of, prepare
from helpers.crops import ON_CPU

from gender_cls.cli import sweep
from gender_cls.config.parsing import to_plain
from gender_cls.config.train import Config
from gender_cls.errors import GenderClsError
from gender_cls.runs.run import Run
from gender_cls.system.resources import Resources
from gender_cls.training import auto_batch_size
from gender_cls.training.auto_batch_size import TrialTraining, choose_batch, smaller_batch
from gender_cls.training.batch import Batch, halve_recorded_batch, images_per_step, record_batch, recorded_batch
from gender_cls.training.classifier import GenderClassifier
from gender_cls.training.fit import fit

pytestmark = pytest.mark.filterwarnings("ignore:Checkpoint directory")  # as the command does

AUTO = {"batch_size": "auto"}
Train = Callable[..., Run]


def test_halving_keeps_the_step() -> None:
    batch: Batch | None = Batch(12, 2)
    sizes = []
    while batch is not None:
        assert batch.step == 24
        sizes.append(batch.size)
        last, batch = batch, batch.halved()
    assert sizes == [12, 6, 3, 1]
    assert last.too_large == (12, 6, 3)
    assert "1 image, 24" in str(last)
    assert Batch(5, 1).halved() == Batch(1, 5, (5,)), "2 does not divide 5"
    assert Batch(10, 1).halved() == Batch(5, 2, (10,))
    assert Batch(4, 2, least=2).halved() == Batch(2, 4, (4,), 2)
    assert Batch(2, 4, least=2).halved() is None
    assert Batch(3, 3, least=2).halved() is None, "2 does not divide 9"
    assert images_per_step("auto", 1) == images_per_step(32, 1) == images_per_step(8, 4) == 32
    assert images_per_step("auto", 2) == 64


def test_devices_share_the_images_of_a_step() -> None:
    batch = Batch(16, 2, ranks=3)
    assert (batch.step, batch.passes, batch.images) == (32, 1, 11), "not 16: 11 + 11 + 10 make the step in one pass"
    assert batch.halved() == Batch(4, 8, (16,), ranks=3), "of 11, and 5 does not divide 32"
    assert batch.halved().passes == 3
    assert "11 images on each of 3 devices" in str(batch)
    assert (Batch(16, 2).passes, Batch(16, 2).images) == (2, 16)
    assert Batch(1, 8, ranks=64).images == 1


def test_the_batch_of_an_earlier_session_is_kept_unless_less_is_wanted(tmp_path) -> None:
    run = Run(tmp_path)
    settings = config_of(trainer={"accumulate": 2})
    assert recorded_batch(settings, run) is None
    assert choose_batch(settings, run, ON_CPU) == Batch(8, 2)
    record_batch(run, Batch(4, 4, (8,)))
    assert choose_batch(settings, run, ON_CPU) == Batch(4, 4, (8,))
    assert choose_batch(config_of(data={"batch_size": 2}, trainer={"accumulate": 8}), run, ON_CPU) == Batch(2, 8)
    record_batch(run, Batch(4, 4, (8,)))
    assert choose_batch(config_of(), run, ON_CPU) == Batch(8, 1), "its steps had more images"
    assert json.loads(run.status_file.read_text())["batch"] == {
        "size": 8,
        "accumulate": 1,
        "too_large": [],
        "least": 1,
        "ranks": 1,
    }


@pytest.mark.parametrize(
    ("first", "each", "size"),
    [(1.0, 0.01, 32), (1.0, 0.09, 32), (1.0, 0.1, 16), (1.0, 0.4, 8), (1.0, 1.0, 4), (3.0, 1.0, 2), (5.0, 0.1, 1)],
)
def test_the_largest_batch_is_extrapolated(first, each, size, monkeypatch, tmp_path, caplog) -> None:
    """Of 5 GiB available, 4 may be used."""
    gib = 2**30

    measured = SimpleNamespace(result=lambda: (1, first * gib, each * gib))
    pool = nullcontext(SimpleNamespace(submit=lambda *_: measured))
    monkeypatch.setattr(auto_batch_size, "ProcessPoolExecutor", lambda *_, **__: pool)
    monkeypatch.setattr(auto_batch_size.memory, "available_memory", lambda: 5 * gib)
    caplog.set_level(logging.INFO)
    batch = choose_batch(config_of(data=AUTO, trainer={"accumulate": 2}), Run(tmp_path), ON_CPU)
    assert (batch.size, batch.step) == (size, 64)
    for fact in (f"batches of {size} image", f"{first:.2f} GiB", f"{each:.3f}", "4.0 GiB (80%"):
        assert fact in caplog.text


def test_steps_are_measured_in_a_process_of_their_own_and_leave_no_trace(monkeypatch, tmp_path, caplog) -> None:
    caplog.set_level(logging.INFO)
    state = torch.get_rng_state()
    wide = {"library": "custom", "name": "custom_cnn", "options": {"widths": [32, 64]}}
    settings = config_of(data={**AUTO, "image_size": [512, 512]}, model=wide)
    floats = 4 * 512 * 512 * (3 + 32)  # of one image and the first layer's output
    monkeypatch.setattr(auto_batch_size.memory, "available_memory", lambda: 40 * floats)
    batch = choose_batch(settings, Run(tmp_path), ON_CPU)
    assert 1 < batch.size < 32, caplog.text
    assert batch.step == 32
    assert torch.equal(torch.get_rng_state(), state)


def test_a_trial_leaves_no_trace_and_knows_what_it_holds() -> None:
    settings = config_of(recipe={"ema_decay": 0.9})
    torch.manual_seed(5)
    state = torch.get_rng_state()
    trial = TrialTraining(settings, "32-true", "cpu")
    trial.step(3)
    assert torch.equal(torch.get_rng_state(), state)
    weights = sum(parameter.nbytes for parameter in GenderClassifier(to_plain(settings)).network.parameters())
    assert 3 * weights <= trial.held_bytes < 3 * weights + 4 * 100, "the weights and two moments of each"


def test_steps_are_halved_on_an_accelerator(monkeypatch, tmp_path, caplog) -> None:
    tried: list[int] = []

    def step(self: TrialTraining, images: int) -> None:
        tried.append(images)
        if images > 4:
            raise torch.OutOfMemoryError("CUDA out of memory.")

    accelerator, real = Resources("mps", "32-true", 1, 0), TrialTraining
    monkeypatch.setattr(auto_batch_size, "TrialTraining", lambda config, precision, _: real(config, precision, "cpu"))
    monkeypatch.setattr(TrialTraining, "step", step)
    caplog.set_level(logging.INFO)
    settings = config_of(data=AUTO)
    for name in "012":
        (tmp_path / name).mkdir()
    assert choose_batch(settings, Run(tmp_path / "0"), accelerator) == Batch(4, 8)
    assert "8 images did not fit" in caplog.text
    assert tried == [32, 16, 8, 4, 4]
    monkeypatch.setattr(TrialTraining, "step", Mock(side_effect=RuntimeError("mat1 and mat2 cannot be multiplied")))
    with pytest.raises(RuntimeError, match="mat1"):
        choose_batch(settings, Run(tmp_path / "1"), accelerator)
    monkeypatch.setattr(auto_batch_size, "TrialTraining", Mock(side_effect=GenderClsError("no such device")))
    assert choose_batch(settings, Run(tmp_path / "2"), accelerator).size == 32, "the real trainer will say why"


def let_memory_run_out(monkeypatch: pytest.MonkeyPatch, fitting: int, from_epoch: int = 0) -> list[tuple[int, int]]:
    """Fail training steps with more images than fit; the list gets the epoch and the images of each step."""
    steps: list[tuple[int, int]] = []
    alive: list[weakref.ref] = []
    real = GenderClassifier.training_step

    def training_step(module: GenderClassifier, batch: Any, index: int) -> Any:
        if index == 0 and not any(one() is module for one in alive):
            gc.collect(0)  # the rest is `release_memory`'s
            alive[:] = [one for one in alive if one() is not None] + [weakref.ref(module)]
            assert len(alive) == 1, "an earlier attempt's classifier is still there"
        steps.append((module.current_epoch, len(batch[1])))
        if len(batch[1]) > fitting and module.current_epoch >= from_epoch:
            raise torch.OutOfMemoryError("CUDA out of memory.\nTried to allocate 2.00 GiB.")
        return real(module, batch, index)

    monkeypatch.setattr(GenderClassifier, "training_step", training_step)
    return steps


@pytest.fixture
def train(folders: Path, tmp_path: Path) -> Train:
    def function(name: str = "run", trainer: dict[str, Any] | None = None, **sections: Any) -> Run:
        run, prepared = Run(tmp_path / name), prepare(folders)
        settings = config_of(folders, trainer={"max_epochs": 3, **(trainer or {})}, **sections)
        fit(settings, run, prepared, ON_CPU, lambda *_: [])
        return run

    return function


def last(run: Run) -> dict[str, Any]:
    return torch.load(run.last_checkpoint, weights_only=True)


def test_training_continues_with_smaller_batches(train, monkeypatch, caplog) -> None:
    steps = let_memory_run_out(monkeypatch, fitting=2, from_epoch=1)
    run = train()
    assert run.status["batch"] == {"size": 2, "accumulate": 4, "too_large": [8, 4], "least": 1, "ranks": 1}
    assert run.status["fitted"]
    assert [epoch for epoch, _ in steps] == sorted(epoch for epoch, _ in steps), "no epoch is repeated"
    assert (0, 8) in steps
    for fact in ("batches of 8 images", "batches of 4 images, 2 of", "Tried to allocate 2.00 GiB."):
        assert fact in caplog.text
    content = last(run)
    assert content["hyper_parameters"]["config"]["data"]["batch_size"] == 8, "as the user wrote it"
    assert content["global_step"] == 3 * -(-pd.read_csv(run.manifest)["split"].eq("train").sum() // 8)
    assert content["epoch"] == 2


def test_without_batchnorm_the_weights_are_the_same_as_if_memory_had_not_run_out(train, monkeypatch) -> None:
    sections = {"data": {"image_size": [64, 32]}, "model": TINY_CONVNEXT}
    undisturbed = train("undisturbed", **sections)
    let_memory_run_out(monkeypatch, fitting=4, from_epoch=1)
    disturbed = train("disturbed", **sections)
    assert disturbed.status["batch"]["size"] == 4
    torch.testing.assert_close(last(disturbed)["state_dict"], last(undisturbed)["state_dict"], rtol=0, atol=1e-5)


def test_at_one_image_a_sentence_names_the_ways_out(train, tmp_path, monkeypatch) -> None:
    let_memory_run_out(monkeypatch, fitting=0)
    ways = r"2\.00 GiB.*grad_checkpointing=true .*precision=bf16-mixed .*data\.image_size.* custom/custom_cnn"
    with pytest.raises(GenderClsError, match=ways) as raised:
        train()
    assert raised.value.__context__ is None, "no traceback keeps the trainer"
    run = Run(tmp_path / "run")
    assert run.status["batch"] is None
    tried = config_of(recipe={"grad_checkpointing": True}, trainer={"precision": "bf16-true"})
    with pytest.raises(GenderClsError, match=r"\(full\): set a smaller data\.image_size"):
        smaller_batch(tried, run, Batch(1, 8), "full")


def test_other_errors_are_not_taken_for_lack_of_memory(train, monkeypatch) -> None:
    broken = Mock(side_effect=RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    monkeypatch.setattr(GenderClassifier, "on_train_batch_start", broken)
    with pytest.raises(RuntimeError, match="mat1"):
        train()


def test_resuming_needs_only_the_same_steps(train) -> None:
    run = train(trainer={"max_epochs": 1})
    run.note(fitted=False)
    train(data={"batch_size": 2}, trainer={"max_epochs": 1, "accumulate": 4})
    assert run.status["batch"]["size"] == 2
    run.note(fitted=False)
    with pytest.raises(GenderClsError, match=r"8 images per step.* 4: .*data\.batch_size and trainer\.accumulate"):
        train(data={"batch_size": 4}, trainer={"max_epochs": 1})


AFTER_POOLING = {"library": "timm", "name": "mobilenetv4_conv_small_050", "pretrained": False}


def test_a_network_with_batchnorm_after_its_pooling_never_gets_one_image(train, monkeypatch) -> None:
    least = auto_batch_size.least_images
    of = lambda **sections: least(GenderClassifier(to_plain(config_of(**sections))))  # noqa: E731
    assert of() == 1
    assert of(model=AFTER_POOLING) == 2
    assert of(model=AFTER_POOLING, recipe={"frozen_epochs": None}) == 1, "it stays in eval mode"
    with pytest.raises(GenderClsError, match=r"one image: set data\.batch_size=2"):
        train(data={"batch_size": 1}, model=AFTER_POOLING)
    let_memory_run_out(monkeypatch, fitting=1)
    with pytest.raises(GenderClsError, match="Memory ran out with 2 images at a time"):
        train("halved", data={"batch_size": 4}, model=AFTER_POOLING)


def killed(by_the_kernel: bool, until: int = 0) -> Any:
    """Work of a sweep's job that dies while its batch is larger; the number of the kernel's kills is in a file."""

    def work(settings: Config, run: Run) -> None:
        with run.recording():
            batch = choose_batch(settings, run, ON_CPU)
            if batch.size > until:
                counter = run.folder.parent / "kills"
                counter.write_text(str(int(counter.read_text()) + by_the_kernel))
                signal.raise_signal(signal.SIGKILL)
            run.note(best_validation=0.5)

    return work


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    counter = tmp_path / "kills"
    counter.write_text("7")
    monkeypatch.setattr(sweep, "count_oom_kills", lambda: int(counter.read_text()))
    monkeypatch.setattr(sweep, "write_leaderboard", lambda folder: None)
    monkeypatch.setattr(sweep, "end_of", lambda run: run.state)
    monkeypatch.setattr(sweep, "keep_freed_memory", (tmp_path / "memory is kept").touch)
    (tmp_path / "0_job").mkdir()
    return Run(tmp_path / "0_job")


def test_a_job_that_the_kernel_kills_starts_again_with_half_the_batch(job, caplog) -> None:
    sweep.run_job(killed(by_the_kernel=True, until=2), config_of(), job, number=0)
    assert job.status["state"] == "finished"
    assert job.status["batch"] == {"size": 2, "accumulate": 4, "too_large": [8, 4], "least": 1, "ranks": 1}
    assert "0_job" in caplog.text
    assert "batches of 8 images" in caplog.text
    assert (job.folder.parent / "memory is kept").exists()


@pytest.mark.parametrize(("by_the_kernel", "words", "size"), [(True, "kernel.*recipe", 1), (False, "SIGKILL", 8)])
def test_a_job_that_is_killed_with_one_image_or_by_somebody_fails(job, by_the_kernel, words, size) -> None:
    with pytest.raises(GenderClsError, match=words):
        sweep.run_job(killed(by_the_kernel), config_of(), job, number=0)
    assert job.status["batch"]["size"] == size


def test_a_job_that_has_trained_is_not_halved(tmp_path) -> None:
    run = Run(tmp_path)
    assert not halve_recorded_batch(run)
    record_batch(run, Batch(8, 1))
    run.note(fitted=True)
    assert not halve_recorded_batch(run)
    run.note(fitted=False)
    assert halve_recorded_batch(run)
