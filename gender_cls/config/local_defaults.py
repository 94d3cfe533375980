"""The user's own defaults: `.gender_cls.yaml` in the current folder, and GENDER_CLS_DATA. Imports no torch.

They come after `conf/` and before the command line. Hydra reads them as the node `local_defaults`, which goes with the
jobs of a sweep into other processes and to other machines.
"""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, is_dataclass
from functools import cache
from pathlib import Path
from typing import Any, get_origin, get_type_hints

from omegaconf import OmegaConf

from gender_cls.config.checks import absolute
from gender_cls.config.launcher import LAUNCHER, LAUNCHERS
from gender_cls.config.parsing import (
    COMPOSED,
    CONFIG_FOLDER,
    DATA_ROOTS,
    DEFAULT_DATA,
    by_dotted_key,
    store_local_defaults,
)
from gender_cls.config.similar_keys import Keys
from gender_cls.config.train import OPEN_GROUPS
from gender_cls.errors import GenderClsError, one_line, require

LOCAL_FILE = ".gender_cls.yaml"
DATA_VARIABLE = "GENDER_CLS_DATA"

OWN_MEANING = {"evaluate": "data", "predict": "data", "audit": "model"}
"""Command -> the group that means something else there: data to test on or to answer for, or a network for features."""

_PLACE = ("data.root", "data.csv")


@dataclass(frozen=True)
class LocalDefaults:
    """What the file and the variable say, before a command takes what it can use."""

    file: Path
    values: Mapping[str, Any] = field(default_factory=dict)  # by dotted key
    choices: Mapping[str, Any] = field(default_factory=dict)  # group -> its file, or a list of them
    data: str | None = None  # GENDER_CLS_DATA

    def of(self, command: str, overrides: Sequence[str] = ()) -> "LocalDefaults":
        """The part that a command can use.

        Args:
            overrides: of the command line, which may choose another launcher.
        """
        schema, groups = COMPOSED[command], command_groups(command)
        left_out = OWN_MEANING.get(command)
        choices = {group: choice for group, choice in self.choices.items() if group in groups and group != left_out}
        launcher = str(_last(overrides, LAUNCHER) or choices.get(LAUNCHER, "here"))
        values = {
            key: value
            for key, value in self.values.items()
            if has_key(schema, key, launcher) and not (left_out == "data" and key.startswith("data."))
        }
        data = self.data if "data" in groups and left_out != "data" else None
        return LocalDefaults(self.file, values, choices, data)

    @property
    def keys(self) -> list[str]:
        """The groups and keys that the file sets."""
        return [*self.choices, *self.values]

    @property
    def place(self) -> dict[str, Any]:
        """`data.root` and `data.csv` where nothing else names the data: the file's, else the variable's."""
        named = {key.removeprefix("data."): self.values[key] for key in _PLACE if self.values.get(key) is not None}
        return named or ({"root": self.data} if self.data else {})

    @property
    def described(self) -> str:
        """A sentence about them for the log; empty if there are none."""
        if self.keys:
            return f"Defaults from {self.file}: {', '.join(self.keys)}."
        return (
            f"{DATA_VARIABLE} names the data that are used where nothing else does: {self.data}." if self.data else ""
        )

    def store(self) -> None:
        """Let Hydra compose with them from now on."""
        written: dict[str, Any] = {}
        for key, value in self.values.items():
            if key not in _PLACE:
                *sections, last = key.split(".")
                section = written
                for name in sections:
                    section = section.setdefault(name, {})
                section[last] = value
        if self.place:
            written[DEFAULT_DATA] = self.place
        if self.choices:
            chosen = [{f"override /{group}": choice} for group, choice in self.choices.items()]
            written["defaults"] = ["_self_", *chosen]
        store_local_defaults(OmegaConf.to_yaml(OmegaConf.create(written)))

    def origin(self, sentence: str, overrides: Sequence[str] = ()) -> str:
        """Who sets what an error is about, in brackets; empty if the command line does, or `conf/`."""
        typed = {override.partition("=")[0].lstrip("+~") for override in overrides}
        for key, value in self.values.items():
            if key in _PLACE or key.startswith(f"{DATA_ROOTS}."):
                guilty = bool(value) and _has_path(sentence, value)
            else:
                guilty = (
                    re.search(rf"(?<![\w.]){re.escape(key)}(?=[=:]| (must|names|is|becomes) )", sentence) is not None
                )
            if guilty and key not in typed:
                return f" ({self.file} sets {key}.)"
        for group, choice in self.choices.items():
            if f"{group}={choice}" in sentence and group not in typed:
                return f" ({self.file} sets {group}.)"
        by_variable = self.data is not None and "data.root" in sentence and _has_path(sentence, self.data)
        return f" ({DATA_VARIABLE} sets data.root.)" if by_variable and "data.root" not in typed else ""


def _has_path(sentence: str, path: str) -> bool:
    """Whether it names the path, as written or absolute."""
    if f"={path}" in sentence:
        return True
    try:
        return absolute(path) in sentence
    except GenderClsError:  # the path has a variable of the shell, or an unknown home
        return False


def read_local_defaults() -> LocalDefaults:
    """What the current folder's file and the environment say.

    Raises:
        GenderClsError: the file cannot be read, or a key in it is one that no command has.
    """
    file, data = Path.cwd() / LOCAL_FILE, os.environ.get(DATA_VARIABLE, "").strip() or None
    if not os.path.lexists(file):
        return LocalDefaults(file, data=data)
    try:
        content: Any = OmegaConf.to_container(OmegaConf.load(file), resolve=False)
    except Exception as error:  # YAML, OmegaConf and the disk have errors of their own
        raise GenderClsError(f"{file} cannot be read as YAML: {one_line(error)}.") from None
    example = "a line such as `data: {root: FOLDER}`"
    require(isinstance(content, dict), f"{file} holds no keys with values: write {example}.")
    values, choices = {}, {}
    for key, value in by_dotted_key(content).items():
        require(
            not str(key).startswith("hydra"),
            f"{file} sets {key}: settings of Hydra belong to the command line.",
        )
        if _is_group(key):
            require(
                key != "experiment" or value is None,
                f"{file} chooses a preset, which is for one training: write experiment={value} on the command line.",
            )
            require(
                not isinstance(value, list) or key in OPEN_GROUPS,
                f"{file} sets {key} to {value}: name one there, and sweep over several on the command line.",
            )
            if value is not None:  # of a section without keys, or experiment: null; YAML reads off as false
                choices[key] = value if isinstance(value, list) else "off" if value is False else str(value)
            continue
        if not any(has_key(schema, key) for schema in COMPOSED.values()):
            meant = [one for schema in COMPOSED.values() for one in Keys.of(schema).meant_by(key)[0]]
            hint = f"; did you mean {' or '.join(dict.fromkeys(meant))}?" if meant else "."
            raise GenderClsError(f"{file} sets {key}, a key that no command has{hint}")
        values[key] = value
    return LocalDefaults(file, values, choices, data)


def has_key(schema: type, key: str, launcher: str | None = None) -> bool:
    """Whether a configuration has the key, such as `data.root`.

    Args:
        launcher: the chosen one, which says what the section `launcher` holds; None, or one of the user's own: any.
    """
    first, _, rest = key.partition(".")
    kind = get_type_hints(schema).get(first)
    if not rest or kind is None:
        return kind is not None
    if first == LAUNCHER:
        known = [LAUNCHERS[launcher]] if launcher in LAUNCHERS else LAUNCHERS.values()
        return any(has_key(one, rest) for one in known)
    if is_dataclass(kind) and isinstance(kind, type):
        return has_key(kind, rest)
    return kind is Any or get_origin(kind) is dict


@cache
def command_groups(command: str) -> dict[str, str | None]:
    """The groups that a command reads, each with its default, from the head of its file in `conf/`."""
    written: Any = OmegaConf.to_container(OmegaConf.load(CONFIG_FOLDER / f"{command}.yaml"), resolve=False)
    entries = [next(iter(entry.items())) for entry in written["defaults"] if isinstance(entry, dict)]
    return {group: choice for group, choice in entries if group.isidentifier()}


def _is_group(key: str) -> bool:
    return any(key in command_groups(command) for command in COMPOSED)


def _last(overrides: Sequence[str], key: str) -> str | None:
    values = [override.partition("=")[2] for override in overrides if override.partition("=")[0] == key]
    return values[-1] if values else None
