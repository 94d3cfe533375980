"""`report.html`: the results of one run in a single file that loads nothing from a network and runs no script."""

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from matplotlib.figure import Figure

from gender_cls.config.data import CLASSES
from gender_cls.config.explain import Method
from gender_cls.drawing.canvas import data_uri
from gender_cls.drawing.chart_style import figure_image
from gender_cls.evaluation.elsewhere_schema import Elsewhere
from gender_cls.evaluation.elsewhere_wording import PARTS, drop_rows, left_out_words
from gender_cls.evaluation.estimate import Estimate
from gender_cls.evaluation.explanation_schema import PLACES, Explanations
from gender_cls.evaluation.schema import SCORES, Metrics
from gender_cls.evaluation.slices import largest_slices
from gender_cls.evaluation.wording import score_title
from gender_cls.explain.sheets import Sheet
from gender_cls.pages.axes import end_of_sizes, start_of_scores
from gender_cls.pages.elsewhere import ResultElsewhere, balanced_accuracies
from gender_cls.pages.explanation_findings import BASELINE_TITLES
from gender_cls.pages.page import page_environment
from gender_cls.pages.run_findings import column_title, resampled, run_findings

MAIN_SCORES = ("balanced_accuracy", *(f"recall_{label}" for label in CLASSES), "auroc")  # the others are folded
MOST_SLICES = 30  # slices of a column on the page: those with the most images; metrics.json has them all


def render_report(
    metrics: Metrics,
    figures: Mapping[str, Figure],
    *,
    title: str,
    folder: str,
    created: str,
    facts: Sequence[tuple[str, str]] = (),
    links: Sequence[tuple[str, str]] = (),
    watch: str = "",
    sheets: Mapping[str, Sheet] = MappingProxyType({}),
    elsewhere: Sequence[ResultElsewhere] = (),
) -> str:
    """The page, as HTML; of a test on other data, the drop comes first.

    Args:
        metrics: the content of `metrics.json`.
        figures: the results of `report_figures` and `learning_figures` for it.
        title: the name of the run; of a test on other data, with the name of the data.
        folder: the run's folder, as a command would name it.
        created: an ISO 8601 date and time.
        facts: what the experiment was, from `experiment_facts`.
        links: names and addresses of the run's other files.
        watch: the command that shows the run in TensorBoard.
        sheets: maps by name (most_confident_mistakes, least_certain, mean_maps_by_answer, mean_maps_by_camera); those
            that do not exist are left out.
        elsewhere: the run's tests on other data, if this is its own test.
    """
    environment = page_environment()
    environment.filters.update(column=column_title, reasons=_reasons, certainty=_certainty, strip_alt=_strip_alt)
    environment.filters.update(left_out_words=left_out_words, part_words=PARTS.get)
    environment.globals.update(MAIN_SCORES=MAIN_SCORES)
    cells = metrics["slices"]["cells"]
    return environment.get_template("report.html.jinja").render(
        metrics=metrics,
        title=title,
        folder=folder,
        created=created,
        facts=facts,
        links=links,
        watch=watch,
        findings=run_findings(metrics, elsewhere),
        elsewhere=elsewhere,
        **_elsewhere_axes(metrics, elsewhere),
        resampled=resampled(metrics["test"]),
        figures={name: figure_image(figure) for name, figure in figures.items()},
        scores=[(score_title(name), name, name in ("brier", "log_loss", "ece")) for name in SCORES],
        slices=largest_slices(cells, MOST_SLICES),
        slices_from=start_of_scores([cell["balanced_accuracy"] for cell in cells]),
        shortcuts_from=start_of_scores([test["balanced_accuracy"] for test in metrics["shortcuts"] or []]),
        maps=metrics["explanations"] and _map_axes(metrics["explanations"]),
        baseline_titles=BASELINE_TITLES,
        sheets={
            name: {"maps": sheet.maps, "strips": [(data_uri(picture), caption) for picture, caption in sheet.strips]}
            for name, sheet in sheets.items()
        },
        signed=[method.title for method in Method if method.signed and _is_shown(method, sheets)],
    )


def _elsewhere_axes(metrics: Metrics, elsewhere: Sequence[ResultElsewhere]) -> dict[str, Any]:
    """What the section on other data needs in addition to the tests.

    Returns:
        `elsewhere_from`: where its axis of balanced accuracies starts. `drop_rows`: the rows of the drops, and
        `gain_axis`: the end of the axis of what adapting changes; both of a test on other data.
    """
    there: Elsewhere | None = metrics["elsewhere"]
    shown = [*balanced_accuracies(elsewhere), metrics["test"]["scores"]["balanced_accuracy"]]
    if there is None:
        return {"elsewhere_from": start_of_scores(shown)}
    score = there["scores"]["balanced_accuracy"]
    changes = [one["difference"].get("balanced_accuracy") for one in there["adapted"]]
    return {
        "elsewhere_from": start_of_scores([score["home"], score["here"]]),
        "drop_rows": drop_rows(there),
        "gain_axis": end_of_sizes(change for change in changes if change is not None),
    }


def _certainty(caption: Mapping[str, Any]) -> float:
    """The probability of the answer."""
    return max(caption["p_FEMALE"], 1 - caption["p_FEMALE"])


def _strip_alt(caption: Mapping[str, Any]) -> str:
    if "group" in caption:
        return f"Mean image and mean maps of {caption['group']}"
    return f"{caption['path']} and its maps: answered {caption['prediction']}, labelled {caption['label']}"


def _is_shown(method: Method, sheets: Mapping[str, Sheet]) -> bool:
    return any(title.startswith(method.title) for sheet in sheets.values() for title in sheet.maps)


def _reasons(estimates: Iterable[Estimate]) -> list[str]:
    """Why numbers are missing, each reason once."""
    return list(dict.fromkeys(each["remark"] for each in estimates if each["value"] is None and each["remark"]))


def _map_axes(explanations: Explanations) -> dict[str, Any]:
    """What the tables of all methods share.

    Returns:
        `gain`: the axis of gains goes from -gain to gain. `share`: the axis of shares goes from 0 to share. `areas`:
        place -> its share of a uniform map, null if no map has mass. `agreement`: (method, later method) -> Estimate.
        `remarks`: each remark once.
    """
    methods, agreement = explanations["methods"], explanations["agreement"]
    games = [game for method in methods for game in method["games"]]
    places = [place for method in methods for place in method["places"]]
    gains = [gain for game in games for gain in (game["deletion_gain"], game["insertion_gain"])]
    shares = [place["share"] for place in places]
    areas = {place["name"]: place["area"] for place in places if place["area"] is not None}
    stages = [stage for method in methods if method["randomisation"] for stage in method["randomisation"]["stages"]]
    cues = [cue for method in methods for cue in (method["cue"] or {}).values()]
    scores = [score for cue in cues for score in (cue["hit"], cue["mass"])]
    every = [
        *gains,
        *scores,
        *shares,
        *(pair["correlation"] for pair in agreement),
        *(stage["similarity"] for stage in stages),
    ]
    return {
        "gain": end_of_sizes(gains),
        "cue": end_of_sizes(scores, (cue["area"] for cue in cues)),
        "share": end_of_sizes(shares, areas.values()),
        "areas": {name: areas.get(name) for name in PLACES},
        "agreement": {(pair["a"], pair["b"]): pair["correlation"] for pair in agreement},
        "remarks": list(dict.fromkeys(each["remark"] for each in every if each["remark"])),
    }
