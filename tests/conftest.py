"""Fixtures of all tests."""

import signal
from pathlib import Path

import pytest
from helpers.crops import draw_folders

signal.signal(signal.SIGINT, signal.default_int_handler)  # in the background, shells start programs that ignore it


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    return draw_folders(tmp_path / "crops")
