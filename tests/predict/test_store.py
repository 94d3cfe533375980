"""The folder of a request: the same request goes on there, another one gets its own."""

from pathlib import Path

import pandas as pd

from gender_cls.predict.store import folder_of
from gender_cls.predict.table import COLUMNS, typed

REQUEST = {"images": {"rows": 3}, "rules": {"band": (0.2, 0.6)}}


def test_the_same_request_has_the_same_folder(tmp_path: Path) -> None:
    other = {**REQUEST, "images": {"rows": 4}}
    for request, name in ((REQUEST, "x"), (other, "x_2"), (REQUEST, "x"), (other, "x_2")):
        with folder_of(request, tmp_path, "x") as folder:
            assert folder.folder == tmp_path / name


def test_a_folder_with_other_files_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "notes.txt").write_text("mine")
    with folder_of(REQUEST, tmp_path, "x") as folder:
        assert folder.folder == tmp_path / "x_2"
    assert [path.name for path in (tmp_path / "x").glob("[!.]*")] == ["notes.txt"]


def test_rows_count_from_the_first_on_up_to_one_that_is_missing(tmp_path: Path) -> None:
    whole = typed(pd.DataFrame(dict.fromkeys(COLUMNS, [""] * 9)).assign(path=[*"abcdefghi"]))
    with folder_of(REQUEST, tmp_path, "x") as folder:
        assert (folder.rows_done, folder.finished) == (0, None)
        for first, last in ((0, 3), (3, 5), (6, 9)):
            folder.keep(first, whole.iloc[first:last])
        assert folder.rows_done == 5
        folder.keep(5, whole.iloc[5:6])
        (folder.begun / ".x.csv.abc.part").touch()
    with folder_of(REQUEST, tmp_path, "x") as folder:
        assert folder.rows_done == 9
        assert not (folder.begun / ".x.csv.abc.part").exists()
        pd.testing.assert_frame_equal(pd.concat(folder.answered(), ignore_index=True), whole)
