"""A comparison of runs -> the files that people and programs read it in."""

import json
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from gender_cls.evaluation.comparison import compare_runs
from gender_cls.evaluation.comparison_table import to_csv, to_markdown
from gender_cls.pages.compare_page import render_comparison
from gender_cls.run import Run, write_atomically


def write_comparison(
    folder: Path, runs: Sequence[Run], *, name: str, resamples: int, thumbnails: int, data_root: Path | None = None
) -> str:
    """Write `<name>.csv`, `<name>.md`, `<name>.json` and `<name>.html`; return the Markdown.

    Args:
        folder: where they go; its own name is the page's title.
        runs: in any state.
        data_root: where the images lie now; where they lay in training when None.
    """
    comparison = compare_runs(runs, resamples)
    root = data_root or next((Path(run.data["root"]) for run in runs if run.data), None)
    created = datetime.now().astimezone().isoformat(timespec="seconds")
    text = to_markdown(comparison)
    write_atomically(folder / f"{name}.json", json.dumps(comparison, indent=2, allow_nan=False) + "\n")
    write_atomically(folder / f"{name}.csv", to_csv(comparison))
    write_atomically(folder / f"{name}.md", text)
    write_atomically(folder / f"{name}.html", render_comparison(comparison, folder.name, created, root, thumbnails))
    return text
