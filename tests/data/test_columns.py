"""Names that belong to the program, and values that stand for nothing."""

from pathlib import Path

import pandas as pd
import pytest
from helpers.crops import write_crops

from gender_cls.config.data import DataConfig
from gender_cls.data.columns import PROGRAM_COLUMNS, given_names, warn_of_spellings, without_placeholders
from gender_cls.data.manifest import read_manifest


@pytest.mark.parametrize("name", [*sorted(PROGRAM_COLUMNS), "given_height", "given_"])
def test_a_column_of_the_user_never_takes_the_place_of_the_programs(name: str) -> None:
    assert given_names([name, "view"]) == {name: f"given_{name}"}


def test_given_columns_keep_their_values_under_another_name(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    csv = write_crops(tmp_path, "h7/a.png", "h8/b.png") / "list.csv"
    csv.write_text("path,label,prediction,view,given_prediction\nh7/a.png,MALE,x,front,y\nh8/b.png,FEMALE,,back,\n")
    with caplog.at_level("INFO"):
        table = read_manifest(DataConfig(csv=str(csv), pattern=r"h(?P<height>\d)")).table
    assert table["given_prediction"].tolist() == ["x", ""]
    assert table["given_given_prediction"].tolist() == ["y", ""]
    assert (table["view"].tolist(), table["given_height"].tolist()) == (["front", "back"], ["7", "8"])
    assert not {"prediction", "height"} & set(table.columns)
    assert "given_prediction" in caplog.text


def emptied(column: str, *values: str) -> list[str]:
    return without_placeholders(pd.DataFrame({column: list(values)}, dtype="str"), "crops.csv")[column].tolist()


@pytest.mark.parametrize(
    "nothing", ["nan", "NaN", "None", "-1", "-1.0", "unknown", "Unknown", "null", "NA", "<NA>", "n/a", "?", "-"]
)
@pytest.mark.parametrize("column", ["identity", "camera", "source", "frame"])
def test_what_stands_for_nothing_is_missing(nothing: str, column: str, caplog: pytest.LogCaptureFixture) -> None:
    assert emptied(column, nothing, "7", nothing, "") == ["", "7", "", ""]
    assert f"crops.csv: the {column} of 2 of 4 images is unknown: '{nothing}' (2)." in caplog.text
    assert emptied(column, nothing, nothing) == ["", ""]


def test_0_is_a_person_among_others_but_nobody_if_all_are_0() -> None:
    assert emptied("identity", "0", "0") == ["", ""]
    assert emptied("identity", "0", "nan", "0") == ["", "", ""]
    assert emptied("identity", "0", "1") == ["0", "1"]
    assert emptied("camera", "0", "0") == ["0", "0"], "one camera"
    assert emptied("identity", "Na", "Nan Li") == ["Na", "Nan Li"], "names of people"


@pytest.mark.parametrize("second", ["P7", "p 7", "p7.0", "p\u200b7", "p\uff17"])
def test_identities_that_look_alike_are_said(second: str, caplog: pytest.LogCaptureFixture) -> None:
    warn_of_spellings(pd.DataFrame({"identity": ["p7", second, "p8", "p8", ""]}), "crops.csv")
    assert "crops.csv: 1 pair of identities that look alike count as different people: 'p7' and " in caplog.text
    assert f" and {second!a}. " in caplog.text


def test_different_identities_are_not_said(caplog: pytest.LogCaptureFixture) -> None:
    warn_of_spellings(pd.DataFrame({"identity": ["7", "07", "70", "7.5", "", "e", "\u00e9"]}), "crops.csv")
    assert not caplog.records
