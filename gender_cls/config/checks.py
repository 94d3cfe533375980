"""How a setting is declared, checked and made absolute. Imports no torch."""

import math
import re
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any, get_origin

from gender_cls.errors import GenderClsError, has_odd_letters, require, visible

AUTO = "auto"
PRECISIONS = (AUTO, "32-true", "bf16-mixed", "16-mixed", "bf16-true", "64-true")
ACCELERATORS = (AUTO, "cpu", "gpu", "cuda", "mps")
MOST_THREADS, MOST_PROCESSES = 1024, 512  # more than machines have; with far more, they fail without a message


@dataclass(frozen=True)
class Rule:
    """Which values a setting may have; `None` is left to its type."""

    least: float | None = None
    above: float | None = None
    most: float | None = None
    below: float | None = None
    unit: str = ""  # follows the range in a message
    auto: bool = False  # the word auto is allowed too
    choices: tuple[str, ...] = ()
    path: str = ""  # what must be there: "file", "folder" or "file or folder"; "any" is checked where it is read
    keep_link: bool = False  # a path keeps its links
    names_folder: bool = False

    def check(self, key: str, value: Any) -> None:
        """Raise GenderClsError, with the key, what is allowed and the value, unless the value is allowed."""
        if self.choices:
            for one in listed_values(value):
                require(one in self.choices, f"{key} must be one of {', '.join(self.choices)}, not {one}.")
        elif self.names_folder:
            valid = re.fullmatch(r"(?!\.+$)[\w.+-]{1,200}", value) is not None
            require(valid, f"{key} becomes a folder: 1 to 200 letters, digits and _ . + -, not only dots: '{value}'.")
        elif self.path:
            for path in paths_of(value):
                exists = {"file": path.is_file, "folder": path.is_dir}.get(self.path, path.exists)
                require(self.path == "any" or exists(), f"{key} names no {self.path}: {path}")
        else:
            allowed = f"{self._range()} {self.unit}".strip() + ", or auto" * self.auto
            require(self._contains(value), f"{key} must {allowed}, not {value}.")

    def _contains(self, value: Any) -> bool:
        if isinstance(value, str):
            return self.auto and value == AUTO
        return (  # each bound has to hold: it never does for NaN
            (self.least is None or value >= self.least)
            and (self.above is None or value > self.above)
            and (self.most is None or value <= self.most)
            and (self.below is None or value < self.below)
        )

    def _range(self) -> str:
        if self.least is not None and self.most is not None:
            return f"lie between {self.least:,} and {self.most:,}"
        bounds = {"at least": self.least, "above": self.above, "at most": self.most, "below": self.below}
        return "be " + " and ".join(f"{words} {bound:,}" for words, bound in bounds.items() if bound is not None)


def setting(default: Any = None, **rule: Any) -> Any:
    """A field of a configuration with its default, or what makes the default, and the arguments of its Rule."""
    metadata = {"rule": Rule(**rule)}
    if callable(default):
        return field(default_factory=default, metadata=metadata)
    return field(default=default, metadata=metadata)


def seed_setting() -> Any:
    """A field for a seed of random numbers, which every generator takes."""
    return setting(0, least=0, most=2**32 - 1)


def check_config(config: Any, prefix: str = "") -> None:
    """Check every setting that is not None against its rule, then call `check` for the rules between settings."""
    for one in fields(config):
        key, value = f"{prefix}{one.name}", getattr(config, one.name)
        if is_dataclass(value):
            check_config(value, f"{key}.")
        elif isinstance(value, float) and math.isinf(value):
            raise GenderClsError(f"{key} must be a finite number, not {value}.")
        elif value is not None and "rule" in one.metadata:
            one.metadata["rule"].check(key, value)
    if hasattr(config, "check"):
        config.check()


def make_paths_absolute(config: Any, prefix: str = "") -> None:
    """Expand `~` in the paths of a configuration and make them absolute, once for all who use them.

    Raises:
        GenderClsError: a path is empty, which would mean the current folder, or text files cannot hold it.
    """
    for one in fields(config):
        key, value, rule = f"{prefix}{one.name}", getattr(config, one.name), one.metadata.get("rule", Rule())
        if is_dataclass(value):
            make_paths_absolute(value, f"{key}.")
        elif rule.path and value is not None:
            paths = list(map(str, value if isinstance(value, list) else [value]))
            for path in paths:
                require(path.strip() != "", f"{key} is empty: name a path, such as . for this folder, or leave it out.")
                require(
                    not has_odd_letters(path),
                    f"{key}={visible(path)} holds control characters or bytes that are not UTF-8: rename it.",
                )
            absolute_paths = [absolute(path, rule.keep_link, key) for path in paths]
            setattr(config, one.name, absolute_paths if isinstance(value, list) else absolute_paths[0])


def paths_of(value: Any) -> list[Path]:
    """The paths of a setting that is one path, several or none."""
    return [Path(path) for path in listed_values(value)]


def listed_values(value: Any) -> list[Any]:
    """The values of a setting that is one value, several or none."""
    return [one for one in (value if isinstance(value, list) else [value]) if one is not None]


def one_or_several(schema: Any) -> list[str]:
    """The keys of a schema, sections left out, that take one value or a list."""
    return [one.name for one in fields(schema) if one.type is Any] + list_keys(schema)


def list_keys(schema: Any) -> list[str]:
    """The keys of a schema, sections left out, whose value is always a list."""
    return [one.name for one in fields(schema) if get_origin(one.type) is list]


def absolute(path: Any, keep_link: bool = False, key: str = "A path") -> str:
    """The path without `~`, absolute; links are followed unless `keep_link`.

    Args:
        key: for errors.

    Raises:
        GenderClsError: it begins with the name of a user who has no home here, or with a variable of the shell.
    """
    try:
        expanded = Path(str(path)).expanduser()
    except RuntimeError:
        raise GenderClsError(f"{key}={path} names a user who has no home folder here: write the whole path.") from None
    variable = re.match(r"\$\{?\w+\}?", str(path))
    require(
        variable is None or expanded.exists(),
        f"{key}={path}: the shell did not fill in {variable and variable[0]}: write its value, or use double quotes.",
    )
    return str(expanded.absolute() if keep_link else expanded.resolve())
