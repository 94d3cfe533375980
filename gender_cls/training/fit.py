"""Training in a run folder: fit, and keep the checkpoint that is best on validation."""

import logging
import math
import time
import traceback
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning import Callback, Trainer, seed_everything
from pytorch_lightning.callbacks import (
    EarlyStopping,
    EMAWeightAveraging,
    ModelCheckpoint,
)
from pytorch_lightning.loggers import TensorBoardLogger
from pytorch_lightning.utilities.exceptions import MisconfigurationException

from gender_cls.config.parsing import to_plain
from gender_cls.config.train import Config
from gender_cls.data.datamodule import CropDataModule
from gender_cls.data.prepare import PreparedData
from gender_cls.data.record import record_data
from gender_cls.errors import GenderClsError, error_sentence
from gender_cls.runs.outputs import HPARAMS_SCORES
from gender_cls.runs.run import Run, environment
from gender_cls.system.memory import is_out_of_memory, peak_memory, release_memory, restart_peak
from gender_cls.system.resources import Resources
from gender_cls.training.accelerated import augment_on_device, describe_cuda
from gender_cls.training.batch import Batch
from gender_cls.training.batch_size import choose_batch, smaller_batch
from gender_cls.training.classifier import GenderClassifier
from gender_cls.training.feature_cache import build_feature_cache
from gender_cls.training.gradient_checkpointing import GradientCheckpointing
from gender_cls.training.progress import PacedProgressBar
from gender_cls.training.resume import checkpoint_to_resume, flat

log = logging.getLogger(__name__)


MoreCallbacks = Callable[[Config, Run, GenderClassifier, CropDataModule], list[Callback]]
"""Makes the callbacks of rooms that training knows nothing of, such as explanations."""


def _none(*_: object) -> list[Callback]:
    return []


def fit(
    config: Config, run: Run, prepared: PreparedData, resources: Resources, more_callbacks: MoreCallbacks = _none
) -> None:
    """Leave `data.json`, checkpoints, TensorBoard events and maps in the run's folder; test is not looked at."""
    _warn_of_frozen_backbone(config)
    record_data(config, run, prepared)
    checkpoint_to_resume(config, run)  # or say why not, before anything is measured
    if run.status.get("fitted"):
        return
    batch = choose_batch(config, run, resources)
    while (failure := _attempt(config, run, prepared, resources, batch, more_callbacks)) is not None:
        release_memory()  # here, where nothing holds the attempt's trainer and classifier any longer
        batch = smaller_batch(config, run, batch, failure)


def _attempt(
    config: Config,
    run: Run,
    prepared: PreparedData,
    resources: Resources,
    batch: Batch,
    more_callbacks: MoreCallbacks,
) -> str | None:
    """Go on from the last checkpoint; None when done, or what was said when memory ran out."""
    try:
        checkpoint = checkpoint_to_resume(config, run)
        datamodule = CropDataModule(
            prepared.manifest,
            prepared.images,
            config.data,
            augment=config.augment,
            seed=config.seed,
            batch_size=batch.size,
            num_workers=resources.num_workers,
            accumulate=batch.accumulate,
        )
        # Here, so that a head's first weights do not hang on how data were read.
        seed_everything(config.seed, verbose=False)
        classifier = GenderClassifier(to_plain(config), datamodule.class_weights, load=checkpoint is None)
        if resources.device != "cpu":
            datamodule.pin_memory = resources.device == "cuda"
            augment_on_device(classifier, datamodule)
        if resources.device == "cuda":
            log.info(describe_cuda(config, resources))
        trainer = _trainer(config, run, datamodule, classifier, resources, more_callbacks)
        run.note(resources=asdict(resources))
        _fit(trainer, classifier, datamodule, run, checkpoint)
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        traceback.clear_frames(error.__traceback__)
        return error_sentence(error)
    return None


def _warn_of_frozen_backbone(config: Config) -> None:
    frozen, epochs = config.recipe.frozen_epochs, config.trainer.max_epochs
    if frozen is not None and frozen >= epochs:
        log.warning(f"recipe.frozen_epochs={frozen} with trainer.max_epochs={epochs} trains the head alone.")
    if frozen != 0 and not config.model.pretrained and config.model.weights is None:
        log.warning("The backbone starts from random weights and is frozen at first: recipe=scratch trains it at once.")


def _trainer(
    config: Config,
    run: Run,
    datamodule: CropDataModule,
    classifier: GenderClassifier,
    resources: Resources,
    more_callbacks: MoreCallbacks,
) -> Trainer:
    logger = TensorBoardLogger(run.folder, name="", version="", default_hp_metric=False)
    try:
        return Trainer(
            logger=logger,
            callbacks=_callbacks(config, run, datamodule, classifier, more_callbacks),
            max_epochs=config.trainer.max_epochs,
            accumulate_grad_batches=datamodule.accumulate,
            precision=resources.precision,  # type: ignore[arg-type]  # a str that the schema has checked
            accelerator=config.trainer.accelerator,
            devices=1,
            benchmark=True if resources.device == "cuda" else None,  # images have one size, so trying kernels pays
            gradient_clip_val=config.recipe.gradient_clip,
            log_every_n_steps=min(10, math.ceil(len(datamodule.train_dataloader()) / datamodule.accumulate)),
            num_sanity_val_steps=0,  # it would count as validation for whoever keeps the best
            enable_progress_bar=config.trainer.progress_bar,
            enable_model_summary=False,
            default_root_dir=run.folder,
        )
    except MisconfigurationException as error:
        raise GenderClsError(
            f"trainer.accelerator={config.trainer.accelerator} with trainer.precision={resources.precision} "
            f"cannot be used on this machine: {error}"
        ) from error


def _callbacks(
    config: Config, run: Run, datamodule: CropDataModule, classifier: GenderClassifier, more_callbacks: MoreCallbacks
) -> list[Callback]:
    """In this order: explanations look at the averaged weights before EMA takes them back."""
    recipe = config.recipe
    monitor, mode = f"val/{recipe.monitor}", "min" if recipe.monitor == "loss" else "max"
    feature_cache = build_feature_cache(classifier, datamodule)
    callbacks: list[Callback] = [] if feature_cache is None else [feature_cache]
    if config.trainer.progress_bar:
        callbacks.append(PacedProgressBar())  # the same whether or not `rich` happens to be installed
    if recipe.grad_checkpointing:
        callbacks.append(GradientCheckpointing(classifier.network, config.model.title))
    callbacks += more_callbacks(config, run, classifier, datamodule)
    if recipe.ema_decay is not None:
        callbacks.append(EMAWeightAveraging(decay=recipe.ema_decay))
    if recipe.patience is not None:
        callbacks.append(EarlyStopping(monitor, patience=recipe.patience, mode=mode))
    # Two, because `save_last=True` writes only when the best one improves. The first is Lightning's "best".
    # It is for answering alone: what an optimizer knows is twice as large as the weights, and only "last" is resumed.
    best = ModelCheckpoint(
        run.checkpoints, "best", monitor, mode=mode, enable_version_counter=False, save_weights_only=True
    )
    callbacks.append(best)
    callbacks.append(ModelCheckpoint(run.checkpoints, "last", enable_version_counter=False))
    return callbacks


def _fit(
    trainer: Trainer, classifier: GenderClassifier, datamodule: CropDataModule, run: Run, checkpoint: Path | None
) -> None:
    assert isinstance(trainer.logger, TensorBoardLogger)
    trainer.logger.log_hyperparams(_hparams(classifier.settings, run), dict.fromkeys(HPARAMS_SCORES, 0.0))
    if classifier.settings.trainer.compile:
        classifier.network.compile()
    device = trainer.strategy.root_device.type
    began = time.monotonic()
    restart_peak(device)
    trainer.fit(classifier, datamodule, ckpt_path=checkpoint, weights_only=True)
    keeper = trainer.checkpoint_callback
    assert isinstance(keeper, ModelCheckpoint)
    assert keeper.best_model_score is not None
    best = torch.load(run.best_checkpoint, map_location="cpu", weights_only=True, mmap=True)
    run.note(
        fitted=True,
        best_validation=float(keeper.best_model_score),
        best_epoch=best["epoch"] + 1,  # as in the pictures, counted from 1
        best_step=best["global_step"],
        fit_seconds=round(time.monotonic() - began, 1),
        peak_memory_bytes=peak_memory(device),
        precision=str(trainer.precision),
        environment=environment(),
    )


def _hparams(config: Config, run: Run) -> dict[str, Any]:
    """What TensorBoard's HParams tab compares. It shows the first five by name: the choices, not the rest."""
    choices = {group: run.choices.get(group, "") for group in ("augment", "model", "recipe")}
    settings = {f"settings.{key}": value for key, value in flat(to_plain(config)).items()}
    hparams = {**choices, "lr": config.recipe.lr, "seed": config.seed, **settings}
    return {key: value if isinstance(value, int | float | str) else str(value) for key, value in hparams.items()}
