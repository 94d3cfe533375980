"""What the Trainer leaves out of Lightning's own way to stop."""

from typing import Any

import pytest

from gender_cls.training.trainer import build_trainer


@pytest.mark.parametrize(
    ("place", "name"),
    [("_signal_connector", "register_signal_handlers"), ("fit_loop.epoch_loop", "_broadcast_sigterm_tensor")],
)
def test_lightning_has_what_is_switched_off(place: str, name: str) -> None:
    """These names are private: a version of Lightning that has other ones would handle signals by itself again."""
    owner: Any = build_trainer("cpu", "32-true")
    for part in place.split("."):
        owner = getattr(owner, part)
    assert callable(getattr(type(owner), name))
    assert getattr(owner, name)() is None
    assert getattr(owner, name) is not getattr(type(owner), name)
