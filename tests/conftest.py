"""Fixtures of all tests. The process that hands out the tests reads this file too, and needs no torch."""

import gc
import os
import signal
from pathlib import Path

import pytest

os.environ.pop("GENDER_CLS_DATA", None)  # of the user's own data
signal.signal(signal.SIGINT, signal.default_int_handler)  # in the background, shells start programs that ignore it


def pytest_collection_finish() -> None:
    """Let the garbage collector skip what imports have made, which stays anyway: Lightning and others call it often."""
    gc.collect()
    gc.freeze()


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    from helpers.crops import draw_folders

    return draw_folders(tmp_path / "crops")


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sweep of two finished runs, for tests that only read them; its crops are in `crops`, three folders above."""
    from helpers.commands import SMALL, command
    from helpers.crops import draw_folders

    cwd = tmp_path_factory.mktemp("finished")
    crops = draw_folders(cwd / "crops")
    sweep = ["-m", "seed=0,1", "name=sweep", "trainer.max_epochs=1", "explain=off"]
    command("train", f"data.root={crops}", *SMALL, *sweep, cwd=cwd)
    return cwd / "outputs" / "sweeps" / "sweep"
