"""`python -m gender_cls` and the console script: the list of commands, and how they are handed over."""

import re
import sys
import tomllib
from importlib import import_module
from importlib.metadata import version
from pathlib import Path

import pytest
from helpers.commands import python

import gender_cls
from gender_cls.__main__ import main
from gender_cls.cli.commands import COMMANDS
from gender_cls.config.parsing import COMPOSED

ROOT = Path(__file__).resolve().parents[2]


def said(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What it prints, or the sentence that it ends with."""
    monkeypatch.setattr(sys, "argv", ["gender-cls", *arguments])
    monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)
    try:
        main()
    except SystemExit as end:
        return str(end.code)
    return capsys.readouterr().out


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"], ["help"]])
def test_the_commands_are_listed_with_a_line_each(arguments: list[str], monkeypatch, capsys) -> None:
    text = said(monkeypatch, capsys, *arguments)
    assert [name for name in COMPOSED if not re.search(rf"^  {name} +\w.*\w$", text, re.MULTILINE)] == []
    assert max(map(len, text.splitlines())) <= 80


def test_every_command_is_a_module_with_a_main() -> None:
    assert list(COMMANDS) == list(dict.fromkeys(COMMANDS))
    assert COMMANDS.keys() == COMPOSED.keys()
    for name in COMMANDS:
        file = ROOT / "gender_cls" / f"{name}.py"
        assert file.is_file() or (file.with_suffix("") / "__main__.py").is_file()
    assert callable(import_module("gender_cls.compare").main)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["trian"], "there is no command trian; did you mean train?"),
        (["Evaluate"], "did you mean evaluate?"),
        (["xyz"], "there are demo, audit, train, "),
        (["-m", "model=a,b"], "name the command before -m"),
        (["data.root=x"], "gender-cls train data.root=x"),
        (["completion"], "name your shell (bash, zsh, fish)"),
        (["completion", "csh"], "name your shell"),
        (["compare", "runs=nowhere"], "runs names no file or folder: /"),
    ],
)
def test_what_cannot_be_done_is_a_sentence(arguments: list[str], words: str, monkeypatch, capsys) -> None:
    sentence = said(monkeypatch, capsys, *arguments)
    assert sentence.startswith("error: ")
    assert words in sentence
    assert "\n" not in sentence


@pytest.mark.parametrize(
    "arguments", [["--version"], ["-V"], ["compare", "--version"], ["demo", "images=3", "--version"]]
)
def test_the_version_is_gender_clss_own(arguments: list[str], monkeypatch, capsys) -> None:
    line = said(monkeypatch, capsys, *arguments)
    assert line.startswith(f"gender_cls {gender_cls.__version__} (")
    assert f"torch {version('torch')}" in line


def test_a_command_is_handed_its_own_arguments(tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    text = said(monkeypatch, capsys, "demo", "images=48", "--help")
    assert "  images=48 " in text
    assert not list(tmp_path.iterdir())


def test_the_console_script_is_this_function() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["scripts"] == {"gender-cls": "gender_cls.__main__:main"}


def test_the_list_and_the_version_import_almost_nothing(tmp_path: Path) -> None:
    for argument in ("--help", "--version"):
        script = f"import sys; sys.argv[1:] = ['{argument}']; from gender_cls.__main__ import main; main()"
        script += "; print(*sys.modules)"
        imported = set(python("-c", script, cwd=tmp_path).stdout.splitlines()[-1].split())
        assert not {"torch", "pandas", "hydra", "omegaconf", "rich"} & imported
