"""The table of `predict`: its columns, and files that hold it."""

import json
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from gender_cls.config.predict import TableFormat
from gender_cls.data.csv_text import csv_text, read_csv_parts
from gender_cls.errors import GenderClsError, one_line
from gender_cls.runs.files import replacing
from gender_cls.system.extras import import_extra

COLUMNS = {
    "path": "str", "frame": "Int64", "track": "str", "identity": "str", "camera": "str", "label": "str",
    "left": "Int64", "top": "Int64", "width": "Int64", "height": "Int64",
    "native_height": "Int64", "brightness": "float32", "sharpness": "float32",
    "p_FEMALE": "float64", "p_MALE": "float64", "calibrated_p_FEMALE": "float64", "distance": "float64",
    "spread": "float64", "answer": "str", "fault": "str", "reason": "str", "known_as": "str",
}  # fmt: skip
"""Name -> type. A missing text is empty, a missing whole number NA, another missing number NaN."""

ROWS_AT_ONCE = 20_000


def typed(columns: pd.DataFrame) -> pd.DataFrame:
    """Some of COLUMNS in their order and with their types; the values may be texts, as in a CSV file."""
    return pd.DataFrame({name: _typed(columns[name], kind) for name, kind in COLUMNS.items() if name in columns})


def _typed(column: pd.Series, kind: Any) -> pd.Series:
    if kind == "str" or pd.api.types.is_numeric_dtype(column):
        return column.astype(kind)
    number, missing = (int, None) if kind == "Int64" else (float, np.nan)
    values = [
        missing if empty else number(value) for value, empty in zip(column, column.isna() | (column == ""), strict=True)
    ]
    return pd.Series(values, column.index, kind)


def regrouped(parts: Iterable[pd.DataFrame]) -> Iterator[pd.DataFrame]:
    """The same rows in parts of ROWS_AT_ONCE, however they were divided before."""
    waiting: list[pd.DataFrame] = []
    for part in parts:
        waiting.append(part)
        while sum(map(len, waiting)) >= ROWS_AT_ONCE:
            rows = pd.concat(waiting, ignore_index=True)
            yield rows.iloc[:ROWS_AT_ONCE]
            waiting = [rows.iloc[ROWS_AT_ONCE:].reset_index(drop=True)]
    if rest := [part for part in waiting if len(part)]:
        yield pd.concat(rest, ignore_index=True)


def write_table(parts: Iterable[pd.DataFrame], file: Path) -> None:
    """Write `typed` parts one after the other into a .csv, .parquet or .jsonl file, which is whole or not there.

    The same rows give the same bytes, however they are divided. In .jsonl, a missing value is null.
    """
    write = {TableFormat.csv: _write_csv, TableFormat.parquet: _write_parquet, TableFormat.jsonl: _write_jsonl}
    with replacing(file) as opened:
        write[TableFormat(file.suffix[1:])](regrouped(parts), opened)


def _write_csv(parts: Iterable[pd.DataFrame], opened: Any) -> None:
    header = csv_text(pd.DataFrame(columns=list(COLUMNS)))
    opened.write(header.encode())
    for part in parts:
        opened.write(csv_text(part).removeprefix(header).encode())


def _write_jsonl(parts: Iterable[pd.DataFrame], opened: Any) -> None:
    for part in parts:
        columns = [_plain(part[name]) for name in COLUMNS]
        for row in zip(*columns, strict=True):
            opened.write(json.dumps(dict(zip(COLUMNS, row, strict=True)), allow_nan=False).encode() + b"\n")


def _plain(column: pd.Series) -> list[Any]:
    short = column.dtype == "float32"  # a number as the shortest text that gives it again
    values = [float(str(value)) for value in column.to_numpy()] if short else column.tolist()
    return [None if missing else value for value, missing in zip(values, column.isna() | (column == ""), strict=True)]


def _write_parquet(parts: Iterable[pd.DataFrame], opened: Any) -> None:
    arrow, parquet = parquet_libraries()
    kinds = {"str": arrow.string(), "Int64": arrow.int64(), "float32": arrow.float32(), "float64": arrow.float64()}
    schema = arrow.schema([(name, kinds[kind]) for name, kind in COLUMNS.items()])
    with parquet.ParquetWriter(opened, schema) as writer:
        for part in parts:
            writer.write_table(arrow.Table.from_pandas(part, schema, preserve_index=False))


def parquet_libraries() -> tuple[Any, Any]:
    """The modules `pyarrow` and `pyarrow.parquet`.

    Raises:
        GenderClsError: they are not installed; the sentence has the command that installs them.
    """
    return import_extra("pyarrow", "format=parquet"), import_extra("pyarrow.parquet", "format=parquet")


def read_table(file: Path) -> Iterator[pd.DataFrame]:
    """The rows of a file that `write_table` made, in `typed` parts.

    Raises:
        GenderClsError: it is damaged.
    """
    read = {TableFormat.csv: _read_csv, TableFormat.parquet: _read_parquet, TableFormat.jsonl: _read_jsonl}
    try:
        for part in read[TableFormat(file.suffix[1:])](file):
            yield typed(part[list(COLUMNS)])
    except (KeyError, ValueError, TypeError, OSError) as error:  # a column is missing; no number; not UTF-8
        raise GenderClsError(
            f"{file} is damaged ({one_line(error)}): remove it and start the same command again."
        ) from None


def _read_csv(file: Path) -> Iterator[pd.DataFrame]:
    return read_csv_parts(file, ROWS_AT_ONCE)


def _read_jsonl(file: Path) -> Iterator[pd.DataFrame]:
    with file.open(encoding="utf-8") as lines:
        while rows := [json.loads(line) for line in islice(lines, ROWS_AT_ONCE)]:
            part = pd.DataFrame(rows, columns=list(COLUMNS), dtype=object)
            yield part.where(part.notna(), "")


def _read_parquet(file: Path) -> Iterator[pd.DataFrame]:
    _, parquet = parquet_libraries()
    with parquet.ParquetFile(file) as opened:
        for batch in opened.iter_batches(ROWS_AT_ONCE):
            yield batch.to_pandas(types_mapper=_nullable)


def _nullable(kind: Any) -> Any:
    return pd.Int64Dtype() if str(kind) == "int64" else None
