import copy
import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.comparing import TABLE, compare, simulated, write_run
from helpers.prediction_tables import answered

from gender_cls.evaluation.comparison.compare_json import Comparison
from gender_cls.pages.comparison_table import ENSEMBLE, MOST_VARIED, to_csv, to_markdown
from gender_cls.runs.run import KILLED


@pytest.fixture
def comparison(tmp_path: Path) -> Comparison:
    rng = np.random.default_rng(0)
    good, poor = simulated(rng, 1.5), simulated(rng, 0.1)
    again = answered(good, np.where(rng.random(len(good)) < 0.02, 1 - good["p_FEMALE"], good["p_FEMALE"]))
    runs = [
        write_run(tmp_path / "0_vit", good, model="vit", state="failed", error="RuntimeError: out of | memory"),
        write_run(tmp_path / "1_custom", poor, model="custom", cost={"flops": None, "peak_memory_bytes": None}),
        write_run(tmp_path / "2_net", good, seed=0),
        write_run(tmp_path / "3_net", again, seed=1),
        write_run(tmp_path / "4_net", good, seed=2, state="running"),
        write_run(tmp_path / "5_leaky", good, model="leaky", leaky=True),
        write_run(tmp_path / "6_other", TABLE, model="other"),
        write_run(tmp_path / "7_twin", good, model="twin|regex"),
    ]
    return compare(*runs)


def table_in(text: str, heading: str) -> list[list[str]]:
    """Cells of the Markdown table with this column, without its rule."""
    (table,) = (part for part in text.split("\n\n") if part.startswith("|") and f" {heading} " in part.splitlines()[0])
    lines = table.splitlines()
    assert len({len(line) for line in lines}) == 1, "aligned"
    rows = [[cell.strip() for cell in line[2:-2].split(" | ")] for line in lines]
    assert set("".join(rows.pop(1))) == {"-"}
    return rows


def markdown(comparison: Comparison, folder: Path = Path("/")) -> str:
    return to_markdown(comparison, folder).replace("\u202f", " ")


def test_markdown_has_candidates_by_validation_score_and_then_the_ensemble(comparison: Comparison) -> None:
    heading, *rows = table_in(markdown(comparison), "validation")
    assert heading == ["candidate", "seeds", "validation", "test [95 %]", "FEMALE", "MALE", "AUROC", "note"]
    titles = [one["title"].replace("|", r"\|") for one in comparison["candidates"]]
    assert [row[0] for row in rows] == [*titles, ENSEMBLE]
    assert {row[0]: row[-1] for row in rows} == {
        **{r"twin\|regex": "", "net": "2 finished, 1 killed", "custom": "chance", "leaky": "LEAKY"},
        **{"other": "chance, other test rows", ENSEMBLE: "4 networks"},
    }


def test_numbers_are_written_for_people(comparison: Comparison) -> None:
    scores, costs = ({row[0]: row for row in table_in(markdown(comparison), name)} for name in ("test", "parameters"))
    found = next(one for one in comparison["candidates"] if one["title"] == "net")
    test, validation = found["test"], found["validation"]
    assert scores["net"][1] == "2"
    assert scores["net"][2] == f"{validation['mean']:.3f} ± {validation['spread']:.3f}"
    assert scores["net"][3] == f"{test['mean']:.3f} [{test['low']:.3f}, {test['high']:.3f}] ± {test['spread']:.3f}"
    assert scores["net"][4:6] == [f"{one['recall']:.3f}" for one in found["recalls"]]
    assert costs["net"][1:6] == ["2.23 M", "400 M", "9.0 / 5.1", "1.12 GiB", "15 min"]
    assert costs["custom"][1:6] == ["2.23 M", "–", "9.0 / 5.1", "–", "15 min"]
    assert costs[ENSEMBLE][1:6] == ["8.92 M", "–", "36.0 / 20.4", "–", "59 min"]


def test_times_that_others_disturbed_are_marked_and_explained(comparison: Comparison) -> None:
    assert "~" not in markdown(comparison)
    changed: Any = copy.deepcopy(comparison)
    changed["candidates"][0]["cost"]["disturbed"] = "others computed"
    [first, second] = [row[3] for row in table_in(markdown(changed), "parameters")[1:3]]
    assert (first, second) == ("~9.0 / ~5.1", "9.0 / 5.1")
    assert "~: other processes" in markdown(changed)
    assert "others computed" in to_csv(changed)


def test_what_varies_has_a_column_each_or_a_table_of_its_own(tmp_path: Path) -> None:
    keys = [f"recipe__k{number}" for number in range(MOST_VARIED + 1)]
    for most in (MOST_VARIED, MOST_VARIED + 1):
        runs = [
            write_run(tmp_path / f"{most}_{value}", TABLE, **dict.fromkeys(keys[:most], value))
            for value in ("x", "y|z")
        ]
        comparison = compare(*runs)
        heading, *rows = table_in(markdown(comparison), "validation")
        shown = [key.replace("__", ".") for key in keys]
        assert heading[: MOST_VARIED + 2] == ["candidate", *shown[:MOST_VARIED], "seeds"]
        assert [row[:2] for row in rows] == [["net #1", "x"], ["net #2", r"y\|z"], [ENSEMBLE, ""]]
        table = csv.DictReader(to_csv(comparison).splitlines())
        assert list(table.fieldnames or [])[: most + 3] == ["candidate", "model", *shown[:most], "state"]
        assert [(row["candidate"], row["model"], row[shown[most - 1]]) for row in table] == [
            ("net #1", "net", "x"),
            ("net #2", "net", "y|z"),
            (ENSEMBLE, "", ""),
        ]
    assert table_in(markdown(comparison), shown[-1])[1] == ["net #1", *["x"] * 5]


def test_pairs_verdict_and_errors_follow(comparison: Comparison) -> None:
    text = markdown(comparison)
    _, *pairs = table_in(text, "pair")
    assert len(pairs) == 3
    verdicts = {row[0].replace(r"\|", "|"): row[3] for row in pairs}
    assert set(verdicts.values()) == {"no significant difference", "net is better", r"twin\|regex is better"}
    for pair in comparison["pairs"]:
        assert (verdicts[f"{pair['a']} - {pair['b']}"] == "no significant difference") is not pair["significant"]
        assert f"{pair['difference']:.3f} [{pair['low']:.3f}, {pair['high']:.3f}]" in text
    assert text.startswith("".join(f"- {sentence}\n" for sentence in comparison["verdict"]))
    assert f":\n\n- 0_vit: RuntimeError: out of | memory\n- 4_net: {KILLED}\n" in text
    for fact in ("160 images", "80 people", "the camera alone, 0.600", "threshold 0.5"):
        assert fact in text


def test_markdown_links_to_reports_from_where_it_is_kept(tmp_path: Path) -> None:
    run = write_run(tmp_path / "sweeps" / "a #1" / "0_net", TABLE)
    for file in (run.report, run.model_card):
        file.write_text("")
    comparison, away = compare(run), tmp_path / "comparisons" / "c"
    assert "- net, 0_net: [report](0_net/report.html), [model card](0_net/MODEL_CARD.md)\n" in markdown(
        comparison, tmp_path / "sweeps" / "a #1"
    )
    assert "[report](../../sweeps/a%20%231/0_net/report.html)" in markdown(comparison, away)
    assert "gallery" not in markdown(comparison, away)


def test_csv_has_everything(comparison: Comparison) -> None:
    rows = {row["candidate"]: row for row in csv.DictReader(to_csv(comparison).splitlines())}
    assert list(rows) == [*(one["title"] for one in comparison["candidates"]), ENSEMBLE]
    net = next(one for one in comparison["candidates"] if one["title"] == "net")
    assert float(rows["net"]["test_balanced_accuracy"]) == net["test"]["mean"]
    assert float(rows["net"]["validation_spread"]) == net["validation"]["spread"]
    assert float(rows["net"]["test_recall_MALE"]) == net["recalls"][1]["recall"]
    expected = {
        "standing": net["standing"]["kind"],
        "seeds": "0 1",
        "folders": "2_net 3_net 4_net",
        "device": "cpu",
        "errors": KILLED,
    }
    assert float(rows["net"]["milliseconds_batch_32_spread_high"]) == net["cost"]["milliseconds_batch_32_spread"][1]
    assert rows["net"] == rows["net"] | expected
    assert rows["custom"]["flops"] == rows[ENSEMBLE]["test_recall_FEMALE"] == ""
    assert (rows["leaky"]["leaky"], rows["leaky"]["compared"]) == ("True", "False")
    assert rows["other"]["rows"] == "other test rows"
    assert float(rows[ENSEMBLE]["test_auroc"]) == comparison["ensemble"]["auroc"]


def test_nothing_finished_is_no_table(tmp_path: Path) -> None:
    comparison = compare(write_run(tmp_path / "0_net", TABLE, state="failed", error="No space."))
    text = markdown(comparison)
    assert "|" not in text
    assert all(f"- {sentence}\n" in text for sentence in comparison["verdict"])
    assert text.endswith(":\n\n- 0_net: No space.\n")
    assert len(to_csv(comparison).splitlines()) == 1


def test_a_model_from_elsewhere_writes_no_formula(tmp_path: Path) -> None:
    comparison = compare(write_run(tmp_path / "a", TABLE, model="=cmd|' /C calc'!A0"))
    assert to_csv(comparison).splitlines()[1].startswith("'=cmd|' /C calc'!A0,")
