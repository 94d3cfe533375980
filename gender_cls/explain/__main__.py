"""`python -m gender_cls.explain`: explain what a finished run answered, for the test split or any images."""

import sys
from pathlib import Path

from omegaconf import DictConfig

from gender_cls.cli.command import check_jobs, exit_with_sentence, fitted_runs, read_command_line, run_hydra
from gender_cls.config.explain import ExplainRunConfig
from gender_cls.config.parsing import parse_config
from gender_cls.errors import GenderClsError
from gender_cls.runs.run import Run


def explain(composed: DictConfig) -> None:
    """Each run that `run` names, one after the other."""
    config = parse_config(composed, ExplainRunConfig)
    for run in fitted_runs(str(config.run)):
        print(f"Open {_explain(run, config)}.")


def _explain(run: Run, config: ExplainRunConfig) -> Path:
    from gender_cls.reports.explanations import explain_on_request
    from gender_cls.system.resources import choose_resources
    from gender_cls.training.predictor import Predictor

    resources = choose_resources(config.accelerator, "32-true", config.threads, 0, pixels_at_hand=True)
    predictor = Predictor(run.best_checkpoint, config.accelerator, resources.apply())
    return explain_on_request(run, config, predictor)


def main() -> None:
    """Read the command line, check it, and let Hydra run."""
    command = read_command_line(sys.argv[1:])
    if command.multirun:
        raise GenderClsError("Name a sweep's folder to explain all its runs: leave out -m.")
    if not command.shows_only:
        check_jobs(command, "explain", ExplainRunConfig)
    run_hydra(explain, "explain", command.arguments)


if __name__ == "__main__":
    exit_with_sentence(main, when_interrupted="The same command goes on with the images that are not explained yet.")
