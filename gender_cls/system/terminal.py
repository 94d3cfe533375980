"""What commands print: on any terminal, in its width, in colour where it has colours and NO_COLOR is not set.

`rich` is imported only when something is printed, because `--help` does not need it.
"""

import codecs
import io
import os
import re
import sys
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gender_cls.errors import harmless

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table
    from rich.text import Text

LOOKALIKES = {"±": "+-", "×": "x", "→": "->", "–": "-", "—": "-", "…": "...", "≤": "<=", "≥": ">=", "\u202f": " "}
LOOKALIKES["†"] = "!"
GAP = 3  # blanks between two columns of a table
HANDLER = "gender_cls.lookalike"

_console: "Console | None" = None


def print_on_any_terminal() -> None:
    """Let stdout and stderr write a look-alike or an escape for what their encoding lacks, instead of failing."""
    codecs.register_error(HANDLER, _lookalike)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=HANDLER)


def _lookalike(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeEncodeError), "only writing uses it"
    text = error.object[error.start : error.end]
    return "".join(
        LOOKALIKES.get(sign) or sign.encode("ascii", "backslashreplace").decode() for sign in text
    ), error.end


def console() -> "Console":
    """The one console of this process, on stdout."""
    global _console
    if _console is None:
        from rich.console import Console

        plain = bool(os.environ.get("NO_COLOR"))  # rich itself would still write bold
        colours = {"color_system": None} if plain else {}
        _console = Console(markup=False, emoji=False, highlight=False, **colours)  # type: ignore[arg-type]  # a dict of any
    return _console


def _forget_console() -> None:
    """In a forked process, whose parent may have been printing: a lock that was held then would never be released."""
    global _console
    _console = None
    sys.stdout = getattr(sys.stdout, "rich_proxied_file", sys.stdout)  # what rich puts there for its moving lines


os.register_at_fork(after_in_child=_forget_console)


def fitting(text: object) -> str:
    """The text as the terminal can show it: harmless, with look-alikes for what its encoding lacks.

    A table must have it before it measures its columns, because a look-alike may be longer.
    """
    codecs.register_error(HANDLER, _lookalike)
    encoding = sys.stdout.encoding or "utf-8"
    return harmless(str(text)).encode(encoding, HANDLER).decode(encoding)


def show(*parts: "str | RenderableType") -> None:
    """Print sentences and tables.

    On a terminal, sentences are wrapped between words. A path is never broken, nor is a line that begins with blanks,
    such as a command, so that they can be copied.
    """
    screen = console()
    for part in parts:
        if isinstance(part, str):
            screen.print(wrapped(part), soft_wrap=True)
        else:
            screen.print(part)


def wrapped(text: str) -> str:
    """The text, with line breaks between words where the terminal is too narrow for it."""
    screen, text = console(), fitting(text)
    if not screen.is_terminal:
        return text
    lines = (_wrapped_line(line, screen.width) for line in text.split("\n"))
    return "\n".join(line for folded in lines for line in folded)


def _wrapped_line(line: str, width: int) -> list[str]:
    if line.startswith("  "):
        return [line]
    mark = re.match(r"- |[ !o][!k] |", line)
    indent = " " * len(mark[0]) if mark else ""
    return textwrap.wrap(
        line, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False, drop_whitespace=True
    ) or [""]


def shortest(path: Path) -> str:
    """The path as a user would type it here: below the current folder, without the way to there."""
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


@dataclass(frozen=True)
class Column:
    """A column of a table on the screen."""

    title: str
    cells: Sequence[str]
    rank: int = 0  # where the table is too wide, columns of the highest rank are left out first; 0: never
    number: bool = False  # right-aligned


def table_on_screen(columns: Sequence[Column]) -> "Table":
    """A table that fits the terminal: with fewer columns first, then with folded cells.

    Columns without any content are left out.
    """
    from rich import box
    from rich.cells import cell_len
    from rich.table import Table

    def width(column: Column) -> int:
        longest = max(map(cell_len, [fitting(column.title), *map(fitting, column.cells)]))
        return longest + GAP

    kept = [column for column in columns if not {*column.cells} <= {"", "–"}]
    while sum(map(width, kept)) - GAP > console().width and (most := max(column.rank for column in kept)) > 0:
        kept.remove(next(column for column in reversed(kept) if column.rank == most))
    table = Table(box=box.SIMPLE_HEAD, header_style="bold", show_edge=False, pad_edge=False, padding=(0, 1))
    for column in kept:
        justify = "right" if column.number else "left"
        table.add_column(_text(column.title), justify=justify, overflow="fold")  # type: ignore[arg-type]  # a name, not str
    for cells in zip(*(column.cells for column in kept), strict=True):
        table.add_row(*map(_text, cells))
    return table


def _text(cell: str) -> "Text":
    from rich.text import Text

    return Text(fitting(cell))
