"""`--help` and `--cfg job`: each key of a command with its value and what `conf/` says about it."""

import os
import re
import shutil
import sys
import textwrap
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Any, get_origin, get_type_hints

import yaml
from omegaconf import DictConfig, OmegaConf

from gender_cls.cli.command_line import CommandLine, compose_first_job
from gender_cls.config.comments import comment_of, file_comments, group_comments, walk
from gender_cls.config.local_defaults import command_groups
from gender_cls.config.parsing import COMPOSED, CONFIG_FOLDER, DATA_ROOTS, group_options, name_default_data

COLUMN = 30  # where comments begin
SET_BY_COMMAND = ("search.trial", "search.finalist")  # for jobs of its own; not for users
PIPED, WIDEST = 80, 100  # characters of a line


def help_text(command: CommandLine, name: str, *, width: int, bold: bool) -> str:
    """What a command does, the groups that it reads, and its keys with the values that the command line gives them."""
    composed = compose_first_job(command, name)
    chosen, options = _chosen_files(composed, command), _options(name, composed, command)
    text = composed.hydra.help
    strong = "\033[1m{}\033[0m".format if bold else str
    # Commands, which begin with blanks, stay in one line, to be copied.
    header = text.header.rstrip().splitlines()
    lines = [*(line if line.startswith(" ") else _wrapped(line, width) for line in header), ""]
    if options:
        lines += [strong("Groups: GROUP=NAME takes a file; those in brackets are taken"), ""]
        lines += [_entry(f"  {group}", shown, width, strong) for group, shown in options.items()]
        lines += [""]
    for group in [one.partition("=")[0] for one in command.overrides]:
        for file in chosen.get(group, []):
            head = file_comments(file).head.splitlines()
            lines += [strong(f"{group}={file.stem}"), *(_wrapped(f"  {line}", width) for line in head), ""]
    lines += [strong("Keys: KEY=VALUE changes a value"), ""]
    section = ""
    for key, value in _keys(_values(composed, resolve=True), COMPOSED[name]):
        parent = key.rpartition(".")[0].partition(".")[0]
        if parent != section:
            section = parent
            about = comment_of(section, name, chosen) if section else ""
            heading = textwrap.fill(f"{section}: {about}" if about else section, width)
            lines += ["", strong(section) + heading.removeprefix(section)]
        lines += [_entry(f"  {key}={_typed(value)}", comment_of(key, name, chosen), width, strong)]
    lines += ["", textwrap.fill(text.footer.strip(), width)]
    sweep = "-m sweeps over values between commas (seed=0,1,2); " if name == "train" else ""
    flags = f"{sweep}--cfg job prints these settings as YAML, --version the version, --hydra-help Hydra's own flags."
    return "\n".join([*lines, "", textwrap.fill(flags, width)])


def commented_config(command: CommandLine, name: str, *, resolve: bool) -> str:
    """The configuration as YAML, each key with its comment above it."""
    composed = compose_first_job(command, name)
    chosen = _chosen_files(composed, command)
    text = OmegaConf.to_yaml(OmegaConf.create(_values(composed, resolve=resolve)))
    comments = {node.start_mark.line: (comment_of(key, name, chosen), node) for key, node, _ in walk(text)}
    lines = []
    for number, line in enumerate(text.splitlines()):
        comment, node = comments.get(number, ("", None))
        if node is not None and comment:
            indent = " " * node.start_mark.column
            lines += textwrap.wrap(comment, PIPED, initial_indent=f"{indent}# ", subsequent_indent=f"{indent}# ")
        lines.append(line)
    return "\n".join(lines)


def terminal_style() -> dict[str, Any]:
    """The width of lines, and whether there is bold: both plain where the output is no terminal."""
    if not sys.stdout.isatty():
        return {"width": PIPED, "bold": False}
    dumb = bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM") == "dumb"
    return {"width": max(40, min(shutil.get_terminal_size().columns, WIDEST)), "bold": not dumb}


def _values(composed: DictConfig, *, resolve: bool) -> dict[str, Any]:
    own = OmegaConf.masked_copy(composed, [str(key) for key in composed if key != "hydra"])
    values: Any = OmegaConf.to_container(own, resolve=resolve, enum_to_str=True)
    name_default_data(values)
    return values


def _chosen_files(composed: DictConfig, command: CommandLine) -> dict[str, list[Path]]:
    """Each group with the files that were chosen."""
    folders = [CONFIG_FOLDER, *([Path(command.config_dir)] if command.config_dir else [])]
    chosen = {}
    for group, choice in composed.hydra.runtime.choices.items():
        if choice is not None and not group.startswith("hydra/"):
            files = [folder / group / f"{one}.yaml" for one in _several(choice) for folder in folders]
            chosen[group] = [file for file in files if file.is_file()]
    return chosen


def _options(name: str, composed: DictConfig, command: CommandLine) -> dict[str, str]:
    """The groups of a command, each with the names of its files."""
    choices = {group: choice for group, choice in composed.hydra.runtime.choices.items() if "hydra/" not in group}
    shown = {}
    for group in dict.fromkeys([*command_groups(name), *choices]):
        files = group_options(group, command.config_dir)
        taken, about = _several(choices.get(group)), group_comments(name).get(group, "")
        shown[group] = ": ".join(filter(None, [about, ", ".join(f"[{one}]" if one in taken else one for one in files)]))
    return shown


def _several(choice: Any) -> list[str]:
    """The files that were chosen of a group: none, one or several."""
    return [choice] if isinstance(choice, str) else list(choice or [])


def _keys(values: dict[str, Any], schema: type, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Each dotted key with its value: first those that are in no section. Free keys of a section are its value."""
    hints = get_type_hints(schema)
    sections = {
        key: value
        for key, value in values.items()
        if isinstance(value, dict) and get_origin(hints.get(key)) is not dict and key != DATA_ROOTS
    }
    for key, value in values.items():
        if key == DATA_ROOTS:
            yield key, {name: root for name, root in value.items() if root is not None}
        elif key not in sections and f"{prefix}{key}" not in SET_BY_COMMAND:
            yield f"{prefix}{key}", value
    for key, section in sections.items():
        kind = hints.get(key)
        yield from _keys(section, kind if isinstance(kind, type) else dict, f"{prefix}{key}.")


def _wrapped(line: str, width: int) -> str:
    """A line, or several that begin as far to the right."""
    indent = line[: len(line) - len(line.lstrip())]
    return textwrap.fill(line, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


def _entry(name: str, comment: str, width: int, strong: Any) -> str:
    """A name, and from a column on what it means, in as many lines as that takes."""
    column = " " * COLUMN
    text = textwrap.wrap(comment, width - COLUMN, break_long_words=False, break_on_hyphens=False)
    key, found, value = name.partition("=")
    if len(name) > width:
        in_lines = textwrap.fill(re.sub(r",\b", ", ", name), width, subsequent_indent=" " * 6)
        value = in_lines.partition("=")[2]
    shown = f"{strong(key)}{found}{value}"
    if len(name) > COLUMN - 2 or not text:
        return "\n".join([shown, *(f"{column}{line}" for line in text)])
    return "\n".join([shown + " " * (COLUMN - len(name)) + text[0], *(f"{column}{line}" for line in text[1:])])


def _typed(value: object) -> str:
    """A value as it is typed on a command line, without the quotes that a shell may need."""
    if isinstance(value, Enum):
        return value.name
    if isinstance(value, list):
        return f"[{','.join(map(_typed, value))}]"
    if isinstance(value, dict):
        return f"{{{','.join(f'{key}:{_typed(one)}' for key, one in value.items())}}}"
    if isinstance(value, bool) or value is None:
        return yaml.safe_dump(value).split("\n")[0]
    return str(value)
