"""`python -m gender_cls.train`: train a classifier, explain it while it learns, test it once; `-m` for several."""

import gc
import logging
import sys
from dataclasses import replace
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from gender_cls.cli.command import CommandLine, check_jobs, exit_with_sentence, read_command_line, run_hydra
from gender_cls.cli.folders import claim_folder, folder_to_resume
from gender_cls.cli.sweep import ending_in_leaderboard, folder_override, run_job
from gender_cls.config.parsing import parse_config
from gender_cls.config.train import Config
from gender_cls.data.source import find_source
from gender_cls.runs.outputs import image_cache
from gender_cls.runs.run import Run

log = logging.getLogger(__name__)


def train(composed: DictConfig) -> float:
    """One job: fit, choose the best checkpoint by validation, test it. Returns the best validation score."""
    config = parse_config(composed, Config)
    hydra = HydraConfig.get()
    run = Run(Path(hydra.runtime.output_dir))
    if run.finished:
        log.info(f"{run.folder.name} is finished already: nothing is left to do.")
    elif hydra.mode is RunMode.MULTIRUN:
        run_job(fit_and_test, config, run)
    else:
        fit_and_test(config, run)
    return float(run.metrics["best_validation"])


def fit_and_test(config: Config, run: Run) -> None:
    """The whole experiment, in the run's folder. Wrong data stop it before torch and the rest are imported."""
    with run.recording(model=config.model.title):
        find_source(config.data)  # before pandas is imported
        from gender_cls.data.prepare import prepared_data

        cache = image_cache(config.output_dir)
        prepared = prepared_data(config.data, cache)
        from gender_cls.config.data import PixelCache
        from gender_cls.explain.callback import explain_callbacks
        from gender_cls.system.resources import choose_resources
        from gender_cls.training.fit import fit

        trainer, evaluation = config.trainer, config.evaluation
        at_hand = config.data.cache is not PixelCache.none
        resources = choose_resources(
            trainer.accelerator, trainer.precision, trainer.threads, config.data.num_workers, pixels_at_hand=at_hand
        )
        log.info(resources)
        fit(config, run, prepared, resources.apply(), explain_callbacks)
        gc.collect()  # trainer, classifier and optimizer hold each other until then
        from gender_cls.reports.final_test import evaluate_run  # only now, so that the first step need not wait for it
        from gender_cls.training.predictor import Predictor

        if not config.explain.enabled:
            evaluation = replace(evaluation, explained_images=0)
        predictor = Predictor(run.best_checkpoint, trainer.accelerator, resources)
        evaluate_run(run, evaluation, predictor, cache=cache, progress_bar=trainer.progress_bar)


def folder_of(command: CommandLine, config: Config, model: str) -> Path:
    """A new folder for the run or the sweep, or the one that it continues."""
    kind = "sweeps" if command.multirun else "runs"
    if config.trainer.resume:
        return folder_to_resume(command, config.output_dir, kind, config.name)
    return claim_folder(command, config.output_dir, kind, config.name, suffix="" if command.multirun else f"_{model}")


def main() -> None:
    """Read the command line, check every job, claim the folder, and let Hydra run."""
    command = read_command_line(sys.argv[1:])
    if command.shows_only:
        run_hydra(train, "train", command.arguments)
        return
    config, composed = check_jobs(command, "train", Config)[0]
    folder = folder_of(command, config, composed.hydra.runtime.choices["model"])
    arguments = [*command.arguments, f"name={folder.name}"]
    if command.multirun:
        with ending_in_leaderboard(folder):
            run_hydra(train, "train", [*arguments, folder_override(command.swept)])
    else:
        run_hydra(train, "train", arguments)
        from gender_cls.reports.summary import run_summary

        print(run_summary(Run(folder)))


if __name__ == "__main__":
    exit_with_sentence(main)
