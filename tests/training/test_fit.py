"""What a training says before it begins; the training itself is in tests/commands."""

import pytest
from helpers.classifiers import config_of

from gender_cls.training.fit import warn_of_frozen_backbone


@pytest.mark.parametrize(
    ("frozen_epochs", "pretrained", "words"),
    [
        (1, True, []),
        (0, False, []),
        (2, True, ["recipe.frozen_epochs=2", "trainer.max_epochs=2"]),
        (None, True, []),
        (None, False, ["recipe=scratch"]),
    ],
)
def test_a_backbone_that_never_learns_gets_a_warning(caplog, frozen_epochs, pretrained, words) -> None:
    model = {"library": "timm", "name": "resnet18", "pretrained": pretrained}
    warn_of_frozen_backbone(config_of(recipe={"frozen_epochs": frozen_epochs}, trainer={"max_epochs": 2}, model=model))
    assert all(word in caplog.text for word in words)
    assert bool(caplog.text) == bool(words)
