"""What a comparison writes: links that lead to files, and what the experiment was."""

import csv
from pathlib import Path

import pytest
from helpers.comparing import TABLE, write_elsewhere, write_run
from helpers.html_page import Page, linked_files

from gender_cls.pages.compare_facts import compared_facts
from gender_cls.reports.comparison import write_comparison
from gender_cls.runs.run import Run


def written(folder: Path, *runs: Run) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    write_comparison(folder, runs, name="compare", resamples=20, thumbnails=0)
    return folder / "compare.html"


@pytest.mark.parametrize("folder", ["sweeps/a #1", "comparisons/50 %?"])
def test_every_link_leads_to_a_file_from_wherever_the_page_is(tmp_path: Path, folder: str) -> None:
    runs = [write_run(tmp_path / "sweeps" / "a #1" / f"{n}_é:&", TABLE, recipe__lr=n) for n in range(2)]
    for run in runs:
        for file in (run.report, run.model_card):
            file.write_text("")
    runs[1].gallery.write_text("")
    page = written(tmp_path / folder, *runs)
    targets = linked_files(page)
    assert {file.name for file in targets} == {
        *("compare.csv", "compare.json", "compare.md", "report.html", "gallery.html", "MODEL_CARD.md")
    }
    assert len(targets) == 3 + 2 + 3
    assert all(file.is_file() for file in targets)
    moved = (tmp_path / "copy").resolve()
    (tmp_path / "sweeps").rename(moved)
    (tmp_path / "sweeps").mkdir()
    if folder.startswith("sweeps"):
        assert all(file.is_file() for file in linked_files(moved / "a #1" / "compare.html"))


@pytest.mark.parametrize(("folder", "logdir"), [("sweep", "sweep"), ("elsewhere", "sweep")])
def test_tensorboard_is_shown_for_the_folder_of_the_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str, logdir: str
) -> None:
    monkeypatch.chdir(tmp_path)
    runs = [write_run(tmp_path / "sweep" / str(n), TABLE, recipe__lr=n) for n in range(2)]
    text = Page(written(tmp_path / folder, *runs).read_text()).text
    assert f"tensorboard --logdir {logdir} --samples_per_plugin images=1000" in text


def test_facts_that_all_share_stand_alone_and_others_with_numbers(tmp_path: Path) -> None:
    def run(name: str, **settings: object) -> Run:
        return write_run(tmp_path / name, TABLE, **settings)

    first = [run("a", recipe__lr=0.1, data__batch_size=1), run("b", recipe__lr=0.1, data__batch_size=1, seed=1)]
    others = [run(str(n), recipe__lr=0.2, data__batch_size=n) for n in (2, 3, 4)]
    facts = dict(compared_facts([(1, first), *((number, [one]) for number, one in enumerate(others, 2))]))
    assert facts["epochs"] == "at most 1"
    assert facts["learning rate"] == "0.1 (1); 0.2 (2, 3, 4)"
    assert facts["seed"] == "0, 1"
    assert facts.keys().isdisjoint({"batch", "model", "started"}), "four values, and what is said of each"


def test_failed_starts_do_not_make_the_page_longer(tmp_path: Path) -> None:
    good = write_run(tmp_path / "good", TABLE)
    failed = [write_run(tmp_path / f"f{n}", TABLE, f"typo{n}", state="failed", error=f"No {n}.") for n in range(12)]
    text = Page(written(tmp_path / "out", good, *failed).read_text()).text
    assert "12 runs did not finish and are left out: 12 failed" in text
    assert "Candidates 1 Cost" in text
    assert "2 typo0" not in text


def test_a_test_on_other_data_adds_the_matrix_as_table_and_figure(tmp_path: Path) -> None:
    runs = [write_run(tmp_path / "sweep" / name, TABLE, data__csv=f"/tables/{name}.csv") for name in ("a", "b")]
    page = written(tmp_path / "without", *runs)
    assert not list(page.parent.glob("*transfer*"))
    write_elsewhere(runs[0], "b", TABLE[TABLE["split"] == "test"])
    page = written(tmp_path / "with", *runs)
    assert {"compare_transfer.csv", "compare_transfer.svg"} <= {file.name for file in linked_files(page)}
    figure = (page.parent / "compare_transfer.svg").read_text()
    rows = list(csv.DictReader((page.parent / "compare_transfer.csv").read_text().splitlines()))
    (away,) = (row for row in rows if row["kind"] == "elsewhere")
    assert (away["trained_on"], away["tested_on"]) == ("a", "b")
    score = f"{float(away['balanced_accuracy']):.3f}"
    for text in (figure, page.read_text(), (page.parent / "compare.md").read_text()):
        assert score in text
