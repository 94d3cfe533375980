import ast
import json
import sys
from importlib import util
from pathlib import Path
from types import ModuleType

import pytest

FOLDER = Path(__file__).parent / "benchmarks"
FILES = sorted(FOLDER.glob("bench_*.py"))


def load(name: str, folder: Path = FOLDER) -> ModuleType:
    spec = util.spec_from_file_location(f"benchmarks_{name.strip('_')}", folder / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up there
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def measuring(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """With a folder of its own for what is reported."""
    monkeypatch.syspath_prepend(str(FOLDER))
    module = load("measuring")
    module.RESULTS = tmp_path / "outputs" / "bench"
    monkeypatch.setitem(sys.modules, "measuring", module)
    return module


@pytest.fixture
def runner(measuring: ModuleType) -> ModuleType:
    return load("__main__")


def write_benchmark(folder: Path, name: str, body: str) -> Path:
    """One that reports into the tests' own folder."""
    file = folder / f"bench_{name}.py"
    lines = [
        "import sys, pathlib",
        f"sys.path.insert(0, {str(FOLDER)!r})",
        "import measuring",
        f"measuring.RESULTS = pathlib.Path({str(folder / 'outputs' / 'bench')!r})",
        body,
    ]
    file.write_text("\n".join(lines))
    return file


REPORT = "measuring.report({0!r}, [measuring.Table({0!r} + ' images', ['a', 'b'], [['x', 0.51234]], 'noted')])"


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_says_what_it_measures_and_can_be_run(file: Path) -> None:
    tree = ast.parse(file.read_text())
    assert (ast.get_docstring(tree) or "").count(".") >= 1
    assert "main" in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    last = tree.body[-1]
    assert isinstance(last, ast.If)
    assert ast.unparse(last.test) == "__name__ == '__main__'"


def test_reports_as_markdown_and_json(measuring: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    table = measuring.Table(
        "Loop", ["model", "images/s", "ratio"], [["cnn", 1234.5, 0.98765], ["rows", 1000, ""]], "Two."
    )
    measuring.report("loop", [table])
    text = (measuring.RESULTS / "loop.md").read_text()
    assert (
        "| model | images/s | ratio |\n| --- | --- | --- |\n| cnn | 1,234 | 0.988 |\n| rows | 1,000 |  |\n\nTwo."
        in text
    )
    assert capsys.readouterr().out == f"{text}\n"
    content = json.loads((measuring.RESULTS / "loop.json").read_text())
    assert content["tables"][0]["rows"][0] == ["cnn", 1234.5, 0.98765]
    assert content["versions"]["torch"] in text
    assert content["machine"] in text


def test_works_are_measured_in_turn(measuring: ModuleType) -> None:
    order: list[str] = []

    def work(name: str, numbers: list[float]) -> float:
        order.append(name)
        return numbers.pop(0)

    ours, theirs = [9.0, 2.0, 4.0, 6.0], [9.0, 1.0, 1.0, 2.0]
    measured = measuring.in_turn({"ours": lambda: work("ours", ours), "theirs": lambda: work("theirs", theirs)}, 3)
    assert order == ["ours", "theirs"] * 4
    assert measured == {"ours": [2.0, 4.0, 6.0], "theirs": [1.0, 1.0, 2.0]}
    assert measuring.ratio(measured["ours"], measured["theirs"]) == 3.0


def test_exponent_is_that_of_the_largest_sizes(measuring: ModuleType) -> None:
    assert measuring.exponent([10, 100, 1000], [5.0, 2.0, 20.0]) == pytest.approx(1)
    assert measuring.exponent([1000, 3000], [2.0, 18.0]) == pytest.approx(2)


def test_work_apart_has_one_thread(measuring: ModuleType, tmp_path: Path) -> None:
    lines = [
        "import os",
        "def work(*numbers):",
        " print('noise')",
        " return int(os.environ['OMP_NUM_THREADS']), *numbers",
    ]
    (tmp_path / "bench_work.py").write_text("\n".join(lines))
    work = load("bench_work", tmp_path).work
    assert measuring.in_own_process(work, 2, 3) == [1, 2, 3]


def test_all_that_come_through_are_gathered(
    runner: ModuleType, measuring: ModuleType, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    files = [
        write_benchmark(tmp_path, "one", REPORT.format("one")),
        write_benchmark(tmp_path, "bad", "raise ValueError('no room for it')"),
        write_benchmark(tmp_path, "silent", ""),
        write_benchmark(tmp_path, "two", REPORT.format("two")),
    ]
    assert runner.run_all(files) == 1
    text = (measuring.RESULTS / "bench.md").read_text()
    assert [line for line in text.splitlines() if line.startswith("## ")] == ["## one images", "## two images"]
    assert "bench_bad failed: ValueError: no room for it (exit code 1)" in text
    content = json.loads((measuring.RESULTS / "bench.json").read_text())
    assert list(content["benchmarks"]) == ["bench_one", "bench_two"]
    assert content["benchmarks"]["bench_two"]["tables"][0]["rows"] == [["x", 0.51234]]
    assert content["failures"]["bench_silent"] == "It ended without a report."
    told = capfd.readouterr().err.splitlines()
    assert told[-2:] == [f"{name} failed: {content['failures'][name]}" for name in ("bench_bad", "bench_silent")]
    assert runner.run_all(files[:1]) == 0
    assert "failed" not in (measuring.RESULTS / "bench.md").read_text()


def test_quick_ones_come_first(runner: ModuleType, tmp_path: Path) -> None:
    for name in ("unheard_of", "growth", "start"):
        (tmp_path / f"bench_{name}.py").touch()
    assert [file.stem for file in runner.benchmarks(tmp_path)] == ["bench_start", "bench_growth", "bench_unheard_of"]


def test_unknown_name_is_refused(
    runner: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["tests/benchmarks", "bench_nothing"])
    with pytest.raises(SystemExit) as stopped:
        runner.main()
    assert stopped.value.code == 2
    assert "There is no bench_nothing: there are " in capsys.readouterr().err
