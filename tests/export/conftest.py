"""A small run that was trained once, copies of it to export, and one that was exported once."""

import shutil
from pathlib import Path

import pytest
from helpers.exporting import ALL, config_of
from torch import Tensor

from gender_cls.export.one_run import export_run
from gender_cls.runs.run import Run
from gender_cls.training import predictor
from gender_cls.training.classifier import GenderClassifier
from gender_cls.training.load_checkpoint import load_classifier

Loaded = list[tuple[GenderClassifier, dict[str, Tensor]]]


@pytest.fixture(scope="session")
def trained(finished: Path) -> Run:
    return Run(next(finished.glob("0_*")))


@pytest.fixture
def run(trained: Run, tmp_path: Path) -> Run:
    return Run(Path(shutil.copytree(trained.folder, tmp_path / "run")))


@pytest.fixture(scope="session")
def loaded() -> Loaded:
    """The networks that `exported` reads, with copies of what they held then."""
    return []


@pytest.fixture(scope="session")
def exported(trained: Run, tmp_path_factory: pytest.TempPathFactory, loaded: Loaded) -> Run:
    """Everything at once, for tests that only read it."""

    def remember(checkpoint: Path) -> GenderClassifier:
        classifier = load_classifier(checkpoint)
        loaded.append((classifier, {name: value.clone() for name, value in classifier.state_dict().items()}))
        return classifier

    run = Run(Path(shutil.copytree(trained.folder, tmp_path_factory.mktemp("exported") / "run")))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(predictor, "load_classifier", remember)
        export_run(run, config_of(run, **ALL, seconds=0.01))
    return run
