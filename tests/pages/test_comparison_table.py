import csv
from pathlib import Path

import numpy as np
import pytest
from helpers.comparing import TABLE, compare, simulated, write_run
from helpers.prediction_tables import answered

from gender_cls.evaluation.comparison.compare_json import Comparison, MeanScore
from gender_cls.pages.comparison_table import to_csv, to_markdown
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


def table_in(text: str, number: int) -> list[list[str]]:
    """Cells of a Markdown table, without its rule."""
    lines = [line for line in text.split("\n\n")[number].splitlines() if line.startswith("|")]
    assert len({len(line) for line in lines}) == 1, "aligned"
    rows = [[cell.strip() for cell in line[2:-2].split(" | ")] for line in lines]
    assert set("".join(rows.pop(1))) == {"-"}
    return rows


def test_markdown_has_candidates_by_validation_score_and_then_the_ensemble(comparison: Comparison) -> None:
    heading, *rows = table_in(to_markdown(comparison), 0)
    assert heading[:5] == ["model", "seeds", "val bal. acc.", "test bal. acc. [95 %]", "AUROC"]
    titles = [one["title"].replace("|", r"\|") for one in comparison["candidates"]]
    assert [row[0] for row in rows] == [*titles, "soft-vote ensemble"]
    assert {row[0]: row[-1] for row in rows} == {
        **{r"twin\|regex": "", "net": "2 finished, 1 killed", "custom": "", "leaky": "LEAKY"},
        **{"other": "other test rows", "vit": "failed", "soft-vote ensemble": "4 networks"},
    }
    assert rows[-2][0] == "vit"
    assert set("".join(rows[-2][2:-1])) == set("– /")


def test_numbers_are_written_for_people(comparison: Comparison) -> None:
    cells = {row[0]: row for row in table_in(to_markdown(comparison).replace("\u202f", " "), 0)}
    found = next(one for one in comparison["candidates"] if one["title"] == "net")
    test, validation = found["test"], found["validation"]
    assert cells["net"][1] == "2"
    assert cells["net"][2] == f"{validation['mean']:.3f} ± {validation['spread']:.3f}"
    assert cells["net"][3] == f"{test['mean']:.3f} [{test['low']:.3f}, {test['high']:.3f}] ± {test['spread']:.3f}"
    assert cells["net"][5:10] == ["2.23 M", "400 M", "9.0 / 5.1", "1.12 GiB", "15 min"]
    assert cells["custom"][5:10] == ["2.23 M", "–", "9.0 / 5.1", "–", "15 min"]
    assert cells["soft-vote ensemble"][5:10] == ["8.92 M", "–", "36.0 / 20.4", "–", "59 min"]
    for one in comparison["candidates"]:
        one["validation"] = MeanScore(mean=0.8, spread=0.01)
    table = [line for line in to_markdown(comparison).splitlines() if line.startswith("|")]
    assert max(map(len, table)) <= 170, "it fits a terminal"


def test_pairs_verdict_and_errors_follow(comparison: Comparison) -> None:
    text = to_markdown(comparison)
    _, *pairs = table_in(text, 2)
    assert len(pairs) == 3
    verdicts = {row[0].replace(r"\|", "|"): row[3] for row in pairs}
    assert set(verdicts.values()) == {"no significant difference", "net is better", r"twin\|regex is better"}
    for pair in comparison["pairs"]:
        assert (verdicts[f"{pair['a']} - {pair['b']}"] == "no significant difference") is not pair["significant"]
        assert f"{pair['difference']:.3f} [{pair['low']:.3f}, {pair['high']:.3f}]" in text
    for sentence in comparison["verdict"]:
        assert f"\n- {sentence}\n" in text
    assert text.endswith(f":\n\n- 4_net: {KILLED}\n- 0_vit: RuntimeError: out of | memory\n")
    for fact in ("160 images", "80 people", "the camera alone, 0.600"):
        assert fact in text


def test_csv_has_everything(comparison: Comparison) -> None:
    rows = {row["model"]: row for row in csv.DictReader(to_csv(comparison).splitlines())}
    assert list(rows) == [*(one["title"] for one in comparison["candidates"]), "soft-vote ensemble"]
    net = next(one for one in comparison["candidates"] if one["title"] == "net")
    assert float(rows["net"]["test_balanced_accuracy"]) == net["test"]["mean"]
    assert float(rows["net"]["val_spread"]) == net["validation"]["spread"]
    assert float(rows["net"]["milliseconds_batch_32_spread_high"]) == net["cost"]["milliseconds_batch_32_spread"][1]
    expected = {"standing": net["standing"]["kind"], "seeds": "0 1", "folders": "2_net 3_net 4_net", "device": "cpu"}
    assert rows["net"] == rows["net"] | expected
    assert rows["vit"]["errors"] == "RuntimeError: out of | memory"
    assert rows["vit"]["test_balanced_accuracy"] == rows["custom"]["flops"] == ""
    assert (rows["leaky"]["leaky"], rows["leaky"]["compared"]) == ("True", "False")
    assert rows["other"]["rows"] == "other test rows"
    assert float(rows["soft-vote ensemble"]["test_auroc"]) == comparison["ensemble"]["auroc"]


def test_nothing_finished_is_a_table_without_numbers(tmp_path: Path) -> None:
    comparison = compare(write_run(tmp_path / "0_net", TABLE, state="failed", error="No space."))
    text = to_markdown(comparison)
    cells = table_in(text, 0)[1]
    assert cells[:2] + cells[-1:] == ["net", "0", "failed"]
    assert not any(character.isdigit() for character in "".join(cells[2:]))
    assert all(f"- {sentence}\n" in text for sentence in comparison["verdict"])
    assert text.endswith(":\n\n- 0_net: No space.\n")
    assert to_csv(comparison).splitlines()[1].startswith("net,failed,,False,No seed has finished.,")
    assert "- There are no runs.\n" in to_markdown(compare())
    assert len(to_csv(compare()).splitlines()) == 1


def test_a_model_from_elsewhere_writes_no_formula(tmp_path: Path) -> None:
    comparison = compare(write_run(tmp_path / "a", TABLE, model="=cmd|' /C calc'!A0"))
    assert to_csv(comparison).splitlines()[1].startswith("'=cmd|' /C calc'!A0,finished,")
