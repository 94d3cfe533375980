"""A trained classifier from its checkpoint alone. The file may come from anybody: nothing in it is run or fetched."""

from pathlib import Path
from typing import Any

from torch import Tensor

from gender_cls.config.data import CLASSES
from gender_cls.config.parsing import without_removed_values
from gender_cls.errors import GenderClsError, first_few, one_line, require
from gender_cls.models.weights import read_plain
from gender_cls.training.checkpoints import non_finite_weights
from gender_cls.training.classifier import GenderClassifier

RESTORE = "restore it, or train the run again"


def load_classifier(checkpoint: Path) -> GenderClassifier:
    """Load a trained classifier on the CPU, in eval mode.

    Raises:
        GenderClsError: the file is missing, damaged, or not a checkpoint of this project.
    """
    content = read_plain(checkpoint, RESTORE)
    config, class_weights, state = _parts(content, checkpoint)
    try:
        classifier = GenderClassifier(without_removed_values(config), class_weights, load=False)
    except Exception as error:  # settings from a foreign file may be wrong in any way
        raise GenderClsError(
            f"The settings in {checkpoint} name no model that can be built: {one_line(error)}."
        ) from error
    try:
        classifier.load_state_dict(state)
    except RuntimeError:
        raise GenderClsError(
            f"The weights in {checkpoint} do not fit {classifier.settings.model.title}, which it names: {RESTORE}."
        ) from None
    if broken := non_finite_weights(classifier.network):
        raise GenderClsError(f"{checkpoint} holds weights that are infinite or nan ({first_few(broken)}): train again.")
    return classifier.eval()


def _parts(content: Any, checkpoint: Path) -> tuple[dict[str, Any], list[float] | None, dict[str, Tensor]]:
    """The configuration, the weights of the loss and the weights of the network."""
    foreign = f"{checkpoint} is no checkpoint of a training of this project: {RESTORE}."
    require(isinstance(content, dict), foreign)
    saved, state = content.get("hyper_parameters"), content.get("state_dict")
    require(isinstance(saved, dict) and isinstance(state, dict), foreign)
    config, classes, class_weights = (saved.get(key) for key in ("config", "classes", "class_weights"))
    require(isinstance(config, dict) and isinstance(config.get("model"), dict) and isinstance(classes, list), foreign)
    require(all(isinstance(value, Tensor) for value in state.values()), foreign)
    require(
        classes == list(CLASSES), f"{checkpoint} was trained for the classes {', '.join(map(str, classes))}: {RESTORE}."
    )
    return {**config, "model": {**config["model"], "weights": None}}, class_weights, state  # the file may have moved
