"""A comparison of runs as JSON, CSV, Markdown and HTML."""

import json
import logging
from collections.abc import Iterable, Sequence
from pathlib import Path

from gender_cls.drawing.chart_style import figure_svg
from gender_cls.drawing.transfer_figure import transfer_figure
from gender_cls.errors import GenderClsError
from gender_cls.evaluation.comparison.compare_json import CandidateRow, Comparison, RunState
from gender_cls.evaluation.comparison.compare_runs import compare_runs
from gender_cls.evaluation.predictions import answers_of
from gender_cls.explain.run_maps import load_run_maps
from gender_cls.pages.compare_facts import compared_facts
from gender_cls.pages.compare_maps import MOST_MAPPED, ModelMaps, Prediction
from gender_cls.pages.compare_page import Surroundings, render_comparison
from gender_cls.pages.comparison_table import to_csv, to_markdown
from gender_cls.pages.links import relative_link, run_links, tensorboard_of
from gender_cls.pages.search_page import SEARCH_PAGE
from gender_cls.pages.transfer_table import transfer_to_csv
from gender_cls.runs.files import timestamp, write_atomically
from gender_cls.runs.run import Run

log = logging.getLogger(__name__)


def write_comparison(
    folder: Path, runs: Sequence[Run], *, name: str, resamples: int, thumbnails: int, data_root: Path | None = None
) -> Comparison:
    """Write `<name>.csv`, `<name>.md`, `<name>.json` and `<name>.html`; return what they show.

    Where runs were tested on data of others, `<name>_transfer.csv` has the cells of the transfer matrix, and
    `<name>_transfer.svg` is a figure of it.

    Args:
        folder: its name is the page's title.
        runs: in any state.
        data_root: where the images lie now; None for where they were in training.
    """
    comparison = compare_runs(runs, resamples)
    files: dict[str, str | bytes] = {
        f"{name}.csv": to_csv(comparison),
        f"{name}.json": json.dumps(comparison, indent=2, allow_nan=False) + "\n",
        f"{name}.md": to_markdown(comparison, folder),
    }
    if comparison["transfer"] is not None:
        files[f"{name}_transfer.csv"] = transfer_to_csv(comparison["transfer"])
        if (figure := transfer_figure(comparison["transfer"])) is not None:
            files[f"{name}_transfer.svg"] = figure_svg(figure)
    for file, content in files.items():
        write_atomically(folder / file, content)
    models, without_maps = _maps_of_the_best(comparison)
    page = render_comparison(
        comparison,
        Surroundings(
            title=folder.name,
            created=timestamp(),
            facts=_facts(comparison),
            links={run["folder"]: run_links(folder, run["folder"]) for run in _finished(comparison["candidates"])},
            files=[(file, relative_link(folder, folder / file)) for file in (*files, *_search_page(folder))],
            tensorboard=tensorboard_of(folder, runs),
        ),
        root=data_root or next((run.data_root for run in runs if run.data), None),
        thumbnails=thumbnails,
        models=models,
        without_maps=without_maps,
    )
    write_atomically(folder / f"{name}.html", page)
    return comparison


def _search_page(folder: Path) -> list[str]:
    return [SEARCH_PAGE] * (folder / SEARCH_PAGE).is_file()


def _finished(rows: Iterable[CandidateRow]) -> list[RunState]:
    return [run for row in rows for run in row["runs"] if run["state"] == "finished"]


def _facts(comparison: Comparison) -> list[tuple[str, str]]:
    """What the compared runs were; nothing if a file that says it is damaged: the scores are shown all the same."""
    numbered = [(number, row) for number, row in enumerate(comparison["candidates"], 1) if row["compared"]]
    try:
        return compared_facts(
            [(number, [Run(Path(run["folder"])) for run in _finished([row])]) for number, row in numbered]
        )
    except GenderClsError as error:
        log.warning(f"What the experiment was is not shown: {error}")
        return []


def _maps_of_the_best(comparison: Comparison) -> tuple[list[ModelMaps], list[str]]:
    """The maps of the first MOST_MAPPED compared candidates that have them, and sentences about those without."""
    models: list[ModelMaps] = []
    without, damaged = [], []
    for row in comparison["candidates"]:
        if not row["compared"] or len(models) == MOST_MAPPED:
            continue
        try:
            maps = _maps_of(row)
            if maps is None:
                without.append(row["title"])
            else:
                models.append(maps)
        except GenderClsError as error:  # the page shows the other maps, and this sentence
            damaged.append(str(error))
    return models, [f"No maps were kept of {', '.join(without)}."] * bool(without) + damaged


def _maps_of(row: CandidateRow) -> ModelMaps | None:
    if row["explanations"] is None:
        return None
    run = Run(Path(row["explanations"]["folder"]))
    kept = load_run_maps(run.maps)
    if kept is None:
        return None
    table = answers_of(run)
    asked = table[(table["split"] == "test") & table["path"].isin(kept.paths)].to_dict("records")
    answers = {one["path"]: Prediction(one["label"], one["prediction"], one[f"p_{one['prediction']}"]) for one in asked}
    return ModelMaps(row["title"], kept, answers)
