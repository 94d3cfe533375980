"""`python -m gender_cls.evaluate`: turn what a finished run answered into conclusions."""

import sys
from pathlib import Path

from omegaconf import DictConfig

from gender_cls.cli.command import check_jobs, exit_with_sentence, fitted_runs, read_command_line, run_hydra
from gender_cls.config.evaluation import EvaluateConfig
from gender_cls.config.parsing import parse_config
from gender_cls.errors import GenderClsError
from gender_cls.runs.outputs import image_cache
from gender_cls.runs.run import Run


def evaluate(composed: DictConfig) -> None:
    """Each run that `run` names, one after the other."""
    config = parse_config(composed, EvaluateConfig)
    from gender_cls.reports.summary import run_summary

    for run in fitted_runs(str(config.run)):
        _evaluate(run, config)
        print(run_summary(run))


def _evaluate(run: Run, config: EvaluateConfig) -> None:
    from gender_cls.config.data import PixelCache
    from gender_cls.config.parsing import recorded_config
    from gender_cls.reports.final_test import evaluate_run
    from gender_cls.system.resources import choose_resources
    from gender_cls.training.predictor import Predictor

    recorded = recorded_config(run.config_file)
    precision = config.precision or run.status.get("precision") or recorded.trainer.precision
    at_hand = recorded.data.cache is not PixelCache.none
    resources = choose_resources(
        config.accelerator, precision, config.threads, config.num_workers, pixels_at_hand=at_hand
    )
    predictor = Predictor(run.best_checkpoint, config.accelerator, resources.apply())
    moved = Path(config.data_root).resolve() if config.data_root is not None else None
    cache = image_cache(config.output_dir)
    evaluate_run(run, config, predictor, cache=cache, data_root=moved, progress_bar=config.progress_bar)


def main() -> None:
    """Read the command line, check it, and let Hydra run."""
    command = read_command_line(sys.argv[1:])
    if command.multirun:
        raise GenderClsError("Name a sweep's folder to evaluate all its runs: leave out -m.")
    if not command.shows_only:
        check_jobs(command, "evaluate", EvaluateConfig)
    run_hydra(evaluate, "evaluate", command.arguments)


if __name__ == "__main__":
    exit_with_sentence(main, when_interrupted="The same command asks the network only what it has not answered yet.")
