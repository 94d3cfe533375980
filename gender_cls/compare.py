"""`python -m gender_cls.compare`: say which model is better, and how sure that is."""

import sys
from pathlib import Path

from omegaconf import DictConfig

from gender_cls.cli.command import check_jobs, exit_with_sentence, read_command_line, run_hydra
from gender_cls.cli.folders import claim_folder
from gender_cls.config.evaluation import CompareConfig
from gender_cls.config.parsing import parse_config
from gender_cls.errors import GenderClsError


def compare(composed: DictConfig) -> None:
    """One comparison, in its folder."""
    config = parse_config(composed, CompareConfig)
    from gender_cls.reports.comparison import write_comparison
    from gender_cls.runs.outputs import find_runs

    assert config.name is not None, "main claims a folder and passes its name on"
    folder = Path(config.output_dir).expanduser().resolve() / "comparisons" / config.name
    text = write_comparison(
        folder,
        find_runs(config.folders),
        name="compare",
        resamples=config.resamples,
        thumbnails=config.thumbnails,
        data_root=None if config.data_root is None else Path(config.data_root).resolve(),
    )
    print(f"{text}\nOpen {folder / 'compare.html'}.")


def main() -> None:
    """Read the command line, check it, claim the folder, and let Hydra run."""
    command = read_command_line(sys.argv[1:])
    if command.shows_only:
        run_hydra(compare, "compare", command.arguments)
        return
    if command.multirun:
        raise GenderClsError("A comparison takes all runs at once: leave out -m.")
    [(config, _)] = check_jobs(command, "compare", CompareConfig)
    from gender_cls.runs.outputs import find_runs

    find_runs(config.folders)  # before a folder is made for nothing
    folder = claim_folder(command, config.output_dir, "comparisons", config.name)
    run_hydra(compare, "compare", [*command.arguments, f"name={folder.name}"])


if __name__ == "__main__":
    exit_with_sentence(main, when_interrupted="Nothing is lost: run the same command again.")
