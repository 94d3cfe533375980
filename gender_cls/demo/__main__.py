"""`python -m gender_cls.demo`: draw the demo dataset."""

from pathlib import Path

from gender_cls.cli.command import run_command
from gender_cls.config.data import DemoConfig
from gender_cls.system.terminal import show


def demo(config: DemoConfig) -> None:
    """Draw it, unless it is there already."""
    from gender_cls.demo.dataset import draw_demo

    table = draw_demo(Path(config.folder), images=config.images, cue=config.cue, seed=config.seed)
    show(f"{len(table)} crops of {table['identity'].nunique()} drawn figures are in {config.folder}.")


def main() -> None:
    """Draw the demo dataset as the command line says."""
    run_command(demo, "demo", DemoConfig, when_interrupted="The same command starts again.")


if __name__ == "__main__":
    main()
