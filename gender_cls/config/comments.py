"""What the files in `conf/` say about each key: the comment above it, and the one after its value."""

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import yaml

from gender_cls.config.parsing import CONFIG_FOLDER


@dataclass(frozen=True)
class Comments:
    """The comments of one YAML file."""

    head: str  # the lines at the top of the file, which are about the file
    by_key: dict[str, str]  # by dotted key, in the file's own section


@cache
def file_comments(file: Path) -> Comments:
    """The comments of a YAML file, each in one line; those of keys in a file for `_global_` have whole keys.

    Other files are for the section that has the name of their folder, and their keys get it.
    """
    return read_comments(file.read_text(encoding="utf-8"), _section(file))


def read_comments(text: str, section: str = "") -> Comments:
    """The comments of YAML text.

    Args:
        section: goes before each key.
    """
    lines = text.splitlines()
    head = _block(lines, range(len(lines)))
    by_key: dict[str, str] = {}
    for key, key_node, value in walk(text):
        first = key_node.start_mark.line
        above = range(first - 1, len(head) - 1, -1)  # upwards, but not into the head
        block = list(reversed(_block(lines, above, " " * key_node.start_mark.column)))
        mark = key_node.end_mark  # of a section, or of a text in lines of its own
        in_line = value.style not in ("|", ">") if isinstance(value, yaml.ScalarNode) else value.flow_style is True
        if in_line:
            mark = value.end_mark
        line, column = mark.line, mark.column
        inline = re.fullmatch(r":?\s*#\s?(.*)", lines[line][column:])
        short = inline[1].strip() if inline else ""
        if short and block and not short.endswith((".", ":")):
            short += "."
        if words := " ".join(filter(None, [short, *(line.strip() for line in block)])):
            by_key[f"{section}{key}"] = words
    kept = [line for line in head if not line.startswith("@package")]
    return Comments("\n".join(kept), by_key)


@cache
def group_comments(command: str) -> dict[str, str]:
    """What the head of a command's file says about the groups that it reads, up to the first semicolon."""
    text = (CONFIG_FOLDER / f"{command}.yaml").read_text(encoding="utf-8")
    return dict(re.findall(r"^  - (\w+): \S+ # ([^;\n]+)", text, re.MULTILINE))


def walk(text: str) -> list[tuple[str, yaml.Node, yaml.Node]]:
    """Each dotted key of YAML text with the nodes of the key and its value, in order."""
    found: list[tuple[str, yaml.Node, yaml.Node]] = []

    def enter(node: yaml.Node | None, prefix: str) -> None:
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                found.append((f"{prefix}{key.value}", key, value))
                enter(value, f"{prefix}{key.value}.")

    enter(yaml.compose(text, Loader=yaml.CSafeLoader if hasattr(yaml, "CSafeLoader") else yaml.SafeLoader), "")
    return found


def _block(lines: list[str], numbers: range, indent: str = "") -> list[str]:
    """The comment lines from the first number on, without their marks, until another line comes."""
    block = []
    for number in numbers:
        found = re.fullmatch(rf"{indent}# ?(.*)", lines[number])
        if found is None:
            break
        block.append(found[1])
    return block


def comment_of(key: str, command: str, chosen: dict[str, list[Path]]) -> str:
    """What `conf/` says about a key: in the chosen file of its group, the command's own, or another file of the group.

    Of a whole group, such as callbacks, it is what the command's file says about the choice.

    Args:
        chosen: group -> its chosen files.
    """
    section = key.partition(".")[0]
    of_group = [file for group, files in chosen.items() for file in files if group.partition("/")[0] == section]
    of_all = [file for files in chosen.values() for file in files]  # custom_cnn sets keys of other sections too
    others = sorted((CONFIG_FOLDER / section).glob("*.yaml"))
    for file in [*of_group, CONFIG_FOLDER / f"{command}.yaml", *of_all, *others]:
        if (comment := file_comments(file).by_key.get(key)) is not None:
            return comment
    return group_comments(command).get(key, "")


def _section(file: Path) -> str:
    with file.open(encoding="utf-8") as opened:
        package = re.match(r"# @package (\S+)", opened.readline())
    if package is not None:
        return "" if package[1] == "_global_" else f"{package[1]}."
    parent = file.parent.name
    return "" if file.parent == CONFIG_FOLDER else f"{parent}."
