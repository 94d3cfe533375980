"""`python -m gender_cls.compare`: say which model is better, and how sure that is."""

from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from gender_cls.cli.command import run_command
from gender_cls.cli.command_line import CommandLine
from gender_cls.cli.failed_starts import removing_failed_start
from gender_cls.cli.folders import claim_folder, place_of
from gender_cls.config.evaluation import CompareConfig
from gender_cls.errors import GenderClsError, require
from gender_cls.runs.exported_run import ExportedRun
from gender_cls.runs.run import Run, find_runs
from gender_cls.system.progress import working
from gender_cls.system.terminal import shortest, show


def compare(config: CompareConfig) -> None:
    """Write one comparison into its folder, and print it."""
    with working("Importing libraries"):
        from gender_cls.pages.on_screen import comparison_on_screen
        from gender_cls.reports.comparison import write_comparison

    folder = Path(HydraConfig.get().runtime.output_dir)
    with working("Comparing"):
        comparison = write_comparison(
            folder,
            named_runs(config),
            name="compare",
            resamples=config.resamples,
            thumbnails=config.thumbnails,
            data_root=None if config.data_root is None else Path(config.data_root),
        )
    show(*comparison_on_screen(comparison, "compare.html"), f"\nOpen {shortest(folder / 'compare.html')}")
    if not comparison["images"]:
        raise GenderClsError("There is nothing to compare: the table above says for each run why.")


def named_runs(config: CompareConfig) -> list[Run]:
    """The runs in the named folders, and the exported models that are named themselves."""
    found = [run for run in find_runs(config.folders) if {*config.tags} <= {*(run.settings.get("tags") or [])}]
    require(bool(found or not config.tags or config.exported), f"No run has the tags {', '.join(config.tags)}.")
    return [*found, *map(ExportedRun, config.exported)]


def choose_folder(command: CommandLine, config: CompareConfig, composed: DictConfig) -> Path:
    """A new folder for the comparison, if there is something to compare."""
    named_runs(config)
    return claim_folder(command, place_of(command, composed))


def main() -> None:
    """Compare runs as the command line says."""
    run_command(
        compare,
        "compare",
        CompareConfig,
        claim=choose_folder,
        around=lambda _, folder: removing_failed_start(folder),
        instead_of_sweep="A comparison takes all runs at once",
        when_interrupted="Nothing is lost: run the same command again.",
    )


if __name__ == "__main__":
    main()
