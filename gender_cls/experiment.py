"""One experiment in its run folder: fit, keep the best checkpoint by validation, test that one once."""

import json
import logging
import time
import warnings
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numpy as np
import pandas as pd
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
from gender_cls.evaluation.metrics import predictions_table, score
from gender_cls.explain.callback import ConfusionMatrixCallback, ExplainCallback
from gender_cls.models.classifier import GenderClassifier
from gender_cls.models.feature_map import find_feature_map
from gender_cls.parsing import to_plain
from gender_cls.quality.baselines import trivial_baselines
from gender_cls.run import Run, environment, write_atomically

log = logging.getLogger(__name__)

MAY_CHANGE_ON_RESUME = ("name", "output_dir", "trainer", "explain", "data.num_workers", "model.weights")
HPARAMS_SCORES = ("hp/val_balanced_accuracy", "hp/test_balanced_accuracy", "hp/test_auroc")


def run_experiment(config: Config, run: Run, prepared: PreparedData) -> None:
    """Leave checkpoints, TensorBoard events, maps, `predictions.csv` and `metrics.json` in the run's folder."""
    _quieten()
    _warn_of_frozen_backbone(config)
    _record_data(run, prepared)
    checkpoint = _checkpoint_to_resume(config, run)
    datamodule = CropDataModule(prepared.manifest, config.data, config.augment, config.seed)
    seed_everything(
        config.seed, verbose=False
    )  # here, so that a head's first weights do not hang on how data were read
    classifier = GenderClassifier(to_plain(config), datamodule.class_weights, load=checkpoint is None)
    run.note(parameters=sum(parameter.numel() for parameter in classifier.network.parameters()))
    trainer = _trainer(config, run, datamodule, classifier)
    if not run.status.get("fitted"):
        _fit(trainer, classifier, datamodule, run, checkpoint)
    _test(trainer, classifier, datamodule, run, prepared)


def _quieten() -> None:
    """Of what Lightning says, keep what tells a user something."""
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    for message in (
        ".*does not have many workers.*",
        ".*Checkpoint directory .* exists and is not empty.*",
        ".*LeafSpec.* is deprecated.*",  # between Lightning 2.6 and torch 2.15, no matter of ours
    ):
        warnings.filterwarnings("ignore", message)


def _warn_of_frozen_backbone(config: Config) -> None:
    frozen, epochs = config.recipe.frozen_epochs, config.trainer.max_epochs
    if frozen is not None and frozen >= epochs:
        log.warning(f"recipe.frozen_epochs={frozen} with trainer.max_epochs={epochs} trains the head alone.")
    if frozen != 0 and not config.model.pretrained and config.model.weights is None:
        log.warning("The backbone starts from random weights and is frozen at first: recipe=scratch trains it at once.")


def _record_data(run: Run, prepared: PreparedData) -> None:
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
    run.note(manifest_sha256=manifest.fingerprint)


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
        images, rows = datamodule.probe_set(config.explain.images)
        layer = config.model.cam_layer
        feature_map = find_feature_map(classifier.network, classifier.image_size, classifier.heads, layer)
        explain = ExplainCallback(
            images=images,
            labels=list(rows["label"]),
            names=list(rows["path"]),
            feature_map=feature_map,
            folder=run.explanations,
            every_n_epochs=config.explain.every_n_epochs,
        )
        callbacks.append(explain)
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
    )


def _hparams(config: Config, run: Run) -> dict[str, Any]:
    """What TensorBoard's HParams tab compares. It shows the first five by name: the choices, not the rest."""
    choices = {group: run.choices.get(group, "") for group in ("augment", "model", "recipe")}
    settings = {f"settings.{key}": value for key, value in _flat(to_plain(config)).items()}
    hparams = {**choices, "lr": config.recipe.lr, "seed": config.seed, **settings}
    return {key: value if isinstance(value, int | float | str) else str(value) for key, value in hparams.items()}


def _test(
    trainer: Trainer, classifier: GenderClassifier, datamodule: CropDataModule, run: Run, prepared: PreparedData
) -> None:
    """The one place that reads the test split."""
    # Not by `ckpt_path`: the EMA callback would put the raw weights in, and validation chose the averaged ones.
    best = torch.load(run.best_checkpoint, map_location="cpu", weights_only=True)
    classifier.load_state_dict(best["state_dict"])
    probabilities = trainer.predict(classifier, datamodule)
    assert probabilities is not None
    rows = pd.concat([datamodule.tables["val"], datamodule.tables["test"]])
    outputs = torch.cat([batch for batches in probabilities for batch in batches]).numpy()
    predictions = predictions_table(rows, outputs)
    write_atomically(run.predictions, predictions.to_csv(index=False))
    metrics = _metrics(classifier.settings, prepared, predictions, run)
    write_atomically(run.metrics_file, json.dumps(metrics, indent=2) + "\n")
    validation, test = metrics["validation"], metrics["test"]
    scores = (validation["balanced_accuracy"], test["balanced_accuracy"], test["auroc"])
    assert trainer.logger is not None
    trainer.logger.log_metrics(dict(zip(HPARAMS_SCORES, scores, strict=True)), step=run.status["best_step"])
    trainer.logger.save()


def _metrics(config: Config, prepared: PreparedData, predictions: pd.DataFrame, run: Run) -> dict[str, Any]:
    status, manifest = run.status, prepared.manifest
    by_split = dict(tuple(predictions.groupby("split")))
    return {
        "model": config.model.title,
        "parameters": status["parameters"],
        "monitor": config.recipe.monitor,
        "best_validation": status["best_validation"],
        "best_epoch": status["best_epoch"],
        "validation": score(by_split["val"]),
        "test": score(by_split["test"]),
        "baselines": trivial_baselines(manifest.table, prepared.facts, prepared.near),
        "data": {
            "root": str(manifest.root),
            "manifest_sha256": manifest.fingerprint,
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
        },
        "fit_seconds": status["fit_seconds"],
        "environment": environment(),
    }
