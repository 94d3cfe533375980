"""`callbacks` and `loggers`: classes of Lightning's, or of the user's, that the command's own configuration names.

Only a training makes objects of them. Other commands read the configuration of a run's folder, which may come from
anybody: there, these sections are values like others.
"""

import inspect
import logging
import warnings
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any

from hydra.errors import InstantiationException
from hydra.utils import get_object, instantiate
from pytorch_lightning import Callback
from pytorch_lightning.loggers import CometLogger, CSVLogger, Logger, MLFlowLogger, WandbLogger

from gender_cls.config.train import Config
from gender_cls.errors import GenderClsError, one_line
from gender_cls.runs.run import Run

log = logging.getLogger(__name__)

REPORTED = ("log_metrics", "log_hyperparams", "save", "finalize", "after_save_checkpoint")
"""What Lightning and this package call of a logger."""


def check_open_groups(config: Config) -> None:
    """Raise GenderClsError unless each target can be imported and is a class, or a function, that may be right."""
    for group, kind in (("callbacks", Callback), ("loggers", Logger)):
        for name, content in getattr(config, group).items():
            _target(f"{group}.{name}", content, kind)


def build_callbacks(config: Config) -> list[Callback]:
    """The callbacks of the group, in its order."""
    return [_built(f"callbacks.{name}", content, Callback) for name, content in config.callbacks.items()]


def build_loggers(config: Config, run: Run) -> list[Logger]:
    """The loggers of the group, which go on with what an earlier session of the run began.

    They know the run's name, tags and notes. If one fails later, for example without a network, a warning says so once,
    and it gets no more numbers: the run's own files have them all.
    """
    loggers, identities = [], dict(run.status.get("loggers") or {})
    for name, content in config.loggers.items():
        key = f"loggers.{name}"
        about = _about(_target(key, content, Logger), config, run, identities.get(name))
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "There is a wandb run already in progress")  # the one of this run
            logger = _built(key, {**about, **content}, Logger)
            try:
                identity = _identity(logger)
            except Exception as error:  # each service has errors of its own
                raise GenderClsError(f"{key} cannot begin: {one_line(error)}.") from error
        if identity is not None:
            identities[name] = identity
        loggers.append(_told_once(logger, key))
    if identities:
        run.note(loggers=identities)
    return loggers


def log_test(config: Config, run: Run) -> None:
    """Send the scores of the final test to the loggers of the group."""
    if not config.loggers:
        return
    scores = {f"test/{name}": one["value"] for name, one in run.metrics["test"]["scores"].items()}
    known = {name: value for name, value in scores.items() if value is not None}
    try:
        loggers = build_loggers(config, run)
    except GenderClsError as error:  # a service cannot be reached any more; the run itself is finished
        log.warning(f"The scores of the test were not sent: {error}")
        return
    for logger in loggers:
        logger.log_metrics(known, step=run.status["best_step"])
        logger.save()
        logger.finalize("success")


def _built(key: str, content: Mapping[str, Any], kind: type) -> Any:
    _target(key, content, kind)
    try:
        made = instantiate({**content, "_convert_": "all"})
    except InstantiationException as error:
        cause = error.__cause__ or error
        raise GenderClsError(f"{key} cannot be made of {content['_target_']}: {one_line(cause)}.") from error
    if not isinstance(made, kind):
        raise GenderClsError(f"{key}._target_={content['_target_']} makes no {kind.__name__} of Lightning.")
    return made


def _target(key: str, content: Any, kind: type) -> Any:
    """What a target names; GenderClsError unless it can be imported, and a class is of this kind."""
    target = content["_target_"]
    try:
        found = get_object(target)
    except Exception as error:  # a module of the user may fail in any way while it is imported
        raise GenderClsError(
            f"{key}._target_={target} cannot be imported ({one_line(error)}): a module of your own must lie in the "
            "current folder, or in one that PYTHONPATH names."
        ) from error
    if (isinstance(found, type) and not issubclass(found, kind)) or not callable(found):
        raise GenderClsError(f"{key}._target_={target} is no {kind.__name__} of Lightning.")
    return found


def _about(target: Any, config: Config, run: Run, identity: str | None) -> dict[str, Any]:
    """What known loggers are told of a run, by their own names for it."""
    name, tags, notes = run.folder.name, list(config.tags), config.notes or ""
    if target is WandbLogger:
        about = {"name": name, "save_dir": str(run.folder), "tags": tags, "notes": notes, "resume": "allow"}
        return about if identity is None else {**about, "id": identity}
    if target is MLFlowLogger:
        marks = {"mlflow.note.content": notes, **dict.fromkeys(tags, "true")}
        return {"run_name": name, "tags": marks, "run_id": identity}
    if target is CometLogger:
        return {"name": name, "tags": tags, "offline_directory": str(run.folder), "experiment_key": identity}
    return {"save_dir": str(run.folder), "name": "", "version": "csv"} if target is CSVLogger else {}


def _identity(logger: Logger) -> str | None:
    """The name by which a service finds the run again; None for a logger without one."""
    if isinstance(logger, MLFlowLogger):
        return logger.run_id
    if isinstance(logger, WandbLogger):
        return str(logger.experiment.id)
    return str(logger.version) if isinstance(logger, CometLogger) else None


def _told_once(logger: Logger, key: str) -> Logger:
    """The same logger, whose first error is logged instead of raised; after that it does nothing more."""
    failed = False

    def careful(call: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(call)
        def called(*arguments: Any, **options: Any) -> Any:
            nonlocal failed
            if failed:
                return None
            try:
                return call(*arguments, **options)
            except Exception as error:  # each service has errors of its own
                failed = True
                log.warning(f"{key} failed and gets no more numbers; the run's own files have them: {one_line(error)}")
                return None

        return called

    for name in REPORTED:
        if inspect.ismethod(call := getattr(logger, name, None)):
            setattr(logger, name, careful(call))
    return logger
