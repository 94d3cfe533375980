"""The package in Python: its public names, its types, and the code that the README and the notebook show."""

import inspect
import json
import re
import shutil
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest
from helpers.crops import draw_folders, write_crop
from mypy import api as mypy

import gender_cls
from gender_cls.demo.dataset import draw_demo

ROOT = Path(__file__).resolve().parents[2]
BLOCKS = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
NOTEBOOK = ROOT / ".github" / "first_look.ipynb"

TYPED = """
from pathlib import Path

import gender_cls
import pandas as pd
from gender_cls import CropDataModule, Explanation, GenderClassifier, GenderClsError, LoadedModel

run: LoadedModel = gender_cls.load(Path("outputs/runs/NAME"), accelerator="cpu")
table: pd.DataFrame = run.predict(["a.jpg", Path("b.jpg")])
maps: list[Explanation] = run.explain("a.jpg", methods=["grad_cam"], label="MALE")
height: int = maps[0].maps["grad_cam"].shape[0]
scores: pd.DataFrame = gender_cls.read_scores(["outputs", Path("more")])
value: float | None = gender_cls.read_metrics("outputs/runs/NAME")["test"]["scores"]["auroc"]["value"]
data: CropDataModule = CropDataModule.from_folder("crops", image_size=(64, 32), augment={"flip": 0.5})
model: GenderClassifier = gender_cls.build_classifier("mobilenetv2", pretrained=False, lr=1e-3)
try:
    version: str = gender_cls.__version__
except GenderClsError as error:
    print(error)
"""
WRONG = {
    "load": "gender_cls.load(run=3)",
    "explain": 'gender_cls.load("x").explain("a.jpg", label=1)',
    "from_folder": 'gender_cls.CropDataModule.from_folder("x", batch_size="8")',
    "build_classifier": 'gender_cls.build_classifier("x", pretraind=[], image_size=8)',
    "attr-defined": 'gender_cls.lod("x")',
}
"""What mypy's message must name -> a line that is wrong."""


def test_mypy_sees_the_types_from_outside(tmp_path: Path) -> None:
    """`mypy --strict` on a user's scripts; large libraries are skipped, because reading them takes half a minute."""
    (tmp_path / "right.py").write_text(TYPED)
    (tmp_path / "wrong.py").write_text("import gender_cls\n" + "\n".join(WRONG.values()))
    libraries = ("torch", "torchvision", "pytorch_lightning", "timm", "captum", "scipy", "sklearn", "matplotlib")
    sections = "".join(f"[mypy-{name}.*]\nfollow_imports = skip\n" for name in libraries)
    given = f"[mypy]\nmypy_path = {ROOT}\nstrict = true\nfollow_imports = silent\nignore_missing_imports = true\n"
    (tmp_path / "mypy.ini").write_text(given + sections)
    options = ["--config-file", str(tmp_path / "mypy.ini"), "--cache-dir", str(ROOT / ".mypy_cache" / "of_users")]
    printed, failed, _ = mypy.run([*options, str(tmp_path / "right.py"), str(tmp_path / "wrong.py")])
    assert not failed
    assert "right.py" not in printed, printed
    for line, name in enumerate(WRONG, start=2):
        found = [one for one in printed.splitlines() if f"wrong.py:{line}: error" in one]
        assert name in " ".join(found), printed
    assert (ROOT / "gender_cls" / "py.typed").is_file(), "without it, a type checker ignores an installed package"


def test_the_public_names_are_there_and_described() -> None:
    assert set(gender_cls.__all__) <= set(dir(gender_cls))
    for name in gender_cls.__all__:
        found = getattr(gender_cls, name)
        assert found.__name__ == name
        assert found.__doc__
        assert name in gender_cls.__doc__ or inspect.isclass(found), "help(gender_cls) begins with it"
    with pytest.raises(AttributeError, match="lod"):
        _ = gender_cls.lod


def test_reading_results_needs_no_torch(finished: Path) -> None:
    code = (
        "import sys, gender_cls; table = gender_cls.read_scores(sys.argv[1]); assert len(table) == 2; "
        "gender_cls.read_epochs(table.path[0]); gender_cls.read_predictions(table.path[0]); "
        "assert 'torch' not in sys.modules and 'help' in dir(__builtins__) and 'load' in dir(gender_cls)"
    )
    subprocess.run([sys.executable, "-c", code, str(finished)], check=True)


@pytest.fixture
def workplace(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of somebody who has crops, new crops, the demo and two runs."""
    draw_folders(tmp_path / "crops")
    for number in range(3):
        write_crop(tmp_path / "new_crops" / f"{number}.jpg", number)
    runs = sorted(path.parent for path in finished.glob("*/status.json"))
    shutil.copytree(runs[0], tmp_path / "outputs" / "runs" / "NAME")
    shutil.copytree(finished, tmp_path / "outputs" / "sweeps" / "demo")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def execute(cells: list[str]) -> dict[str, Any]:
    """Run the code in one namespace, as a person does who sees Lightning's advice and goes on."""
    names: dict[str, Any] = {"display": str, "__name__": "__main__"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for number, cell in enumerate(cells):
            exec(compile(cell, f"cell {number}", "exec"), names)
    return names


def test_the_readmes_python_runs(workplace: Path) -> None:
    lines = [line for block in BLOCKS for line in block.splitlines()]
    assert len(lines) <= 30
    assert max(map(len, lines)) <= 90
    names = execute(BLOCKS)
    assert names["table"]["answer"].isin(["FEMALE", "MALE", "abstain"]).all()
    assert names["trainer"].callback_metrics["test/loss"] > 0
    assert (workplace / "maps.png").is_file()
    assert len(names["scores"]) == 3


def test_the_notebook_runs_and_shows_drawn_figures_only(workplace: Path) -> None:
    content = json.loads(NOTEBOOK.read_text())
    code = ["".join(cell["source"]) for cell in content["cells"] if cell["cell_type"] == "code"]
    draw_demo(workplace / "outputs" / "demo_data", images=48)
    draw_demo(workplace / "outputs" / "demo_new", images=48, seed=1)
    names = execute(code)
    assert names["trainer"].callback_metrics["val/loss"] > 0
    assert set(names["answers"]["path"]) <= {str(path) for path in (workplace / "outputs").rglob("*.jpg")}
    assert "/root/" not in NOTEBOOK.read_text()
    assert "/work/" not in NOTEBOOK.read_text(), "no path of the machine that made its outputs"
