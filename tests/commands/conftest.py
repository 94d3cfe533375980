"""What the tests of `evaluate` share: a copy of the sweep that the file's own fixture `trained` made once."""

import shutil
from pathlib import Path

import pytest

from gender_cls.runs.run import Run


@pytest.fixture
def sweep(trained: Path, tmp_path: Path) -> Path:
    """A copy to work on, where the README has it; the crops stay where they were."""
    return Path(shutil.copytree(trained, tmp_path / "outputs" / "sweeps" / "NAME"))


@pytest.fixture
def run(sweep: Path) -> Run:
    """The first of the sweep."""
    return Run(next(sweep.glob("0_*")))
