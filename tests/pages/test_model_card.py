import itertools
import re
from typing import Any

import pytest
from helpers.example_metrics import assert_matches, example_estimate, example_metrics
from jinja2 import UndefinedError

from gender_cls.config.data import DataConfig, Importer, SplitBy
from gender_cls.config.model import Library, ModelConfig
from gender_cls.config.parsing import to_plain
from gender_cls.config.train import AugmentConfig, Config, RecipeConfig, TrainerConfig
from gender_cls.evaluation.estimate import Estimate
from gender_cls.evaluation.schema import SCORES, Metrics, Slice
from gender_cls.pages.model_card import render_model_card

VARIANTS = [
    dict(zip(("stress", "shortcuts", "identities", "leaky", "nulls"), flags, strict=True)) | {"explanations": flags[1]}
    for flags in itertools.product((True, False), repeat=5)
]


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


def table(text: str) -> list[list[str]]:
    """The cells of a Markdown table, header first, without the rule; all rows are equally long."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    rows = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]
    assert len({len(row) for row in rows}) == 1
    return [rows[0], *rows[2:]]


def shown(estimate: Estimate) -> str:
    return "{value:.3f} ({low:.3f} to {high:.3f})".format(**estimate)


def numbers(value: Any) -> list[float]:
    """All there are in it."""
    if isinstance(value, dict | list):
        return [number for item in (value.values() if isinstance(value, dict) else value) for number in numbers(item)]
    return [value] if isinstance(value, int | float) else []


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_example_matches_the_schema(variant: dict[str, bool]) -> None:
    assert_matches(example_metrics(**variant), Metrics)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda metrics: metrics.pop("cost"), r"metrics lacks or adds \['cost'\]"),
        (lambda metrics: metrics["cost"].update(more=1), r"metrics.cost lacks or adds \['more'\]"),
        (lambda metrics: metrics["cost"].update(flops=1.5), "metrics.cost.flops is 1.5, not"),
        (lambda metrics: metrics["cost"].update(device=None), "metrics.cost.device is None"),
        (lambda metrics: metrics["data"].update(root=1) or metrics.update(model=1), "metrics.model is 1"),
        (lambda metrics: metrics["slices"]["cells"][2].update(few=1), r"cells\[2\].few is 1"),
        (lambda metrics: metrics["calibration"].update(temperature=float("nan")), "temperature is nan"),
        (lambda metrics: metrics["test"]["scores"].update(auroc=0.9), "metrics.test.scores.auroc is 0.9, not Estimate"),
        (lambda metrics: metrics["abstention"].update(band={}), r"metrics.abstention.band is \{\}, not a list"),
    ],
)
def test_what_does_not_match_the_schema_is_named(change: Any, complaint: str) -> None:
    metrics = example_metrics()
    change(metrics)
    with pytest.raises(AssertionError, match=complaint):
        assert_matches(metrics, Metrics)


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant_has_all_sections_and_reads_as_text(variant: dict[str, bool]) -> None:
    text = card(example_metrics(**variant))
    headings = re.findall(r"^#+ (.*)$", text, flags=re.MULTILINE)
    assert headings == [
        "Model card: timm/mobilenetv2_100",
        "Model details",
        "Intended use",
        "Labels",
        "Data",
        "Split and leak check",
        "Results",
        "Baselines",
        "Calibration",
        "Operating point",
        "Abstention",
        "Slices",
        "Shift between validation and test",
        "Shortcut tests",
        "Stress",
        "What the decisions rest on",
        "What was not measured",
        "Ethical considerations",
        "Legal note",
    ]
    assert not re.search(r"\bNone\b|\bnan\b|\bTrue\b|\bFalse\b|[{}]|\n\n\n| \n| {2,}(?=[^|\s]).*[a-z]$", text)
    assert all(len(line) <= 120 for line in text.splitlines() if not line.startswith("|"))
    assert text.endswith("arXiv:1810.03993.\n")


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_number_with_three_digits_is_in_the_metrics(variant: dict[str, bool]) -> None:
    metrics = example_metrics(**variant)
    known = {f"{number:.3f}" for number in numbers(metrics)}
    found = set(re.findall(r"(?<![\d.])-?\d+\.\d{3}(?!\d)", card(metrics)))
    assert len(found) > (3 if variant["nulls"] else 80)
    assert found <= known


def test_scores_stand_with_their_intervals_by_image_and_by_person() -> None:
    metrics = example_metrics()
    test, people = metrics["test"], metrics["test"]["by_identity"]
    assert people is not None
    people["scores"]["recall_FEMALE"] = example_estimate(0.777)
    results = section(card(metrics), "Results")
    rows = table(results.split("\n\nImages by label")[0])
    assert rows[0] == ["Score", "By image", "By person"]
    assert [row[1:] for row in rows[1:]] == [[shown(test["scores"][s]), shown(people["scores"][s])] for s in SCORES]
    assert "recall FEMALE" in results
    assert "777" in results
    assert ["labelled FEMALE", "249", "91"] in table(results.split("\n\nImages by label")[1])
    assert "818 test images of 216 known people" in flat(results)


def test_slices_stand_with_counts_and_the_few_are_marked() -> None:
    metrics = example_metrics()
    text = section(card(metrics), "Slices")
    rows = table(text)[1:]
    assert len(rows) == len(metrics["slices"]["cells"]) == 14
    assert rows[1][:4] == ["camera", "CAVIAR4REID (few)", "96", "10"]
    assert rows[4][:4] == ["camera", "iLID", "80", "58"]
    assert rows[1][7] == shown(metrics["slices"]["cells"][1]["recall_gap"])
    assert rows[5][0] == "native height"
    assert '"few" marks fewer than 50 people' in flat(text)
    assert "The worst that is not marked is native height 39 to 94: 0.730." in flat(text)


def test_the_other_tables_say_what_the_metrics_say() -> None:
    metrics = example_metrics()
    text = card(metrics)
    assert table(section(text, "Data"))[3] == ["test", "818", "216", "340", "478"]
    assert table(section(text, "Baselines"))[2] == ["the camera alone", "0.701", "100\u202f%"]
    reliability = metrics["calibration"]
    ece = ["ECE", shown(reliability["before"]["ece"]), shown(reliability["after"]["ece"])]
    assert table(section(text, "Calibration"))[3] == ece
    point = metrics["operating_point"]
    recall = [shown(point[split]["recall_MALE"]) for split in ("validation", "test")]  # type: ignore[literal-required]
    assert table(section(text, "Operating point"))[3] == ["recall MALE", *recall]
    accepted = metrics["abstention"]["test"]
    assert accepted is not None
    assert table(section(text, "Abstention"))[2] == ["test", shown(accepted["coverage"]), shown(accepted["error"])]
    shift = table(section(text, "Shift between validation and test"))
    assert shift[1] == ["native height", "Kolmogorov-Smirnov", "0.142", "0.001", "0.006"]
    assert table(section(text, "Shortcut tests"))[1] == ["whole picture", "0.801 (0.771 to 0.831)"]
    assert table(section(text, "Shortcut tests"))[3] == ["background only", "0.610 (0.580 to 0.640)"]
    stress = table(section(text, "Stress"))
    assert stress[0] == ["Corruption", "1", "2", "3", "4", "5", "Mean"]
    assert stress[5] == ["low light with noise", "0.777", "0.733", "0.676", "0.608", "0.531", "0.665"]
    assert "The worst is low light with noise at severity 5 with 0.531." in flat(text)


def test_what_the_decisions_rest_on_is_said_in_words_and_numbers() -> None:
    rests = section(card(), "What the decisions rest on")
    text = flat(rests).replace("\u202f", " ")
    assert text.startswith(
        "Maps of 100 test images of 83 people, for the label that is answered. Saliency and Grad-CAM: taking away first"
    )
    assert "(0.49 [0.46, 0.52] and 0.41 [0.38, 0.44] against 0.58 [0.55, 0.61])" in text
    assert "Saliency has 31, 37 and 32 % of its mass on head, upper and lower body" in text
    assert "not why, and nothing about a person. |" in text
    assert table(rests) == [
        ["Method", "Deletion gain", "Insertion gain", "Head", "Outside the person", "Random weights"],
        [
            "Saliency",
            "0.096 (0.071 to 0.121)",
            "0.058 (0.033 to 0.083)",
            "0.310 (0.280 to 0.340)",
            "0.353 (0.323 to 0.383)",
            "0.180 (0.120 to 0.240)",
        ],
        [
            "Grad-CAM",
            "0.171 (0.146 to 0.196)",
            "0.125 (0.100 to 0.150)",
            "0.240 (0.210 to 0.270)",
            "0.462 (0.432 to 0.492)",
            "0.060 (0.000 to 0.120)",
        ],
    ]


def test_maps_that_were_not_tested_with_random_weights_and_of_the_true_label() -> None:
    metrics = example_metrics(identities=False)
    assert metrics["explanations"] is not None
    metrics["explanations"]["explained_class"] = "true"
    metrics["explanations"]["methods"][0]["randomisation"] = None
    rests = section(card(metrics), "What the decisions rest on")
    assert "Maps of 100 test images, for the label that is true." in flat(rests)
    assert [row[-1] for row in table(rests)[1:]] == ["not measured", "0.060 (0.000 to 0.120)"]
    assert "With all weights random, maps of Grad-CAM change" in flat(rests)


def test_a_leaky_run_says_so_before_anything_else() -> None:
    text = card(example_metrics(leaky=True))
    assert flat(text).startswith(
        "# Model card: timm/mobilenetv2_100 > **Leaky.** 12 people stand in more than one split, and 30 images have an "
        "exact copy in another one (MIT_0042, MIT_0108 > and 10 more). 12 % of the test images show someone"
    )
    assert "none found" not in text
    assert "Leaky" not in card()
    assert "none found. No known person" in flat(card())


def test_without_known_people_the_card_says_what_that_costs() -> None:
    text = card(example_metrics(identities=False))
    assert "> **Nobody is known by name.**" in text
    assert table(section(text, "Results").split("\n\nBy person")[0])[0] == ["Score", "By image"]
    assert "By person: not measured, because nobody is known by name." in text
    assert "fewer than 50 images" in text
    assert "Whether people do could not be checked." in flat(text)
    assert "Nobody is known" not in card()


def test_nulls_are_named_as_not_measured_with_the_reason() -> None:
    text = card(example_metrics(nulls=True))
    rows = table(section(text, "Results").split("\n\nImages by label")[0])
    assert {cell for row in rows[1:] for cell in row[1:]} == {"not measured (There is only one label)"}
    assert "FLOPs not measured;" in flat(text)
    assert "peak memory: not measured." in flat(text)
    assert "**Licence:** not stated." in text
    assert "No baseline could be computed" in text
    assert "a temperature of 1.63. There is only one label. |" in flat(text)
    assert '0.431 on. There is only one label. The rule was "balanced accuracy".' in flat(text)
    assert "Every image is answered. There is only one label. The error asked for was 0.100." in flat(text)
    assert "temperature of 1.63, fitted on validation. |" in flat(card())
    assert '0.431 on, chosen on validation. The rule was "balanced accuracy".' in flat(card())
    assert "No slice is named as the worst (There is only one label)." in flat(text)
    assert table(section(text, "Stress"))[1] == ["low resolution", *["not measured"] * 6]


def test_a_value_without_an_interval_says_why() -> None:
    metrics = example_metrics()
    metrics["test"]["scores"]["auroc"].update(low=None, high=None, remark="There is one person only.")
    assert "| 0.893 (There is one person only) " in card(metrics)


def test_what_was_switched_off_is_not_measured() -> None:
    text = card(example_metrics(stress=False, shortcuts=False, explanations=False))
    maps = section(text, "What the decisions rest on").strip()
    assert maps == "Not measured: evaluate with `explained_images=100`."
    assert section(text, "Stress").strip() == "Not measured: evaluate with `stress=true`."
    assert section(text, "Shortcut tests").strip() == "Not measured: evaluate with `shortcuts=true`."
    for sentence in ("What blur, noise", "How far the answers rest on the background", "Where in the picture"):
        assert sentence in section(text, "What was not measured")
        assert sentence not in card()


@pytest.mark.parametrize(
    ("score", "verdict"),
    [
        (example_estimate(0.801), "The model beats the best baseline (the camera alone, 0.701), which lies below"),
        (example_estimate(0.72), "Whether the model beats the best baseline (the camera alone, 0.701) is open"),
        (example_estimate(0.63), "The model does not beat the best baseline (the camera alone, 0.701)."),
        ({"value": 0.801, "low": None, "high": None, "remark": "One person."}, "cannot be said without an interval."),
        ({"value": None, "low": None, "high": None, "remark": "One label."}, "cannot be said without an interval."),
    ],
)
def test_the_verdict_compares_the_interval_with_the_best_baseline(score: Estimate, verdict: str) -> None:
    metrics = example_metrics()
    metrics["test"]["scores"]["balanced_accuracy"] = score
    text = card(metrics)
    assert verdict in flat(text.split("## Model details")[0])
    assert verdict in flat(section(text, "Baselines"))


def test_names_from_the_data_break_nothing() -> None:
    metrics = example_metrics(leaky=True)
    metrics["slices"]["cells"][0]["value"] = "north|gate\n<b>*x*</b> `a` [b](c) _d_ e_f \\"
    metrics["data"].update(sources=["a|b"], licence="# free\n\n- for all", root="/data/`odd`\nplace")
    metrics["data"]["leaks"]["examples"] = "x\n# y"
    text = card(metrics)
    cell = table(section(text, "Slices"))[1][1]
    assert cell == r"north\|gate \<b>\*x\*\</b> \`a\` \[b\](c) \_d\_ e_f \\ (few)"
    assert r"**Sources:** a\|b." in text
    assert r"**Licence:** \# free - for all." in text
    assert r"(x \# y)" in flat(text)
    assert "`` /data/`odd` place ``" in text


def slice_of(column: str) -> Slice:
    return {**example_metrics()["slices"]["cells"][0], "column": column}


def test_conditions_with_a_slice_are_not_said_to_be_unmeasured() -> None:
    assert "How errors depend on skin tone, age, the direction" in flat(section(card(), "What was not measured"))
    metrics = example_metrics()
    metrics["slices"]["cells"] += [slice_of("age_band"), slice_of("view")]
    assert "depend on skin tone, country, season, clothing: no" in flat(section(card(metrics), "What was not measured"))
    metrics["slices"]["cells"] = [
        slice_of(name) for name in ("age", "view", "skin_tone", "country", "season", "clothing")
    ]
    assert "How errors depend" not in card(metrics)
    metrics["slices"]["cells"] = [slice_of("image"), slice_of("stage")]  # `age` within a word is no age
    assert "depend on skin tone, age," in flat(card(metrics))


def test_abstention_says_whether_test_kept_what_validation_promised() -> None:
    metrics = example_metrics()
    assert "On test that holds within the interval of the error." in flat(card(metrics))
    metrics["abstention"]["reached"] = False
    assert "On test it does not hold: the whole interval of the error lies above." in flat(card(metrics))
    metrics["abstention"]["reached"] = None
    assert "Whether that holds on test was not measured." in flat(card(metrics))


def test_shift_is_named_only_where_there_is_one() -> None:
    metrics = example_metrics()
    assert "Test differs from validation in native height." in flat(card(metrics))
    metrics["shift"]["shifted"] = []
    assert "No column differs significantly" in card(metrics)
    metrics["shift"] = {"columns": [], "shifted": [], "remark": "Validation is empty."}
    assert "Not measured (Validation is empty)." in section(card(metrics), "Shift between validation and test")


def test_no_slices_no_table() -> None:
    metrics = example_metrics()
    metrics["slices"] = {"cells": [], "worst": None, "remark": "There are no columns."}
    assert section(card(metrics), "Slices").strip() == "Not measured (There are no columns)."


@pytest.mark.parametrize(
    ("sections", "sentence"),
    [
        ({}, "**Started from:** the pretrained weights that timm has for mobilenetv2_100."),
        ({"model": ModelConfig(Library.custom, "custom_cnn", pretrained=False)}, "**Started from:** random weights."),
        ({"model": ModelConfig(name="a", weights="b_c.pth")}, "**Started from:** the weights in `b_c.pth`."),
        ({}, "seed 0; the whole network from the first epoch."),
        ({"recipe": RecipeConfig(frozen_epochs=2)}, "at first the head alone (2 epochs), then the whole network."),
        ({"recipe": RecipeConfig(frozen_epochs=None)}, "the head alone was trained."),
        (
            {"recipe": RecipeConfig(frozen_epochs=3), "trainer": TrainerConfig(max_epochs=3, precision="bf16-mixed")},
            "at most 3 epochs, precision bf16-mixed, seed 0; the head alone was trained.",
        ),
        ({"seed": 7, "trainer": TrainerConfig(precision="32-true")}, "precision 32-true, seed 7;"),
        ({}, "Augmentation: none."),
        ({"augment": AugmentConfig(flip=0.5, grey=0.1)}, "Augmentation: `flip=0.5, grey=0.1`."),
        ({"recipe": RecipeConfig(lr=0.5, patience=4)}, "Recipe: `lr=0.5, weight_decay=0.05,"),
        ({"data": DataConfig(csv="m.csv")}, "**Where:** `/data/cctv`, listed in `m.csv`."),
        ({"data": DataConfig(root="x", importer=Importer.peta)}, "**Where:** `/data/cctv`, imported as peta."),
        ({"data": DataConfig(split_seed=5)}, "dealt by identity (split seed 5), so that people,"),
        ({"data": DataConfig(folds=5, fold=0)}, "Test is fold 0 of 5, counted from 0."),
        ({"data": DataConfig(split_by=SplitBy.camera, leave_out="c_1")}, "Test is the camera c_1."),
    ],
)
def test_the_configuration_is_told(sections: dict[str, Any], sentence: str) -> None:
    assert sentence in flat(card(**sections))


def test_splits_that_came_with_the_data_are_not_said_to_be_dealt() -> None:
    metrics = example_metrics()
    metrics["data"]["split_origin"] = "given"
    assert "- **Split:** given with the data." in card(metrics)
    metrics["data"]["split_origin"] = "published"
    text = card(metrics, data=DataConfig(root="x", importer=Importer.peta, published_split="zero_shot"))
    assert "- **Split:** published with the data (zero_shot)." in text
    assert "dealt" not in text


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
    assert "Not for decisions about a person, access control, alerts about individuals, or law enforcement." in text
    assert (
        "how annotators perceived a person's appearance in a picture, not what the person's gender identity is" in text
    )
    for provision in ("Regulation (EU) 2024/1689", "Article 3(40)", "Annex III, point 1(b)", "Article 50(3)"):
        assert provision in text
    assert "depends on the use. This is not legal advice." in text


@pytest.mark.parametrize("key", ["licence", "sources", "cameras", "split_origin", "leaks"])
def test_a_missing_fact_stops_the_card(key: str) -> None:
    metrics = example_metrics(leaky=True)
    del metrics["data"][key]
    with pytest.raises(UndefinedError, match=key):
        card(metrics)
