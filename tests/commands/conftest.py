"""What tests of commands share: a copy of a sweep that was trained once, or that the file's own `trained` made."""

import shutil
from pathlib import Path

import pytest

from gender_cls.runs.run import Run


@pytest.fixture(scope="session")
def trained(finished: Path) -> Path:
    return finished


@pytest.fixture
def sweep(trained: Path, tmp_path: Path) -> Path:
    """A copy to work on, where the README has it; the crops stay where they were."""
    return Path(shutil.copytree(trained, tmp_path / "outputs" / "sweeps" / "NAME"))


@pytest.fixture
def run(sweep: Path) -> Run:
    """The first of the sweep."""
    return Run(next(sweep.glob("0_*")))
