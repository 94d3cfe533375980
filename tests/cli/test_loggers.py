"""A logger without its package is refused before any work."""

import pytest

from gender_cls.cli import loggers
from gender_cls.cli.loggers import PACKAGES, check_loggers
from gender_cls.config.train import Config
from gender_cls.errors import GenderClsError


@pytest.mark.parametrize("name", PACKAGES)
def test_a_missing_package_is_named(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    looked_for = []
    monkeypatch.setattr(loggers, "find_spec", looked_for.append)
    config = Config(loggers={"mine": {"_target_": f"pytorch_lightning.loggers.{name}"}})
    with pytest.raises(GenderClsError, match=f"loggers.mine needs {PACKAGES[name]}.*pip install"):
        check_loggers(config)
    assert looked_for == [PACKAGES[name]]


@pytest.mark.parametrize("content", [3, {}, {"_target_": "my.WandbLogger"}, {"_target_": "lightning.CSVLogger"}])
def test_other_loggers_are_not_its_business(content: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loggers, "find_spec", lambda _: None)
    check_loggers(Config(loggers={"mine": content}))
