"""A search as its folder tells it: what it looks for (`search.json`), its trials, and both as a study of Optuna.

A trial's folder is its only record, as for every run, so nothing can disagree with it after a kill: `status.json` holds
the values, how it ended and its score, `epochs.csv` the score of every epoch. Each trial writes into its own folder
only, so trials may run on several machines whose disk has no locks.
"""

import csv
import json
import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gender_cls.config.train import Config
from gender_cls.errors import GenderClsError
from gender_cls.runs.files import read_json, write_atomically
from gender_cls.runs.run import TRIALS, Run
from gender_cls.search.space import Space, read_space, space_from_json, space_to_json
from gender_cls.system.extras import import_extra

if TYPE_CHECKING:
    import pandas as pd
    from optuna import Study

COMPLETE, PRUNED, FAILED, UNFINISHED = "complete", "pruned", "failed", "unfinished"
"""States of a trial."""


@dataclass(frozen=True)
class Trial:
    """One training of a search."""

    number: int  # from 0
    folder: Path
    state: str
    values: dict[str, Any] = field(default_factory=dict)  # by dotted key
    score: float | None = None  # the best on validation, until now if it has not ended
    scores: tuple[float, ...] = ()  # on validation after each epoch
    seconds: float | None = None
    reason: str | None = None  # why it failed


@dataclass(frozen=True)
class Search:
    """What a search looks for and how, and what it chose in the end."""

    monitor: str  # the validation metric
    sampler: str
    seed: int
    prune: bool
    space: Space
    chosen: tuple[dict[str, Any], ...] = ()  # the best first, each with `trial`, `score` and `values`
    chosen_with: dict[str, int] = field(default_factory=dict)  # `trials`, `best` and `seeds` of the configuration then

    @property
    def title(self) -> str:
        """The metric's name in text."""
        return self.monitor.replace("_", " ")

    @property
    def minimises(self) -> bool:
        """Whether a lower score is better."""
        return self.monitor == "loss"


def search_of(config: Config) -> Search:
    """What a configuration asks for; GenderClsError if its space is not valid."""
    search = config.search
    return Search(config.recipe.monitor, search.sampler, search.seed, search.prune, read_space(config))


def search_file(sweep: Path) -> Path:
    """Where a search keeps what it looks for."""
    return sweep / "search.json"


def keep_search(search: Search, sweep: Path) -> None:
    """Write `search.json` for the jobs, which may run elsewhere, and for a later start."""
    kept = {**vars(search), "space": space_to_json(search.space), "chosen": list(search.chosen)}
    write_atomically(search_file(sweep), json.dumps(kept, indent=2) + "\n")


def read_search(sweep: Path) -> Search | None:
    """The search in a sweep's folder, or None if there is none; GenderClsError if its file is damaged."""
    kept = read_json(search_file(sweep))
    if not kept:
        return None
    try:
        chosen = tuple(
            {"trial": one["trial"], "score": one["score"], "values": one["values"]} for one in kept["chosen"]
        )
        return Search(**{**kept, "space": space_from_json(kept["space"]), "chosen": chosen})
    except (KeyError, TypeError, AttributeError):
        raise GenderClsError(f"{search_file(sweep)} is not the file of a search: restore it.") from None


def read_trials(sweep: Path, search: Search) -> list[Trial]:
    """All trials that have begun, in the order of their numbers."""
    folders = [file.parent for file in (sweep / TRIALS).glob("*/status.json")]
    return sorted((_read_trial(Run(folder), search) for folder in folders), key=lambda trial: trial.number)


def _read_trial(run: Run, search: Search) -> Trial:
    status = run.status
    scores = _scores(run.epochs, f"val_{search.monitor}")
    best = (min if search.minimises else max)(scores, default=None)
    state, reason = UNFINISHED, None
    if run.finished:
        state = PRUNED if status.get("pruned") else COMPLETE
    elif status.get("state") == "failed":
        state, reason = FAILED, str(status.get("error"))
    return Trial(
        number=int(run.folder.name.partition("_")[0]),
        folder=run.folder,
        state=state,
        values=status.get("values", {}),
        score=status.get("best_validation", best),
        scores=scores,
        seconds=status.get("seconds"),
        reason=reason,
    )


def _scores(epochs: Path, column: str) -> tuple[float, ...]:
    """A column of `epochs.csv`; nothing before the first epoch has ended."""
    if not epochs.is_file():
        return ()
    with epochs.open(encoding="utf-8", newline="") as file:
        return tuple(float(row[column] or math.nan) for row in csv.DictReader(file))


def ranked(search: Search, trials: Sequence[Trial]) -> list[Trial]:
    """The complete trials, the best first; of equal ones the earlier."""
    complete = [(trial, trial.score) for trial in trials if trial.state == COMPLETE and trial.score is not None]
    valued = [(trial, score) for trial, score in complete if math.isfinite(score)]
    return [trial for trial, _ in sorted(valued, key=lambda one: one[1] if search.minimises else -one[1])]


def trials_table(search: Search, trials: Sequence[Trial]) -> "pd.DataFrame":
    """One row per trial: number, state, score, a column for each key of the space, epochs, seconds, folder, reason."""
    import pandas as pd

    rows = [
        {
            "number": trial.number,
            "state": trial.state,
            "score": trial.score,
            **{key: written(trial.values[key]) for key in search.space if key in trial.values},
            "epochs": len(trial.scores),
            "seconds": trial.seconds,
            "folder": f"{TRIALS}/{trial.folder.name}",
            "reason": trial.reason,
        }
        for trial in trials
    ]
    columns = ["number", "state", "score", *search.space, "epochs", "seconds", "folder", "reason"]
    return pd.DataFrame(rows, columns=columns, dtype=object)


def written(value: Any) -> Any:
    """A value as in an override: `null`, `true`, `[256, 128]`."""
    return value if isinstance(value, int | float | str) and not isinstance(value, bool) else json.dumps(value)


def write_trials(sweep: Path, search: Search, trials: Sequence[Trial]) -> None:
    """Write `search.csv`."""
    from gender_cls.data.csv_text import csv_text

    write_atomically(sweep / "search.csv", csv_text(trials_table(search, trials)))


def import_optuna() -> Any:
    """Import Optuna, whose messages then go into the log; GenderClsError if it is not installed."""
    optuna = import_extra("optuna", "search=optuna")
    optuna.logging.disable_default_handler()
    optuna.logging.enable_propagation()
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
    return optuna


def optuna_study(search: Search, trials: Sequence[Trial], **options: Any) -> "Study":
    """These trials as a study in memory; `options` are `sampler` and `pruner`. Trials without values are left out.

    A trial that has not ended counts as running, so that the sampler proposes values that differ from its values.
    """
    optuna = import_optuna()
    study: Study = optuna.create_study(direction="minimize" if search.minimises else "maximize", **options)
    states = optuna.trial.TrialState
    distributions = {key: one.distribution() for key, one in search.space.items()}
    for trial in trials:
        parameters = {key: one.parameter(trial.values.get(key)) for key, one in search.space.items()}
        if not trial.values or any(parameter is None for parameter in parameters.values()):
            continue
        valued = trial.score is not None and math.isfinite(trial.score)
        known = {COMPLETE: states.COMPLETE if valued else states.FAIL, PRUNED: states.PRUNED, FAILED: states.FAIL}
        state = known.get(trial.state, states.RUNNING)
        study.add_trial(
            optuna.trial.create_trial(
                state=state,
                value=trial.score if state is states.COMPLETE else None,
                params=parameters,
                distributions=distributions,
                intermediate_values={
                    epoch: score for epoch, score in enumerate(trial.scores, 1) if math.isfinite(score)
                },
            )
        )
    return study
