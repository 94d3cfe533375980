"""Tables -> CSV files that people may open in a spreadsheet, and back without a loss.

Two kinds of cells are changed. A text that a spreadsheet would take for a formula (`=x.jpg`) gets an apostrophe in
front. A character that nobody sees (a line break, an escape character, a byte that is no text) becomes `\\x0a` or
`\\u200b`. Reading gives the true text again; so a text that looks like a changed one is changed too.
"""

import re
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import pandas as pd

from gender_cls.errors import CONTROLS
from gender_cls.runs.files import read_whole

_INVISIBLE = rf"\x00-\x1f\u200b\u2060-\u206f\ufeff{CONTROLS}"
_FORMULA = r"'*\s*[=+\-@＝＋－＠]"
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")  # -1 is no formula
_ESCAPE = r"\\(?:x[0-9a-f]{2}|u[0-9a-f]{4})"
_HIDDEN = re.compile(rf"[{_INVISIBLE}]|\\(?=x[0-9a-f]{{2}}|u[0-9a-f]{{4}})")
_CHANGED = re.compile(rf"'{_FORMULA}|{_ESCAPE}")
_BYTE = re.compile(r"[\ud800-\udfff]")
_QUOTED = re.compile(r'[,;"]|^\s|\s$')  # a semicolon separates cells where a comma is the decimal point
_PLAIN = re.compile(r"\w([\w./ -]*\w)?")


def csv_text(table: pd.DataFrame) -> str:
    """The content of a CSV file; the same table gives the same text on every machine.

    An empty cell is a missing value. Numbers are written so that reading gives the same ones.
    """
    columns = [_cells(table.iloc[:, index]) for index in range(table.shape[1])]
    header = [_cell(str(name)) for name in table.columns]
    return "".join(f"{','.join(row)}\n" for row in (header, *zip(*columns, strict=True)))


def read_csv_text(file: Path) -> pd.DataFrame:
    """The table in a file that `csv_text` made, all values as text.

    Raises:
        OSError: it cannot be opened.
        ValueError: it is no CSV file.
    """
    content = read_whole(file)
    table = pd.read_csv(BytesIO(content), dtype=str, keep_default_na=False)
    return _true_texts(table) if b"'" in content or b"\\" in content else table


def read_csv_parts(file: Path, rows: int) -> Iterator[pd.DataFrame]:
    """The same table in parts of so many rows, for a file that may be larger than memory; the errors come then."""
    with pd.read_csv(file, dtype=str, keep_default_na=False, chunksize=rows) as parts:
        yield from map(_true_texts, parts)


def _true_texts(table: pd.DataFrame) -> pd.DataFrame:
    table = table.rename(columns=true_text)
    for name in table.columns:
        changed = table[name].str.contains(_CHANGED)
        if changed.any():
            texts = list(map(true_text, table.loc[changed, name]))
            if any(map(_BYTE.search, texts)):
                table[name] = table[name].astype(object)  # pyarrow, if it is there, holds UTF-8 only
            table.loc[changed, name] = texts
    return table


def true_text(cell: str) -> str:
    """The text that a cell of such a file stands for."""
    if re.match(f"'{_FORMULA}", cell):
        cell = cell[1:]
    return re.sub(_ESCAPE, lambda found: chr(int(found[0][2:], 16)), cell)


def _cells(column: pd.Series) -> list[str]:
    if pd.api.types.is_numeric_dtype(column):  # also of bool; as NumPy's numbers, so that those of 32 bits stay short
        whole = isinstance(column.dtype, pd.Int64Dtype)  # as NumPy's numbers, a missing one would make floats of all
        cells = map(str, column.to_numpy(object) if whole else column.to_numpy())
        return ["" if missing else cell for cell, missing in zip(cells, column.isna(), strict=True)]
    values = column.tolist()
    if not pd.api.types.is_string_dtype(column):  # such as texts among numbers
        return list(map(_cell, values))
    changed = {value: cell for value in set(values) if (cell := _cell(value)) != value}
    return [changed.get(value, value) for value in values] if changed else values


def _cell(value: object) -> str:
    if not isinstance(value, str):
        return "" if value is None or value != value else str(value)
    if _PLAIN.fullmatch(value):
        return value
    text = _HIDDEN.sub(lambda found: _escape(found[0]), value)
    if re.match(_FORMULA, text) and not _NUMBER.fullmatch(text):
        text = f"'{text}"
    return '"' + text.replace('"', '""') + '"' if _QUOTED.search(text) else text


def _escape(character: str) -> str:
    return f"\\x{ord(character):02x}" if ord(character) < 256 else f"\\u{ord(character):04x}"
