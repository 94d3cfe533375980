"""`python -m gender_cls.demo`: draw the demo dataset."""

import sys
from pathlib import Path

from omegaconf import DictConfig

from gender_cls.cli.command import check_jobs, exit_with_sentence, read_command_line, run_hydra
from gender_cls.config.demo import DemoConfig
from gender_cls.config.parsing import parse_config


def demo(composed: DictConfig) -> None:
    """Draw it, unless it is there already."""
    from gender_cls.demo.dataset import draw_demo

    config = parse_config(composed, DemoConfig)
    table = draw_demo(Path(config.folder), images=config.images, cue=config.cue, seed=config.seed)
    print(f"{len(table)} crops of {table['identity'].nunique()} drawn figures are in {config.folder}.")


def main() -> None:
    """Read the command line, check it, and let Hydra run."""
    command = read_command_line(sys.argv[1:])
    if not command.shows_only:
        check_jobs(command, "demo", DemoConfig)
    run_hydra(demo, "demo", command.arguments)


if __name__ == "__main__":
    exit_with_sentence(main, when_interrupted="The same command starts again.")
