"""`python -m gender_cls.compare`: say which model is better, and how sure that is."""

from pathlib import Path

from omegaconf import DictConfig

from gender_cls.cli.command import run_command
from gender_cls.cli.command_line import CommandLine
from gender_cls.cli.folders import claim_folder
from gender_cls.config.evaluation import CompareConfig
from gender_cls.errors import GenderClsError, harmless
from gender_cls.runs.files import read_json
from gender_cls.runs.run import find_runs


def compare(config: CompareConfig) -> None:
    """Write one comparison into its folder, and print it."""
    from gender_cls.reports.comparison import write_comparison

    assert config.name is not None, "choose_folder makes the folder, and its name comes with the configuration"
    folder = Path(config.output_dir) / "comparisons" / config.name
    text = write_comparison(
        folder,
        find_runs(config.folders),
        name="compare",
        resamples=config.resamples,
        thumbnails=config.thumbnails,
        data_root=None if config.data_root is None else Path(config.data_root),
    )
    print(harmless(f"{text}\nOpen {folder / 'compare.html'}."))
    if not read_json(folder / "compare.json")["images"]:
        raise GenderClsError("There is nothing to compare: the table above says for each run why.")


def choose_folder(command: CommandLine, config: CompareConfig, _: DictConfig) -> Path:
    """A new folder for the comparison, if there is something to compare."""
    find_runs(config.folders)
    return claim_folder(command, config.output_dir, "comparisons", config.name)


if __name__ == "__main__":
    run_command(
        compare,
        "compare",
        CompareConfig,
        claim=choose_folder,
        instead_of_sweep="A comparison takes all runs at once",
        when_interrupted="Nothing is lost: run the same command again.",
    )
