"""What users read: in the width of their terminal, in its letters and colours, and nothing that controls it."""

import io
import sys
from pathlib import Path

import pytest
from helpers.commands import python
from helpers.screen import COLOUR, lines_of, on_terminal

from gender_cls.system import terminal
from gender_cls.system.terminal import Column, console, fitting, print_on_any_terminal, shortest, table_on_screen


@pytest.mark.parametrize(
    ("encoding", "text", "shown"),
    [
        ("ascii", "0.61 ± 0.01, 12\u202f%, 24 × 48, ü, 人", b"0.61 +- 0.01, 12 %, 24 x 48, \\xfc, \\u4eba"),
        ("cp437", "± ü ×", b"\xf1 \x81 x"),
        ("utf-8", "± \udcff.jpg", b"\xc2\xb1 \\udcff.jpg"),
    ],
)
def test_a_terminal_shows_what_it_can(encoding: str, text: str, shown: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("stdout", "stderr"):
        monkeypatch.setattr(sys, name, io.TextIOWrapper(io.BytesIO(), encoding=encoding))
    print_on_any_terminal()
    for stream in (sys.stdout, sys.stderr):
        print(text, end="", file=stream, flush=True)
        assert stream.buffer.getvalue() == shown  # type: ignore[attr-defined]


def test_a_name_cannot_control_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding="utf-8"))
    assert fitting("a\x1b[2Jb\udcff ± [red]") == "a\\x1b[2Jb\\xff ± [red]"


TABLE = """
from gender_cls.system import terminal
from gender_cls.system.terminal import Column, print_on_any_terminal, show, table_on_screen
print_on_any_terminal()
show(table_on_screen([
    Column("model", ["[red]net[/]", "b\\x1b[2J ± é"]),
    Column("setting", ["recipe.lr=0.001, augment=strong", ""], rank=2),
    Column("score", ["0.5", "0.25"], number=True),
    Column("a rather long heading", ["no", "yes"], rank=1),
    Column("nothing", ["", ""]),
]))
"""
ALL = [
    "model          setting                           score   a rather long heading",
    "──────────────────────────────────────────────────────────────────────────────",
    "[red]net[/]    recipe.lr=0.001, augment=strong     0.5   no",
    "b\\x1b[2J ± é                                      0.25   yes",
]
NARROW = [
    "model          score   a rather long heading",
    "────────────────────────────────────────────",
    "[red]net[/]      0.5   no",
    "b\\x1b[2J ± é    0.25   yes",
]
NARROWEST = ["model     score", "───────────────", "[red]ne     0.5", "t[/]", "b\\x1b[2    0.25", "J ± é"]


@pytest.mark.parametrize(("columns", "expected"), [(80, ALL), (60, NARROW), (15, NARROWEST)])
def test_a_table_has_fewer_columns_and_then_folded_cells(columns: int, expected: list[str], tmp_path: Path) -> None:
    shown = on_terminal("-c", TABLE, cwd=tmp_path, columns=columns)
    assert [line for line in lines_of(shown) if line] == expected
    assert COLOUR.search(shown), "the heading is bold"
    assert "\x1b[2J" not in shown


def test_no_color_leaves_no_colours_and_a_pipe_no_escape_codes(tmp_path: Path) -> None:
    shown = on_terminal("-c", TABLE, cwd=tmp_path, NO_COLOR="1")
    assert "\x1b" not in shown
    assert [line for line in lines_of(shown) if line] == ALL
    assert "\x1b" not in python("-c", TABLE, cwd=tmp_path, COLUMNS="80").stdout


def test_a_terminal_of_few_letters_gets_look_alikes_in_straight_columns(tmp_path: Path) -> None:
    shown = lines_of(on_terminal("-c", TABLE, cwd=tmp_path, PYTHONIOENCODING="ascii", PYTHONUTF8="0"))
    *_, first, second = (line for line in shown if line)
    assert second.startswith("b\\x1b[2J +- \\xe9")
    assert second.index("0.25") + 4 == first.index("0.5") + 3, "numbers end in one column"


SENTENCES = """
from gender_cls.system.terminal import show
show("- " + "word " * 20, "Open /a/" + "b" * 90 + "/report.html", "  a --command " + "c" * 80)
"""


def test_sentences_are_wrapped_between_words_and_paths_and_commands_not_at_all(tmp_path: Path) -> None:
    assert lines_of(on_terminal("-c", SENTENCES, cwd=tmp_path)) == [
        "- " + " ".join(["word"] * 15), "  " + " ".join(["word"] * 5),
        "Open", "/a/" + "b" * 90 + "/report.html",
        "  a --command " + "c" * 80, "",
    ]  # fmt: skip
    piped = python("-c", SENTENCES, cwd=tmp_path).stdout
    assert piped.count("\n") == 3, "in a file, a sentence is one line"


def test_columns_that_must_stay_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(terminal, "_console", None)  # it has read its width
    monkeypatch.setenv("COLUMNS", "10")
    table = table_on_screen([Column("x", ["a" * 30]), Column("y", ["b" * 30]), Column("z", ["c"], rank=1)])
    assert [str(column.header) for column in table.columns] == ["x", "y"]
    assert console().width == 10


def test_a_path_below_the_current_folder_is_short(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert shortest(tmp_path / "outputs" / "a") == "outputs/a"
    assert shortest(Path("/elsewhere/a")) == "/elsewhere/a"
