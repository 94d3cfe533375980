"""Which models the libraries have, and which options may reach their constructors."""

import inspect
import re
from collections.abc import Callable, Sequence
from difflib import get_close_matches

import timm
import torchvision.models

from gender_cls.config.model import Library, ModelConfig
from gender_cls.errors import GenderClsError


def require_timm_name(config: ModelConfig) -> None:
    """Raise GenderClsError unless timm has the model, and the weights that a tag names."""
    name = str(config.name)
    architecture, _, tag = name.partition(".")
    if renamed := timm.models.get_deprecated_models().get(architecture):
        raise GenderClsError(
            f"model.name={name} is called {renamed} in timm {timm.__version__}: set model.name={renamed}."
        )
    require_name(config, architecture)
    tags = list(timm.models.get_arch_pretrained_cfgs(architecture))
    if tag and name not in tags:
        close = get_close_matches(name, tags, n=4, cutoff=0.0)
        raise GenderClsError(
            f"model.name={name} names weights that timm does not have; it has {', '.join(close) or 'none'}."
        )


def require_name(config: ModelConfig, architecture: str | None = None) -> None:
    """Raise GenderClsError, with similar names, unless the library has the model.

    Args:
        architecture: the name without the tag of its weights; None: the whole name.
    """
    name, known = str(config.name), _NAMES[config.library]()
    if (architecture or name) in known:
        return
    others = [library for library, names in _NAMES.items() if library is not config.library and name in names()]
    if others:
        hint = f"{others[0].value} has it: set model.library={others[0].value}"
    elif close := _similar(architecture or name, known):
        hint = f"it has {', '.join(close)}"
    else:
        hint = f"it has {len(known):,} others, which conf/model/{config.library.value}.yaml tells how to list"
    raise GenderClsError(f"model.name={name} is no model of model.library={config.library.value}; {hint}.")


def _similar(name: str, known: Sequence[str]) -> list[str]:
    """At most three names like this one, those that begin with it first; all names if there are few."""
    wanted = name.rpartition("/")[2]

    def letters(text: str) -> str:
        return "".join(filter(str.isalnum, text)).lower()

    if len(known) <= 3:
        return list(known)
    longer = [one for one in known if letters(wanted) and letters(one).startswith(letters(wanted))]
    return list(dict.fromkeys([*longer, *get_close_matches(wanted, known, cutoff=0.6)]))[:3]


_NAMES: dict[Library, Callable[[], Sequence[str]]] = {
    Library.custom: lambda: ["custom_cnn"],
    Library.timm: timm.list_models,
    Library.torchvision: lambda: torchvision.models.list_models(module=torchvision.models),
}


def require_options_of_shape(config: ModelConfig) -> None:
    """Refuse options that load something: they may come from a checkpoint, and a checkpoint may come from anybody."""
    for key, value in config.options.items():
        if key in _LOADING or not _is_plain(value):
            raise GenderClsError(
                f"model.options.{key} is not for a network's shape: options are numbers and words for its constructor; "
                "weights are chosen with model.name, model.pretrained and model.weights=PATH."
            )


_LOADING = frozenset(
    {"weights", "weights_backbone", "progress"}.union(  # of torchvision
        *(inspect.signature(function).parameters for function in (timm.create_model, timm.models.build_model_with_cfg))
    )
)
"""What the libraries take for themselves before they construct a network."""


def _is_plain(value: object) -> bool:
    """Whether it consists of numbers and words; a word is no path and no address."""
    if isinstance(value, dict):
        return all(_is_plain(one) for pair in value.items() for one in pair)
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, int | float) or (isinstance(value, str) and bool(_WORD.fullmatch(value)))


_WORD = re.compile(r"[\w+-]*")
