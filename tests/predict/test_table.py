"""The table of `predict` in its three formats."""

import json
import math
from itertools import pairwise
from pathlib import Path

import pandas as pd
import pytest

from gender_cls.errors import GenderClsError
from gender_cls.predict import table as table_module
from gender_cls.predict.table import COLUMNS, read_table, typed, write_table

HOSTILE = ["/a/=1.jpg", '/a b/é,"x".jpg', "/a/\\x1b.jpg", "-", " x ", "'=1"]


def rows(number: int) -> pd.DataFrame:
    """Rows with every kind of cell: hostile texts, missing and long numbers."""
    text = {
        name: [HOSTILE[row % len(HOSTILE)] if (row + len(name)) % 3 else "" for row in range(number)]
        for name, kind in COLUMNS.items() if kind == "str"
    }  # fmt: skip
    whole = {
        name: pd.array([None if row % 4 == 0 else row - 7 for row in range(number)], "Int64")
        for name, kind in COLUMNS.items() if kind == "Int64"
    }  # fmt: skip
    floats = {
        name: [math.nan if row % 5 == 0 else (row + 0.1) / 7 for row in range(number)]
        for name, kind in COLUMNS.items() if kind.startswith("float")
    }  # fmt: skip
    return typed(pd.DataFrame({**text, **whole, **floats}))


@pytest.mark.parametrize("kind", ["csv", "parquet", "jsonl"])
def test_every_cell_comes_back_and_the_division_changes_no_byte(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table_module, "ROWS_AT_ONCE", 16)
    whole = rows(50)
    files = [tmp_path / f"{number}.{kind}" for number in range(3)]
    for file, cuts in zip(files, ([0, 50], [0, 1, 33, 50], [0, 16, 32, 48, 50]), strict=True):
        write_table((whole.iloc[a:b].reset_index(drop=True) for a, b in pairwise(cuts)), file)
    assert len({file.read_bytes() for file in files}) == 1
    back = pd.concat(read_table(files[0]), ignore_index=True)
    pd.testing.assert_frame_equal(back, whole, check_exact=True)


@pytest.mark.parametrize("kind", ["csv", "parquet", "jsonl"])
def test_an_empty_table_has_its_columns(tmp_path: Path, kind: str) -> None:
    write_table([], tmp_path / f"a.{kind}")
    assert sum(map(len, read_table(tmp_path / f"a.{kind}"))) == 0


def test_lines_of_json_have_null_for_what_is_missing(tmp_path: Path) -> None:
    write_table([rows(1)], tmp_path / "a.jsonl")
    [line] = (tmp_path / "a.jsonl").read_text().splitlines()
    values = json.loads(line)
    assert list(values) == list(COLUMNS)
    assert (values["frame"], values["p_MALE"]) == (None, None)


def test_numbers_of_32_bits_are_as_short_in_json_as_in_csv(tmp_path: Path) -> None:
    one = rows(2).assign(brightness=pd.array([44.4, 0.1], "float32"))
    for kind in ("csv", "jsonl"):
        write_table([one], tmp_path / f"a.{kind}")
        assert "44.4," in (tmp_path / f"a.{kind}").read_text()


@pytest.mark.parametrize("content", [b"path\nx\n", b"", b"\xff\xfe\0"])
def test_a_damaged_table_is_named(tmp_path: Path, content: bytes) -> None:
    for kind in ("csv", "jsonl", "parquet"):
        file = tmp_path / f"a.{kind}"
        file.write_bytes(content)
        if kind == "jsonl" and not content:
            continue  # a table without rows
        with pytest.raises(GenderClsError, match=f"^{file} is damaged"):
            list(read_table(file))
