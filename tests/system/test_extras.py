import shlex
import sys
import tomllib
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from gender_cls.errors import GenderClsError
from gender_cls.system import extras
from gender_cls.system.extras import EXTRAS, import_extra, install_command

PROJECT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
DECLARED = {name: ones for name, ones in PROJECT["optional-dependencies"].items() if name != "dev"}


@pytest.fixture
def _installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The package as pip installs it from this folder."""
    of_extras = [f'{one}; extra == "{extra}"' for extra, ones in DECLARED.items() for one in ones]
    monkeypatch.setattr(extras, "requires", lambda _: [*PROJECT["dependencies"], *of_extras])


def test_every_extra_is_declared() -> None:
    assert set(EXTRAS.values()) == DECLARED.keys()


@pytest.mark.usefixtures("_installed")
@pytest.mark.parametrize("module", EXTRAS)
def test_what_is_missing_is_named_with_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch, module: str
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(GenderClsError, match=f"^To read it needs {module}, which ") as caught:
        import_extra(module, "To read it")
    *_, command = str(caught.value).partition("pip install ")
    named = {str(Requirement(one)) for one in shlex.split(command)}
    assert named == {str(Requirement(one)) for one in DECLARED[EXTRAS[module]]}


def test_without_an_installed_package_the_modules_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def nowhere(_: str) -> list[str]:
        raise PackageNotFoundError

    monkeypatch.setattr(extras, "requires", nowhere)
    assert install_command("export") == "pip install onnx onnxruntime onnxscript"


def test_an_extra_that_is_there_is_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "av.py").write_text("answer = 1")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(sys.modules, "av", None)  # removed again at the end of the test
    del sys.modules["av"]
    assert import_extra("av", "To read it").answer == 1


def test_an_extra_that_lacks_a_module_of_its_own_says_so_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "av.py").write_text("import its_own_library")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "av", raising=False)
    with pytest.raises(ModuleNotFoundError, match="its_own_library"):
        import_extra("av", "To read it")
