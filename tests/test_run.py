import json
import multiprocessing
import os
import stat
from pathlib import Path

import pytest

from gender_cls.errors import GenderClsError
from gender_cls.evaluation.leaderboard import write_leaderboard
from gender_cls.run import Run, read_json, write_atomically


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


def test_json_that_is_none_is_named(tmp_path: Path) -> None:
    assert read_json(tmp_path / "absent.json") == {}
    (tmp_path / "broken.json").write_text("{")
    with pytest.raises(GenderClsError, match=r"broken.json is no JSON file"):
        read_json(tmp_path / "broken.json")


def finished_run(folder: Path, val: float, test: float, leaky: bool = False) -> None:
    run = Run(folder)
    baselines = [{"title": f"{score}", "balanced_accuracy": score} for score in (0.5, None, 0.55)]
    scores = {"balanced_accuracy": test, "accuracy": test, "auroc": test}
    write_atomically(
        run.metrics_file,
        json.dumps(
            {
                "parameters": 2_230_000,
                "validation": {"balanced_accuracy": val},
                "test": scores,
                "baselines": baselines,
                "data": {"leaky": leaky},
            }
        ),
    )
    run.note(state="finished", model="timm/x", seconds=61.4)


def test_leaderboard_is_ordered_by_validation_and_keeps_failures(tmp_path: Path) -> None:
    finished_run(tmp_path / "0_a", val=0.7, test=0.9, leaky=True)
    Run(tmp_path / "1_b").note(state="failed", model="timm/y", seconds=2.0, error="Too | big.")
    finished_run(tmp_path / "2_c", val=0.8, test=0.6)
    runs = [Run(tmp_path / name) for name in ("0_a", "1_b", "2_c")]
    text = write_leaderboard(tmp_path, runs)
    expected = """\
| model  | parameters | val bal. acc. | test bal. acc. | test acc. | test AUROC | best baseline | leaky | seconds | state    | folder |
| ------ | ---------- | ------------- | -------------- | --------- | ---------- | ------------- | ----- | ------- | -------- | ------ |
| timm/x | 2.23 M     | 0.800         | 0.600          | 0.600     | 0.600      | 0.550         | no    | 61      | finished | 2_c    |
| timm/x | 2.23 M     | 0.700         | 0.900          | 0.900     | 0.900      | 0.550         | LEAKY | 61      | finished | 0_a    |
| timm/y | -          | -             | -              | -         | -          | -             | -     | 2       | failed   | 1_b    |

- 1_b: Too | big.
"""
    assert text == expected == (tmp_path / "leaderboard.md").read_text()
    lines = (tmp_path / "leaderboard.csv").read_text().splitlines()
    assert lines[0].startswith("model,parameters,val_balanced_accuracy,test_balanced_accuracy")
    assert lines[3].endswith("failed,1_b,Too | big.")
