"""`python -m gender_cls.explain`: explain what a finished run answered, for the test split or any images."""

import sys
from pathlib import Path

from omegaconf import DictConfig

from gender_cls.command import check_jobs, exit_with_sentence, read_command_line, run_hydra
from gender_cls.errors import GenderClsError
from gender_cls.explain_config import ExplainRunConfig
from gender_cls.parsing import parse_config
from gender_cls.run import Run, held


def explain(composed: DictConfig) -> None:
    """Each run that `run` names, one after the other."""
    config = parse_config(composed, ExplainRunConfig)
    from gender_cls.evaluation.candidates import find_runs

    runs = find_runs([Path(str(config.run))])
    for run in runs:
        if len(runs) > 1 and not run.status.get("fitted"):
            print(f"\n{run.folder.name} has not been trained to its end and is passed over.")
            continue
        with held(run.folder):
            gallery = _explain(run, config)
        print(f"Open {gallery}.")


def _explain(run: Run, config: ExplainRunConfig) -> Path:
    from gender_cls.explain.on_request import explain_on_request
    from gender_cls.models.inference import Predictor
    from gender_cls.models.quiet import quieten_lightning

    quieten_lightning()
    predictor = Predictor(run.best_checkpoint, config.accelerator, "32-true", num_workers=0)
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
