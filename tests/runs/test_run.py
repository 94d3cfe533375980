import multiprocessing
import os
import stat
from pathlib import Path

import pytest

from gender_cls.errors import GenderClsError
from gender_cls.runs.files import read_json, write_atomically
from gender_cls.runs.run import Run


def test_status_tells_how_it_ended(tmp_path: Path) -> None:
    run = Run(tmp_path / "run")
    with run.recording(model="timm/x"):
        assert run.status["state"] == "running"
        assert run.status["pid"] == os.getpid()
    assert run.finished
    assert run.status["model"] == "timm/x"
    assert run.status["seconds"] >= 0

    with pytest.raises(ValueError, match="two"), run.recording():
        raise ValueError("one\n  two")
    assert run.status["state"] == "failed"
    assert run.status["error"] == "ValueError: one two"
    assert "Traceback" in run.status["traceback"]

    with pytest.raises(GenderClsError), run.recording():
        raise GenderClsError("Do this.")
    assert run.status["error"] == "Do this."

    with pytest.raises(KeyboardInterrupt), run.recording():
        raise SystemExit(1)  # what Lightning makes of Ctrl-C
    assert run.status["state"] == "interrupted"

    with run.recording():
        assert run.status["error"] is None
    assert run.finished


def test_a_folder_in_use_is_refused(tmp_path: Path) -> None:
    run = Run(tmp_path)

    def second() -> None:
        try:
            with Run(tmp_path).recording():
                os._exit(1)
        except GenderClsError as error:
            os._exit(42 if f"{tmp_path} is in use by another process: wait for it" in str(error) else 2)

    with run.recording():
        process = multiprocessing.get_context("fork").Process(target=second)
        process.start()
        process.join()
        assert run.status["state"] == "running"
    assert process.exitcode == 42


def test_writing_is_atomic(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "sub" / "file.txt"
    write_atomically(file, "old")
    assert stat.S_IMODE(file.stat().st_mode) == 0o666 & ~os.umask(os.umask(0o022) and 0o022)

    def fails(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", fails)
    with pytest.raises(OSError, match="disk full"):
        write_atomically(file, "new")
    assert file.read_text() == "old"
    assert [path.name for path in file.parent.iterdir()] == ["file.txt"]


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"{", "is not a JSON file"),
        (b"\xff\xfe{}", "is not a JSON file"),
        (b"[" * 100_000, "is not a JSON file"),
        (b"", "is not a JSON file"),
        (b"[]", "holds list instead of an object"),
        (b"null", "holds NoneType instead of an object"),
    ],
    ids=["cut", "other encoding", "deep", "empty", "list", "null"],
)
def test_json_that_is_none_is_named(tmp_path: Path, content: bytes, what: str) -> None:
    assert read_json(tmp_path / "absent.json") == {}
    (tmp_path / "broken.json").write_bytes(content)
    with pytest.raises(GenderClsError, match=rf"broken\.json {what}.*: restore or remove it"):
        read_json(tmp_path / "broken.json")
    (tmp_path / "folder.json").mkdir()
    with pytest.raises(GenderClsError, match=r"folder\.json is not a JSON file"):
        read_json(tmp_path / "folder.json")
