"""A small run that was trained once, and copies of it to export."""

import shutil
from pathlib import Path

import pytest

from gender_cls.runs.run import Run


@pytest.fixture(scope="session")
def trained(finished: Path) -> Run:
    return Run(next(finished.glob("0_*")))


@pytest.fixture
def run(trained: Run, tmp_path: Path) -> Run:
    return Run(Path(shutil.copytree(trained.folder, tmp_path / "run")))
