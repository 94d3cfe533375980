"""Links from a page to files of runs: relative, so that a copied folder works as far as it holds them."""

import os
from collections.abc import Collection, Sequence
from pathlib import Path
from urllib.parse import quote

from gender_cls.runs.result_folder import ResultFolder
from gender_cls.runs.run import Run, tensorboard_command
from gender_cls.system.terminal import shortest


def relative_link(page_folder: Path, target: Path) -> str:
    """The address of a file or folder as pages in this folder link to it; odd characters become %-escapes.

    Symbolic links are resolved, because a browser does not follow `..` out of them.
    """
    return quote(os.fsencode(os.path.relpath(target.resolve(), page_folder.resolve())))


def run_links(page_folder: Path, run_folder: str) -> list[tuple[str, str]]:
    """Names and addresses of the pages of a run that exist."""
    pages = _pages_of(Run(Path(run_folder)))
    return [(name, relative_link(page_folder, file)) for name, file in pages.items() if file.is_file()]


def links_around(
    page: Path, run: Run, coming: Collection[Path] = (), elsewhere: ResultFolder | None = None
) -> list[tuple[str, str]]:
    """Names and addresses of the other pages of a run, and of its sweep's leaderboard, as this page links to them.

    Args:
        page: one of the run's pages, or a gallery below its folder.
        coming: pages that do not exist yet, but are about to be written.
        elsewhere: a test on other data, whose pages are linked instead, with the run's report.
    """
    links = [("leaderboard", relative_link(page.parent, run.sweep / "leaderboard.html"))] if run.sweep else []
    pages = _pages_of(run) if elsewhere is None else {"report of the run": run.report, **_pages_of(elsewhere)}
    others = [one for one in pages.items() if one[1] != page and (one[1] in coming or one[1].is_file())]
    return links + [(name, relative_link(page.parent, file)) for name, file in others]


def links_to_tables(folder: ResultFolder) -> list[tuple[str, str]]:
    """Names and addresses of the files with the numbers of a test that exist, as its report links to them."""
    epochs = [folder.epochs] if isinstance(folder, Run) else []
    tables = (*epochs, folder.predictions, folder.adapted, folder.metrics_file, folder.explained)
    return [(file.name, relative_link(folder.folder, file)) for file in tables if file.is_file()]


def tensorboard_of(page_folder: Path, runs: Sequence[Run]) -> str:
    """The command that shows these runs, and if possible no others."""
    if not runs:
        return ""
    inside = all(run.folder.is_relative_to(page_folder.resolve()) for run in runs)
    folder = page_folder.resolve() if inside else Path(os.path.commonpath([run.folder for run in runs]))
    return tensorboard_command(shortest(folder))


def _pages_of(folder: ResultFolder) -> dict[str, Path]:
    """The pages that people read of a test, by name."""
    report = {"report": folder.report, "gallery": folder.gallery}
    if not isinstance(folder, Run):
        return report
    return {**report, "model card": folder.model_card, "exported model": folder.exported / folder.model_card.name}
