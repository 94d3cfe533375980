import base64
import re
import xml.etree.ElementTree as ET
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from helpers.example_metrics import example_metrics, predictions
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from scipy.special import expit, logit
from sklearn.metrics import precision_recall_curve, roc_curve

import gender_cls
from gender_cls.drawing.chart_style import PALETTE, chart, charts, figure_image, figure_png
from gender_cls.drawing.learning_curves import learning_figures
from gender_cls.drawing.report_figures import report_figures

NAMES = ["roc", "precision_recall", "probabilities", "reliability", "risk_coverage", "slices", "shortcuts", "stress"]


def figures_of(test: pd.DataFrame | None = None, **changed: Any) -> dict[str, Figure]:
    return report_figures(example_metrics(**changed), predictions() if test is None else test, {})


@pytest.fixture(scope="module")
def figures() -> dict[str, Figure]:
    return figures_of()


def svg_of(figure: Figure) -> str:
    """What the image of a page holds."""
    (content,) = re.findall('src="data:image/svg\\+xml;base64,(.*?)"', figure_image(figure))
    return base64.b64decode(content).decode()


def words_of(figure: Figure) -> list[str]:
    return [" ".join(element.text.split()) for element in ET.fromstring(svg_of(figure)).iter() if element.text]


def test_the_roc_curve_goes_through_the_points_of_scikit_learn(figures: dict[str, Figure]) -> None:
    test, axes = predictions(), figures["roc"].axes[0]
    false, true, _ = roc_curve(test["label"] == "FEMALE", test["p_FEMALE"])
    np.testing.assert_allclose(axes.lines[1].get_xydata(), np.column_stack([false, true]))
    assert axes.get_title(loc="left") == "ROC: AUROC 0.893 [0.863, 0.923]"


def test_the_roc_marks_the_threshold_of_the_headline_and_the_one_that_validation_chose(
    figures: dict[str, Figure],
) -> None:
    test, metrics = predictions(), example_metrics()
    calibrated = expit(logit(test["p_FEMALE"]) / metrics["calibration"]["temperature"])
    female = test["label"] == "FEMALE"
    for mark, threshold in zip(
        figures["roc"].axes[0].lines[2:], (0.5, metrics["operating_point"]["threshold"]), strict=True
    ):
        (point,) = mark.get_xydata()
        assert point.tolist() == [(calibrated >= threshold)[~female].mean(), (calibrated >= threshold)[female].mean()]


def ticks_beyond(axis: Axis) -> list[Text]:
    """Labels beyond the ends of an axis: matplotlib keeps them, but does not draw them."""
    low, high = sorted(axis.get_view_interval())
    return [tick.label1 for tick in axis.get_major_ticks() if not low <= tick.get_loc() <= high]


@pytest.mark.parametrize("perfect", [False, True])
def test_no_text_of_a_chart_lies_over_another_text_or_leaves_the_chart(perfect: bool) -> None:
    test = predictions()
    if perfect:
        test = test.assign(p_FEMALE=(test["label"] == "FEMALE") * 0.98 + 0.01)
    figures = report_figures(example_metrics(), test, {})
    epochs = pd.DataFrame({"epoch": [1, 2], "train_loss": [0.7, 0.6], "val_balanced_accuracy": [0.5, 0.6]})
    for figure in (*figures.values(), *learning_figures(epochs, 2).values()):
        FigureCanvasAgg(figure).draw()
        beyond = {text for axes in figure.axes for axis in (axes.xaxis, axes.yaxis) for text in ticks_beyond(axis)}
        texts = [text for text in figure.findobj(Text) if text.get_text().strip() and text.get_visible()]
        boxes = [(text.get_text(), text.get_window_extent()) for text in texts if text not in beyond]
        for (name, box), (other, other_box) in combinations(boxes, 2):
            assert not box.overlaps(other_box), (name, other)
        for name, box in boxes:
            assert 0 <= box.x0 <= box.x1 <= figure.bbox.width + 1, name


@pytest.mark.parametrize("name", ["roc", "precision_recall", "reliability", "probabilities", "risk_coverage"])
def test_names_of_curves_stand_above_the_chart(figures: dict[str, Figure], name: str) -> None:
    FigureCanvasAgg(figures[name]).draw()
    axes = figures[name].axes[0]
    assert axes.get_legend().get_window_extent().y0 >= axes.get_window_extent().y1


def test_precision_and_recall_are_drawn_for_both_classes(figures: dict[str, Figure]) -> None:
    test, axes = predictions(), figures["precision_recall"].axes[0]
    for line, label in zip((axes.lines[0], axes.lines[2]), ("FEMALE", "MALE"), strict=True):
        precision, recall, _ = precision_recall_curve(test["label"] == label, test[f"p_{label}"])
        assert line.get_color() == PALETTE[label.lower()]
        steps = {tuple(point) for point in np.column_stack([recall, precision]).round(9)}
        assert {tuple(point) for point in line.get_xydata().round(9)} <= steps
        assert len(line.get_xydata()) > 20
    assert [text.get_text() for text in axes.get_legend().get_texts()] == [
        "FEMALE, average precision 0.871 [0.841, 0.901]",
        "MALE, average precision 0.909 [0.879, 0.939]",
    ]


def test_bars_of_probabilities_count_every_image_once_below_its_own_label(figures: dict[str, Figure]) -> None:
    heights = np.array([bar.get_height() for bar in figures["probabilities"].axes[0].patches[:40]])
    labels = predictions()["label"].value_counts()
    assert [heights[heights > 0].sum(), -heights[heights < 0].sum()] == [labels["FEMALE"], labels["MALE"]]


def test_reliability_shows_the_bins_with_images_before_and_after() -> None:
    metrics: Any = example_metrics()
    empty = metrics["calibration"]["after"]["bins"][3]
    empty.update(images=0, probability=None, share={"value": None, "low": None, "high": None, "remark": "Empty."})
    upper, lower = report_figures(metrics, predictions(), {})["reliability"].axes
    for line, when in zip(upper.lines[1:], ("before", "after"), strict=True):
        bins = [one for one in metrics["calibration"][when]["bins"] if one["images"]]
        assert line.get_xydata().tolist() == [[one["probability"], one["share"]["value"]] for one in bins]
    (ranges,) = upper.collections
    ends = [[one["share"]["low"], one["share"]["high"]] for one in bins]
    assert [path.vertices[:, 1].tolist() for path in ranges.get_paths()] == ends
    images = [one["images"] for one in metrics["calibration"]["after"]["bins"]]
    assert [bar.get_height() for bar in lower.patches] == images


def test_risk_and_coverage_have_their_band_their_target_and_the_chosen_point(figures: dict[str, Figure]) -> None:
    axes, points = figures["risk_coverage"].axes[0], example_metrics()["abstention"]["curve"]
    curve, target, point = axes.lines
    assert curve.get_xydata().tolist() == [[one["coverage"], one["error"]] for one in points]
    assert set(target.get_ydata()) == {0.1}
    assert point.get_xydata().tolist() == [[0.771, 0.1127]]
    band = axes.collections[0].get_paths()[0].vertices
    assert {one["low"] for one in points} <= set(band[:, 1])


def test_stress_starts_from_the_clean_score_in_every_panel(figures: dict[str, Figure]) -> None:
    metrics: Any = example_metrics()
    clean = metrics["test"]["scores"]["balanced_accuracy"]["value"]
    for axes, corruption in zip(figures["stress"].axes, metrics["stress"]["corruptions"], strict=True):
        values = [level["balanced_accuracy"]["value"] for level in corruption["severities"]]
        assert axes.get_title(loc="left") == corruption["title"]
        assert axes.lines[-1].get_xydata().tolist() == [[i, v] for i, v in enumerate([clean, *values])]


def test_slices_have_a_row_each_below_their_column_and_few_people_are_hollow(figures: dict[str, Figure]) -> None:
    axes, cells = figures["slices"].axes[0], example_metrics()["slices"]["cells"]
    names = [label.get_text() for label in axes.get_yticklabels()]
    for dot, cell in zip(axes.lines[2:], cells, strict=True):
        ((value, place),) = dot.get_xydata()
        assert (value, names[int(place)]) == (cell["balanced_accuracy"]["value"], cell["value"])
        assert (dot.get_markerfacecolor() == PALETTE["paper"]) == cell["few"]
    assert set(names) - {cell["value"] for cell in cells} == {"camera", "native height", "brightness", "sharpness"}


def test_of_a_column_with_many_values_the_largest_are_drawn() -> None:
    metrics = example_metrics()
    cell = metrics["slices"]["cells"][0]
    metrics["slices"]["cells"] = [{**cell, "value": f"c{i}", "images": i} for i in range(40)]
    names = [
        label.get_text() for label in report_figures(metrics, predictions(), {})["slices"].axes[0].get_yticklabels()
    ]
    assert names == ["camera, the 12 largest of 40", *(f"c{i}" for i in range(28, 40))]


def test_shortcuts_are_drawn_below_the_whole_picture(figures: dict[str, Figure]) -> None:
    axes, metrics = figures["shortcuts"].axes[0], example_metrics()
    names = [label.get_text() for label in axes.get_yticklabels()]
    shortcuts = metrics["shortcuts"] or []
    assert names == ["as recorded", *(one["title"] for one in shortcuts)]
    scores = [metrics["test"]["scores"]["balanced_accuracy"], *(one["balanced_accuracy"] for one in shortcuts)]
    assert [dot.get_xdata()[0] for dot in axes.lines[2:]] == [score["value"] for score in scores]


@pytest.mark.parametrize(
    ("test", "changed", "missing"),
    [
        (None, {}, []),
        (None, {"stress": False, "shortcuts": False}, ["shortcuts", "stress"]),
        (None, {"nulls": True}, ["reliability", "slices", "shortcuts", "stress"]),
        (predictions().query("label == 'MALE'"), {}, ["roc", "precision_recall"]),
        (predictions().iloc[:0], {}, ["roc", "precision_recall", "probabilities"]),
        (predictions().assign(p_FEMALE=np.nan), {}, ["roc", "precision_recall", "probabilities"]),
        (predictions().assign(p_FEMALE=0.5), {}, []),
        (predictions().assign(p_FEMALE=lambda table: table["p_FEMALE"].round()), {}, []),
    ],
)
def test_what_is_not_defined_is_left_out(test: pd.DataFrame | None, changed: Any, missing: list[str]) -> None:
    figures = figures_of(test, **changed)
    assert list(figures) == [name for name in NAMES if name not in missing]
    for name in ("roc", "risk_coverage"):
        if name in figures:
            assert "nan" not in svg_of(figures[name]).lower()


def test_nothing_at_all_gives_no_figure() -> None:
    metrics = example_metrics(nulls=True, stress=False, shortcuts=False)
    metrics["abstention"]["curve"], metrics["slices"]["cells"] = [], []
    assert report_figures(metrics, predictions().iloc[:0], {}) == {}


def test_the_palette_is_the_light_theme_of_the_page() -> None:
    light = (Path(gender_cls.__file__).parent / "pages" / "page.css").read_text().split("@media")[0]
    theme = dict(re.findall(r"--(\w+): (#\w{6});", light))
    assert theme | PALETTE == theme


def test_a_chart_is_an_image_that_runs_nothing_and_is_the_same_each_time(figures: dict[str, Figure]) -> None:
    once, again = (figure_image(figures_of()["roc"]) for _ in range(2))
    assert once == again
    assert 'alt="ROC: AUROC 0.893 [0.863, 0.923]"' in once
    assert "at the threshold 0.431, chosen on validation" in words_of(figures["roc"])
    figure, _ = chart()
    figure.set_label('"><script>')
    assert 'alt="&#34;&gt;&lt;script&gt;"' in figure_image(figure)


def test_names_are_written_as_they_are() -> None:
    metrics = example_metrics()
    names = ["<script>alert(1)", "$x_1$ & $", "bell\x07", "東の門", "a" * 60]
    cell = metrics["slices"]["cells"][0]
    metrics["slices"]["cells"] = [{**cell, "value": name} for name in names]
    figure = report_figures(metrics, predictions(), {})["slices"]
    shown = words_of(figure)
    for name in ("<script>alert(1)", "$x_1$ & $", "bell", "東の門", "a" * 16 + "…" + "a" * 17):
        assert name in shown
    assert figure_png(figure).startswith(b"\x89PNG")


def test_a_chart_is_in_the_house_style_and_several_share_their_axes() -> None:
    figure, grid = charts(4.2, 4.0, 2, 3)
    assert figure.get_size_inches().tolist() == [4.2, 4.0]
    assert not grid[0, 0].spines["top"].get_visible()
    grid[0, 0].set_xlim(3, 4)
    assert grid[1, 2].get_xlim() == (3, 4)
