"""What people see of a test: figures, gallery and report; of a run's own test, TensorBoard and the model card too."""

from typing import Any

import pandas as pd

from gender_cls.config.parsing import to_plain
from gender_cls.data.csv_text import read_csv_text
from gender_cls.drawing.chart_style import figure_png
from gender_cls.drawing.events import write_events, write_events_elsewhere
from gender_cls.drawing.learning_curves import learning_figures
from gender_cls.drawing.report_figures import report_figures
from gender_cls.errors import noting_failure
from gender_cls.evaluation.explanation_summary import read_explanations
from gender_cls.evaluation.schema import Metrics
from gender_cls.explain.final_explanations import PICTURES
from gender_cls.explain.sheets import Sheet, read_sheet
from gender_cls.pages.elsewhere import results_elsewhere
from gender_cls.pages.experiment import experiment_facts
from gender_cls.pages.gallery_page import render_gallery
from gender_cls.pages.links import links_around, links_to_tables, tensorboard_of
from gender_cls.pages.model_card import render_model_card
from gender_cls.pages.report_page import render_report
from gender_cls.reports.steps import Tested, write_metrics
from gender_cls.runs.files import timestamp, write_atomically
from gender_cls.system.progress import working


def write_pages(test: Tested, metrics: Metrics) -> None:
    """Write all pages from `metrics.json` and the other files; what fails is noted in `problems` of `metrics.json`."""
    with working("Drawing the figures and writing the report"):
        _write_pages(test, metrics)
    if metrics["problems"] != test.folder.metrics["problems"]:
        write_metrics(test.folder, metrics)


def _write_pages(test: Tested, metrics: Metrics) -> None:
    run, folder, status, problems = test.run, test.folder, test.run.status, metrics["problems"]
    own = folder is run
    created, title = timestamp(), run.folder.name if own else f"{run.folder.name} on {folder.folder.name}"
    figures = report_figures(metrics, test.rows, problems)
    plots: dict[str, bytes] = {}
    maps: dict[str, bytes] = {}
    sheets: dict[str, Sheet] = {}
    for name, figure in figures.items():
        with noting_failure(problems, f"figure of {name}"):
            plots[name] = figure_png(figure)
            write_atomically(folder.plots / f"{name}.png", plots[name])
    with noting_failure(problems, "pictures of maps"):
        maps = {name: file.read_bytes() for name in PICTURES if (file := folder.explanation_picture(name)).exists()}
        found = {name: read_sheet(folder, name) for name in PICTURES}
        sheets = {name: sheet for name, sheet in found.items() if sheet is not None}
    with noting_failure(problems, "TensorBoard"):
        if own:
            write_events(run.folder, metrics, test.rows, plots | maps, status["best_step"])
        else:
            write_events_elsewhere(run.folder, metrics, plots | maps, status["best_step"])
    results = results_elsewhere(run) if own else []
    if own:
        with noting_failure(problems, "figures of learning"):  # TensorBoard has these curves already
            if run.epochs.exists():
                figures |= learning_figures(read_csv_text(run.epochs).apply(pd.to_numeric), metrics["best_epoch"])
    about: dict[str, Any] = {"title": title, "folder": str(folder.folder), "created": created}
    coming, elsewhere = [folder.report], None if own else folder
    if metrics["explanations"] is not None:
        with noting_failure(problems, folder.gallery.name):
            table, size = read_explanations(folder.explained), test.config.data.image_size
            cards = [run.model_card] if own else []
            links = links_around(folder.gallery, run, coming=[*coming, *cards], elsewhere=elsewhere)
            page = render_gallery(table, chosen_from=len(test.rows), image_size=size, links=links, **about)
            write_atomically(folder.gallery, page)
    if own:
        with noting_failure(problems, run.model_card.name):
            config = to_plain(test.config)
            config["trainer"]["precision"] = status.get("precision", config["trainer"]["precision"])  # not `auto`
            links, facts = links_around(run.model_card, run, coming=coming), experiment_facts(run)
            write_atomically(run.model_card, render_model_card(metrics, config, facts, links, results))
    with noting_failure(problems, folder.report.name):  # last, so that it says what else is missing
        links = links_around(folder.report, run, elsewhere=elsewhere) + links_to_tables(folder)
        about |= {"facts": experiment_facts(run), "links": links, "watch": tensorboard_of(run.folder, [run])}
        write_atomically(folder.report, render_report(metrics, figures, sheets=sheets, elsewhere=results, **about))
