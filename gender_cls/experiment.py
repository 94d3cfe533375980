"""Training in a run folder: fit, and keep the checkpoint that is best on validation."""

import json
import logging
import sys
import time
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numpy as np
import torch
from pytorch_lightning import Callback, Trainer, seed_everything
from pytorch_lightning.callbacks import (
    EarlyStopping,
    EMAWeightAveraging,
    ModelCheckpoint,
    TQDMProgressBar,
)
from pytorch_lightning.loggers import TensorBoardLogger
from pytorch_lightning.utilities.exceptions import MisconfigurationException

from gender_cls.config import Config
from gender_cls.data.corrections import count_corrections
from gender_cls.data.datamodule import CropDataModule
from gender_cls.data.prepare import PreparedData
from gender_cls.data_config import SPLITS
from gender_cls.errors import GenderClsError
from gender_cls.explain.callback import ConfusionMatrixCallback, ExplainCallback
from gender_cls.models.classifier import GenderClassifier
from gender_cls.models.feature_map import find_feature_map
from gender_cls.pages.events import HPARAMS_SCORES
from gender_cls.parsing import to_plain
from gender_cls.quality.baselines import trivial_baselines
from gender_cls.run import Run, environment, write_atomically

log = logging.getLogger(__name__)

MAY_CHANGE_ON_RESUME = ("name", "output_dir", "trainer", "explain", "evaluation", "data.num_workers", "model.weights")


def fit(config: Config, run: Run, prepared: PreparedData) -> None:
    """Leave `data.json`, checkpoints, TensorBoard events and maps in the run's folder; test is not looked at."""
    _warn_of_frozen_backbone(config)
    _record_data(config, run, prepared)
    checkpoint = _checkpoint_to_resume(config, run)
    if run.status.get("fitted"):
        return
    datamodule = CropDataModule(prepared.manifest, config.data, config.augment, config.seed)
    seed_everything(
        config.seed, verbose=False
    )  # here, so that a head's first weights do not hang on how data were read
    classifier = GenderClassifier(to_plain(config), datamodule.class_weights, load=checkpoint is None)
    _fit(_trainer(config, run, datamodule, classifier), classifier, datamodule, run, checkpoint)


def _warn_of_frozen_backbone(config: Config) -> None:
    frozen, epochs = config.recipe.frozen_epochs, config.trainer.max_epochs
    if frozen is not None and frozen >= epochs:
        log.warning(f"recipe.frozen_epochs={frozen} with trainer.max_epochs={epochs} trains the head alone.")
    if frozen != 0 and not config.model.pretrained and config.model.weights is None:
        log.warning("The backbone starts from random weights and is frozen at first: recipe=scratch trains it at once.")


def _record_data(config: Config, run: Run, prepared: PreparedData) -> None:
    """Save the manifest, or refuse to resume on other data; say what a reader of the scores must know."""
    manifest, unreadable = prepared.manifest, prepared.unreadable
    if len(unreadable):
        write_atomically(run.unreadable, unreadable.to_csv(index=False))
        log.warning(f"Left out {len(unreadable)} unreadable images, listed in {run.unreadable}.")
    if not (manifest.table["identity"] != "").any():
        log.warning(
            "No identities are known: near duplicates and consecutive frames stay on one side of the split, but other "
            "pictures of one person may not, and the scores may be too good. data.pattern or an identity column "
            "prevents that."
        )
    if prepared.leaks:
        log.warning(f"data.allow_leaks: {prepared.leaks.sentence()} The results are marked as leaky.")
    text = manifest.to_csv()
    if run.manifest.exists() and run.manifest.read_text() != text:
        raise GenderClsError(
            f"The data have changed since {run.folder} was begun (see its manifest.csv): start a new run."
        )
    write_atomically(run.manifest, text)
    write_atomically(run.data_file, json.dumps(_data_record(config, prepared), indent=2) + "\n")


def _data_record(config: Config, prepared: PreparedData) -> dict[str, Any]:
    """What a reader of the scores may ask about the data; all of it is known before training."""
    manifest = prepared.manifest
    return {
        "root": str(manifest.root),
        "manifest_sha256": manifest.fingerprint,
        "licence": config.data.licence,
        "sources": sorted(set(manifest.table["source"]) - {""}),
        "cameras": sorted(set(manifest.table["camera"]) - {""}),
        "split_origin": prepared.split_origin,
        "leaky": bool(prepared.leaks),
        "leaks": prepared.leaks.record(),
        "corrected_labels": count_corrections(manifest.table),
        **{
            split: {
                "images": len(table),
                "identities": int(table["identity"].replace("", np.nan).nunique()),
                **table["label"].value_counts().sort_index().to_dict(),
            }
            for split, table in ((split, manifest.table[manifest.table["split"] == split]) for split in SPLITS)
        },
        "baselines": trivial_baselines(manifest.table, prepared.facts, prepared.near),
    }


def _checkpoint_to_resume(config: Config, run: Run) -> Path | None:
    if not run.last_checkpoint.exists():
        return None
    try:
        content = torch.load(run.last_checkpoint, map_location="cpu", weights_only=True, mmap=True)
    except (RuntimeError, EOFError, UnpicklingError) as error:
        raise GenderClsError(f"{run.last_checkpoint} is damaged: remove it to begin this run again.") from error
    began, now = (_flat(settings) for settings in (content["hyper_parameters"]["config"], to_plain(config)))
    changed = [
        key
        for key in sorted(began.keys() | now.keys())
        if began.get(key) != now.get(key) and not key.startswith(MAY_CHANGE_ON_RESUME)
    ]
    if changed:
        first = changed[0]
        raise GenderClsError(
            f"{run.folder} was begun with {first}={began.get(first)}, not {now.get(first)}: resume it with the same "
            f"settings (other than {', '.join(MAY_CHANGE_ON_RESUME)}), or start a new run."
        )
    return run.last_checkpoint


def _flat(settings: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings with dotted keys."""
    flat: dict[str, Any] = {}
    for key, value in settings.items():
        flat.update(_flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value})
    return flat


def _trainer(config: Config, run: Run, datamodule: CropDataModule, classifier: GenderClassifier) -> Trainer:
    logger = TensorBoardLogger(run.folder, name="", version="", default_hp_metric=False)
    try:
        return Trainer(
            logger=logger,
            callbacks=_callbacks(config, run, datamodule, classifier),
            max_epochs=config.trainer.max_epochs,
            precision=config.trainer.precision,  # type: ignore[arg-type]  # a str that the schema has checked
            accelerator=config.trainer.accelerator,
            devices=1,
            gradient_clip_val=config.recipe.gradient_clip,
            log_every_n_steps=min(10, len(datamodule.train_dataloader())),
            num_sanity_val_steps=0,  # it would count as validation for whoever keeps the best
            enable_progress_bar=config.trainer.progress_bar,
            enable_model_summary=False,
            default_root_dir=run.folder,
        )
    except MisconfigurationException as error:
        raise GenderClsError(
            f"trainer.accelerator={config.trainer.accelerator} with trainer.precision={config.trainer.precision} "
            f"cannot be used on this machine: {error}"
        ) from error


def _callbacks(config: Config, run: Run, datamodule: CropDataModule, classifier: GenderClassifier) -> list[Callback]:
    """In this order: explanations look at the averaged weights before EMA takes them back."""
    recipe = config.recipe
    monitor, mode = f"val/{recipe.monitor}", "min" if recipe.monitor == "loss" else "max"
    callbacks: list[Callback] = [ConfusionMatrixCallback()]
    if config.trainer.progress_bar:
        callbacks.append(TQDMProgressBar())  # the same whether or not `rich` happens to be installed
    if config.explain.enabled:
        crops, rows = datamodule.probe_set(config.explain.images)
        layer = config.model.cam_layer
        feature_map = find_feature_map(classifier.network, classifier.image_size, classifier.heads, layer)
        labels, names = list(rows["label"]), list(rows["path"])
        callbacks.append(ExplainCallback(crops, labels, names, feature_map, run.explanations, config.explain))
    if recipe.ema_decay is not None:
        callbacks.append(EMAWeightAveraging(decay=recipe.ema_decay))
    if recipe.patience is not None:
        callbacks.append(EarlyStopping(monitor, patience=recipe.patience, mode=mode))
    # Two, because `save_last=True` writes only when the best one improves. The first is Lightning's "best".
    callbacks.append(ModelCheckpoint(run.checkpoints, "best", monitor, mode=mode, enable_version_counter=False))
    callbacks.append(ModelCheckpoint(run.checkpoints, "last", enable_version_counter=False))
    return callbacks


def _fit(
    trainer: Trainer, classifier: GenderClassifier, datamodule: CropDataModule, run: Run, checkpoint: Path | None
) -> None:
    assert isinstance(trainer.logger, TensorBoardLogger)
    trainer.logger.log_hyperparams(_hparams(classifier.settings, run), dict.fromkeys(HPARAMS_SCORES, 0.0))
    if classifier.settings.trainer.compile:
        classifier.network.compile()
    began = time.monotonic()
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
        peak_memory_bytes=_peak_memory(trainer.strategy.root_device),  # the classifier itself is back on the CPU
        environment=environment(),
    )


def _peak_memory(device: torch.device) -> int | None:
    """Bytes: of the tensors on a GPU, else of the whole process; None where the system does not tell."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    try:
        import resource  # not on Windows
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # kilobytes elsewhere


def _hparams(config: Config, run: Run) -> dict[str, Any]:
    """What TensorBoard's HParams tab compares. It shows the first five by name: the choices, not the rest."""
    choices = {group: run.choices.get(group, "") for group in ("augment", "model", "recipe")}
    settings = {f"settings.{key}": value for key, value in _flat(to_plain(config)).items()}
    hparams = {**choices, "lr": config.recipe.lr, "seed": config.seed, **settings}
    return {key: value if isinstance(value, int | float | str) else str(value) for key, value in hparams.items()}
