"""`python -m gender_cls.export` as a user runs it."""

from pathlib import Path

from helpers.commands import command

from gender_cls.runs.run import Run

LEAST = ("seconds=0", "progress_bar=false")


def test_each_run_of_a_sweep_is_exported_and_one_that_fails_stops_no_other(sweep: Path) -> None:
    first, second = map(Run, sorted(sweep.glob("[01]_*")))
    first.best_checkpoint.write_bytes(b"damaged")
    result = command("export", f"run={sweep}", *LEAST, cwd=sweep.parent, code=1)
    assert first.folder.name in result.stderr.splitlines()[-1]
    assert not [*first.exported.glob("model*")]
    assert {"model.onnx", "model_native.onnx"} <= {file.name for file in second.exported.iterdir()}
    assert "model_native.onnx" in result.stdout


def test_without_the_libraries_one_sentence_has_the_command(run: Run, tmp_path: Path) -> None:
    (tmp_path / "onnxscript.py").write_text("raise ModuleNotFoundError('No module', name='onnxscript')")
    result = command("export", f"run={run.folder}", *LEAST, cwd=tmp_path, code=1)
    assert "pip install" in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert not run.exported.exists()
