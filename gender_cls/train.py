"""`python -m gender_cls.train`: train a classifier, explain it while it learns, test it once; `-m` for several."""

import contextlib
import gc
import logging
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import cast

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from gender_cls.cli.command import run_command
from gender_cls.cli.command_line import CommandLine, count_jobs, is_basic
from gender_cls.cli.failed_starts import removing_failed_start
from gender_cls.cli.folders import claim_folder, folder_to_resume, place_of
from gender_cls.cli.loggers import check_loggers
from gender_cls.cli.nodes import claimed_once, done_once, shown_once
from gender_cls.cli.search import check_search, ending_in_search, finalist_config, run_trial, search_sweeps
from gender_cls.cli.sweep import ending_in_leaderboard, folder_override, run_job
from gender_cls.cli.weights import have_all_weights, have_weights, with_weights_file
from gender_cls.config.parsing import recorded_config, to_plain
from gender_cls.config.train import OPEN_GROUPS, Config
from gender_cls.data.source import find_source
from gender_cls.evaluation.schema import Metrics
from gender_cls.runs.run import Run, image_cache, tensorboard_command
from gender_cls.system.logs import start_logging
from gender_cls.system.progress import working
from gender_cls.system.terminal import shortest, show
from gender_cls.training.resume import refuse_other_settings

log = logging.getLogger("gender_cls.train")


def train(config: Config) -> float:
    """Do one job, and return the best validation score, which sweepers optimise."""
    hydra = HydraConfig.get()
    run = Run(Path(hydra.runtime.output_dir))
    start_logging(run.log)
    config = with_weights_file(config)
    if config.search.trial is not None:
        return run_trial(fit_and_test, config, run)
    config = finalist_config(config, run)
    if run.has_weights and run.config_file.is_file():
        refuse_other_settings(run, to_plain(recorded_config(run.config_file)), config)
    if run.finished and (run.tested or not config.evaluation.test):
        again = "nothing is left to do. python -m gender_cls.evaluate and explain do their part again."
        log.info(f"{run.folder.name} is finished already{'.' if hydra.mode is RunMode.MULTIRUN else f': {again}'}")
        return float(run.status["best_validation"])
    run.record_settings(to_plain(config), hydra.runtime.choices)
    if hydra.mode is RunMode.MULTIRUN:
        run_job(fit_and_test, config, run, number=hydra.job.num)
    else:
        fit_and_test(config, run)
    return float(run.status["best_validation"])


def fit_and_test(config: Config, run: Run) -> None:
    """The whole experiment, in the run's folder; imports come late, so that wrong data stop it within a second."""
    with run.recording(model=config.model.title):
        find_source(config.data)
        have_weights(config, run)
        with working("Importing libraries"):
            from gender_cls.data.prepare import prepared_data

        cache = image_cache(config.output_dir)
        prepared = prepared_data(config.data, cache)

        with working("Importing torch and other libraries"):
            from gender_cls.pages.experiment import experiment_text
            from gender_cls.search.pruning import training_callbacks
            from gender_cls.system.resources import choose_resources
            from gender_cls.training.fit import fit
            from gender_cls.training.open_groups import log_test

        trainer, data, evaluation = config.trainer, config.data, config.evaluation
        choose = partial(
            choose_resources,
            trainer.accelerator,
            trainer.precision,
            trainer.threads,
            data.num_workers,
            pixels_at_hand=data.keeps_pixels,
        )
        resources = choose(devices=trainer.devices).apply()
        log.info(resources)
        fit(config, run, prepared, resources, training_callbacks, experiment_text)
        gc.collect()  # trainer, classifier and optimizer refer to each other
        if trainer.fast_dev_run:
            return  # there is no checkpoint to test
        if not evaluation.test:
            from gender_cls.drawing.events import write_validation_event

            write_validation_event(run)
            return

        with working("Importing what the test needs"):
            from gender_cls.reports.final_test import evaluate_run
            from gender_cls.training.predictor import Predictor

        if not config.explain.enabled:
            evaluation = replace(evaluation, explained_images=0)
        predictor = Predictor.of_run(run, choose().apply(), config)
        evaluate_run(run, evaluation, predictor, cache=cache)
        log_test(config, run)


def refuse_early(command: CommandLine, jobs: list[tuple[Config, DictConfig]]) -> None:
    """Refuse what no job could do, missing packages and data, and fetch the weights that the jobs of a sweep need."""
    check_search(command, jobs[0][0])
    for config, composed in jobs:
        check_loggers(config)
        if is_basic(composed.hydra.launcher):  # other machines may see other disks
            find_source(config.data)
    have_all_weights(command, jobs)


def choose_folder(command: CommandLine, config: Config, composed: DictConfig) -> Path:
    """A new folder for the run or the sweep, or the one that it continues."""
    place = place_of(command, composed)
    if config.trainer.resume:
        folder = folder_to_resume(command, place)
        if folder is not None:
            return folder
        log.info(f"There is nothing to resume in {place.parent}: this starts a new one.")
    suffix = "" if command.multirun else f"_{composed.hydra.runtime.choices['model']}"
    way_out = "continue what is there with trainer.resume=true"
    return claim_folder(command, place, suffix, "move it away" if config.trainer.resume else way_out)


def sweeps(command: CommandLine, config: Config, folder: Path) -> Iterable[list[str]]:
    """The further overrides of the sweep, or of the two sweeps of a search."""
    return search_sweeps(config, folder) if config.search.enabled else [[folder_override(command.swept)]]


@contextlib.contextmanager
def ending_in_results(command: CommandLine, folder: Path) -> Iterator[None]:
    """Say where the results are before the work; show the leaderboard of a sweep, or a run's scores, after it."""
    show(f"Writing to {shortest(folder)}. Watch it:", f"  {tensorboard_command(shortest(folder))}", "")
    if command.multirun:
        with ending_in_search(folder), ending_in_leaderboard(folder, count_jobs(command), command.swept):
            yield
        return
    with removing_failed_start(folder):
        yield
    from gender_cls.pages.on_screen import run_on_screen, untested_on_screen

    run = Run(folder)
    if run.tested:
        show("", *run_on_screen(cast(Metrics, run.metrics)), f"Open {shortest(run.report)}")
    else:
        show("", *untested_on_screen(run))


def main() -> None:
    """Train, or sweep over several models, as the command line says."""
    run_command(
        done_once(train),
        "train",
        Config,
        lists=OPEN_GROUPS,
        before=refuse_early,
        claim=claimed_once(choose_folder),
        sweeps=sweeps,
        around=shown_once(ending_in_results),
        when_interrupted="The same command with trainer.resume=true goes on from here.",
    )


if __name__ == "__main__":
    main()
