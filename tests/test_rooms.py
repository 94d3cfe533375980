"""The rooms of the house: imports run one way, and every file lies in a room."""

import ast
from importlib.util import find_spec
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "gender_cls"
ROOMS = [
    "errors", "config", "system", "runs", "data", "models", "training",
    "evaluation", "drawing", "explain", "quality", "pages", "reports", "predict", "export", "search", "cli",
]  # fmt: skip
"""A room imports only from itself and from the rooms before it; the commands import from all."""
COMMANDS = {
    "__main__", "train", "evaluate", "compare", "audit", "demo",
    "explain.__main__", "predict.__main__", "export.__main__",
}  # fmt: skip
WITHOUT_TORCH = ("config", "evaluation")
FILES = sorted(PACKAGE.rglob("*.py"))


def module(file: Path) -> str:
    return ".".join(file.relative_to(PACKAGE).with_suffix("").parts).removesuffix("__init__").rstrip(".")


def room(name: str) -> str:
    return name if name in COMMANDS else name.partition(".")[0]


def imported(file: Path) -> set[str]:
    """Modules of the package, relative to it, and top-level names of others; those of functions too."""
    names = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: imports name the package"
            base = node.module or ""
            submodules = {f"{base}.{alias.name}" for alias in node.names if base.startswith("gender_cls")}
            names.add(base)
            names.update(
                name for name in submodules if (PACKAGE.parent / name.replace(".", "/")).with_suffix(".py").is_file()
            )
    return names


def arrows(file: Path) -> set[str]:
    ours = {name.removeprefix("gender_cls").lstrip(".") for name in imported(file) if name.startswith("gender_cls")}
    return {room(name) for name in ours - {""}} - {room(module(file))}


@pytest.mark.parametrize("file", FILES, ids=module)
def test_imports_run_one_way(file: Path) -> None:
    own = room(module(file))
    assert all(find_spec(name) for name in imported(file) if name.startswith("gender_cls")), "mypy does not miss them"
    if own in COMMANDS:
        assert not arrows(file) - {*ROOMS, "demo"}
    elif own:
        assert own in ROOMS, f"{own} is no room"
        assert arrows(file) <= set(ROOMS[: ROOMS.index(own)])


@pytest.mark.parametrize("file", [file for file in FILES if room(module(file)) in WITHOUT_TORCH], ids=module)
def test_configuration_and_numbers_need_no_torch(file: Path) -> None:
    assert not {"torch", "torchvision", "timm", "pytorch_lightning", "captum"} & {
        name.partition(".")[0] for name in imported(file)
    }


def test_only_commands_lie_on_the_top_floor() -> None:
    top = {file.stem for file in PACKAGE.glob("*.py")}
    assert top <= COMMANDS | {"__init__", "__main__", "errors"}
    assert len(top) <= 10


def test_no_test_imports_another() -> None:
    for file in (PACKAGE.parent / "tests").rglob("*.py"):
        tests = {name for name in imported(file) if name.rpartition(".")[2].startswith("test_")}
        assert not tests, file
