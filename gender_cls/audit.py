"""`python -m gender_cls.audit`: read a dataset once and say what is wrong with it."""

import sys
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from gender_cls.cli.command import check_jobs, exit_with_sentence, read_command_line, run_hydra
from gender_cls.cli.folders import claim_folder
from gender_cls.config.audit import AuditConfig
from gender_cls.config.parsing import parse_config
from gender_cls.data.source import find_source
from gender_cls.errors import GenderClsError
from gender_cls.runs.outputs import image_cache
from gender_cls.runs.run import Run


def audit(composed: DictConfig) -> None:
    """One audit, in its folder."""
    config = parse_config(composed, AuditConfig)
    run = Run(Path(HydraConfig.get().runtime.output_dir))
    with run.recording():
        find_source(config.data)  # before pandas and torch are imported
        from gender_cls.reports.audit import audit_data

        print(audit_data(config, run.folder, image_cache(config.output_dir)))


def main() -> None:
    """Read the command line, check it, claim the folder, and let Hydra run."""
    command = read_command_line(sys.argv[1:])
    if command.shows_only:
        run_hydra(audit, "audit", command.arguments)
        return
    if command.multirun:
        raise GenderClsError("An audit looks at one dataset: leave out -m.")
    [(config, _)] = check_jobs(command, "audit", AuditConfig)
    folder = claim_folder(command, config.output_dir, "audits", config.name)
    run_hydra(audit, "audit", [*command.arguments, f"name={folder.name}"])


if __name__ == "__main__":
    exit_with_sentence(main, when_interrupted="The same command reads only what has not been read yet.")
