"""Tables as spreadsheets, other programs and other countries write them."""

import gzip
from pathlib import Path

import pytest

from gender_cls.data.text_table import read_text_table
from gender_cls.errors import GenderClsError

PLAIN = "path,label,note\nü.jpg,MALE,a\nb.jpg,FEMALE,\n"


def read(tmp_path: Path, content: bytes | str) -> dict[str, list[str]]:
    file = tmp_path / "table.csv"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    table = read_text_table(file, "table.csv", ("path", "label"), known=("split",), as_written="path")
    return {str(name): values.tolist() for name, values in table.items()}


@pytest.mark.parametrize(
    "content",
    [
        PLAIN,
        *(PLAIN.encode(encoding) for encoding in ("utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp1252")),
        *(PLAIN.replace(",", sign) for sign in ";\t|"),
        "sep=;\n" + PLAIN.replace(",", ";"),
        PLAIN.replace("\n", "\r\n"),
        PLAIN.replace("\n", "\r"),
        PLAIN.replace("\n", "\n\n") + "\n,,\n",
        PLAIN.replace("\n", ",\n"),
        PLAIN.replace("a\n", "a,,\n"),
        PLAIN.replace("FEMALE,", "FEMALE"),
        PLAIN.replace("path,label,note", "Path, LABEL ,note"),
        PLAIN.replace("label", "\u200blabel\xa0"),
        PLAIN.replace(",MALE,", ",\xa0MALE\u200b ,"),
        'path, "label", note\nü.jpg, "MALE", "a"\nb.jpg, "FEMALE",\n',
        "\n\n" + PLAIN,
        gzip.compress(PLAIN.encode(), mtime=0),
    ],
)
def test_all_mean_the_same(tmp_path: Path, content: bytes | str) -> None:
    assert read(tmp_path, content) == {"path": ["ü.jpg", "b.jpg"], "label": ["MALE", "FEMALE"], "note": ["a", ""]}


def test_cells_may_hold_what_separates_them(tmp_path: Path) -> None:
    assert read(tmp_path, 'path;label\n"a;b,c\r\n""d"".jpg" ; MALE\n'.replace(" ;", ";"))["path"] == [
        'a;b,c\r\n"d".jpg'
    ]
    assert read(tmp_path, "path,label\n a.jpg ,MALE\n")["path"] == [" a.jpg "], "blanks may belong to a file's name"


def test_further_columns_may_be_left_out(tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_text("note,Split,path,,note\na,val,b.jpg,c,d\n")
    table = read_text_table(tmp_path / "table.csv", "table.csv", ("path",), known=("split",), further=False)
    assert table.to_dict("list") == {"split": ["val"], "path": ["b.jpg"]}


def test_columns_without_a_title_or_with_the_same_one_get_a_name(tmp_path: Path) -> None:
    found = read(tmp_path, ",path,label,view,view,\n0,a,b,c,d,\n")
    assert list(found) == ["column_1", "path", "label", "view", "view.1"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"PK\x03\x04" + bytes(99), r"\.xlsx.* CSV"),
        (b"\xd0\xcf\x11\xe0" + bytes(99), "Excel"),
        ('[{"path": "a.jpg", "label": "m"}]', "JSON"),
        ('{"path": ["a.jpg"]}', "JSON"),
        ("<html><body>", "HTML"),
        (b"", "'path', it is empty"),
        (b"\x81\x8d\xff\x90", "UTF-16 or Windows-1252"),
        (gzip.compress(PLAIN.encode(), mtime=0)[:-9], "table.csv cannot be read"),
        ("a.jpg,MALE\nb.jpg,FEMALE\n", r"'path', only a\.jpg, MALE; its first line"),
        ("path\x1b,label\n", r"only path\\x1b, label"),
        ("path,label,Split, split\na,MALE,train,test\n", "2 columns 'split', titled Split, split"),
        ("path,label\na,b.jpg,MALE\n", "line 2 has 3 values instead of 2"),
        ('path,label\n"a.jpg,MALE\n', "cannot be read as CSV"),
    ],
)
def test_what_cannot_be_read_is_named_with_its_cause(tmp_path: Path, content: bytes | str, message: str) -> None:
    with pytest.raises(GenderClsError, match=message):
        read(tmp_path, content)


def test_a_table_in_another_encoding_says_how_it_was_read(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    read(tmp_path, PLAIN.encode("cp1252"))
    assert "Windows-1252" in caplog.text
