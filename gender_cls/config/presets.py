"""Files of `conf/` as plain values, and settings from them for one part of a training. Imports no torch."""

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

from gender_cls.config.checks import check_config
from gender_cls.config.data import DataConfig
from gender_cls.config.model import Library
from gender_cls.config.parsing import CONFIG_FOLDER, group_options, typed_config, written_values
from gender_cls.config.train import AugmentConfig, Config
from gender_cls.errors import GenderClsError


def preset(group: str, name: str) -> dict[str, Any]:
    """What `conf/<group>/<name>.yaml` sets; GenderClsError, with similar names, if there is no such file."""
    names = group_options(group)
    if name not in names:
        close = get_close_matches(name, names, n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(close)}?" if close else f"there are {', '.join(names)}."
        raise GenderClsError(f"{group}={name} names no file in conf/{group}; {hint}")
    values = written_values(CONFIG_FOLDER / group / f"{name}.yaml")
    values.pop("defaults", None)
    return values.get(group, values)  # a file that sets keys of several groups has one section for each


def model_settings(name: str, *, pretrained: bool, weights: str | None) -> dict[str, Any]:
    """The section `model` for a file in `conf/model/`, a model of timm, or `library/name` as leaderboards have it."""
    library, slash, within = name.partition("/")
    if name in group_options("model"):
        of_name = preset("model", name)
    elif slash and library in [one.value for one in Library]:
        of_name = {"library": library, "name": within}
    else:
        of_name = {"library": Library.timm.value, "name": name}
    has_weights = of_name.get("pretrained", True)  # none are published for custom_cnn
    return {**of_name, "pretrained": pretrained and has_weights, "weights": weights}


def augment_settings(augment: str | Mapping[str, Any]) -> AugmentConfig:
    """The section `augment` by the name of a file in `conf/augment/`, or from its keys."""
    given = preset("augment", augment) if isinstance(augment, str) else augment
    return _checked({"augment": dict(given)}, "augment").augment


def data_settings(**changes: Any) -> DataConfig:
    """The section `data`: `conf/data/folders.yaml` with these changes."""
    data = _checked({"data": {**preset("data", "folders"), **changes}}, "data").data
    data.require_named()
    return data


def learning_settings(
    model: Mapping[str, Any], recipe: str, changes: Mapping[str, Any], image_size: tuple[int, int], **others: Any
) -> Config:
    """All settings of a training, without data.

    Args:
        model: the section `model`.
        recipe: a file in `conf/recipe/`.
        changes: keys of the recipe.
        image_size: (height, width) in pixels.
        others: `seed`, or further sections.
    """
    learned = {**preset("recipe", recipe), **changes}
    sections = {"model": dict(model), "recipe": learned, "data": {"image_size": list(image_size)}, **others}
    return _checked(sections, "model", "recipe", "data", "augment")


def _checked(values: dict[str, Any], *sections: str) -> Config:
    config = typed_config(values, Config)
    for section in sections:
        check_config(getattr(config, section), f"{section}.")
    return config
