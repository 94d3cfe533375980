import json
from pathlib import Path

import pytest

from gender_cls.pages.links import links_around, links_to_tables
from gender_cls.runs.run import Run


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A job of a sweep whose name a browser would misread, with a report and a table."""
    folder = tmp_path / "sweep" / '0 #1%20"x"'
    (folder / "explanations" / "more").mkdir(parents=True)
    (tmp_path / "sweep" / "command.json").write_text(json.dumps({"overrides": [], "multirun": True, "directory": "/"}))
    for name in ("report.html", "metrics.json"):
        (folder / name).touch()
    return Run(folder)


def test_links_name_what_exists_or_is_coming_but_not_the_page_itself(run: Run) -> None:
    assert links_around(run.report, run) == [("leaderboard", "../leaderboard.html")]
    assert links_around(run.gallery, run, coming=[run.model_card]) == [
        ("leaderboard", "../leaderboard.html"),
        ("report", "report.html"),
        ("model card", "MODEL_CARD.md"),
    ]
    assert links_to_tables(run) == [("metrics.json", "metrics.json")]


def test_an_exported_model_is_linked_when_it_is_there(run: Run) -> None:
    run.exported.mkdir()
    assert "exported model" not in dict(links_around(run.report, run))
    (run.exported / "MODEL_CARD.md").touch()
    assert dict(links_around(run.report, run))["exported model"] == "export/MODEL_CARD.md"


def test_a_gallery_of_other_images_finds_its_way_up(run: Run) -> None:
    gallery = run.explanations / "more" / "gallery.html"
    assert links_around(gallery, run) == [("leaderboard", "../../../leaderboard.html"), ("report", "../../report.html")]


def test_odd_names_are_escaped(run: Run, tmp_path: Path) -> None:
    assert links_around(tmp_path / "page.html", run)[1] == ("report", "sweep/0%20%231%2520%22x%22/report.html")


def test_a_single_run_has_no_leaderboard(run: Run) -> None:
    (run.folder.parent / "command.json").write_text(json.dumps({"overrides": [], "multirun": False, "directory": "/"}))
    assert links_around(run.gallery, run) == [("report", "report.html")]
