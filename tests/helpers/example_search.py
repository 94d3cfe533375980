"""A search's folder as its trials and its finalists leave it, made up."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
from helpers.comparing import write_run

from gender_cls.reports.comparison import write_comparison
from gender_cls.search.space import Choices, Range, Space, space_to_json
from gender_cls.search.study import Search, ranked, read_trials

SPACE: Space = {
    "recipe.lr": Range(1e-4, 1e-2, log=True),
    "recipe.label_smoothing": Range(0.0, 0.2, step=0.05),
    "augment.flip": Choices((0.0, 0.5)),
}


def write_trial(
    sweep: Path, number: int, values: dict[str, Any], scores: Sequence[float], state: str = "finished", **status: Any
) -> None:
    """One trial; `scores` are those of its epochs."""
    folder = sweep / "trials" / f"{number}_net"
    folder.mkdir(parents=True)
    rows = [f"{epoch},{score}\n" for epoch, score in enumerate(scores, 1)]
    (folder / "epochs.csv").write_text("".join(["epoch,val_balanced_accuracy\n", *rows]))
    best = {"best_validation": max(scores)} if state == "finished" else {}
    (folder / "status.json").write_text(
        json.dumps({"state": state, "seconds": 10.0, "values": values, **best, **status})
    )


def write_example(sweep: Path, trials: int = 11, best: int = 2) -> Search:
    """Trials whose score follows from the learning rate alone, one pruned and one failed trial; the best are chosen.

    With 11 trials, 1 is the best (0.9, at 1e-3), then come 3 and 10 (0.896).
    """
    search = Search("balanced_accuracy", "tpe", 0, True, SPACE)
    for number in range(trials):
        place = ((5 * number) % trials) / (trials - 1)  # 0 to 1, in a mixed order
        lr, flip, smoothing = 10 ** (-4 + 2 * place), (0.0, 0.5)[number % 2], 0.05 * (number % 5)
        values = {"recipe.lr": lr, "recipe.label_smoothing": smoothing, "augment.flip": flip}
        write_trial(sweep, number, values, [0.6, 0.9 - (2 * place - 1) ** 2 / 10])
    write_trial(
        sweep, trials, {"recipe.lr": 0.01, "recipe.label_smoothing": 0.0, "augment.flip": 0.0}, [0.55], pruned=1
    )
    why = "The loss is not a number: <b>lower</b> recipe.lr."
    failed = {"recipe.lr": 0.009, "recipe.label_smoothing": 0.0, "augment.flip": 0.5}
    write_trial(sweep, trials + 1, failed, [], state="failed", error=why)
    chosen = ranked(search, read_trials(sweep, search))[:best]
    plain = [{"trial": one.number, "score": one.score, "values": one.values} for one in chosen]
    search = replace(search, chosen=tuple(plain))
    kept = {**vars(search), "space": space_to_json(SPACE), "chosen": plain}
    (sweep / "search.json").write_text(json.dumps(kept))
    return search


def write_finalists(sweep: Path, search: Search, tables: Sequence[Sequence[pd.DataFrame]]) -> None:
    """The jobs of the chosen settings, by place and seed, with their answers, and the leaderboard."""
    runs = []
    for place, (chosen, seeds) in enumerate(zip(search.chosen, tables, strict=True), 1):
        for seed, table in enumerate(seeds, 1):
            settings = {key.replace(".", "__"): value for key, value in chosen["values"].items()}
            folder = sweep / f"{len(runs)}_net_best-{place}_seed-{seed}"
            runs.append(write_run(folder, table, seed=seed, search__finalist=place, **settings))
    write_comparison(sweep, runs, name="leaderboard", resamples=200, thumbnails=0)
