"""A model's score is worth the same on every page: report, model card, leaderboard and terminal say one sentence."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from helpers.comparing import simulated, write_run
from helpers.example_metrics import assert_matches, example_metrics
from helpers.html_page import Page
from helpers.prediction_tables import answered

from gender_cls.config.evaluation import EvaluationConfig
from gender_cls.config.parsing import to_plain
from gender_cls.config.train import Config
from gender_cls.evaluation.comparison.compare_runs import compare_runs
from gender_cls.evaluation.conclusions import draw_conclusions
from gender_cls.evaluation.estimate import best_baseline
from gender_cls.evaluation.schema import Metrics
from gender_cls.evaluation.standing import standing_of
from gender_cls.pages.comparison_table import to_markdown
from gender_cls.pages.model_card import render_model_card
from gender_cls.pages.on_screen import run_on_screen
from gender_cls.pages.report_page import render_report
from gender_cls.reports.comparison import write_comparison
from gender_cls.runs.run import Run

RNG = np.random.default_rng(0)
GOOD = simulated(RNG, 1.5)
MODELS = {
    "constant": answered(GOOD, 0.4 * GOOD["p_FEMALE"].to_numpy()),
    "tied": answered(GOOD, np.full(len(GOOD), 0.5)),
    "chance": answered(GOOD, RNG.random(len(GOOD))),
    "useful": GOOD,
}
WORTH = {  # kind, and how its sentence begins
    "constant": ("constant", "The model always answers MALE, so"),
    "tied": ("constant", "The model gives every test image the same probability, so"),
    "chance": ("chance", "The model is no"),
    "useful": ("useful", "The model beats the best trivial baseline (the camera alone, 0.701): "),
}


def evaluated(folder: Path, table: pd.DataFrame) -> Run:
    """A run with the numbers that follow from its answers; the rest is made up."""
    run = write_run(folder, table)
    metrics: Any = example_metrics(stress=False, shortcuts=False, explanations=False)
    settings, no_logits = EvaluationConfig(resamples=200), pd.DataFrame({"path": []})
    metrics |= draw_conclusions(table, no_logits, settings) | {"explanations": None, "model": "timm/net"}
    test = table[table["split"] == "test"]
    score, baseline = metrics["test"]["scores"]["balanced_accuracy"], best_baseline(metrics["baselines"])
    metrics["standing"] = standing_of([test], score, baseline)
    assert_matches(metrics, Metrics)
    run.metrics_file.write_text(json.dumps(metrics))
    return run


def flat(text: str) -> str:
    return " ".join(text.split())


@pytest.mark.parametrize("model", MODELS)
def test_report_card_leaderboard_and_terminal_say_the_same(tmp_path: Path, model: str) -> None:
    run = evaluated(tmp_path / "0_net", MODELS[model])
    metrics: Any = run.metrics
    kind, begin = WORTH[model]
    sentence = metrics["standing"]["sentence"]
    assert metrics["standing"]["kind"] == kind
    assert sentence.startswith(begin)

    about: Any = {"title": "net", "folder": str(run.folder), "created": "2026-01-01T10:00:00+00:00"}
    write_comparison(tmp_path, [run], name="compare", resamples=200, thumbnails=0)
    comparison = compare_runs([run], 200)
    report = Page(render_report(metrics, {}, **about)).text
    places = {
        "report": report,
        "card": render_model_card(metrics, to_plain(Config())),
        "leaderboard": Page((tmp_path / "compare.html").read_text()).text,
        "Markdown of the comparison": to_markdown(comparison, tmp_path),
        "terminal": "\n".join(map(str, run_on_screen(metrics))),
    }
    for place, text in places.items():
        assert sentence in flat(text), place
    assert ("✓" in report) is (kind == "useful"), "a tick is for what is good"

    (row,), first = comparison["candidates"], comparison["verdict"][0]
    assert row["standing"] == metrics["standing"]
    assert row["pareto"] is (kind == "useful")
    assert first.startswith(
        "net is best on validation" if kind == "useful" else "No candidate can be recommended. net: "
    )
