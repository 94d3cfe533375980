import errno
import logging
import multiprocessing
import os
import shutil
import signal
import socket
import stat
import subprocess
import tempfile
from pathlib import Path

import pytest

from gender_cls.config.checks import check_config
from gender_cls.config.data import dataset_name
from gender_cls.config.evaluation import ElsewhereConfig, EvaluateConfig
from gender_cls.config.parsing import recorded_config, typed_config
from gender_cls.errors import GenderClsError
from gender_cls.runs.files import read_json, write_atomically
from gender_cls.runs.run import Run
from gender_cls.system.signals import Stopped


def test_status_tells_how_it_ended(tmp_path: Path, caplog) -> None:
    caplog.set_level(logging.INFO, "gender_cls")
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
    assert "SIGINT" in run.status["error"]

    with pytest.raises(Stopped), run.recording():
        raise Stopped(signal.SIGUSR1)
    assert "SIGUSR1" in run.status["error"]
    assert "SIGUSR1" in caplog.text

    def fails_in_the_clean_up() -> None:
        try:
            raise KeyboardInterrupt
        finally:
            raise RuntimeError("Please call `iter(combined_loader)` first.")

    with pytest.raises(KeyboardInterrupt), run.recording():
        fails_in_the_clean_up()
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


def full(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_the_status_says_failed_also_when_the_disk_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(tmp_path / "run")

    sizes: list[int] = []

    def work() -> None:
        sizes.append(run.status_file.stat().st_size)
        monkeypatch.setattr(tempfile, "mkstemp", full)  # no room for a new file
        write_atomically(run.folder / "report.html", "x")

    with pytest.raises(OSError, match=r"report\.html"), run.recording():
        work()
    assert run.status["state"] == "failed"
    assert run.status_file.stat().st_size <= sizes.pop(), "no new block of the disk was needed"
    assert "report.html cannot be used: the disk has no room left" in run.status["error"]
    assert run.status["traceback"] is not None, "its process was not killed"
    monkeypatch.undo()
    with run.recording():
        pass
    assert run.finished


def test_a_run_folder_that_is_removed_meanwhile_is_named_and_not_made_again(tmp_path: Path) -> None:
    run = Run(tmp_path / "run")

    def work() -> None:
        shutil.rmtree(run.folder)
        run.note(fitted=True)

    with pytest.raises(GenderClsError, match=f"{run.folder} is gone"), run.recording():
        work()
    assert not run.folder.exists()
    with pytest.raises(GenderClsError, match=f"{run.folder} is gone"), run.recording():
        shutil.rmtree(run.folder)
    with pytest.raises(GenderClsError, match=f"{tmp_path}/a/b/c cannot be written because its folder is gone"):
        write_atomically(tmp_path / "a" / "b" / "c", "")


def test_what_a_killed_process_was_writing_is_removed(tmp_path: Path) -> None:
    left = tmp_path / "checkpoints" / ".last.ckpt.abc.part"
    left.parent.mkdir()
    left.touch()
    with Run(tmp_path).recording():
        assert not left.exists()


def test_a_run_without_its_process_was_killed(tmp_path: Path) -> None:
    run = Run(tmp_path)
    assert run.state == "unknown"
    with run.recording():
        assert run.state == "running"
        assert run.error is None
    assert run.state == "finished"
    ended = subprocess.Popen(["true"])
    ended.wait()
    for pid in (ended.pid, os.getpid()):  # a number that was given again
        run.note(state="running", pid=pid, host=socket.gethostname())
        assert run.state == "killed"
        assert "was killed" in run.error
    run.note(host="elsewhere")
    assert run.state == "killed", "nobody holds its lock"


@pytest.mark.parametrize(
    ("choice", "data", "name"),
    [
        ("pa100k", {"root": "/x/crops"}, "pa100k"),
        ("folders", {"root": "/x/shop cameras"}, "shop-cameras"),
        (None, {"root": "/x/crops", "csv": "/x/list.v2.csv"}, "list.v2"),
        ("folders", {"root": "/x/crops", "importer": "peta"}, "peta"),
        ("peta", {"root": "/x/PETA", "split_by": "source", "leave_out": "TownCentre"}, "TownCentre"),
        ("mine/rainy", {"root": "/"}, "mine-rainy"),
        ("folders", {"root": "/"}, "data"),
        ("folders", {"root": "/x/.."}, "data"),
    ],
)
def test_a_dataset_has_the_same_name_wherever_it_is_named(
    choice: str | None, data: dict[str, str], name: str, tmp_path: Path
) -> None:
    run = Run(tmp_path)
    run.record_settings({"data": data}, {} if choice is None else {"data": choice})
    assert run.dataset == name
    given = typed_config({"run": "x", "data": data}, EvaluateConfig).data
    assert dataset_name(given, choice) == name
    check_config(ElsewhereConfig(name=name))


def test_a_run_folder_computes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "hidden")
    run = Run(tmp_path)
    run.config_file.parent.mkdir()
    run.config_file.write_text("model: {name: '${oc.env:SECRET}'}\nname: ${model.name}\n")
    hydra = "hydra: {runtime: {choices: {model: '${oc.env:SECRET}', list: [1]}}}"
    run.config_file.with_name("hydra.yaml").write_text(hydra)
    assert run.choices["model"] == run.settings["model"]["name"] == "${oc.env:SECRET}"
    with pytest.raises(GenderClsError, match=r"model.name=\$\{oc.env:SECRET\} is computed"):
        recorded_config(run.config_file)
    for damaged in ("{", "[1]", "a: &a [*a]", "\0"):
        run.config_file.write_text(damaged)
        with pytest.raises(GenderClsError, match=str(run.config_file)):
            _ = run.settings


def test_writing_is_atomic(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "sub" / "file.txt"
    write_atomically(file, "old")
    assert stat.S_IMODE(file.stat().st_mode) == 0o666 & ~os.umask(os.umask(0o022) and 0o022)

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match="No space") as caught:
        write_atomically(file, "new")
    assert caught.value.filename == str(file)
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
    os.mkfifo(tmp_path / "pipe.json")
    for name in ("folder.json", "pipe.json"):
        with pytest.raises(GenderClsError, match=rf"{name} is not a JSON file"):
            read_json(tmp_path / name)
