"""What `--help`, `--cfg job` and `--version` show: each key with its comment, and the groups of the command alone."""

import re
from itertools import zip_longest
from pathlib import Path
from typing import Any

import pytest
import yaml
from omegaconf import OmegaConf

from gender_cls.cli import help as help_module
from gender_cls.cli.command_line import read_command_line
from gender_cls.cli.commands import COMMANDS
from gender_cls.cli.help import commented_config, help_text
from gender_cls.config.comments import group_comments, read_comments
from gender_cls.config.local_defaults import command_groups
from gender_cls.config.parsing import COMPOSED, CONFIG_FOLDER, group_options

CHOICES = {
    group: [f"{group}={option}" for option in group_options(group) if f"{group}={option}" != "launcher=ray"]
    for group in command_groups("train")
}
"""Hydra composes launcher=ray only with the extra ray."""


def shown(command: str, *arguments: str, width: int = 80, bold: bool = False) -> str:
    return help_text(read_command_line(list(arguments)), command, width=width, bold=bold)


def keys(text: str) -> list[str]:
    return re.findall(r"^  ([a-z][\w.]*)=", text, re.MULTILINE)


@pytest.mark.parametrize(
    ("command", "choices"),
    [
        *((command, []) for command in COMMANDS),
        ("evaluate", ["elsewhere=all"]),
        *(("train", [choice for choice in each if choice]) for each in zip_longest(*CHOICES.values())),
    ],
)
def test_every_key_has_a_comment(command: str, choices: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    without: list[str] = []

    def entry(name: str, comment: str, *_: Any) -> str:
        if not comment:
            without.append(name.strip())
        return name

    monkeypatch.setattr(help_module, "_entry", entry)
    assert keys(shown(command, *choices))
    assert not without


def test_a_comment_is_found_above_and_after_its_key() -> None:
    comments = read_comments(
        "# @package _global_\n# About the file.\nname: x # short\n\n"
        "# Long, in\n# two lines.\nsize: [1, 2] # short too\n# another\nsection: # of keys\n"
        "  # inner\n  deep: '# no comment'\n  other: 3\n"
        "\n  text: |-\n    # no comment\n    end\n  free: {a: 1} # last\n"
    )
    assert comments.head == "About the file."
    assert comments.by_key == {
        "name": "short",
        "size": "short too. Long, in two lines.",
        "section": "of keys. another",
        "section.deep": "inner",
        "section.free": "last",
    }


def test_keys_come_with_the_values_of_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    text = shown("train", "model=custom_cnn", "recipe.lr=0.25", "-m", "seed=3,4")
    assert "  model.name=custom_cnn " in text
    assert "  recipe.lr=0.25 " in text
    assert "  recipe.frozen_epochs=0 " in text, "custom_cnn takes recipe=scratch"
    assert "  seed=3 " in text
    assert re.search(r"^model=custom_cnn\n  The project's own small CNN", text, re.MULTILINE), "what the file says"
    assert "hydra." not in text
    assert "search.trial=" not in text
    assert "default_data" not in text


@pytest.mark.parametrize(
    ("command", "groups"),
    [
        ("compare", set()),
        ("demo", set()),
        ("predict", {"data"}),
        ("audit", {"data", "model"}),
        ("evaluate", {"data", "elsewhere"}),
    ],
)
def test_only_the_groups_of_the_command_are_shown(command: str, groups: set[str]) -> None:
    assert set(command_groups(command)) == groups
    head = shown(command).partition("Keys:")[0]
    assert ("Groups:" in head) is bool(groups)
    assert all(re.search(rf"^  {group} +.*\w", head, re.MULTILINE) for group in groups)
    assert "launcher" not in head


def test_each_group_is_described() -> None:
    for command in COMMANDS:
        assert group_comments(command).keys() == command_groups(command).keys()
    assert re.search(r"^  launcher +where the jobs of a sweep run: \[here\], joblib", shown("train"), re.MULTILINE)


@pytest.mark.parametrize("command", COMMANDS)
def test_lines_fit_unless_they_are_commands_to_copy(command: str) -> None:
    for line in shown(command, width=62).splitlines():
        assert len(line) <= 62 or "gender_cls" in line or "tensorboard" in line or " " not in line.strip(), line


def test_bold_changes_no_word() -> None:
    plain, bold = shown("audit"), shown("audit", bold=True)
    assert re.sub(r"\033\[\d*m", "", bold) == plain != bold


def test_the_configuration_as_yaml_has_its_comments() -> None:
    text = commented_config(read_command_line(["model=custom_cnn", "seed=4"]), "train", resolve=True)
    written = yaml.safe_load(text)
    assert (written["seed"], written["model"]["name"]) == (4, "custom_cnn")
    assert "default_data" not in written
    assert re.search(r"# for the initial weights.*\n(#.*\n)*seed: 4\n", text)
    assert re.search(r"\n  # decides which people .*\n(  #.*\n)*  split_seed: 0\n", text)
    again = OmegaConf.merge(OmegaConf.structured(COMPOSED["train"]), {"launcher": {}}, written)
    assert again.model.name == "custom_cnn"


def test_every_comment_of_a_key_reads_to_its_end() -> None:
    for file in CONFIG_FOLDER.rglob("*.yaml"):
        for key, comment in read_comments(file.read_text()).by_key.items():
            assert not comment.endswith((",", " the", " of", " and")), (file, key)
