"""A small run that was trained once, and copies of it to export."""

import shutil
from pathlib import Path

import pytest
from helpers.commands import SMALL, command
from helpers.crops import draw_folders

from gender_cls.runs.run import Run


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Run:
    cwd = tmp_path_factory.mktemp("trained")
    crops = draw_folders(cwd / "crops")
    command("train", f"data.root={crops}", *SMALL, "name=run", "trainer.max_epochs=1", "explain=off", cwd=cwd)
    return Run(cwd / "outputs" / "runs" / "run")


@pytest.fixture
def run(trained: Run, tmp_path: Path) -> Run:
    return Run(Path(shutil.copytree(trained.folder, tmp_path / "run")))
