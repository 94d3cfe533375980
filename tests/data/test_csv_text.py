"""CSV files for people: nothing in them is a formula or steers a terminal, and reading gives the true values."""

import csv
import io
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import gender_cls
from gender_cls.data.csv_text import csv_text, read_csv_parts, read_csv_text

HOSTILE = [
    "=x.jpg", "+1+1", "-a.jpg", "@SUM(1)", "＝1", " =1", "\t=1", "\r=1", "\n=1", "'=1", "''=1", "=1;=2", "a;=2", "a,=2",
    "\x1b[31mred", "a\x00b", "a\x9bb", "a\rb", "a\r\nb", "\u202egnp.a", "\u200b=1", "\ufeffa", "\udcff.jpg",
    "\\x1b", "\\\\x1b", "\\u200b", "C:\\x1\\a.jpg", 'say "x"', '"=1"', " a ", "'a", "", "nan", "007", "é",
    "-1", "+5", "-1.5e3",
]  # fmt: skip


def test_every_text_comes_back_and_no_cell_is_a_formula_or_invisible(tmp_path: Path) -> None:
    table = pd.DataFrame({"path": HOSTILE, "=name": HOSTILE[::-1], "x\x1b": "same"}, dtype=object)
    text = csv_text(table)
    (tmp_path / "a.csv").write_text(text)
    assert read_csv_text(tmp_path / "a.csv").to_dict("list") == table.to_dict("list")
    [*parts] = read_csv_parts(tmp_path / "a.csv", 10)
    assert [len(part) for part in parts[:-1]] == [10] * (len(parts) - 1)
    assert [text for part in parts for text in part["path"]] == HOSTILE
    assert text.count("\n") == len(table) + 1, "one line per row, whatever is in it"
    assert text.replace("\n", "").isprintable()
    for row in csv.reader(io.StringIO(text), delimiter=","):
        assert len(row) == 3
        assert not [
            cell for cell in row if cell.strip()[:1] in tuple("=+-@＝＋－＠") and cell not in [*HOSTILE[-3:], ""]
        ]


def test_a_semicolon_does_not_make_a_new_cell_where_it_separates_cells() -> None:
    line = csv_text(pd.DataFrame({"a": ["b;=1+1"]})).splitlines()[1]
    assert next(csv.reader([line], delimiter=";")) == ["b;=1+1"]


def test_plain_tables_look_as_pandas_writes_them_and_numbers_keep_every_bit(tmp_path: Path) -> None:
    table = pd.DataFrame(
        {
            "path": ["a/b-1.png", "c d.png"],
            "p": [0.1 + 0.2, 1e-17],
            "n": [1, -2],
            "yes": [True, False],
            "none": [np.nan, -0.5],
            "short": np.array([44.4, 1e-7], dtype=np.float32),
            "whole": pd.array([None, 3], dtype="Int64"),
        }
    )
    assert csv_text(table) == table.to_csv(index=False, lineterminator="\n")
    assert csv_text(table.iloc[:0]) == "path,p,n,yes,none,short,whole\n"
    (tmp_path / "a.csv").write_text(csv_text(table))
    assert [float(value) for value in read_csv_text(tmp_path / "a.csv")["p"]] == [0.1 + 0.2, 1e-17]
    assert csv_text(pd.DataFrame({"a": [None, 1, "=1", True]}, dtype=object)) == "a\n\n1\n'=1\nTrue\n"


@pytest.mark.parametrize("content", [b'a,b\n"1,2\n', b"\xff\xfe\x00"])
def test_what_is_no_csv_file_is_a_value_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.csv").write_bytes(content)
    with pytest.raises(ValueError, match=r"EOF|decode"):
        read_csv_text(tmp_path / "a.csv")


def test_every_csv_file_of_the_program_is_written_like_that() -> None:
    package = Path(gender_cls.__file__).parent
    written_otherwise = re.compile(r"\.to_csv\(.*index|csv\.(writer|DictWriter)")
    others = {file.name for file in package.rglob("*.py") if written_otherwise.search(file.read_text())}
    assert others == {"dataset.py", "run_onnx.py"}, "the demo's names are its own; the script works without the package"
