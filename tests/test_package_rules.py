"""What must hold in every file of the package: declared imports, text in UTF-8, and files that are loaded as data."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from gender_cls.system.extras import EXTRAS

ROOT = Path(__file__).resolve().parents[1]
FILES = sorted((ROOT / "gender_cls").rglob("*.py"))
IMPORTED_AS = {
    "mlflow-skinny": "mlflow",
    "hydra-core": "hydra",
    "pillow": "PIL",
    "pyyaml": "yaml",
    "scikit-learn": "sklearn",
}
LOADERS = {  # function of another library -> the argument that keeps it from running what a file says
    "torch.load": ("weights_only", True),
    "torch.hub.load_state_dict_from_url": ("weights_only", True),
    "np.load": ("allow_pickle", False),
    "numpy.load": ("allow_pickle", False),
    "trainer.fit": ("weights_only", True),
}
NEVER = {"pickle.load", "pickle.loads", "torch.jit.load", "joblib.load", "pd.read_pickle", "yaml.load", "eval", "exec"}


def calls(file: Path) -> Iterator[tuple[str, ast.Call]]:
    """Each call with its function as it is written."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


def constants(call: ast.Call) -> dict[str | None, object]:
    return {one.arg: one.value.value for one in call.keywords if isinstance(one.value, ast.Constant)}


def test_the_dependencies_are_what_is_imported() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = [one for extra, ones in project["optional-dependencies"].items() if extra != "dev" for one in ones]
    declared = [*project["dependencies"], *extras]
    names = {re.split("[<>=~! ]", one)[0] for one in declared}
    imported = set()
    for file in FILES:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                imported |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                imported.add((node.module or "").partition(".")[0])
    imported |= EXTRAS.keys()  # by name, when a command needs them
    others = imported - set(sys.stdlib_module_names) - {"gender_cls", "lightning_fabric"}  # of pytorch-lightning
    assert others == {IMPORTED_AS.get(name, name.replace("-", "_")) for name in names}
    assert all(">=" in one for one in declared), "each has a floor"


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_files_are_read_as_data_and_text_as_utf_8(file: Path) -> None:
    for name, call in calls(file):
        assert name not in NEVER, f"line {call.lineno}"
        if name in LOADERS:
            key, value = LOADERS[name]
            assert constants(call).get(key) is value, f"line {call.lineno}: {name} without {key}={value}"
        elif name.endswith((".read_text", ".write_text")) or (name == "open" or name.endswith("path.open")):
            binary = any(isinstance(one, ast.Constant) and "b" in str(one.value) for one in call.args)
            assert binary or constants(call).keys() & {"encoding"}, f"line {call.lineno}: {name} without encoding"
