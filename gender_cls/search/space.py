"""What a search may change: from `search.space` to checked ranges and choices, and values into a configuration."""

import json
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields, is_dataclass, replace
from difflib import get_close_matches
from enum import Enum
from functools import cache
from typing import TYPE_CHECKING, Any

from gender_cls.config.parsing import by_dotted_key, parse_config, to_plain
from gender_cls.config.search import SearchConfig
from gender_cls.config.train import Config
from gender_cls.errors import GenderClsError, require

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

DIGITS = 4  # significant digits of a value
SEARCHED = ("augment", "data", "model", "recipe", "trainer.max_epochs")
"""Sections, or single keys, of the configuration that a search may change."""
NOT_SEARCHED = {
    "seed": "it would choose a lucky one",
    "recipe.monitor": "it would compare different scores",
    **dict.fromkeys(
        ("data.root", "data.csv", "data.importer", "data.published_split", "data.split_by", "data.val_by", "data.limit",
         "data.leave_out", "data.split_seed", "data.val_fraction", "data.test_fraction", "data.folds", "data.fold",
         "data.corrections", "data.near_duplicate_distance", "data.frame_gap"),
        "it would change the validation images",
    ),
}  # fmt: skip
"""Keys that a search may not change, and why."""


@dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high`, both included."""

    low: float
    high: float
    log: bool = False
    step: float | None = None

    @property
    def ends(self) -> tuple[Any, ...]:
        """The values that have to be allowed, so that all are."""
        return self.low, self.high

    def recorded(self, value: Any) -> Any:
        """A proposed value with few digits, as it is used."""
        if isinstance(self.low, int):
            return int(value)
        digits = DIGITS if self.step is None else 10  # of a step only the error of floating-point numbers is rounded
        return min(max(float(f"{value:.{digits}g}"), self.low), self.high)

    def parameter(self, value: Any) -> Any:
        """The value as Optuna keeps it; None if it does not lie in the range."""
        inside = isinstance(value, int | float) and not isinstance(value, bool) and self.low <= value <= self.high
        if not inside or (self.step is not None and abs(math.remainder(value - self.low, self.step)) > 1e-8):
            return None
        return value

    def distribution(self) -> "BaseDistribution":
        """The range as Optuna has it."""
        from optuna.distributions import FloatDistribution, IntDistribution

        if isinstance(self.low, int):
            return IntDistribution(self.low, int(self.high), log=self.log, step=int(self.step or 1))
        return FloatDistribution(self.low, self.high, log=self.log, step=self.step)


@dataclass(frozen=True)
class Choices:
    """Some values of any kind."""

    values: tuple[Any, ...]

    @property
    def ends(self) -> tuple[Any, ...]:
        """The values that have to be allowed."""
        return self.values

    def recorded(self, value: Any) -> Any:
        """The value that Optuna's parameter stands for."""
        return self.values[self.names.index(value)]

    def parameter(self, value: Any) -> Any:
        """The value as Optuna keeps it; None if it is not among the choices."""
        name = _name(value)  # 1, 1.0 and true are equal, their names are not
        return name if name in self.names else None

    def distribution(self) -> "BaseDistribution":
        """The choices as Optuna has them."""
        from optuna.distributions import CategoricalDistribution

        return CategoricalDistribution(self.names)

    @property
    def names(self) -> list[str]:
        """Texts, because Optuna's choices cannot be lists."""
        return [_name(value) for value in self.values]


def _name(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


Space = dict[str, Range | Choices]
"""The dotted keys of a search, each with its values."""


def space_to_json(space: Space) -> dict[str, Any]:
    """The space as `search.json` keeps it."""
    return {key: asdict(one) for key, one in space.items()}


def space_from_json(kept: dict[str, Any]) -> Space:
    """The space that `space_to_json` made this of."""
    return {key: Choices(tuple(one["values"])) if "values" in one else Range(**one) for key, one in kept.items()}


def read_space(config: Config) -> Space:
    """The checked space of a configuration; of every key the ends of its range, or all its choices, are allowed there.

    Raises:
        GenderClsError: the space is empty, a key does not exist or may not be searched, or a value is not allowed.
    """
    bare = replace(config, search=SearchConfig())  # to check a value takes as long as the configuration is large
    space = {key: _typed(key, written, bare) for key, written in _leaves(config.search.space)}
    require(bool(space), "search.space is empty: choose search/space=finetune, or name keys and their values there.")
    return space


def with_values(config: Config, values: dict[str, Any]) -> Config:
    """The configuration with these values at their dotted keys; GenderClsError if one is not allowed there."""
    plain = to_plain(config)
    for key, value in values.items():
        *sections, name = key.split(".")
        place = plain
        for section in sections:
            place = place.setdefault(section, {})
        place[name] = value
    return parse_config(plain, Config)


def value_of(config: Config, key: str) -> Any:
    """The value at a dotted key as a plain value; None if a section with free keys does not have it."""
    place: Any = config
    for part in key.split("."):
        place = (place or {}).get(part) if isinstance(place, dict | None) else getattr(place, part)
    return place.name if isinstance(place, Enum) else place


def _leaves(written: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The keys with what is written about their values; a list stands for its choices."""
    for name, content in written.items():
        key = f"{prefix}{name}"
        if isinstance(content, dict) and not {"low", "high", "log", "step"} & content.keys():
            yield from _leaves(content, f"{key}.")
        else:
            yield key, content


def _typed(key: str, written: Any, config: Config) -> Range | Choices:
    here = f"search.space.{key}"
    _refuse_key(key)
    if isinstance(written, list):
        choices = Choices(tuple(_allowed(key, value, config) for value in written))
        require(len(written) != 1, f"{here} has one value, so nothing can be chosen: set {key} itself.")
        require(bool(written), f"{here} has no values to choose from.")
        require(len(set(choices.names)) == len(written), f"{here} has a value twice: {', '.join(choices.names)}.")
        return choices
    require(
        isinstance(written, dict)
        and {"low", "high"} <= written.keys() <= {"low", "high", "log", "step"}
        and isinstance(written.get("log", False), bool),
        f"{here} must be a range, such as {{low: 0.1, high: 1.0}} (with log: true or step: 0.1), or a list of choices, "
        f"not {written}.",
    )
    low, high = (_allowed(key, written[end], config) for end in ("low", "high"))
    numbers = all(isinstance(end, int | float) and not isinstance(end, bool) for end in (low, high))
    require(numbers, f"{here} takes no numbers: write a list of choices, such as [{low}, {high}].")
    if isinstance(low, float) or isinstance(high, float):
        low, high = float(low), float(high)
    log, step = written.get("log", False), written.get("step")
    require(low < high, f"{here}: low={low} must be below high={high}.")
    require(not log or low > 0, f"{here}: with log: true, low must be above 0, not {low}.")
    if step is None:
        return Range(low, high, log)
    require(not log, f"{here} has log: true and a step: choose one of them.")
    whole = not isinstance(low, int) or isinstance(step, int)
    valid = isinstance(step, int | float) and not isinstance(step, bool) and 0 < step <= high - low and whole
    require(valid, f"{here}: step={step} must be {'' if whole else 'a whole number '}between 0 and high - low.")
    steps = math.floor((high - low) / step + 1e-8)
    return Range(low, low + steps * step if isinstance(low, int) else float(f"{low + steps * step:.10g}"), False, step)


def _allowed(key: str, value: Any, config: Config) -> Any:
    """The value as the configuration has it, such as 1.0 for 1; GenderClsError if it is not allowed there."""
    try:
        return value_of(with_values(config, {key: value}), key)
    except GenderClsError as error:
        raise GenderClsError(f"search.space.{key}: {error}") from None


def _refuse_key(key: str) -> None:
    """Raise GenderClsError unless there is such a key and a search may change it."""
    known = _all_keys()
    free = [name for name in _free_sections() if key.startswith(f"{name}.")]
    if key not in known and not free:
        close = get_close_matches(key, known, n=2, cutoff=0.5)
        hint = f"did you mean {' or '.join(close)}?" if close else "there are recipe.lr, recipe.weight_decay and more."
        raise GenderClsError(f"search.space.{key}: {key} is not a key of the configuration; {hint}")
    if reason := NOT_SEARCHED.get(key):
        raise GenderClsError(f"search.space.{key}: a search cannot change {key}, because {reason}.")
    searched = any(key == one or key.startswith(f"{one}.") for one in SEARCHED)
    require(searched, f"search.space.{key}: a search can change keys of {', '.join(SEARCHED)} only.")


@cache
def _all_keys() -> frozenset[str]:
    return frozenset(by_dotted_key(to_plain(Config())))


def _free_sections(config: Any = None, prefix: str = "") -> Iterator[str]:
    """The sections whose keys are free, such as `model.options`."""
    config = Config() if config is None else config
    for one in fields(config):
        value = getattr(config, one.name)
        if is_dataclass(value):
            yield from _free_sections(value, f"{prefix}{one.name}.")
        elif isinstance(value, dict):
            yield f"{prefix}{one.name}"
