"""Searches whose trainings are a formula, in folders as training leaves them."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gender_cls.config.parsing import parse_config
from gender_cls.config.train import Config

SPACE = {
    "recipe": {
        "lr": {"low": 1e-4, "high": 1e-1, "log": True},
        "weight_decay": {"low": 0.0, "high": 1.0},
        "frozen_epochs": [0, 2, None],
    }
}


def search_config(**search: Any) -> Config:
    """A configuration with a search over three keys, in 6 epochs."""
    search = {"enabled": True, "trials": 16, "space": SPACE, **search}
    written = {"data": {"root": "x"}, "model": {"name": "resnet50"}, "trainer": {"max_epochs": 6}, "search": search}
    return parse_config(written, Config)


def score_of(values: dict[str, Any]) -> float:
    """Best at lr=0.01, weight_decay=0.3 and frozen_epochs=2, where it is 1."""
    penalty = {0: 0.1, 2: 0.0, None: 0.3}[values["recipe.frozen_epochs"]]
    return 1 - abs(math.log10(values["recipe.lr"]) + 2) / 4 - abs(values["recipe.weight_decay"] - 0.3) / 4 - penalty


def write_trial(
    sweep: Path,
    number: int,
    values: dict[str, Any],
    scores: Sequence[float] = (),
    state: str = "finished",
    **status: Any,
) -> Path:
    """The folder of a trial with these scores after its epochs, and their negatives as losses."""
    folder = sweep / "trials" / f"{number}_net"
    folder.mkdir(parents=True, exist_ok=True)
    best = {"best_validation": max(scores)} if state == "finished" else {}
    (folder / "status.json").write_text(json.dumps({"values": values, "state": state, **best, **status}))
    if scores:
        rows = [f"{epoch},{score},{-score}\n" for epoch, score in enumerate(scores, 1)]
        (folder / "epochs.csv").write_text("epoch,val_balanced_accuracy,val_loss\n" + "".join(rows))
    return folder
