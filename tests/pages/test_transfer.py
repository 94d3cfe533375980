"""The transfer matrix on the page of a comparison, in Markdown, CSV and the terminal."""

import csv
import json
import re
from typing import Any

import pytest
from helpers.example_comparison import DATASETS, NOT_TESTED, candidate, compared, example_transfer
from helpers.example_metrics import assert_matches
from helpers.example_transfer import cell, left_out_sources, transfer_of
from helpers.html_page import EVIL, Page, assert_runs_and_fetches_nothing, texts_of, with_evil

from gender_cls.evaluation.comparison.transfer_json import Transfer
from gender_cls.pages.compare_page import Surroundings, render_comparison
from gender_cls.pages.comparison_table import to_csv, to_markdown
from gender_cls.pages.on_screen import comparison_on_screen
from gender_cls.pages.transfer_map import transfer_parts
from gender_cls.pages.transfer_table import transfer_markdown
from gender_cls.system import terminal
from gender_cls.system.terminal import show

TEN = [f"dataset_{number}" for number in range(10)]


def comparison_of(transfer: Transfer) -> Any:
    """Its candidates, of which the first two are compared, and one more without a test elsewhere."""
    rows = [candidate(row["candidate"], 0.8, 10.0, model=row["method"]) for row in transfer["rows"]]
    for row in rows[2:]:
        row["compared"] = False
    return compared([*rows, candidate("alone", 0.7, 10.0, compared=False)], transfer=transfer)


def html_of(transfer: Any, title: str = "night") -> str:
    around = Surroundings(title=title, created="2026-11-23T10:00:00+01:00")
    return render_comparison(json.loads(json.dumps(comparison_of(transfer))), around, root=None, thumbnails=0)


def section_of(html: str) -> str:
    return html.split('<section id="transfer">')[1].split("</section>")[0]


def maps_of(html: str) -> list[str]:
    return re.findall(r'<table class="heat">.*?</table>', section_of(html), re.DOTALL)


def squares(table: str) -> list[tuple[str, float, str]]:
    """(class, shade, text) of each cell with a class."""
    found = re.findall(r'<td class="([\w ]+)"(?: style="--shade:([\d.]+)")?[^>]*>(.*?)</td>', table, re.DOTALL)
    return [(kind, float(shade or 0), " ".join(re.sub("<[^>]+>", " ", text).split())) for kind, shade, text in found]


@pytest.fixture(scope="module")
def html() -> str:
    return html_of(example_transfer())


def test_the_examples_are_matrices() -> None:
    for example in (example_transfer(), transfer_of(TEN, ["a", "b"]), left_out_sources()):
        assert_matches(example, Transfer)


def test_each_square_has_its_number_interval_mark_and_shade(html: str) -> None:
    first, macro_f1, auroc = maps_of(html)
    rows = texts_of(first, "tr")
    assert rows[1] == " ".join(DATASETS)
    assert rows[2:6] == [
        "mobilenetv2_100",
        "peta 0.842 0.82 to 0.86 0.731 0.71 to 0.75 0.655 0.64 to 0.68",
        "pa100k 0.702 0.68 to 0.72 0.873 0.85 to 0.89 0.689 0.67 to 0.71",
        "market1501 0.594 † 0.57 to 0.61 0.648 0.63 to 0.67 0.801 0.78 to 0.82",
    ]
    assert rows[7] == "peta 0.871 0.85 to 0.89 0.772 0.75 to 0.79 not tested"
    found = squares(first)
    assert len(found) == 18
    assert [kind for kind, _, _ in found[:9]] == [
        *("home", "elsewhere", "elsewhere"),
        *("elsewhere", "home", "elsewhere"),
        *("elsewhere saw", "elsewhere", "home"),
    ]
    # The scale goes from 0.55 to 0.90.
    assert found[0][1] == pytest.approx((0.842 - 0.55) / 0.35, abs=0.001)
    assert found[6][1] == pytest.approx((0.594 - 0.55) / 0.35, abs=0.001)
    assert "balanced accuracy 0.55 0.90" in Page(html).text
    assert squares(macro_f1)[0][2].startswith("0.829")
    assert squares(auroc)[0][2].startswith("0.903")
    assert 'title="peta: 1,140 images of 820 people, 3 seeds, 17 images left out that the runs had seen"' in first


def test_what_marks_mean_is_said_if_they_are_there(html: str) -> None:
    def legend(transfer: Any) -> list[str]:
        boxes = re.findall(r'<i class="box (\w+)">', html_of(transfer).split("<details")[0] + html_of(transfer))
        return list(dict.fromkeys(boxes))

    assert legend(example_transfer()) == ["home", "saw"]
    assert legend(left_out_sources()) == ["held_out"]
    assert legend(transfer_of(["a", "b"], ["net"])) == ["home"]
    assert section_of(html).count(NOT_TESTED) == 1


def test_held_out_sources_of_a_method_share_a_line() -> None:
    transfer = left_out_sources(("MIT", "iLID"))
    (first, *_) = maps_of(html_of(transfer))
    assert squares(first) == [("held_out", 0.0, "0.700 0.67 to 0.73"), ("held_out", 0.4, "0.720 0.69 to 0.75")]
    assert texts_of(first, "tr")[2].startswith("all others 0.700")
    assert 'title="convnext_tiny all but MIT, convnext_tiny all but iLID"' in first
    assert "“All others”: trained on all sources but that of the column." in Page(html_of(transfer)).text
    assert "| all others | 0.700 [0.670, 0.730] | 0.720 [0.690, 0.750] |" in transfer_markdown(transfer)


def test_a_held_out_source_with_another_test_has_its_own_line() -> None:
    transfer: Any = left_out_sources(("MIT", "iLID"))
    transfer["datasets"].append("peta")
    transfer["rows"][0]["cells"].append(cell("peta", "elsewhere", 0.65))
    (first, *_) = maps_of(html_of(transfer))
    assert texts_of(first, "tr")[2:] == [
        "all but MIT 0.700 0.67 to 0.73 in training 0.650 0.62 to 0.68",
        "all but iLID in training 0.720 0.69 to 0.75 in training",
    ]


def test_methods_and_pairs_have_their_numbers(html: str) -> None:
    rows = texts_of(section_of(html), "tr")
    start = next(place for place, row in enumerate(rows) if row.startswith("method 0.65 0.90"))
    assert rows[start + 1] == (
        "mobilenetv2_100 5 tests elsewhere 0.685 [0.658, 0.712] 0.161 [0.129, 0.193] 0.031 [0.010, 0.052] "
        "0.648 market1501 → pa100k 0.157 0.034"
    )
    assert rows[-1] == (
        "mobilenetv2_100 minus convnext_tiny convnext_tiny is better than mobilenetv2_100 elsewhere by 0.042 [0.018, "
        "0.066], p = 0.002 (Holm). −0.042 [−0.066, −0.018] 0.002"
    )
    parts = transfer_parts(example_transfer())
    low, high = parts["transfer_axis"]
    assert (low, high) == pytest.approx((0.65, 0.9))
    # The dot is the mean elsewhere, 0.685, and the tick the mean at home, 0.846.
    dot, tick = (100 * (value - low) / (high - low) for value in (0.685, 0.846))
    assert f'<u style="left:{tick:.1f}' in section_of(html)
    assert f'<b style="left:{dot:.1f}' in section_of(html)


def test_candidates_have_their_means_elsewhere(html: str) -> None:
    rows = texts_of(html.split('<section id="candidates">')[1].split("</section>")[0], "tr")
    assert rows[0].endswith("AUROC elsewhere drop")
    assert rows[1].endswith("0.861 0.693 [0.670, 0.716] 0.149 [0.120, 0.178]")
    (alone,) = (row for row in rows if "alone" in row and "[0.650, 0.750]" in row)
    (vote,) = (row for row in rows if row.startswith("Soft vote") and "network" in row)
    assert alone.endswith("0.761 – –")
    assert vote.endswith("0.912 – –")


def test_without_tests_elsewhere_nothing_is_said_of_them() -> None:
    plain = compared([candidate("a", 0.8, 10.0)], transfer=None)
    around = Surroundings(title="night", created="2026-11-23T10:00:00+01:00")
    html = render_comparison(plain, around, root=None, thumbnails=0)
    assert not re.search("lsewhere|ransfer", Page(html).text)
    assert 'id="transfer"' not in html
    assert "elsewhere" not in to_markdown(plain, Page)  # type: ignore[arg-type]
    assert "elsewhere" not in to_csv(plain)


@pytest.mark.parametrize("datasets", [1, 2, 10])
def test_any_number_of_datasets_and_candidates_has_a_page(datasets: int) -> None:
    transfer = transfer_of(TEN[:datasets], ["a", "b"]) if datasets > 1 else left_out_sources(("MIT",))
    html = html_of(transfer)
    assert_runs_and_fetches_nothing(Page(html), "data:image/svg+xml;base64,")
    assert len(squares(maps_of(html)[0])) == len(transfer["rows"]) * datasets
    assert len(html) < 700_000


def test_nulls_have_words_and_names_stay_text() -> None:
    nothing = {"value": None, "low": None, "high": None, "remark": "Too few people."}

    def nulled(value: Any) -> Any:
        if isinstance(value, dict):
            return nothing if value.keys() == nothing.keys() else {key: nulled(item) for key, item in value.items()}
        return [nulled(item) for item in value] if isinstance(value, list) else value

    empty: Any = nulled(example_transfer())
    for drop in empty["drops"]:
        drop |= dict.fromkeys(("worst", "worst_trained_on", "cdd", "sd"))
    empty["pairs"][0] |= {"p_value": None, "p_holm": None, "significant": False}
    page = Page(html_of(empty))
    assert page.text.count("no score") == 3 * 17
    assert not re.search(r"\b(nan|inf|Undefined|None|True|False)\b", page.text)
    assert "no score" not in transfer_markdown(empty)
    evil = with_evil(example_transfer(), kept=("kind", "method", "methods", "dataset", "datasets"))
    page = Page(html_of(evil, EVIL))
    assert_runs_and_fetches_nothing(page, "data:image/svg+xml;base64,")
    assert page.text.count(EVIL) > 10


def test_markdown_has_the_matrix_of_each_score(tmp_path: Any) -> None:
    text = to_markdown(comparison_of(example_transfer()), tmp_path)
    assert "| 0.693 [0.670, 0.716] | 0.149 [0.120, 0.178] |" in text
    tables = [part.splitlines() for part in text.split("\n\n") if part.startswith("| method ")]
    for lines in tables:
        assert len({len(line) for line in lines}) == 1, "aligned"
    cells = [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in tables[0]]
    assert cells[0] == ["method", "trained on", *DATASETS]
    assert cells[2][2:] == ["**0.842 [0.822, 0.862]**", "0.731 [0.711, 0.751]", "0.655 [0.635, 0.675]"]
    assert cells[4][2] == "0.594 [0.574, 0.614]†"
    assert cells[5][4] == "–"
    assert [line.count("0.829 [0.805, 0.853]") for line in tables[1][2:3]] == [1]
    assert "0.648, market1501 on pa100k" in text
    assert f"- {NOT_TESTED}\n" in text
    assert "†: it saw images" not in transfer_markdown(transfer_of(["a", "b"], ["net"]))


def test_csv_has_the_means_elsewhere_of_each_candidate() -> None:
    candidates = {
        row["candidate"]: row for row in csv.DictReader(to_csv(comparison_of(example_transfer())).splitlines())
    }
    assert float(candidates["mobilenetv2_100 on peta"]["mean_elsewhere"]) == pytest.approx(0.693)
    assert float(candidates["mobilenetv2_100 on peta"]["mean_drop_high"]) == pytest.approx(0.178)
    assert candidates["alone"]["mean_drop"] == ""


@pytest.mark.parametrize(("columns", "missing"), [(80, 6), (200, 0)])
def test_the_matrix_fits_the_terminal(
    columns: int, missing: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(terminal, "_console", None)
    monkeypatch.setenv("COLUMNS", str(columns))
    show(*comparison_on_screen(comparison_of(transfer_of(TEN, ["convnext_tiny", "mobilenetv2_100"])), "page.html"))
    lines = [line.rstrip() for line in capsys.readouterr().out.split("\n")]
    start = next(place for place, line in enumerate(lines) if line.startswith("Balanced accuracy, trained on"))
    scores = ["0.880*", "0.850", "0.820", "0.790", "0.760", "0.730", "0.700", "0.670", "0.640", "0.610†"]
    assert lines[start + 3].split() == ["convnext_tiny", "dataset_0", *scores[: 10 - missing]]
    assert lines[start].endswith(f"page.html has {missing} more columns." if missing else "not tested.")
    assert max(map(len, lines[start + 1 :])) <= columns
    (method,) = (line for line in lines if line.startswith("convnext_tiny") and "[" in line and "dataset" not in line)
    assert method.split()[1:7] == ["0.748", "[0.718,", "0.777]", "0.110", "[0.070,", "0.150]"]
