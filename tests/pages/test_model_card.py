import itertools
import re
from typing import Any

import pytest
from helpers.example_elsewhere import metrics_elsewhere
from helpers.example_metrics import assert_matches, changed_metrics, example_estimate, example_metrics
from jinja2 import UndefinedError

from gender_cls.config.data import DataConfig, Importer, SplitBy
from gender_cls.config.model import Library, ModelConfig
from gender_cls.config.parsing import to_plain
from gender_cls.config.train import AugmentConfig, Config, RecipeConfig, TrainerConfig
from gender_cls.evaluation.schema import SCORES, Metrics, Slice
from gender_cls.evaluation.wording import stated
from gender_cls.pages.elsewhere import ResultElsewhere
from gender_cls.pages.model_card import render_model_card
from gender_cls.pages.run_findings import run_findings

FLAGS = ("stress", "shortcuts", "identities", "leaky", "nulls")


def config(**sections: Any) -> dict[str, Any]:
    sections = {"data": DataConfig(root="/data/cctv"), "model": ModelConfig(name="mobilenetv2_100")} | sections
    return to_plain(Config(**sections))


def card(metrics: Metrics | None = None, **sections: Any) -> str:
    return render_model_card(example_metrics() if metrics is None else metrics, config(**sections))


def flat(text: str) -> str:
    """Without line breaks, to look for sentences."""
    return " ".join(text.split())


def section(text: str, heading: str) -> str:
    """What stands below a heading, up to the next."""
    return re.split(r"\n#+ ", text.split(f"# {heading}\n", 1)[1])[0]


def table(text: str, first: str) -> list[list[str]]:
    """The cells of the Markdown table with this first heading, without the rule; all rows are equally long."""
    (block,) = (block for block in text.split("\n\n") if block.startswith(f"| {first} "))
    rows = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in block.splitlines()]
    assert len({len(row) for row in rows}) == 1
    return [rows[0], *rows[2:]]


def numbers(value: Any) -> list[float]:
    """All there are in it."""
    if isinstance(value, dict | list):
        return [number for item in (value.values() if isinstance(value, dict) else value) for number in numbers(item)]
    return [value] if isinstance(value, int | float) else []


@pytest.mark.parametrize("flags", list(itertools.product((True, False), repeat=len(FLAGS))))
def test_every_variant_has_all_sections_reads_as_text_and_tells_the_metrics_numbers(flags: tuple[bool, ...]) -> None:
    variant = dict(zip(FLAGS, flags, strict=True)) | {"explanations": flags[1]}
    metrics = example_metrics(**variant)
    assert_matches(metrics, Metrics)
    text = card(metrics)
    assert re.findall(r"^#+ (.*)$", text.replace("\n# model", ""), flags=re.MULTILINE) == [
        *("Model card: timm/mobilenetv2_100", "Model details", "How to load it", "Intended use", "Labels", "Data"),
        *("Results", "Findings", "Decision rule", "What was not measured", "Ethical considerations", "Legal note"),
    ]
    assert not re.search(r"\bNone\b|\bnan\b|\bTrue\b|\bFalse\b|[{}]|\n\n\n| \n| {2,}(?=[^#|\s]).*[a-z]$", text)
    assert all(len(line) <= 120 for line in text.splitlines() if not line.startswith("|"))
    known = {f"{number:.3f}" for number in numbers(metrics)} | set(
        re.findall(r"\d\.\d{3}", metrics["standing"]["sentence"])
    )
    found = set(re.findall(r"(?<![\d.])-?\d+\.\d{3}(?!\d)", text))
    assert len(found) > (3 if variant["nulls"] else 50)
    assert found <= known


@pytest.mark.parametrize(
    ("where", "value"),
    [
        *(("cost.more", 1), ("cost.flops", 1.5), ("cost.device", None), ("model", 1), ("slices.cells.2.few", 1)),
        *(("calibration.temperature", float("nan")), ("test.scores.auroc", 0.9), ("abstention.band", {})),
    ],
)
def test_what_does_not_match_the_schema_is_named(where: str, value: Any) -> None:
    with pytest.raises(AssertionError, match=rf"\b{where.rpartition('.')[2]}\b"):
        assert_matches(changed_metrics({where: value}), Metrics)


def test_times_that_others_disturbed_are_marked() -> None:
    metrics = changed_metrics({"cost.disturbed": "others computed"})
    assert "~14.2 ms one by one, ~6.7 ms" in flat(card(metrics))
    assert "~: other processes computed" in card(metrics)
    assert all(len(line) <= 120 for line in card(metrics).splitlines() if not line.startswith("|"))
    assert "~" not in card()


def test_the_first_lines_say_what_the_score_is_worth_then_what_the_experiment_was() -> None:
    metrics = example_metrics()
    facts = [("dataset", "a|b, in /data/[x]"), ("command", "python -m gender_cls.train data=peta"), ("seed", "0")]
    links = [("leaderboard", "../leaderboard.html"), ("report", "a%20%28b/report.html")]
    text = render_model_card(metrics, config(), facts, links)
    heading, first, *_ = text.split("\n\n")
    assert heading.startswith("# Model card")
    assert flat(first).startswith(f"**{metrics['standing']['sentence']}** ")
    assert "at the threshold 0.5, is 0.801 [0.771, 0.831]" in flat(first)
    assert "[leaderboard](../leaderboard.html), [report](a%20%28b/report.html)." in flat(text)
    assert [row[0] for row in table(text, "What")[1:]] == ["dataset", "seed"]
    assert "\n`python -m gender_cls.train data=peta`\n" in text
    assert table(text, "What")[1][1] == r"a\|b, in /data/[x]"
    assert "Experiment" not in card()


def test_scores_stand_with_their_intervals_by_image_and_by_person() -> None:
    metrics = example_metrics()
    test, people = metrics["test"], metrics["test"]["by_identity"]
    assert people is not None
    people["scores"]["recall_FEMALE"] = example_estimate(0.777)
    text = card(metrics)
    rows = table(text, "Score")
    assert rows[0] == ["Score", "By image", "By person"]
    assert [row[1:] for row in rows[1:]] == [[stated(test["scores"][s]), stated(people["scores"][s])] for s in SCORES]
    assert "818 test images of 216 known people" in flat(text)
    assert "the chance in 216 people" in flat(text)
    assert table(text, "Split")[3] == ["test", "818", "216", "340", "478"]
    assert table(text, "Trivial baseline")[2] == ["the camera alone", "0.701", "100\u202f%"]


@pytest.mark.parametrize("leaky", [False, True])
def test_all_findings_of_the_report_are_told(leaky: bool) -> None:
    metrics = example_metrics(leaky=leaky)
    told = ("\n" + section(card(metrics), "Findings").strip()).split("\n- ")
    worth = metrics["standing"]["sentence"]
    assert flat(worth) in flat(card(metrics).split("## Model details")[0]), "it stands with the score"
    sentences = [finding.sentence for finding in run_findings(metrics)]
    assert [flat(item) for item in told[1:]] == [flat(one) for one in sentences if one != worth]


def test_the_decision_rule_is_told_with_its_numbers() -> None:
    rule = flat(section(card(), "Decision rule"))
    assert "divided by 1.63, fitted on validation." in rule
    assert "calibrated probability of 0.431 on (rule: balanced accuracy), chosen on validation." in rule
    assert "0.826 [0.795, 0.856] on validation, 0.807 [0.777, 0.838] on test." in rule
    assert "At the threshold 0.431, chosen on validation, balanced accuracy is 0.826" in rule
    assert "Abstaining between 0.271 and 0.613. The band was chosen on validation." in rule
    assert "On test: coverage 0.771 [0.741, 0.801], error 0.113 [0.082, 0.144]." in rule
    assert "(lower is better): 0.068 [0.049, 0.087]." in rule


def test_a_leaky_run_says_so_before_anything_else() -> None:
    text = flat(card(example_metrics(leaky=True))).replace("> ", "")
    assert text.startswith("# Model card: timm/mobilenetv2_100 **Leaky.** ")
    for fact in ("12 people", "30 exact copies and 8 near duplicates", "MIT_0042, MIT_0108", "12 % of the test images"):
        assert fact in text.split("A classifier")[0]
    assert "none found" not in text
    assert "Leaky" not in card()
    assert "**Leaks:** none found." in card()


def test_without_known_people_the_card_says_what_that_costs() -> None:
    text = card(example_metrics(identities=False))
    assert "> **People are not known.**" in text
    assert table(text, "Score")[0] == ["Score", "By image"]
    assert "no scores by person" in flat(text)
    assert "Whether people are could not be checked." in flat(text)
    assert "People are not known" not in card()


def test_nulls_are_named_as_not_measured_with_the_reason() -> None:
    text = card(example_metrics(nulls=True))
    assert {cell for row in table(text, "Score")[1:] for cell in row[1:]} == {"not measured (There is only one label)"}
    assert "FLOPs per image: not measured" in flat(text)
    assert "peak memory: not measured." in flat(text)
    assert "**Licence:** not stated." in text
    rule = flat(section(text, "Decision rule"))
    assert "divided by 1.63. There is only one label. - " in rule
    assert "(rule: balanced accuracy). There is only one label." in rule
    assert "an error of at most 0.100. No band: every image is answered. There is only one label." in rule
    assert "No weakest slice is named (There is only one label)." in flat(text)


def test_a_value_without_an_interval_says_why() -> None:
    metrics = example_metrics()
    metrics["test"]["scores"]["auroc"].update(low=None, high=None, remark="There is one person only.")
    assert "| 0.893 (There is one person only) " in card(metrics)


@pytest.mark.parametrize("setting", ["stress=true", "shortcuts=true", "explained_images=100"])
def test_what_was_switched_off_is_not_measured(setting: str) -> None:
    off = card(example_metrics(stress=False, shortcuts=False, explanations=False))
    assert f"`{setting}`" in section(off, "What was not measured")
    assert setting not in card()


def test_names_from_the_data_break_nothing() -> None:
    metrics = example_metrics(leaky=True)
    worst = metrics["slices"]["worst"]
    assert worst is not None
    worst["value"] = metrics["slices"]["cells"][5]["value"] = "n|g\n<b>*x*</b> `a` [b](c) _d_ e_f \\"
    metrics["data"].update(sources=["a|b"], licence="# free\n\n- for all", root="/data/`odd`\nplace")
    metrics["data"]["leaks"]["examples"] = "x\n# y"
    text = card(metrics)
    assert r"native height n\|g &lt;b&gt;\*x\*&lt;/b&gt; \`a\` [b\](c) \_d\_ e_f \\, 0.730" in flat(text)
    assert r"**Sources:** a\|b." in text
    assert r"**Licence:** \# free \- for all." in text
    assert r"Examples: x \# y." in flat(text)
    assert "`` /data/`odd` place ``" in text


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("<script>alert(1)</script>", "&lt;script&gt;alert(1)&lt;/script&gt;"),
        ("&lt;b&gt;", "&amp;lt;b&amp;gt;"),
        ("http://a.b www.c.d", r"http\://a.b www\.c.d"),
        ("~~a~~ $b$", r"\~\~a\~\~ \$b\$"),
        ("a - b + c --- d === 1. e 1) f 12. g -1 -x", r"a \- b \+ c \--- d \=== 1\. e 1\) f 12. g -1 -x"),
        ("red\x1b[31m \u202egnp", r"red\\x1b[31m \\u202egnp"),
    ],
)
def test_a_name_stays_the_text_that_it_is(name: str, shown: str) -> None:
    metrics = example_metrics()
    metrics["data"].update(sources=[name], root=f"/data/{'x' * 90} - y/{name}")
    text = card(metrics)
    assert f"**Sources:** {shown}." in flat(text)
    lines = text.splitlines()
    assert not re.search("[\x00-\x09\x0b-\x1f\u202e]", text)
    assert not [line for line in lines if line.lstrip().startswith("- y")], (
        "a blank in code breaks no line before a dash"
    )
    assert not [line for line in lines if "<script" in line and "`" not in line]


def slice_of(column: str) -> Slice:
    return {**example_metrics()["slices"]["cells"][0], "column": column}


def test_conditions_with_a_slice_are_not_said_to_be_unmeasured() -> None:
    assert "How errors depend on skin tone, age, the direction" in flat(section(card(), "What was not measured"))
    metrics = example_metrics()
    metrics["slices"]["worst"] = None
    metrics["slices"]["cells"] += [slice_of("age_band"), slice_of("view")]
    assert "depend on skin tone, country, season and clothing" in flat(card(metrics))
    metrics["slices"]["cells"] = list(map(slice_of, ("age", "view", "skin_tone", "country", "season", "clothing")))
    assert "How errors depend" not in card(metrics)
    metrics["slices"]["cells"] = [slice_of("image"), slice_of("stage")]  # `age` within a word is no age
    assert "depend on skin tone, age," in flat(card(metrics))


@pytest.mark.parametrize(
    ("sections", "sentence"),
    [
        ({}, "**Started from:** the pretrained weights that timm has for mobilenetv2_100."),
        ({"model": ModelConfig(Library.custom, "custom_cnn", pretrained=False)}, "**Started from:** random weights."),
        ({"model": ModelConfig(name="a", weights="b_c.pth")}, "**Started from:** the weights in `b_c.pth`."),
        ({}, "seed 0; the whole network from the first epoch."),
        ({"recipe": RecipeConfig(frozen_epochs=2)}, "at first the head alone (2 epochs), then the whole network."),
        ({"recipe": RecipeConfig(frozen_epochs=None)}, "the head alone was trained."),
        ({"recipe": RecipeConfig(frozen_epochs=3), "trainer": TrainerConfig(max_epochs=3)}, "0; the head alone was"),
        ({"seed": 7, "trainer": TrainerConfig(max_epochs=3, precision="32-true")}, "precision 32-true, seed 7;"),
        ({}, "Augmentation: none."),
        ({"augment": AugmentConfig(flip=0.5, grey=0.1)}, "Augmentation: `flip=0.5, grey=0.1`."),
        ({"recipe": RecipeConfig(lr=0.5, patience=4)}, "Recipe: `lr=0.5, weight_decay=0.05,"),
        ({"data": DataConfig(csv="m.csv")}, "`/data/cctv`, listed in `m.csv`."),
        ({"data": DataConfig(root="x", importer=Importer.peta)}, "`/data/cctv`, imported as peta."),
        ({"data": DataConfig(split_seed=5)}, "by person (split seed 5), so that people,"),
        ({"data": DataConfig(folds=5, fold=0)}, "Test is fold 0 of 5, counted from 0."),
        ({"data": DataConfig(split_by=SplitBy.camera, leave_out="c_1")}, "Test is the camera c_1."),
        ({"data": DataConfig(val_by=SplitBy.source)}, "Validation is whole sources, which are not trained on."),
        ({"data": DataConfig(image_size=[64, 32])}, "model(crops): resized crops (B, 3, 64, 32) uint8"),
    ],
)
def test_the_configuration_is_told(sections: dict[str, Any], sentence: str) -> None:
    assert sentence in flat(card(**sections))


@pytest.mark.parametrize(
    ("origin", "published", "told"),
    [("given", None, "given with the data."), ("published", "zero_shot", "published with the data (zero_shot).")],
)
def test_splits_that_came_with_the_data_are_told_as_such(origin: str, published: str | None, told: str) -> None:
    data = DataConfig(root="x", importer=Importer.peta, published_split=published)
    text = card(changed_metrics({"data.split_origin": origin}), data=data)
    assert f"- **Split:** {told}" in text
    assert "taken from train" not in text
    text = card(changed_metrics({"data.split_origin": origin, "data.missing_splits": ["val", "test"]}), data=data)
    assert "It has no val and test, so that was taken from train" in flat(text)
    assert "assigned by" not in text


def test_unknown_sources_cameras_and_corrections_are_not_stated() -> None:
    metrics = example_metrics()
    metrics["data"].update(sources=[], cameras=[], corrected_labels={})
    text = card(metrics)
    assert "- **Sources:** not stated.\n- **Cameras:** not stated.\n" in text
    assert "- **Corrected labels:** none.\n" in text
    assert "- Other places and cameras than those of the data.\n" in text
    metrics["data"].update(cameras=["c1"])
    assert "which come from 1 camera." in card(metrics)


def test_the_card_says_what_the_model_is_for_and_what_it_is_not_for() -> None:
    text = flat(card())
    assert text.count("gender identity") == 1
    assert "Not for decisions about a person" in text
    for law in ("Regulation (EU) 2024/1689", "Article 3(40)", "Annex III, point 1(b)", "Article 50(3)"):
        assert law in text


@pytest.mark.parametrize("key", ["licence", "sources", "cameras", "split_origin", "leaks"])
def test_a_missing_fact_stops_the_card(key: str) -> None:
    metrics = example_metrics(leaky=True)
    del metrics["data"][key]
    with pytest.raises((UndefinedError, KeyError), match=key):
        card(metrics)


def test_tests_on_other_data_have_a_line_each_with_their_sentences() -> None:
    results = [
        ResultElsewhere(metrics_elsewhere(name), f"elsewhere/{name}/report.html") for name in ("pa100k", "rap_v1")
    ]
    text = render_model_card(example_metrics(), config(), elsewhere=results)
    heading, first, second = table(text, "Data")
    assert heading == ["Data", "Images", "Balanced accuracy", "Lost", "AUROC", "ECE"]
    scores = ["0.642 [0.622, 0.662]", "0.159 [0.119, 0.199]", "0.741 [0.721, 0.761]", "0.187 [0.167, 0.207]"]
    assert first == ["pa100k", "10,000", *scores]
    assert second == ["rap_v1", "10,000", *scores]
    said, last = (flat(item) for item in section(text, "Elsewhere").split("\n- ")[1:])
    assert said.startswith("**pa100k:** The model does not beat")
    for words in ("Most of it is ranking: no threshold repairs that.", "37 images are left out"):
        assert words in said
    assert last.endswith("More: [report](elsewhere/rap_v1/report.html).")
    assert "which come from 5 cameras, and those under Elsewhere." in flat(section(text, "What was not measured"))
    assert "# Elsewhere" not in card()
