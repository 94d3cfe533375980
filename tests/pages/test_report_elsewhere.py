"""What a run's report says of its tests on other data, and the report of such a test."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from helpers.example_elsewhere import impossible, metrics_elsewhere
from helpers.example_metrics import assert_matches, changed, example_metrics, predictions
from helpers.html_page import EVIL, Page, assert_runs_and_fetches_nothing, texts_of, with_evil

from gender_cls.drawing.report_figures import report_figures
from gender_cls.evaluation.schema import Metrics
from gender_cls.pages.elsewhere import ResultElsewhere, results_elsewhere
from gender_cls.pages.report_page import render_report
from gender_cls.pages.run_findings import run_findings
from gender_cls.runs.run import Run

NOTHING_LEFT_OUT: dict[str, Any] = {**dict.fromkeys(("images", "copies", "near_copies", "people"), 0), "remark": None}
FACTS = [("dataset", "peta, in /data/crops")]


def html_of(metrics: Any, *elsewhere: Any, title: str = "night", **about: Any) -> str:
    """The report of a run with these tests on other data, or of one such test."""
    results = [ResultElsewhere(one, f"elsewhere/{number}/report.html") for number, one in enumerate(elsewhere)]
    about |= {"folder": "outputs/night", "created": "2026-11-22T21:00:00+01:00", "facts": FACTS, "elsewhere": results}
    return render_report(metrics, about.pop("figures", {}), title=title, **about)


def section_of(html: str) -> str:
    return html.split('<section id="elsewhere">')[1].split("</section>")[0]


def rows_of(html: str) -> list[str]:
    return texts_of(section_of(html), "tr")


def headings(html: str) -> list[str]:
    return re.findall(r'<section id="(\w+)"', html)


@pytest.fixture(scope="module")
def home() -> str:
    return html_of(example_metrics(), metrics_elsewhere(), metrics_elsewhere("rap", left_out=NOTHING_LEFT_OUT))


@pytest.fixture(scope="module")
def there() -> str:
    return html_of(metrics_elsewhere(), title="night on pa100k")


def test_the_example_is_a_metrics_file() -> None:
    assert_matches(metrics_elsewhere(adapted=[impossible()]), Metrics)


def test_home_has_a_row_with_its_numbers_for_each_test_and_a_link_to_its_report(home: str) -> None:
    rows = rows_of(home)
    assert rows[0] == "tested on 0.5 1.0 balanced accuracy drop AUROC at 0.43 best threshold* ECE ↓ FEMALE"
    assert rows[1] == (
        "home, its own test split 818 images of 216 people 0.801 [0.771, 0.831] – 0.893 [0.863, 0.923] "
        "0.807 [0.777, 0.838] – 0.029 [0.008, 0.050] 42 %"
    )
    assert rows[2] == (
        "pa100k 10,000 images 0.642 [0.622, 0.662] 0.159 [0.119, 0.199] 0.741 [0.721, 0.761] 0.629 [0.609, 0.649] "
        "0.679 [0.659, 0.700] 0.187 [0.167, 0.207] 50 % [48, 52]"
    )
    assert rows[3].startswith("The model does not beat the best trivial baseline (the camera alone, 0.701)")
    for words in (
        "On pa100k it loses 0.159 [0.119, 0.199] of balanced accuracy.",
        "With BatchNorm of the images here it scores 0.683.",
        "37 images are left out, because the run trained on them or chose by them: 12 exact copies, 5 near copies and "
        "20 of people whom it knows. Who is on 41 images is not known.",
    ):
        assert words in rows[3]
    assert rows[4].startswith("rap 10,000 images")
    assert "left out" not in rows[5]
    assert len(rows) == 6
    assert re.findall('<a href="(.*?)">', section_of(home)) == ["elsewhere/0/report.html", "elsewhere/1/report.html"]
    assert "needs the labels of those images" in section_of(home)


def test_bars_have_the_places_of_their_numbers(home: str, there: str) -> None:
    # The axis goes from 0.5 to 1: 0.6421 [0.6221, 0.6621], and home is 0.8013.
    bar = '<u style="left:60.26%"></u><i style="left:24.42%;width:8.0%"></i><b style="left:28.42%"></b>'
    assert section_of(home).count(bar) == 2
    assert section_of(there).count(bar) == 1
    # On the axis from -0.1 to 0.1: what BatchNorm changes, 0.0412 [0.0262, 0.0562].
    assert '<i style="left:63.1%;width:15.0%"></i><b style="left:70.6%"></b>' in section_of(there)


def test_without_tests_elsewhere_there_is_no_such_section() -> None:
    assert "elsewhere" not in headings(html_of(example_metrics()))
    assert 'href="#elsewhere"' not in html_of(example_metrics())


def test_the_report_of_such_a_test_says_at_once_that_it_is_other_data_and_drop(there: str) -> None:
    page = Page(there)
    assert_runs_and_fetches_nothing(page)
    assert page.text.split("Data and versions ", 1)[1].startswith("Test on other data night on pa100k timm/")
    assert headings(there)[:2] == ["elsewhere", "experiment"]
    assert "balanced accuracy on pa100k, at the threshold 0.5 0.642 [0.622, 0.662]" in page.text
    assert "The images are the test part of pa100k ." in page.text
    assert rows_of(there) == [
        "balanced accuracy 0.5 1.0",
        "at home 0.801 [0.771, 0.831]",
        "on pa100k 0.642 [0.622, 0.662]",
        "home here drop",
        "Answers, at the threshold 0.5",
        "balanced accuracy 0.801 [0.771, 0.831] 0.642 [0.622, 0.662] 0.159 [0.119, 0.199]",
        "macro F1 0.798 [0.768, 0.828] 0.623 [0.603, 0.643] 0.175 [0.135, 0.215]",
        "accuracy 0.813 [0.783, 0.843] 0.652 [0.632, 0.672] 0.161 [0.121, 0.201]",
        "Ranking, which no threshold changes",
        "AUROC 0.893 [0.863, 0.923] 0.741 [0.721, 0.761] 0.152 [0.112, 0.192]",
        "Threshold, balanced accuracy",
        "at the run&#39;s threshold, 0.431 0.807 [0.777, 0.838] 0.629 [0.609, 0.649] 0.179 [0.139, 0.219]",
        "at the best threshold, 0.276 (needs labels) 0.679 [0.659, 0.700]",
        "how far the run&#39;s threshold is below it 0.051 [0.041, 0.061]",
        "Calibration, with the run&#39;s temperature",
        "ECE ↓ 0.029 [0.000, 0.059] 0.187 [0.167, 0.207] 0.158 [0.118, 0.198]",
        "log loss ↓ 0.419 [0.389, 0.449] 0.832 [0.812, 0.852] 0.413 [0.373, 0.453]",
        "Share of FEMALE",
        "of the labels 0.416 [0.386, 0.446] 0.501 [0.481, 0.521]",
        "mean probability 0.313 [0.303, 0.323]",
        "estimated from the answers, without labels 0.402 [0.372, 0.432] 0.457 [0.437, 0.477]",
        "of the labels that it was trained on 0.414",
        "−0.1 0 0.1 balanced accuracy change AUROC, change ECE ↓, change",
        "BatchNorm of the images here 0.683 [0.663, 0.703] +0.041 [+0.026, +0.056] +0.041 [+0.026, +0.056] "
        "−0.041 [−0.056, −0.026]",
        "share of labels from the answers 0.652 [0.632, 0.672] +0.010 [−0.005, +0.025] +0.010 [−0.005, +0.025] "
        "−0.010 [−0.025, +0.005]",
    ]


def test_words_about_the_run_s_own_test_are_not_on_the_report_of_another(there: str) -> None:
    html = html_of(metrics_elsewhere(), figures=report_figures(metrics_elsewhere(), predictions(), {}))
    text = Page(html).text.replace("It knows nothing about any test image.", "")  # a remark in the record
    own = [
        text[max(0, one.start() - 40) : one.end() + 30] for one in re.finditer(r"\b[Oo]n test\b|test images?\b", text)
    ]
    assert own == []
    for words in (
        "10,000 images; who is on them is not known",
        "Scores on pa100k that can be reached without looking at a person",
        "Validation and pa100k",
        "0.817 [0.787, 0.847] on validation, which chose the best epoch, and 0.642 [0.622, 0.662] on pa100k.",
        "To test it, run the same command with stress=true",
        "these images had no part in any choice",
        "SHA-256 of paths and labels",
        "pa100k 10,000 – 5,012 4,988",
    ):
        assert words in text
    assert "manifest" not in text


def test_what_cannot_be_adapted_gets_its_sentence_and_no_numbers() -> None:
    html = html_of(metrics_elsewhere(adapted=[impossible()]))
    assert rows_of(html)[-1] == "none could be done"
    assert section_of(html).count(impossible()["sentence"]) == 1
    assert "Adapted" not in section_of(html_of(metrics_elsewhere(adapted=[])))


def test_the_first_screen_of_a_run_says_where_it_loses_most() -> None:
    def found(*drops: float) -> list[tuple[str, str]]:
        results = []
        for number, drop in enumerate(drops):
            estimate = {"value": drop, "low": drop - 0.04, "high": drop + 0.04, "remark": None}
            one = changed(metrics_elsewhere(f"d{number}"), {"elsewhere.scores.balanced_accuracy.drop": estimate})
            results.append(ResultElsewhere(one, ""))
        return [
            (one.level, one.sentence)
            for one in run_findings(example_metrics(), results)
            if "not trained" in one.sentence
        ]

    assert found() == []
    assert found(0.159) == [
        (
            "warn",
            "On data that it was not trained on, balanced accuracy drops by up to 0.159 [0.119, 0.199] "
            "(d0, 0.642 [0.622, 0.662]).",
        )
    ]
    (level, sentence), *_ = found(0.1, 0.2)
    assert level == "warn"
    assert "0.200 [0.160, 0.240] (d1, 0.642 [0.622, 0.662]); the mean over 2 tests" in sentence
    assert sentence.endswith("on other data is 0.150.")
    (level, sentence), *_ = found(-0.03, 0.01)
    assert level == "note", "its interval reaches 0"
    assert (
        "no drop of balanced accuracy is shown: home minus elsewhere is at most 0.010 [-0.030, 0.050] (d1" in sentence
    )
    assert sentence.endswith("is −0.010.")


def test_nulls_are_dashes_and_no_word_of_the_machine_is_seen() -> None:
    empty = {"value": None, "low": None, "high": None, "remark": "Too few people."}

    def nulled(value: Any) -> Any:
        if isinstance(value, dict):
            return empty if value.keys() == empty.keys() else {key: nulled(item) for key, item in value.items()}
        return value

    record: Any = metrics_elsewhere()
    record["elsewhere"] = nulled(record["elsewhere"])
    record["elsewhere"]["threshold"]["best_threshold"] = None
    for html in (html_of(record), html_of(example_metrics(), record)):
        text = Page(html).text
        assert not re.search(r"\b(nan|inf|Undefined|null|True|False|None)\b", text)
    assert rows_of(html_of(example_metrics(), record))[2] == "pa100k 10,000 images – – – – – – –"
    assert "– Too few people." in Page(html_of(record)).text


@pytest.mark.parametrize("own", [True, False])
def test_names_stay_text(own: bool) -> None:
    kept = ("level", "kind", "rule", "statistic", "method", "part")
    record: Any = metrics_elsewhere()
    record["elsewhere"] = with_evil(record["elsewhere"], kept)
    page = Page(html_of(example_metrics(), record) if own else html_of(record, title=EVIL))
    assert_runs_and_fetches_nothing(page)
    assert page.text.count(EVIL) > 5


def test_results_are_read_by_name_without_those_of_another_version(tmp_path: Path) -> None:
    run = Run(tmp_path)
    for name, version in (("rap #2", 0), ("pa100k", 0), ("old", -1)):
        record: Any = metrics_elsewhere(name)
        folder = run.elsewhere(name)
        folder.folder.mkdir(parents=True)
        folder.metrics_file.write_text(json.dumps(record | {"schema_version": record["schema_version"] + version}))
    found = results_elsewhere(run)
    assert [one.found["name"] for one in found] == ["pa100k", "rap #2"]
    assert [one.report for one in found] == ["elsewhere/pa100k/report.html", "elsewhere/rap%20%232/report.html"]
