import base64
import json
import re
from collections.abc import Mapping
from io import BytesIO
from itertools import pairwise
from typing import Any

import pandas as pd
import pytest
from helpers.example_metrics import changed_metrics, example_metrics, predictions
from helpers.html_page import EVIL, Page, assert_runs_and_fetches_nothing, texts_of, with_evil
from matplotlib.figure import Figure
from PIL import Image

from gender_cls.data.variant_names import CORRUPTIONS
from gender_cls.drawing.learning_curves import learning_figures
from gender_cls.drawing.report_figures import report_figures
from gender_cls.explain.sheets import Sheet
from gender_cls.pages.page import MOST_FINDINGS
from gender_cls.pages.report_page import render_report
from gender_cls.pages.run_findings import run_findings

FACTS = [("dataset", "peta, in /data/crops"), ("command", "python -m gender_cls.train data=peta"), ("seed", "0")]
LINKS = [("leaderboard", "../leaderboard.html"), ("model card", "MODEL_CARD.md"), ("epochs.csv", "epochs.csv")]


def html_of(metrics: Any, figures: Mapping[str, Figure] | None = None, name: str = "night", **about: Any) -> str:
    """The page; its figures take most of the time, so most tests leave them out."""
    about |= {"title": name, "folder": f"outputs/{name}", "created": "2026-11-22T21:00:00+01:00"}
    return render_report(metrics, figures or {}, **about)


def sheet(picture: bytes, name: str = "a.png") -> dict[str, Sheet]:
    """The maps of a mistake and of the mean of a group."""
    caption = {"path": name, "label": "MALE", "prediction": "FEMALE", "p_FEMALE": 0.83}
    group = {"group": name, "images": 12}
    return {
        "most_confident_mistakes": Sheet(["saliency", "Grad-CAM"], [(picture, caption)]),
        "mean_maps_by_camera": Sheet(["saliency", "Grad-CAM"], [(picture, group)]),
    }


def drawn(metrics: Any, test: pd.DataFrame | None = None) -> str:
    return html_of(metrics, report_figures(metrics, predictions() if test is None else test, {}))


def rows_of(html: str, section: str) -> list[str]:
    """The text of each table row of a section."""
    return texts_of(html.split(f'<section id="{section}">')[1].split("</section>")[0], "tr")


@pytest.fixture(scope="module")
def html() -> str:
    return drawn(example_metrics())


def test_the_page_is_one_file_that_fetches_and_runs_nothing(html: str) -> None:
    page = Page(html)
    assert_runs_and_fetches_nothing(page, "data:image/svg+xml;base64,")
    assert len(page.all("img")) == 6
    assert len(html) < 500_000


def test_metrics_read_from_json_give_the_same_page_and_stay_as_they_are() -> None:
    metrics = example_metrics()
    assert html_of(json.loads(json.dumps(metrics))) == html_of(metrics)
    assert metrics == example_metrics()


def test_numbers_are_those_of_the_metrics(html: str) -> None:
    scores = rows_of(html, "scores")
    assert scores[1] == "balanced accuracy 0.801 [0.771, 0.831] 0.838 [0.807, 0.868]"
    assert scores[4] == "AUROC 0.893 [0.863, 0.923] 0.893 [0.863, 0.923]"
    assert scores[16] == "ECE ↓ 0.071 [0.041, 0.101] 0.071 [0.041, 0.101]"
    assert scores[18:20] == ["labelled FEMALE 249 73 % 91 27 %", "labelled MALE 62 13 % 416 87 %"]
    assert scores[21:] == ["labelled FEMALE 76 79 % 20 21 %", "labelled MALE 14 12 % 106 88 %"]
    assert rows_of(html, "baselines")[2] == "the camera alone 0.701"
    assert rows_of(html, "baselines")[-1] == "this model 0.801"
    assert rows_of(html, "calibration")[1].endswith("0.071 [0.050, 0.092] 0.029 [0.008, 0.050]")
    decisions = rows_of(html, "decisions")
    assert decisions[1] == "At the threshold 0.431, chosen on validation"
    assert decisions[2] == "balanced accuracy 0.826 [0.795, 0.856] 0.807 [0.777, 0.838]"
    assert decisions[3] == "recall FEMALE 0.802 [0.772, 0.832] 0.774 [0.744, 0.804]"
    assert decisions[5] == "Abstaining between 0.271 and 0.613"
    assert decisions[6].endswith("78.4 % [75.4, 81.4] 77.1 % [74.1, 80.1]")
    assert decisions[7].endswith("10.0 % [7.3, 12.7] 11.3 % [8.2, 14.4]")
    assert rows_of(html, "slices")[1:4] == [
        "camera",
        "3DPeS 26 people, 90 images, few 0.710 [0.592, 0.828] +0.310",
        "CAVIAR4REID 10 people, 96 images, few 0.660 [0.470, 0.850] −0.120",
    ]
    assert rows_of(html, "shift")[1] == "native height shifted 0.142 KS 0.001 0.006"
    titles = [row["title"] for row in example_metrics()["shortcuts"] or []]
    assert [row.split(" 0.")[0] for row in rows_of(html, "shortcuts")[1:]] == ["as recorded", *titles]
    assert rows_of(html, "stress")[5] == "low light with noise 0.665 0.531 0.165 33 % 50 %"
    assert len(rows_of(html, "stress")) == 1 + len(CORRUPTIONS)
    assert rows_of(html, "data")[3] == "test 818 216 340 478"


def test_bars_have_the_places_of_their_numbers(html: str) -> None:
    slices = html.split('<section id="slices">')[1].split("</section>")[0]
    # The axis goes from 0.4, a tenth below the lowest interval, to 1: 3DPeS has 0.710 [0.5923, 0.8277].
    assert '<i style="left:32.05%;width:39.23%"></i><b style="left:51.67%"></b>' in slices
    assert slices.count('class="interval hollow"') == 3
    assert slices.count('<u style="left:66.88%"></u>') == 14  # 0.8013 of all test


def test_the_text_holds_the_facts_of_the_run(html: str) -> None:
    text = Page(html).text
    for words in (
        "Test report night timm/mobilenetv2_100, 2026-11-22 21:00 Read with care",
        "balanced accuracy on test, at the threshold 0.5 0.801 [0.771, 0.831]",
        "818 test images of 216 people",
        "interval over 216 people",
        "temperature of 1.63",
        "native height 39 to 94 , 0.730.",
        "0.817 [0.787, 0.847] on validation",
        "0.801 [0.771, 0.831] on test",
        "cpu, 2 threads, 32-true.",
        "parameters 2.23 M FLOPs per image 401 M ms per image, one by one 14.2 to 14.8 ms per image, 32 at once",
        "32 at once 6.71 to 6.90",
        "training and validation 14 min peak memory of training 1.40 GiB",
        "validation balanced accuracy, 0.8172 in epoch 7",
        "a78df64af245d55b0ccfe20e22d8d51efa1e142bc5216a2261393291f6c63685",
        "4 FEMALE to MALE , 9 MALE to FEMALE , 2 MALE to unknown",
        "licence research only, with citation (PETA, Deng et al. 2014)",
        "no person and no exact copy in more than one split",
        "torch 2.15.0",
    ):
        assert words.replace(" ,", ",") in text.replace(" ,", ",")
    assert text.count("what annotators saw") == 1


def test_the_heading_is_that_of_the_most_serious_finding() -> None:
    def heading(metrics: Any) -> str:
        return re.findall(r'<div class="verdict">\s*<h2>(.*?)</h2>', html_of(metrics))[0]

    fine: Any = changed_metrics({"shortcuts": None})
    fine["shift"]["shifted"], fine["slices"]["worst"] = [], None
    leaky = example_metrics(leaky=True)
    assert len({heading(fine), heading(example_metrics()), heading(leaky)}) == 3
    worthless = example_metrics()
    worthless["standing"]["level"] = "stop"  # said once, by the sentence next to the score
    assert heading(worthless) == heading(leaky)
    assert html_of(worthless).count(worthless["standing"]["sentence"]) == 1
    text = Page(html_of(leaky)).text
    assert "12 people, 30 exact copies and 8 near duplicates in more than one split , such as MIT_0042, MIT_" in text


def test_what_was_not_measured_says_how_to_measure_it() -> None:
    text = Page(html_of(example_metrics(stress=False, shortcuts=False, explanations=False))).text
    for setting in ("explained_images=100", "stress=true", "shortcuts=true"):
        assert f"python -m gender_cls.evaluate run=outputs/night {setting}" in text


def test_without_people_nothing_is_said_by_person() -> None:
    html = html_of(example_metrics(identities=False))
    text = Page(html).text
    assert "818 test images; who is on them is not known" in text
    assert "by person" not in text.lower()
    assert "interval over 818 images" in text
    assert "fewer than 50 people (here: images)" in text
    assert "as far as people are known" in text
    assert rows_of(html, "slices")[2] == "3DPeS 90 images 0.710 [0.592, 0.828] +0.310"
    assert rows_of(html, "data")[3] == "test 818 – 340 478"


def test_nulls_are_dashes_with_their_reason() -> None:
    html = html_of(example_metrics(nulls=True))
    page = Page(html)
    assert rows_of(html, "scores")[1:4] == ["balanced accuracy – –", "recall FEMALE – –", "recall MALE – –"]
    assert page.text.count("– There is only one label.") == 7
    assert "No band: every image is answered" in page.text
    assert "None could be scored: There is only one label." in page.text
    assert "peak memory of training –" in page.text
    assert "licence not stated" in page.text
    assert {cell["title"] for cell in page.all("td") if "title" in cell} == {"There is only one label."}


def test_no_word_of_the_machine_is_seen(html: str) -> None:
    metrics = example_metrics(nulls=True, stress=False, shortcuts=False, explanations=False)
    metrics["baselines"], metrics["slices"]["cells"], metrics["shift"]["columns"] = [], [], []
    metrics["abstention"]["curve"] = []
    metrics["validation"]["by_identity"] = metrics["test"]["by_identity"] = None
    machine = r"\b(nan|inf|Undefined|null|True|False)\b|\bNone\b(?! could| found)|_FEMALE|_MALE"
    for shown in (html, html_of(example_metrics(nulls=True)), drawn(metrics, predictions().iloc[:0])):
        page = Page(shown)
        values = [value for _, attributes in page.tags for key, value in attributes.items() if key != "src"]
        assert [words for words in (page.text, *values) if re.search(machine, words)] == []


def test_maps_are_shown_by_their_numbers(html: str) -> None:
    rows = rows_of(html, "explanations")
    assert rows[:3] == [
        "−0.2 0 0.2 gain map chance",
        "Saliency",
        "deletion blurred 0.096 [0.071, 0.121] 0.487 [0.457, 0.517] 0.583 [0.553, 0.613]",
    ]
    assert rows[10] == "insertion mean colour 0.113 [0.088, 0.138] 0.674 [0.644, 0.704] 0.561 [0.531, 0.591]"
    assert rows[11:15] == [
        "head upper body lower body outside the person",
        "Saliency 31 % [28, 34] 37 % [34, 40] 32 % [29, 35] 35 % [32, 38]",
        "Grad-CAM 24 % [21, 27] 41 % [38, 44] 35 % [32, 38] 46 % [43, 49]",
        "area 20 % 35 % 45 % 52 %",
    ]
    assert rows[15:18] == [
        "0 90 % hits mass area images",
        "Saliency FEMALE 86 % [83, 89] 31 % [28, 34] 8.1 % 50",
        "Saliency MALE 84 % [81, 87] 28 % [25, 31] 8.1 % 50",
    ]
    assert rows[20:22] == ["Grad-CAM", "saliency 0.32 0.27 to 0.36"]
    assert rows[22:] == [
        "saliency Grad-CAM",
        "the head random from classifier on 0.71 0.65 to 0.77 0.38 0.32 to 0.44",
        "18 % random from conv_head on 0.44 0.38 to 0.50 0.17 0.11 to 0.23",
        "63 % random from blocks.5 on 0.29 0.23 to 0.35 0.09 0.03 to 0.15",
        "all weights random from conv_stem on 0.18 0.12 to 0.24 0.06 0.00 to 0.12",
        "random networks with each other 0.41 0.36 to 0.46 0.25 0.20 to 0.30",
    ]
    # The gain 0.096 [0.071, 0.121] on the axis from -0.2 to 0.2: it begins at 0.271 / 0.4, and the middle is 0.
    bar = '<u style="left:50.0%"></u><i style="left:67.75%;width:12.5%"></i><b style="left:74.0%"></b>'
    assert html.count(bar) == 1
    # On the axis from 0 to 0.6, 0.31 [0.28, 0.34] and the area 0.2.
    assert '<u style="left:33.33%"></u><i style="left:46.67%;width:10.0%"></i><b style="left:51.67%"></b>' in html
    text = Page(html).text
    assert "100 test images of 83 people" in text
    assert "the maps of 16 images" in text


def test_what_is_special_about_a_method_is_said_below_its_numbers() -> None:
    flagged = changed_metrics({"explanations.methods.0.randomisation.flagged": True})
    assert rows_of(html_of(flagged), "explanations")[-1] == "hardly changes"
    remark = "3 of 100 images have no such score and are left out."
    lacking = {f"explanations.methods.{method}.randomisation": None for method in (0, 1)}
    lacking["explanations.methods.0.places.0.share.remark"] = remark
    text = Page(html_of(changed_metrics(lacking))).text
    assert "Not tested with this run's maps." in text
    assert text.count(f"– {remark}") == 1
    assert "hardly changes" not in text


def test_each_image_has_its_maps_in_one_picture_below_their_names() -> None:
    file = BytesIO()
    Image.new("RGB", (8, 4), "red").save(file, "webp")
    html = html_of(example_metrics(), sheets=sheet(file.getvalue()))
    page = Page(html)
    assert [image["src"] for image in page.all("img")] == [
        f"data:image/webp;base64,{base64.b64encode(file.getvalue()).decode()}"
    ] * 2
    assert texts_of(html, "figure") == [
        "input saliency Grad-CAM ✗ FEMALE 83 %, label MALE a.png",
        "mean image saliency Grad-CAM a.png mean of 12 images",
    ]
    assert all("a.png" in alt for alt in page.pictures)
    assert not Page(html_of(example_metrics())).pictures


def test_the_first_screen_has_one_sentence_one_number_and_at_most_five_findings_warnings_first() -> None:
    metrics: Any = example_metrics(leaky=True)
    metrics["problems"] = {"stress": "The disk is full.", "cost": "It is hot."}
    metrics["cost"]["disturbed"] = "others computed"
    html = html_of(metrics)
    assert "Others computed meanwhile. ~: other processes" in Page(html).text
    assert "one by one ~14.2 to 14.8 ms per image, 32 at once ~6.71 to 6.90" in Page(html).text
    header = html.split("<header>")[1].split("</header>")[0]
    assert header.count("<dd>") == 1
    assert metrics["standing"]["sentence"] in header
    first, folded = header.split("<details")
    levels = re.findall(r'<i class="(\w+)">', first)
    assert len(levels) == MOST_FINDINGS == 5
    others = [each for each in run_findings(metrics) if each.sentence != metrics["standing"]["sentence"]]
    every = [finding.level for finding in others]
    assert re.findall(r'<i class="(\w+)">', header) == every
    serious = [level in ("stop", "warn") for level in every]
    assert serious == sorted(serious, reverse=True)
    assert f"{len(every) - 5} more findings" in folded


def test_the_experiment_its_links_and_the_line_for_tensorboard_follow_the_first_screen() -> None:
    html = html_of(example_metrics(), facts=FACTS, links=LINKS, watch="tensorboard --logdir x")
    header, rest = html.split("</header>")
    assert re.findall(r'<a href="([^#].*?)">(.*?)</a>', header) == [(address, name) for name, address in LINKS]
    assert re.findall(r"<section id=.(\w+)", rest)[0] == "experiment"
    assert texts_of(rest, "dl")[0] == " ".join(f"{name} {value}" for name, value in FACTS)
    assert '<code class="copy">tensorboard --logdir x</code>' in rest
    assert "<code>python -m gender_cls.train data=peta</code>" in rest
    assert 'id="experiment"' not in html_of(example_metrics())


def test_learning_curves_are_there_if_the_epochs_are_known() -> None:
    epochs = pd.DataFrame({"epoch": [1, 2], "train_loss": [0.7, 0.6], "val_balanced_accuracy": [0.5, 0.6]})
    html = html_of(example_metrics(), learning_figures(epochs, 2))
    assert Page(html).charts == ["Loss by epoch", "Validation balanced accuracy by epoch"]
    assert "The weights of epoch 7 were tested" in Page(html).text
    assert 'id="learning"' not in html_of(example_metrics())


def test_headings_are_in_order_and_cells_of_tables_have_headers(html: str) -> None:
    levels = [int(level) for level in re.findall(r"<h(\d)", html)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(later <= earlier + 1 for earlier, later in pairwise(levels))
    assert not [attributes for attributes in Page(html).all("th") if "scope" not in attributes]


def test_a_p_value_is_never_zero() -> None:
    metrics = changed_metrics({"shift.columns.0.p_value": 0.0001})
    assert rows_of(html_of(metrics), "shift")[1] == "native height shifted 0.142 KS &lt; 0.001 0.006"


def test_of_a_column_with_many_values_the_largest_are_shown() -> None:
    metrics = example_metrics()
    cell = metrics["slices"]["cells"][0]
    metrics["slices"]["cells"] = [{**cell, "value": f"c{i}", "images": 7} for i in range(99)]
    metrics["slices"]["worst"] = None
    rows = rows_of(html_of(metrics), "slices")
    assert rows[1] == "camera 30 largest of 99; metrics.json has them all"
    assert len(rows) == 2 + 30


@pytest.mark.parametrize("nulls", [False, True])
def test_names_stay_text_everywhere(nulls: bool) -> None:
    kept = ("level", "kind", "rule", "statistic", "baseline", "explained_class", "name", "a", "b")
    metrics = with_evil(example_metrics(nulls=nulls, leaky=not nulls), kept)
    metrics["environment"] = {EVIL: EVIL}
    metrics["data"]["corrected_labels"] = {EVIL: 3}
    figures = report_figures(metrics, predictions(), {})
    about: dict[str, Any] = {"facts": [(EVIL, EVIL), ("command", EVIL)], "links": [(EVIL, "a")], "watch": EVIL}
    page = Page(html_of(metrics, figures, name=EVIL, sheets=sheet(EVIL.encode(), EVIL), **about))
    assert_runs_and_fetches_nothing(page)
    assert page.text.count(EVIL) > 30
