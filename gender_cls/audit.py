"""`python -m gender_cls.audit`: read a dataset once and say what is wrong with it."""

from pathlib import Path

from hydra.core.hydra_config import HydraConfig

from gender_cls.cli.command import run_command
from gender_cls.cli.failed_starts import removing_failed_start
from gender_cls.cli.folders import claim_folder, place_of
from gender_cls.cli.weights import with_weights_file
from gender_cls.config.audit import AuditConfig
from gender_cls.config.parsing import to_plain
from gender_cls.data.source import find_source
from gender_cls.runs.run import Run, image_cache
from gender_cls.system.progress import working
from gender_cls.system.terminal import shortest, show


def audit(config: AuditConfig) -> None:
    """Audit one dataset, in the folder of the audit."""
    hydra = HydraConfig.get()
    run = Run(Path(hydra.runtime.output_dir))
    config = with_weights_file(config)
    run.record_settings(to_plain(config), hydra.runtime.choices)
    with run.recording():
        find_source(config.data)  # before pandas and torch are imported
        with working("Importing libraries"):
            from gender_cls.reports.audit import audit_data

        with working("Looking at the dataset"):
            findings = audit_data(config, run.folder, image_cache(config.output_dir))
        show(findings, f"\nOpen {shortest(run.folder / 'audit.html')}")


def main() -> None:
    """Audit a dataset as the command line says."""
    run_command(
        audit,
        "audit",
        AuditConfig,
        claim=lambda command, _, composed: claim_folder(command, place_of(command, composed)),
        around=lambda _, folder: removing_failed_start(folder),
        instead_of_sweep="An audit looks at one dataset",
        when_interrupted="The same command reads only the images that have not been read yet.",
    )


if __name__ == "__main__":
    main()
