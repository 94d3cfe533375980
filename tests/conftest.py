"""Fixtures of all tests."""

from pathlib import Path

import pytest
from helpers.crops import draw_folders


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    return draw_folders(tmp_path / "crops")
