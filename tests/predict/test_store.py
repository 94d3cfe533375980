"""The folder of a request: the same request goes on there, another one gets its own."""

from pathlib import Path

from gender_cls.predict.store import folder_of

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
