import json
import re
from pathlib import Path
from typing import Any

import pytest
from helpers.example_comparison import (
    FAILED,
    candidate,
    compared,
    example_comparison,
    example_transfer,
    many,
    roc_of,
    unscored,
)
from helpers.example_metrics import assert_matches
from helpers.html_page import EVIL, Page, assert_runs_and_fetches_nothing, draw, with_evil
from matplotlib.text import Text

from gender_cls.drawing.chart_style import PALETTE
from gender_cls.drawing.comparison_figures import CANDIDATE_COLOURS, accuracy_against_cost, roc_overlay
from gender_cls.evaluation.comparison.compare_json import Comparison
from gender_cls.evaluation.comparison.transfer_json import Transfer
from gender_cls.pages.compare_page import Surroundings, render_comparison


def html_of(
    comparison: Any, root: Path | None = None, thumbnails: int = 0, title: str = "night shift", **about: Any
) -> str:
    around = Surroundings(title=title, created="2026-11-23T10:00:00+01:00", **about)
    return render_comparison(json.loads(json.dumps(comparison)), around, root=root, thumbnails=thumbnails)


def page_of(comparison: Any, *about: Any) -> Page:
    return Page(html_of(comparison, *about))


@pytest.fixture(scope="module")
def html() -> str:
    return html_of(example_comparison())


@pytest.fixture(scope="module")
def page(html: str) -> Page:
    return Page(html)


def test_the_examples_are_comparisons() -> None:
    assert_matches(example_comparison(), Comparison)
    assert_matches(many(2), Comparison)
    assert_matches(example_transfer(), Transfer)


@pytest.mark.parametrize("thumbnails", [0, 24])
def test_the_page_is_one_file_that_runs_nothing_and_names_stay_text(tmp_path: Path, thumbnails: int) -> None:
    draw(tmp_path, EVIL)
    record = with_evil(example_comparison(), kept=("state", "level"))
    record["candidates"][0]["repeated"] = [EVIL]
    page = page_of(record, tmp_path, thumbnails, EVIL)
    assert_runs_and_fetches_nothing(page)
    tags = [tag for tag, _ in page.tags]
    assert (tags.count("style"), tags.count("form")) == (1, 0)
    assert page.text.count(EVIL) > 30
    assert set(page.pictures) == ({EVIL} if thumbnails else set())


def test_numbers_are_those_of_the_record(page: Page) -> None:
    for words in (
        "night shift 2026-11-23 10:00 convnext_tiny is the best of 2 candidates on validation. balanced accuracy on",
        "balanced accuracy on test, at the threshold 0.5 0.835 [0.784, 0.885] 818 test images of 206 people.",
        "The 95 % interval covers the chance in the people tested and in training. Its 3 seeds",
        "Its 3 seeds: 0.826 to 0.843.",
        "from 0.55 to 0.90, rings the seeds; the tick is the best trivial baseline (Source, 0.591).",
        "1 convnext_tiny 3 seeds 0.846 ± 0.005 0.835 ± 0.008 [0.784, 0.885] 0.815 325.8 of 400",
        "325.8 of 400 0.855 357.2 of 418 0.895",
        "2 mobilenetv2_100 3 seeds 0.802 ± 0.005 0.791 ± 0.008 [0.741, 0.841] 0.771 308.5 of 400",
        "3 old_net – – – – – It was evaluated by another version.",
        "Soft vote of all compared 6 networks – 0.844 [0.800, 0.881] – – 0.912",
        "ECE 1 convnext_tiny 0.842 0.457 0.023 2 mobilenetv2_100 0.798 0.457 0.023 3 old_net – – –",
        "1 run did not finish and is left out: 1 failed failed There is no model of that name. /sweeps/a/resnet_typo-0",
        "1 convnext_tiny 2.23 M 599 M 170 21.3 1.25 GiB 7 min yes",
        "Soft vote of all compared 91.0 M 599 M 170 29.9 1.25 GiB 7 min –",
        "measured on cpu, 2 threads, float32.",
        "1 convnext_tiny 2 minus mobilenetv2_100 convnext_tiny is better +0.043 [+0.013, +0.073] 0.012 0.059 31 : 17",
        "AUROC of the mean 1 convnext_tiny 0.895 2 mobilenetv2_100 0.852",
        "1 2 1 convnext_tiny · 88.5 2 mobilenetv2_100 88.5 ·",
        "5 test images are wrong for every candidate, 0.6 % of all.",
        "MALE/w0.png MALE, p 0.03, p0 MALE/w1.png MALE, p 0.04, p1",
        "10,000 random ones are tried",
        "which people are in test. They also cover the chance in training.",
    ):
        assert words in page.text


def test_an_interval_in_a_sentence_is_not_broken_in_two() -> None:
    record: Any = example_comparison()
    record["pairs"][0]["verdict"] = "It is better by 0.043 [0.013, 0.073], p = 0.012 (Holm)."
    assert "by 0.043 [0.013,\u00a00.073], p\u00a0=\u00a00.012 (Holm)." in html_of(record)


def test_dots_lines_and_ticks_stand_where_the_numbers_are(page: Page) -> None:
    assert page.pieces[page.pieces.index("0.55") :][:2] == ["0.55", "0.90"]
    dots = [dot["style"] for dot in page.all("b") if "style" in dot]
    lines = [line["style"] for line in page.all("i") if line.get("style", "").startswith("left")]
    ticks = [tick["style"] for tick in page.all("u")]
    assert dots[0] == "left:81.29%"  # (0.8345 - 0.55) / 0.35
    assert lines[0] == "left:67.0%;width:28.57%"  # 0.7845 to 0.8845
    assert ticks == ["left:11.77%", "left:11.77%", "left:50.0%"]  # 0.5912 twice; 0 in the middle of -0.08 to 0.08
    assert dots[-1] == "left:77.06%"  # (0.0433 + 0.08) / 0.16
    assert len(dots) == len(lines) == 4  # two candidates, their vote, their pair


def test_both_charts_are_there_and_have_the_colours_of_the_tables(page: Page) -> None:
    assert page.charts == ["Test balanced accuracy against milliseconds per image", "ROC curves"]
    styles = [mark["style"] for mark in page.all("i") if "candidate" in mark.get("class", "")]
    assert set(styles) == {f"color:{colour}" for colour in CANDIDATE_COLOURS[:2]}


def test_points_of_the_cost_chart_are_those_of_the_record() -> None:
    record = many(10)
    record["candidates"][4]["pareto"] = False
    figure = accuracy_against_cost(record["candidates"], record["ensemble"])
    assert figure is not None
    (axes,) = figure.axes
    found = {tuple(point.get_xydata()[0].round(6)): point.get_color() for point in axes.lines}
    filled = [point for point in axes.lines if point.get_markerfacecolor() == point.get_color()]
    assert len(filled) == 9, "the Pareto set"
    assert found[29.9, 0.8444] == PALETTE["soft"]
    assert found[1.5, 0.89] == CANDIDATE_COLOURS[1]
    assert axes.get_xscale() == "log"
    numbers = {text.get_text(): text.xy for text in axes.texts}
    assert numbers == {str(n + 1): pytest.approx((1.5**n, 0.9 - n / 100)) for n in range(10)}
    lines = [path.vertices.T.tolist() for lines in axes.collections for path in lines.get_paths()]
    assert [[29.9, 29.9], [0.8001, 0.8807]] in lines
    interval, spread = lines[-2:]  # of the first candidate
    assert interval[1] == pytest.approx([0.85, 0.95])
    assert spread == [pytest.approx([0.97, 1.02]), pytest.approx([0.9, 0.9])]


def test_without_a_score_and_a_cost_there_is_no_cost_chart() -> None:
    record = compared([unscored("a"), unscored("b")])
    assert accuracy_against_cost(record["candidates"], None) is None
    assert accuracy_against_cost([], None) is None


@pytest.mark.parametrize(("auroc", "side"), [(0.97, 0.25), (0.9, 0.5), (0.7, 1.0)])
def test_a_roc_chart_is_cut_down_to_the_corner_that_the_curves_pass_through(auroc: float, side: float) -> None:
    figure, shown = roc_overlay([roc_of("a", auroc), roc_of("b", 0.98)])
    assert shown == side
    assert figure.axes[0].get_xlim() == pytest.approx((-0.015 * side, 1.015 * side))
    assert figure.axes[0].get_ylim() == pytest.approx((1 - 1.015 * side, 1 + 0.015 * side))
    last = figure.axes[0].lines[-1]  # the best lies over the others
    assert last.get_xydata().tolist() == roc_of("a", auroc)["points"]


@pytest.mark.parametrize(
    ("difference", "p_holm", "words"),
    [
        (0.01, 0.21, "2 minus net01 no significant difference +0.010 [+0.000, +0.020] 0.210"),
        (0.0, 1.0, "2 minus net01 no significant difference +0.000 [−0.010, +0.010] 1.000"),
        (0.02, 0.04, "2 minus net01 net00 is better +0.020 [+0.010, +0.030] 0.040"),
        (-0.02, 0.0004, "2 minus net01 net01 is better −0.020 [−0.030, −0.010] < 0.001"),
    ],
)
def test_only_significant_differences_name_the_better_one(difference: float, p_holm: float, words: str) -> None:
    record, ends = many(2), {"low": difference - 0.01, "high": difference + 0.01}
    record["pairs"][0].update(difference=difference, p_holm=p_holm, significant=p_holm < 0.05, **ends)
    assert words in page_of(record).text


@pytest.mark.parametrize(
    ("record", "words"),
    [
        (compared([candidate("net", 0.8, 5.0, seeds=1), candidate("b", 0.7, 5.0)]), "with three seeds or more"),
        (many(2) | {"all_wrong": []}, "Each test image is answered correctly"),
        (many(2) | {"agreement": {"candidates": ["net00", "net01"], "shares": [[1.0] * 2] * 2}}, "1 net00 · 100.0 2"),
    ],
)
def test_what_differs_is_said(record: Any, words: str) -> None:
    assert words in page_of(record).text


def test_a_single_run_says_what_is_missing() -> None:
    page = page_of(compared([candidate("net", 0.8, 5.0, seeds=1)]))
    assert "1 net 0.811 0.800 [0.750, 0.850]" in page.text  # no spread
    for words in ("only one candidate", "At least two candidates", "wrong for the candidate", "From three seeds on"):
        assert words in page.text
    assert "Soft vote" not in page.text
    assert len(page.charts) == 2


@pytest.mark.parametrize("rows", [[], [unscored("a"), unscored("b")]])
def test_nothing_finished(rows: list[Any]) -> None:
    unfinished = [FAILED] * bool(rows)
    page = page_of(
        compared(rows, verdict=["There is nothing to compare."], all_wrong=[], roc=[], unfinished=unfinished)
    )
    assert "10:00 There is nothing to compare." in page.text
    assert "There is no pair to compare." in page.text
    assert "No curve can be drawn" in page.text
    assert page.all("img") == []
    assert ("1 run did not finish and is left out: 1 failed failed There is no model" in page.text) == bool(rows)


def test_what_is_null_is_never_shown_as_such() -> None:
    record: Any = many(3)
    first, second, third = record["candidates"]
    remark = {"remark": "There is no MALE image in test."}
    first["test"] = dict.fromkeys(first["test"]) | remark | {"seed_scores": []}
    first.update(dict.fromkeys(("auroc", "log_loss", "ece", "baseline", "pareto", "leaky")))
    first["validation"] = dict.fromkeys(first["validation"])
    second["cost"] = dict.fromkeys(second["cost"])
    third["test"].update(low=None, high=None, remark="There is one person.")
    record["pairs"][0].update(dict.fromkeys(("difference", "low", "high", "p_value", "p_holm")) | remark)
    nothing = {"value": None, "low": None, "high": None, "remark": "One label only."}
    record["ensemble"].update(auroc=None, cost=second["cost"], balanced_accuracy=nothing)
    record.update(baseline=None, roc=[], identities=0)
    html = html_of(record)
    page = Page(html)
    assert re.search(r"\b(None|nan|null|inf)\b", page.text) is None
    assert re.search(r"(None|nan)[%;\"]", html) is None
    assert "1 net00 3 seeds – – 0.880 352 of 400" in page.text
    assert "of 418 – There is no MALE image in test." in page.text
    assert "2 minus net01 There is no MALE image in test. – – 0.059" in page.text
    assert (
        "3 net02 3 seeds 0.891 ± 0.005 0.880 ± 0.008 0.860 344 of 400 0.900 376.2 of 418 0.941 There is one person."
        in page.text
    )
    assert "2 net01 – – – – – – yes" in page.text


def test_what_takes_no_part_is_flagged() -> None:
    apart: Any = {"compared": False, "pareto": None, "repeated": ["/sweeps/a/old"]}
    leaky = candidate("leak", 0.97, 5.0, leaky=True, remark="It is leaky.", **apart)
    other = candidate("other", 0.9, 5.0, rows="other test rows", remark="It saw others.", **apart)
    other["cost"].update(device="cuda, 16-mixed", disturbed="others computed")
    pages = [page_of(compared([candidate("net", 0.8, 5.0), *others])) for others in ([leaky, other], [])]
    with_others, alone = ([image["src"] for image in page.all("img")] for page in pages)
    assert with_others == alone, "the charts show what is compared"
    text = pages[0].text
    assert "2 leak 3 seeds leaky 0.981" in text
    assert "3 other 3 seeds other test rows 0.911" in text
    assert "3 other cuda, 16-mixed 2.23 M 599 M ~40.0 ~5.00" in text
    assert "~: other processes computed" in text
    assert "~" not in pages[1].text
    assert "same settings and seed /sweeps/a/old" in text


def test_many_candidates_stay_readable() -> None:
    record = many(14)
    page = page_of(record)
    assert "The best 8 of 14 by validation are drawn." in page.text
    assert "The best 12 of 14 by validation are shown." in page.text
    assert "78 pairs without net00" in page.text
    assert page.text.count("minus") == 91 + 1  # once in the text above the table
    assert len([cell for cell in page.all("td") if "--shade" in cell.get("style", "")]) == 12 * 11
    assert "no significant difference between net00 and any of the 13 other candidates." in page.text
    dots = [dot.get("style", "") for dot in page.all("i") if "dot" in dot.get("class", "")]
    assert {f"color:{colour}" for colour in CANDIDATE_COLOURS} | {""} == set(dots)
    lines = [line["class"] for line in page.all("i") if line.get("class", "").startswith("line")]
    assert lines == ["line candidate"] * 4 + ["line candidate dashes"] * 4


@pytest.mark.parametrize("rows", [[(1.0, 0.9)] * 20, [(1.01**n, 0.9 - n / 400) for n in range(20)]])
def test_numbers_of_twenty_candidates_do_not_lie_on_each_other(rows: list[tuple[float, float]]) -> None:
    candidates = [candidate(f"net{n}", score, milliseconds) for n, (milliseconds, score) in enumerate(rows)]
    figure = accuracy_against_cost(candidates, None)
    assert figure is not None
    figure.draw_without_rendering()
    boxes = [
        Text.get_window_extent(text).expanded(0.95, 0.85) for text in figure.axes[0].texts
    ]  # of ink, without lines
    assert len(boxes) == 20
    close = [(a, b) for a in range(20) for b in range(a) if boxes[a].overlaps(boxes[b])]
    assert close == []


def test_settings_that_vary_are_columns_and_more_of_them_a_table() -> None:
    record: Any = many(2)
    for row, rate in zip(record["candidates"], ("0.001", "0.01"), strict=True):
        row["varied"] = {"augment": "none", "recipe.lr": rate}
    text = page_of(record).text
    assert "candidate augment recipe.lr validation" in text
    assert "2 net01 3 seeds none 0.01 0.901" in text
    assert "settings that vary" not in text
    for row in record["candidates"]:
        row["varied"] |= {f"data.k{number}": "x" for number in range(3)}
    text = page_of(record).text
    assert "candidate augment recipe.lr data.k0 data.k1 validation" in text
    assert "All 5 settings that vary candidate augment recipe.lr data.k0 data.k1 data.k2 1 net00" in text


def test_only_the_first_findings_are_open_and_warnings_come_first() -> None:
    record: Any = many(3)
    record["cautions"] = [f"Warning {number}." for number in range(5)]
    html = html_of(record)
    first, folded = html.split("4 more findings</summary>")
    assert all(f"Warning {number}." in first for number in range(5))
    assert "The model beats" in folded


def test_seeds_are_rings_on_the_line() -> None:
    row = candidate("net", 0.8, 5.0, seeds=2)
    row["test"]["seed_scores"] = [0.78, 0.82]
    page = page_of(compared([row]))
    assert [ring["style"] for ring in page.all("s")] == ["left:76.67%", "left:90.0%"]  # from 0.55 to 0.85
    assert page.all("em") == [{"style": "left:76.67%;width:13.33%"}]


def test_experiment_links_and_files_are_told() -> None:
    record = compared([candidate("net", 0.8, 5.0, seeds=2), candidate("one", 0.7, 5.0, seeds=1)])
    links = {
        "/sweeps/a/net-0": [("report", "net-0/report.html")],
        "/sweeps/a/net-1": [("report", "../net%231/report.html")],
        "/sweeps/a/one-0": [("report", "one-0/report.html"), ("model card", "one-0/MODEL_CARD.md")],
    }
    facts = [("epochs", "at most 8"), ("command", "python -m gender_cls.train -m model=net,one " + "x=1 " * 10)]
    html = html_of(
        record, links=links, facts=facts, files=[("a b.csv", "a%20b.csv")], tensorboard="tensorboard --logdir sweeps/a"
    )
    page = Page(html)
    addresses = [link["href"] for link in page.all("a") if link["href"][0] != "#"]
    assert addresses == ["a%20b.csv", *(address for found in links.values() for _, address in found)]
    assert "2 reports report net-0 report net-1" in page.text
    for words in (
        "epochs at most 8",
        "command python -m",
        "Curves and maps of every epoch: tensorboard --logdir sweeps/a",
    ):
        assert words in page.text
    assert_runs_and_fetches_nothing(page)


def test_headings_have_their_scope_and_pictures_their_words() -> None:
    record: Any = many(3)
    page = page_of(record)
    assert all(heading.get("scope") for heading in page.all("th"))
    assert all(image["alt"] for image in page.all("img"))


def test_pictures_are_limited_and_what_has_none_is_named(tmp_path: Path) -> None:
    for index in (0, 2, 3):
        draw(tmp_path, f"MALE/w{index}.png", index)
    page = page_of(example_comparison(), tmp_path, 3)
    assert page.pictures == ["MALE/w0.png", "MALE/w2.png"]
    assert "p 0.03 w0.png" in page.text
    assert "MALE/w1.png MALE, p 0.04, p1" in page.text  # it is gone
    assert "2 more are in the JSON file" in page.text
    assert "MALE/w4.png" not in page.text


@pytest.mark.parametrize(("root", "thumbnails"), [(None, 24), (Path("/nowhere"), 3), (Path("/nowhere"), 0)])
def test_without_pictures_the_paths_are_named(root: Path | None, thumbnails: int) -> None:
    page = page_of(example_comparison(), root, thumbnails)
    assert page.pictures == []
    assert [f"MALE/w{index}.png" in page.pieces for index in range(5)] == [True] * 5
    assert "more are in the JSON file" not in page.text
