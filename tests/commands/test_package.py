"""The built wheel works as it stands."""

import zipfile
from pathlib import Path

from helpers.commands import command, python

from gender_cls.config.parsing import CONFIG_FOLDER

ROOT = Path(__file__).resolve().parents[2]


def test_tensorboard_reads_the_folder_that_the_readme_names(tmp_path: Path) -> None:
    inspected = python("-m", "tensorboard.main", "--inspect", "--logdir", "outputs", cwd=tmp_path).stdout
    assert "No event files found" in inspected


def test_a_wheel_carries_the_configuration_and_works_from_anywhere(tmp_path: Path) -> None:
    pip = ["-m", "pip", "--disable-pip-version-check", "--quiet"]
    python(*pip, "wheel", "--no-deps", "--no-build-isolation", "-w", str(tmp_path), str(ROOT), cwd=tmp_path)
    [wheel] = tmp_path.glob("*.whl")
    shipped = {name for name in zipfile.ZipFile(wheel).namelist() if name.startswith("gender_cls/conf/")}
    files = [path.relative_to(CONFIG_FOLDER).as_posix() for path in CONFIG_FOLDER.rglob("*.yaml")]
    assert shipped == {f"gender_cls/conf/{file}" for file in files}
    read = {f"gender_cls/pages/{path.name}" for path in (ROOT / "gender_cls" / "pages").iterdir() if path.is_file()}
    assert {*read, "gender_cls/export/run_onnx.py", "gender_cls/py.typed"} <= set(zipfile.ZipFile(wheel).namelist())
    site, elsewhere = tmp_path / "site", tmp_path / "elsewhere"
    elsewhere.mkdir()
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    python("-m", "gender_cls.demo.__main__", "images=48", cwd=elsewhere, PYTHONPATH=str(site))
    where = python("-c", "import gender_cls; print(gender_cls.__file__)", cwd=elsewhere, PYTHONPATH=str(site))
    assert where.stdout.startswith(str(site))
    arguments = ["data=demo", "model=custom_cnn", "trainer.max_epochs=1", "explain=off", "trainer.progress_bar=false"]
    arguments += ["evaluation.resamples=200", "evaluation.shortcuts=false"]
    defaults = site / "gender_cls" / "conf" / "train.yaml"
    defaults.write_text(defaults.read_text().replace("seed: 0 #", "seed: 7 #"))
    command("train", *arguments, cwd=elsewhere, PYTHONPATH=str(site))
    [run] = (elsewhere / "outputs" / "runs").glob("*_custom_cnn")
    assert (run / "report.html").is_file()
    assert "seed: 7\n" in (run / ".hydra" / "config.yaml").read_text(), "its own configuration"
