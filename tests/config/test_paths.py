"""`~` in every key of every command that holds a path, and variables that the shell did not fill in."""

import re
from pathlib import Path
from typing import Any

import pytest

from gender_cls.cli.command_line import read_command_line
from gender_cls.config.checks import absolute
from gender_cls.config.parsing import COMPOSED, typed_config
from gender_cls.config.predict import PredictConfig
from gender_cls.config.similar_keys import Keys
from gender_cls.errors import GenderClsError

SETTINGS = [(command, key, one) for command in COMPOSED for key, one in Keys.of(COMPOSED[command]).settings.items()]
PATHS = [(command, key) for command, key, one in SETTINGS if "rule" in one.metadata and one.metadata["rule"].path]


def test_every_key_that_is_called_like_a_path_is_one() -> None:
    """`images` of predict is one too, but may be `-` or a pattern; data_roots reach data.root."""
    like_paths = r"(^|\.|_)(root|csv|dir|folder|file|weights|runs?|images|boxes|corrections|path)$"
    called = {
        (command, key)
        for command, key, one in SETTINGS
        if re.search(like_paths, key) and (one.type in (str | None, str, Any) or "list" in str(one.type))
    }
    assert called - {*PATHS} == {("predict", "images")}


@pytest.mark.parametrize(("command", "key"), PATHS)
def test_a_tilde_is_the_home_folder(command: str, key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    values: Any = "~/x"
    if "list" in str(Keys.of(COMPOSED[command]).settings[key].type):
        values = ["~/x"]
    nested: dict[str, Any] = {}
    section = nested
    *sections, leaf = key.split(".")
    for name in sections:
        section = section.setdefault(name, {})
    section[leaf] = values
    found: Any = typed_config(nested, COMPOSED[command])
    for name in key.split("."):
        found = getattr(found, name)
    assert found == (str(tmp_path / "x") if values == "~/x" else [str(tmp_path / "x")])


def test_a_tilde_in_images_and_in_the_folder_of_own_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "own").mkdir()
    assert PredictConfig(images=["~/a.jpg", "-"]).image_names == [str(tmp_path / "a.jpg"), "-"]
    assert read_command_line(["--config-dir", "~/own"]).config_dir == str(tmp_path / "own")
    assert read_command_line(["--config-dir=~/own"]).config_dir == str(tmp_path / "own")


def test_what_the_shell_did_not_fill_in_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for typed, words in (("$HOME/x", r"\$HOME"), ("${SCRATCH}/x", r"\$\{SCRATCH\}"), ("~nobody-here/x", "home folder")):
        with pytest.raises(GenderClsError, match=rf"data\.root={re.escape(typed)}.*{words}"):
            absolute(typed, key="data.root")
    (tmp_path / "$odd").mkdir()
    assert absolute("$odd") == str(tmp_path / "$odd")
