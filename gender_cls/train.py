"""`python -m gender_cls.train`: train a classifier, explain it while it learns, test it once; `-m` for several."""

import logging
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from gender_cls.command import check_jobs, exit_with_sentence, read_command_line, run_hydra
from gender_cls.config import Config
from gender_cls.folders import claim_folder
from gender_cls.parsing import parse_config
from gender_cls.run import Run
from gender_cls.sweep import ending_in_leaderboard, folder_override, run_job

if TYPE_CHECKING:
    from gender_cls.data.manifest import Manifest

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
        manifest = read_split_manifest(config)
        from gender_cls.experiment import run_experiment

        run_experiment(config, run, manifest)


def read_split_manifest(config: Config) -> "Manifest":
    """The images of the experiment, each in its split."""
    from gender_cls.data.manifest import read_manifest
    from gender_cls.data.split import assign_splits

    manifest = read_manifest(config.data, config.seed)
    return replace(manifest, table=assign_splits(manifest.table, config.data, config.seed))


def main() -> None:
    """Read the command line, check every job, claim the folder, and let Hydra run."""
    command = read_command_line(sys.argv[1:])
    if command.shows_only:
        run_hydra(train, "train", command.arguments)
        return
    config, composed = check_jobs(command, "train", Config)[0]
    folder = claim_folder(command, config, composed.hydra.runtime.choices["model"])
    arguments = [*command.arguments, f"name={folder.name}"]
    if command.multirun:
        with ending_in_leaderboard(folder):
            run_hydra(train, "train", [*arguments, folder_override(command.swept)])
    else:
        run_hydra(train, "train", arguments)
        print(Run(folder).summary())


if __name__ == "__main__":
    exit_with_sentence(main)
