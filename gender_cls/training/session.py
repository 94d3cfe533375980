"""One session of training, in a process that has a device: from the beginning or the last checkpoint to the end."""

import logging
import math
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from pytorch_lightning import Callback, Trainer, seed_everything
from pytorch_lightning.callbacks import EarlyStopping
from torch.nn.modules.batchnorm import _BatchNorm

from gender_cls.config.parsing import by_dotted_key, to_plain
from gender_cls.config.train import AugmentConfig, Config
from gender_cls.config.trainer import debugging
from gender_cls.data.augmentation import build_augmentation, split_by_device
from gender_cls.data.datamodule import CropDataModule
from gender_cls.data.image_store import ImageStore
from gender_cls.data.manifest import Manifest
from gender_cls.errors import GenderClsError, plural, require
from gender_cls.runs.environment import environment
from gender_cls.runs.run import Run
from gender_cls.system.memory import restart_peak
from gender_cls.system.progress import working
from gender_cls.system.resources import Resources
from gender_cls.training import ranks
from gender_cls.training.auto_batch_size import least_images
from gender_cls.training.batch import Batch, record_batch, recorded_batch
from gender_cls.training.checkpoints import (
    KeepCheckpoints,
    WholeFiles,
    best_score,
    has_validated,
    last_whole_checkpoint,
    read_checkpoint,
)
from gender_cls.training.classifier import GenderClassifier
from gender_cls.training.epochs import EpochProgress, EpochTable
from gender_cls.training.feature_cache import build_feature_cache
from gender_cls.training.gradient_checkpointing import GradientCheckpointing
from gender_cls.training.open_groups import build_callbacks, build_loggers
from gender_cls.training.preemption import Preemption
from gender_cls.training.recipe import trains_backbone
from gender_cls.training.resume import refuse_other_settings
from gender_cls.training.run_events import RunLogger
from gender_cls.training.trainer import build_trainer
from gender_cls.training.trainer_options import (
    batches_of,
    deterministic_algorithms,
    ended_early,
    for_fast_dev_run,
    passed_on,
)
from gender_cls.training.weight_average import WeightAverage

log = logging.getLogger(__name__)

MoreCallbacks = Callable[[Config, Run, GenderClassifier, CropDataModule], list[Callback]]
"""Makes the callbacks of later rooms, such as explanations, which training does not import."""

Describe = Callable[[Run], str]
"""Says in Markdown what the experiment of a run is, from its settings and its data."""


def train_session(
    config: Config,
    run: Run,
    manifest: Manifest,
    images: ImageStore,
    resources: Resources,
    more_callbacks: MoreCallbacks,
    describe: Describe,
) -> None:
    """Train with the batch that `status.json` keeps; rank 0 notes there what was done, and writes all files."""
    config = for_fast_dev_run(config)
    with working(f"Building {config.model.title} and loading its weights") as work:
        batch = recorded_batch(config, run)
        assert batch is not None, "`choose_batch` notes it"
        checkpoint = checkpoint_to_resume(config, run)
        several = config.trainer.val_check_interval != 1.0 and run.best_checkpoint.exists()  # validations of an epoch
        validated = checkpoint is not None and (has_validated(checkpoint) or several)
        best = best_score(run, config) if validated else None
        keep = KeepCheckpoints(run, f"val/{config.recipe.monitor}", best)

        # Data
        datamodule = CropDataModule(
            manifest,
            images,
            config.data,
            augment=config.augment,
            seed=config.seed,
            batch_size=batch.size,
            num_workers=resources.num_workers,
            accumulate=batch.accumulate,
            rank=ranks.rank(),
            ranks=ranks.number(),
        )
        datamodule.pin_memory = resources.device == "cuda"
        datamodule.repeats_epoch = config.trainer.overfit_batches is not None
        datamodule.mixes_validation = debugging(vars(config.trainer)) is not None

        # Model
        seed_everything(config.seed, verbose=False)  # after the data, on which the head's first weights never depend
        classifier = GenderClassifier(to_plain(config), datamodule.class_weights, load=checkpoint is None)
        batch = replace(batch, least=least_images(classifier), ranks=ranks.number())
        datamodule.least = batch.least
        if batch.size < batch.least:
            raise GenderClsError(
                f"{config.model.title} normalises over the batch after its pooling (BatchNorm), so it cannot learn "
                "from batches of one image: set data.batch_size=2 or more, with trainer.accumulate for the same step."
            )
        if ranks.rank() == 0:
            record_batch(run, batch)
        log.info(describe_model(classifier, batch))
        if ranks.number() > 1 and resources.device == "cpu" and _learns_batchnorm(classifier):
            log.info(
                "BatchNorm normalises with the images of each process alone, because torch shares them between GPUs "
                "only (SyncBatchNorm): the scores are not exactly those of one process."
            )
        if resources.device != "cpu":
            augment_on_device(classifier, datamodule)
        if resources.device == "cuda":
            log.info(describe_cuda(config, resources))

        # Trainer
        callbacks = _callbacks(config, run, classifier, datamodule, more_callbacks)
        callbacks += [Preemption(run), EpochProgress(work), EpochTable(run, config.recipe.monitor), keep]
        batches = {"train": len(datamodule.train_dataloader()), "val": len(datamodule.val_dataloader())}
        seen = batches_of(config.trainer, "train", batches["train"])
        logger = RunLogger(run.folder)
        others = build_loggers(config, run) if ranks.rank() == 0 and not config.trainer.fast_dev_run else []
        with deterministic_algorithms(config.trainer.deterministic):
            trainer = build_trainer(
                resources.device,
                resources.precision,
                **passed_on(config.trainer, batches, run.profile),
                logger=[logger, *others],
                callbacks=callbacks,
                accumulate_grad_batches=batch.passes,
                # All images have one size, so trying kernels pays. The next time another kernel may be chosen, with
                # other last digits.
                benchmark=True if resources.device == "cuda" and not config.trainer.deterministic else None,
                gradient_clip_val=config.recipe.gradient_clip,
                log_every_n_steps=min(10, math.ceil(seen / batch.passes)),
                num_sanity_val_steps=0,  # callbacks that keep the best score would count it as a validation
                enable_checkpointing=True,
                plugins=[WholeFiles({run.last_checkpoint: run.previous_checkpoint})],
            )
            if ranks.rank() == 0:
                run.note(resources=asdict(resources), environment=environment())

            # Fit
            if checkpoint is None and ranks.rank() == 0 and not config.trainer.fast_dev_run:
                logger.log_start(_hparams(config, run), describe(run))
                for other in others:
                    other.log_hyperparams(_hparams(config, run))
            if config.trainer.compile:
                classifier.network.compile()
            device = trainer.strategy.root_device.type
            restart_peak(device)
            try:
                trainer.fit(classifier, datamodule, ckpt_path=checkpoint, weights_only=True)
            finally:
                # torch's profiler must not be left to the garbage collector.
                trainer.profiler.teardown("fit")  # type: ignore[attr-defined]  # Lightning sets it elsewhere

        # Note
        if ranks.rank() != 0:
            return
        _note_end(config, run, trainer, keep)


def _note_end(config: Config, run: Run, trainer: Trainer, keep: KeepCheckpoints) -> None:
    """Note in `status.json` what was trained, and where a limit of time ended it."""
    if config.trainer.fast_dev_run:
        run.note(best_validation=float(trainer.callback_metrics[keep.monitor]))
        return
    ended = ended_early(trainer)
    if ended is not None:
        log.warning(
            f"trainer.max_time={config.trainer.max_time} ended the training {ended}: it falls to zero over all "
            "trainer.max_epochs, so fewer epochs in the same time may give better scores."
        )
        require(run.best_checkpoint.exists(), "trainer.max_time was over before the first validation: allow more time.")
    kept = read_checkpoint(run.best_checkpoint)
    run.note(
        fitted=True,
        best_validation=kept["score"],
        best_balanced_accuracy=kept.get("balanced_accuracy"),
        best_epoch=kept["epoch"] + 1,  # counted from 1, as in TensorBoard
        best_step=kept["global_step"],
        ended=None if ended is None else f"by trainer.max_time={config.trainer.max_time}, {ended}",
        fit_seconds=round(keep.seconds, 1),
        peak_memory_bytes=keep.peak_memory(trainer.strategy.root_device.type),
        precision=str(trainer.precision),
    )
    run.previous_checkpoint.unlink(missing_ok=True)


def _learns_batchnorm(classifier: GenderClassifier) -> bool:
    """Whether BatchNorm ever normalises with the images of a batch: a frozen backbone keeps its statistics."""
    learns = trains_backbone(classifier.settings.recipe, classifier.settings.trainer.max_epochs - 1)
    parts = [classifier.network] if learns else map(classifier.network.get_submodule, classifier.heads)
    return any(isinstance(module, _BatchNorm) for part in parts for module in part.modules())


def checkpoint_to_resume(config: Config, run: Run) -> Path | None:
    """The run's last whole checkpoint, or None; GenderClsError if it was written with other settings."""
    found = last_whole_checkpoint(run)
    if found is None:
        return None
    file, content = found
    refuse_other_settings(run, content["hyper_parameters"]["config"], config)
    return file


def _callbacks(
    config: Config, run: Run, classifier: GenderClassifier, datamodule: CropDataModule, more_callbacks: MoreCallbacks
) -> list[Callback]:
    """Explanations use the averaged weights, which EMA takes out at the end of a validation, so they come before it."""
    recipe = config.recipe
    features = build_feature_cache(classifier, datamodule)
    callbacks: list[Callback] = [] if features is None else [features]
    if recipe.grad_checkpointing:
        callbacks.append(GradientCheckpointing(classifier.network, config.model.title))
    callbacks += [*build_callbacks(config), *more_callbacks(config, run, classifier, datamodule)]
    if recipe.ema_decay is not None:
        callbacks.append(WeightAverage(recipe.ema_decay))
    if recipe.patience is not None:
        mode = "min" if recipe.monitor == "loss" else "max"
        callbacks.append(EarlyStopping(f"val/{recipe.monitor}", patience=recipe.patience, mode=mode))
    return callbacks


def _hparams(config: Config, run: Run) -> dict[str, Any]:
    """What TensorBoard's HParams tab compares. It shows the first five by name, which are the choices."""
    choices = {group: run.choices.get(group, "") for group in ("augment", "model", "recipe")}
    settings = {f"settings.{key}": value for key, value in by_dotted_key(to_plain(config)).items()}
    hparams = {**choices, "lr": config.recipe.lr, "seed": config.seed, **settings}
    return {key: value if isinstance(value, int | float | str) else str(value) for key, value in hparams.items()}


def augment_on_device(classifier: GenderClassifier, datamodule: CropDataModule) -> None:
    """Move all augmentation that works on whole batches from the data loader to the device.

    On a CPU nothing would be gained: one image at a time stays in the processor's cache.
    """
    in_loader, on_device = split_by_device(classifier.settings.augment)
    datamodule.datasets["train"].augmentation = build_augmentation(in_loader)
    classifier.augmentation = build_augmentation(on_device)


def describe_model(classifier: GenderClassifier, batch: Batch) -> str:
    """Return a sentence about the network and what it gets."""
    height, width = classifier.image_size
    parameters = sum(parameter.numel() for parameter in classifier.network.parameters())
    return (
        f"Model: {classifier.settings.model.title}, {plural(parameters, 'parameter')}; {batch} of {height}x{width} "
        "pixels (height x width)."
    )


def describe_cuda(config: Config, resources: Resources) -> str:
    """Return a sentence that tells what is switched on for a GPU."""
    in_loader, _ = split_by_device(config.augment)
    first = {"RandAugment": in_loader.rand_augment, "JPEG compression": in_loader.jpeg}
    before = " and ".join(name for name, on in first.items() if on)
    augmentation = "augmentation on the GPU" + (f" after {before} in the loader" if before else "")
    return (
        f"On the GPU: {resources.precision}, channels {'last' if config.trainer.channels_last else 'first'}, "
        f"{'no augmentation' if config.augment == AugmentConfig() else augmentation}, batches copied from pinned "
        "memory, kernels of cuDNN chosen by trial, no TF32, torch.compile "
        f"{'on' if config.trainer.compile else 'off'} (trainer.compile)."
    )
