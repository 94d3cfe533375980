"""Tables that users and datasets bring: CSV files in any usual encoding, with commas, semicolons or tabs."""

import bz2
import csv
import gzip
import io
import logging
import lzma
import re
import zlib
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Any

import pandas as pd

from gender_cls.errors import GenderClsError, first_few, one_line, require

log = logging.getLogger(__name__)

BLANKS = (
    " \t\n\r\v\f\x00\xa0\u2002\u2003\u2009\u200a\u202f\u205f\u3000"
    "\u200b\u200c\u200d\u200e\u200f\u2028\u2029\u2060\ufeff"
)
"""What is removed around a value: blanks, and characters that nobody sees."""

DELIMITERS = ",;\t|"
LONGEST_HEADER = 1 << 16  # characters
ROWS_AT_ONCE = 500  # with millions of small lists at once, the garbage collector takes most of the time
COMPRESSED = {b"\x1f\x8b": gzip.decompress, b"BZh": bz2.decompress, b"\xfd7zXZ\x00": lzma.decompress}
OTHER_FILES = {
    b"PK\x03\x04": "a spreadsheet such as .xlsx, or a ZIP archive",
    b"\xd0\xcf\x11\xe0": "an Excel file",
    b"PAR1": "a Parquet file",
    b"SQLite format 3": "an SQLite database",
    b"%PDF": "a PDF file",
}
MARKS = {
    b"\xef\xbb\xbf": "utf-8-sig",
    b"\xff\xfe\x00\x00": "utf-32",
    b"\x00\x00\xfe\xff": "utf-32",
    b"\xff\xfe": "utf-16",
    b"\xfe\xff": "utf-16",
}
"""What a file in this encoding begins with."""

_LINE = re.compile(r"[^\r\n]*(\r\n|\r|\n)|[^\r\n]+")


def read_text_table(
    file: Path,
    name: str,
    columns: Sequence[str] = (),
    *,
    known: Collection[str] = (),
    as_written: str = "",
    content: str = "CSV",
    header: bool = True,
    further: bool = True,
    most_rows: int | None = None,
) -> pd.DataFrame:
    """All values as strings without blanks around them; a missing value is empty, and empty lines are left out.

    A column without a title is called `column_` and its number, and is left out if it is empty.

    Args:
        name: of the file in errors.
        columns: that it must have; their titles may be in any capitals.
        known: further columns whose titles may be in any capitals.
        as_written: a column whose values keep the blanks around them.
        content: what it should hold, for errors.
        header: whether its first line names the columns; otherwise they are called "0", "1", ...
        further: whether columns are kept that are neither in `columns` nor in `known`.
        most_rows: how many are read; None: all.

    Raises:
        GenderClsError: it cannot be read, a column is missing, or there are two with the same title.
    """
    text = read_text(file, name)
    try:
        titles, lines = _opened(text, columns, known)
        names = _names(titles, (*columns, *known), name) if header else list(map(str, range(len(titles))))
        for column in columns:
            only = f"only {first_few(names, most=9)}; its first line has to name the columns"
            require(column in names, f"{name} has no column '{column}', {_other_kind(text) or only}.")
        require(header or bool(titles), f"{name} cannot be read as {content}: it is empty.")
        rows = _rows(lines, len(names), f"{name} cannot be read as {content}")
        rows = islice(rows if header else chain([titles], rows), most_rows)
        cells: dict[int, list[str]] = {
            place: [] for place, column in enumerate(names) if further or column in (*columns, *known)
        }
        while block := list(islice(rows, ROWS_AT_ONCE)):
            read = list(zip(*block, strict=True))
            for place, of_column in cells.items():
                of_column.extend(read[place])
    except csv.Error as error:
        raise GenderClsError(f"{name} cannot be read as {content}: {_other_kind(text) or error}.") from None
    table = {}
    for place, values in cells.items():
        column, title = names[place], titles[place]
        if title.strip(BLANKS) or not header or any(map(str.strip, values)):
            table[column] = values if column == as_written else [value.strip(BLANKS) for value in values]
    return pd.DataFrame(table, dtype="str")


def read_text(file: Path, name: str) -> str:
    """The content of a text file in any usual encoding.

    Raises:
        GenderClsError: it cannot be opened, or is no text.
    """
    try:
        data = file.read_bytes()
        for start, decompress in COMPRESSED.items():
            data = decompress(data) if data.startswith(start) else data
    except (OSError, EOFError, lzma.LZMAError, zlib.error) as error:
        raise GenderClsError(f"{name} cannot be read: {one_line(getattr(error, 'strerror', None) or error)}.") from None
    for start, what in OTHER_FILES.items():
        require(not data.startswith(start), f"{name} is {what}: save the table as CSV (UTF-8, with commas).")
    encodings = [encoding for mark, encoding in MARKS.items() if data.startswith(mark)][:1] or ["utf-8", "cp1252"]
    if len(encodings) > 1 and b"\x00" in data[:1000]:  # UTF-16 without a mark: of plain text every other byte is 0
        encodings = ["utf-16-le" if data[1:1000:2].count(0) > data[:1000:2].count(0) else "utf-16-be"]
    for encoding in encodings:
        try:
            text = data.decode(encoding)
        except UnicodeDecodeError:
            continue
        if encoding == "cp1252":
            log.warning(f"{name} is not in UTF-8 and was read as Windows-1252: save it as UTF-8 if names look wrong.")
        return text
    raise GenderClsError(f"{name} is no text in UTF-8, UTF-16 or Windows-1252: save it as UTF-8.")


def _opened(text: str, columns: Collection[str], known: Collection[str]) -> tuple[list[str], Any]:
    """The cells of the first line, and csv's reader of the lines after it, with the delimiter that fits it best."""
    if text[:4].casefold() == "sep=":  # how Excel names the delimiter
        text = text.partition("\n")[2]
    best = (-1, -1, -1)
    for sign in DELIMITERS:
        first = _first(csv.reader(io.StringIO(text[:LONGEST_HEADER], newline=""), delimiter=sign, strict=True))
        titles = {cell.strip(BLANKS).casefold() for cell in first}
        needed, further = (sum(column.casefold() in titles for column in some) for some in (columns, known))
        fit = (needed, further, len(first))
        if fit > best:
            best, delimiter = fit, sign
            blanks = any(cell.startswith(" ") for cell in first[1:])
    whole = (found[0] for found in _LINE.finditer(text))  # StringIO would copy the text, with 4 bytes per letter
    lines = csv.reader(whole, delimiter=delimiter, skipinitialspace=blanks, strict=True)
    return _first(lines), lines


def _first(lines: Any) -> list[str]:
    """The first line that is not empty."""
    return next((row for row in lines if any(cell.strip(BLANKS) for cell in row)), [])


def _names(titles: Sequence[str], known: Collection[str], name: str) -> list[str]:
    """A name for each column, each once."""
    spelt = {column.casefold(): column for column in known}
    stripped = [title.strip(BLANKS) for title in titles]
    names = [spelt.get(title.casefold(), title or f"column_{number}") for number, title in enumerate(stripped, 1)]
    counts: Counter[str] = Counter()
    for place, column in enumerate(names):
        alike = [title for title, other in zip(titles, names, strict=True) if other == column]
        require(
            len(alike) == 1 or column not in known,
            f"{name} has {len(alike)} columns '{column}', titled {first_few(alike)}: rename or remove one.",
        )
        counts[column] += 1
        if counts[column] > 1:
            names[place] = f"{column}.{counts[column] - 1}"
    return names


def _rows(lines: Any, width: int, problem: str) -> Iterator[list[str]]:
    """The lines that hold something, with `width` cells each: empty ones are added or removed at the end."""
    for row in lines:
        if len(row) != width:
            require(
                not any(cell.strip(BLANKS) for cell in row[width:]),
                f"{problem}: line {lines.line_num} has {len(row)} values instead of {width}; put quotes around a value "
                "with a comma.",
            )
            row = row[:width] + [""] * (width - len(row))
        if any(row):
            yield row


def _other_kind(text: str) -> str:
    """What a text that is no table seems to be, as the end of a sentence; empty if it is not clear."""
    kinds = {"{": "JSON", "[": "JSON", "<": "HTML or XML"}
    start = text.lstrip(BLANKS)[:1]
    return f"it looks like {kinds[start]}: save the table as CSV" if start in kinds else "" if start else "it is empty"
