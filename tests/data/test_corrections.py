from pathlib import Path

import pandas as pd
import pytest

from gender_cls.data.corrections import apply_corrections, count_corrections
from gender_cls.errors import GenderClsError

TABLE = pd.DataFrame({"path": ["a.png", "b.png", "c.png", "d.png"], "label": ["MALE", "MALE", "FEMALE", "FEMALE"]})


HEADER = "path,label,suggested_label,score,corrected_label"


def corrected(tmp_path: Path, *rows: str) -> pd.DataFrame:
    file = tmp_path / "suspects.csv"
    file.write_text("\n".join(rows) + "\n")
    return apply_corrections(TABLE, file)


def test_filled_rows_change_labels_and_the_others_do_not(tmp_path: Path) -> None:
    table = corrected(
        tmp_path, HEADER, "a.png,MALE,FEMALE,0.1,female", "b.png,MALE,FEMALE,0.2,", "c.png,FEMALE,MALE,0.3,unknown",
        "d.png,FEMALE,MALE,0.4,FEMALE",
    )  # fmt: skip
    assert table["label"].tolist() == ["FEMALE", "MALE", "unknown", "FEMALE"]
    assert table["original_label"].tolist() == ["MALE", "", "FEMALE", ""]
    assert count_corrections(table) == {"FEMALE to unknown": 1, "MALE to FEMALE": 1}
    assert count_corrections(TABLE) == {}


def test_corrections_that_have_been_made_in_the_folders_already_are_no_fault(tmp_path: Path) -> None:
    table = corrected(tmp_path, HEADER, "a.png,FEMALE,MALE,0.1,MALE")
    assert table["label"].equals(TABLE["label"])
    assert count_corrections(table) == {}


def test_a_file_that_went_through_a_spreadsheet_means_the_same(tmp_path: Path) -> None:
    text = "Path;Label;corrected_label \n./a.png;MALE; Female \n'=b.png;MALE;unknown\nsub\\\\c.png;FEMALE;MALE\n"
    file = tmp_path / "suspects.csv"
    file.write_bytes(text.replace("\\\\", "\\").encode("utf-16"))
    table = pd.DataFrame({"path": ["=b.png", "a.png", "sub/c.png"], "label": ["MALE", "MALE", "FEMALE"]})
    assert apply_corrections(table, file)["label"].tolist() == ["unknown", "FEMALE", "MALE"]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("a.png,MALE,FEMALE,0.1,woman", "'woman' for a.png: .* FEMALE, MALE, unknown or empty"),
        ("z.png,MALE,FEMALE,0.1,FEMALE", " 1 image .* z.png"),
        ("a.png,FEMALE,MALE,0.1,unknown", "a.png is MALE"),
        ("a.png,MALE,FEMALE,0.1,MALE\na.png,MALE,FEMALE,0.1,FEMALE", "a.png more than once"),
    ],
)
def test_files_that_do_not_fit_are_refused(tmp_path: Path, row: str, message: str) -> None:
    with pytest.raises(GenderClsError, match=f"{message}.*{tmp_path / 'suspects.csv'}"):
        corrected(tmp_path, HEADER, row)


def test_a_missing_column_is_named(tmp_path: Path) -> None:
    with pytest.raises(GenderClsError, match=r"data\.corrections .*'corrected_label'"):
        corrected(tmp_path, "path,label", "a.png,MALE")
