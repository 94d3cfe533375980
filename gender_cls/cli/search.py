"""A search as two sweeps of one command: trials with values that Optuna proposes, then the best settings, tested."""

import contextlib
import logging
import math
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from hydra.core.hydra_config import HydraConfig

from gender_cls.cli.command_line import CommandLine
from gender_cls.cli.sweep import announce_jobs, folder_override, run_job
from gender_cls.config.parsing import recorded_config, to_plain
from gender_cls.config.train import Config
from gender_cls.errors import GenderClsError, first_few, plural, require
from gender_cls.runs import files
from gender_cls.runs.run import TRIALS, Run
from gender_cls.search.optimiser import propose
from gender_cls.search.space import read_space, with_values
from gender_cls.search.study import (
    COMPLETE,
    FAILED,
    PRUNED,
    UNFINISHED,
    Search,
    Trial,
    import_optuna,
    keep_search,
    ranked,
    read_search,
    read_trials,
    search_file,
    search_of,
    write_trials,
)
from gender_cls.system.progress import working
from gender_cls.system.terminal import shortest, show
from gender_cls.training.resume import refuse_other_settings

log = logging.getLogger(__name__)

COUNTS = ("trials", "best", "seeds")  # may change until the best settings are chosen
FINALIST, SEED = "search.finalist", "seed"  # what varies between the jobs that test the best settings


def check_search(command: CommandLine, config: Config) -> None:
    """Raise GenderClsError unless the search that the configuration asks for, if any, can be made."""
    for key in ("trial", "finalist"):
        require(getattr(config.search, key) is None, f"search.{key} is set by the command itself: leave it out.")
    keys = [override.partition("=")[0].lstrip("+") for override in command.overrides]
    if not config.search.enabled:
        idle = [key for key in keys if key.startswith("search.")]
        require(not idle, f"{first_few(idle)} changes a search, and there is none: add search=optuna.")
        return
    require(command.multirun, "search=optuna trains many times: add -m.")
    require(
        "search.space" not in keys,
        "search.space as a whole cannot be changed on the command line: change one key "
        "(search.space.recipe.lr.high=0.1), add one (+search.space.KEY=...), take one out (~search.space.KEY), or "
        "choose a file with search/space=....",
    )
    if command.swept:
        key = command.swept[0]
        raise GenderClsError(
            f"{key} has several values, and a search chooses the values itself: add a key with its values to the space "
            "('+search.space.recipe.frozen_epochs=[0,2]'), and start a search of its own for each model or dataset."
        )
    read_space(config)
    import_optuna()  # after the checks, because it takes a second


def search_sweeps(config: Config, folder: Path) -> Iterator[list[str]]:
    """The overrides of the trials' sweep, then, when all have ended, those of the sweep that tests the best settings.

    The search that a folder holds goes on where it stopped: with the trials that have not finished, or with the
    settings that were chosen.
    """
    search = _begin(config, folder)
    if not search.chosen:
        log.info(f"{plural(config.search.trials, 'trial')} of settings for {', '.join(search.space)}.")
        if config.search.best > config.search.trials:
            log.warning(f"search.best={config.search.best} is more than search.trials: all settings will be tested.")
        trials = read_trials(folder, search)
        ended = {trial.number for trial in trials if trial.state in (COMPLETE, PRUNED)}
        if begun := [number for number in range(config.search.trials) if number not in ended]:
            numbers = ",".join(map(str, begun))
            yield [f"search.trial={numbers}", folder_override([], parent=TRIALS)]
        search = _choose(config, search, folder)
        _write_page(folder)
    for unfinished in folder.glob(f".search*{files.UNFINISHED}"):  # by a process that was killed
        unfinished.unlink(missing_ok=True)
    seeds = [config.seed + number for number in range(1, config.search.seeds + 1)]
    finalists = range(1, len(search.chosen) + 1)
    show("")
    announce_jobs(len(finalists) * len(seeds), [FINALIST, SEED])
    tested = "and tested once" if config.evaluation.test else "and not tested (evaluation.test=false)"
    log.info(f"{plural(len(finalists), 'setting')}, each trained with seed {first_few(seeds, 10)} {tested}:")
    yield [
        f"{FINALIST}={','.join(map(str, finalists))}",
        f"{SEED}={','.join(map(str, seeds))}",
        folder_override([FINALIST, SEED]),
    ]


@contextlib.contextmanager
def ending_in_search(folder: Path) -> Iterator[None]:
    """Show what the search in a sweep's folder found, if there is one, when the work inside has ended."""
    try:
        yield
    finally:
        if search_file(folder).exists() and (lines := _write_page(folder)):
            show("", *lines, f"Open {shortest(folder / 'search.html')}")


def _write_page(folder: Path) -> list[str]:
    with working("Writing the page of the search"):
        from gender_cls.search.report import write_search_page  # imports pandas, which --help does not need

        return write_search_page(folder)


def run_trial(work: Callable[[Config, Run], None], config: Config, run: Run) -> float:
    """Try the values that Optuna proposes, and return the best validation score, or nan if the training failed.

    The folder records a failure, and the search goes on. A trial whose process was killed is tried once more.
    """
    sweep, number = run.folder.parents[1], config.search.trial
    search = read_search(sweep)
    assert search is not None, "the command writes it before the trials"
    assert number is not None
    if not run.finished:
        values = run.status.get("values")
        if not values:
            shutil.rmtree(run.checkpoints, ignore_errors=True)  # of other values, if status.json was removed
            values = propose(search, read_trials(sweep, search), number, config)
            run.note(values=values)
        title = f"Trial {number} of {config.search.trials}: {_listed(values)}"
        try:
            config = _of_trial(config, values)
        except GenderClsError as error:  # of values that exclude each other
            run.note(state="failed", error=str(error))
            log.error(f"{run.folder.name} failed: {error}")  # noqa: TRY400  # a sentence without its traceback
            return math.nan
        run.record_settings(to_plain(config), HydraConfig.get().runtime.choices)
        for again in (True, False):
            try:
                run_job(work, config, run, number=number, title=title, ended=lambda run: _end_of_trial(search, run))
            except GenderClsError:
                if run.state != "failed":
                    raise
                if again and run.status.get("traceback") is None:
                    log.info("Its process ended without a message, so it is tried once more from its last checkpoint.")
                    continue
            break
    return float(run.status["best_validation"]) if run.finished else math.nan


def finalist_config(config: Config, run: Run) -> Config:
    """The configuration of a job that tests one of the best settings; any other job's as it is."""
    finalist = config.search.finalist
    if finalist is None:
        return config
    search = read_search(run.folder.parent)
    assert search is not None, "the command writes it before these jobs"
    return with_values(_without_space(config), search.chosen[finalist - 1]["values"])


def _of_trial(config: Config, values: dict[str, object]) -> Config:
    """The configuration of a trial, which is cheap: it makes no maps, and does not open the test split."""
    cheap = replace(
        config,
        explain=replace(config.explain, enabled=False),
        evaluation=replace(config.evaluation, test=False),
    )
    return with_values(_without_space(cheap), values)


def _without_space(config: Config) -> Config:
    """The configuration of one training, without the space, which `search.json` keeps."""
    return replace(config, search=replace(config.search, space={}))


def _begin(config: Config, folder: Path) -> Search:
    """A new search, or the one in the folder; GenderClsError if that one was started with other settings."""
    search, before = search_of(config), read_search(folder)
    if before is None:
        keep_search(search, folder)
        return search
    for name, then in before.chosen_with.items():
        if (now := getattr(config.search, name)) != then:
            raise GenderClsError(
                f"{folder} chose its best settings with search.{name}={then}, not {now}, and their test has begun: "
                "resume it with that value, or start a new search."
            )
    for name, value in vars(replace(search, chosen=before.chosen, chosen_with=before.chosen_with)).items():
        if (then := vars(before)[name]) != value:
            key = "recipe.monitor" if name == "monitor" else f"search.{name}"
            values = "" if name == "space" else f": {then}, not {value}"
            raise GenderClsError(
                f"{folder} was started with another {key}{values}: resume it with that value, or start a new search."
            )
    for trial in read_trials(folder, before)[:1]:
        run = Run(trial.folder)
        if run.config_file.is_file():
            refuse_other_settings(run, to_plain(recorded_config(run.config_file)), _of_trial(config, trial.values))
    return before


def _choose(config: Config, search: Search, folder: Path) -> Search:
    """Keep the best settings on validation in `search.json`; GenderClsError if no trial succeeded."""
    trials = read_trials(folder, search)
    write_trials(folder, search, trials)
    best: list[Trial] = []
    for trial in ranked(search, trials):
        if trial.values not in [other.values for other in best]:
            best.append(trial)
    asked = [trial for trial in trials if trial.number < config.search.trials]  # more may have begun
    if unfinished := [trial for trial in asked if trial.state == UNFINISHED]:
        raise GenderClsError(
            f"{plural(len(unfinished), 'trial')} did not end ({first_few(trial.folder.name for trial in unfinished)}): "
            "the same command with trainer.resume=true goes on with them."
        )
    if not best:
        reasons = first_few(dict.fromkeys(trial.reason for trial in trials if trial.state == FAILED), 2)
        raise GenderClsError(f"None of {plural(len(trials), 'trial')} succeeded, so nothing can be chosen: {reasons}")
    if len(best) < config.search.best:
        log.warning(
            f"Only {plural(len(best), 'setting')} of {plural(len(trials), 'trial')} came to an end, fewer than "
            f"search.best={config.search.best}: all of them are tested."
        )
    best = best[: config.search.best]
    chosen = tuple({"trial": trial.number, "score": trial.score, "values": trial.values} for trial in best)
    search = replace(search, chosen=chosen, chosen_with={name: getattr(config.search, name) for name in COUNTS})
    keep_search(search, folder)
    show("")
    log.info(f"The best on validation ({search.title}); {shortest(folder / 'search.csv')} has all trials:")
    for place, trial in enumerate(best, 1):
        log.info(f"  {place}. trial {trial.number}, {trial.score:.4f}: {_listed(trial.values)}")
    return search


def _end_of_trial(search: Search, run: Run) -> str:
    """Write `search.csv`; returns what the trial reached, in a line, and which is the best so far."""
    if run.finished:
        shutil.rmtree(run.checkpoints, ignore_errors=True)  # trials are many, and the best settings are trained anew
    sweep = run.folder.parents[1]
    trials = read_trials(sweep, search)
    write_trials(sweep, search, trials)
    [trial] = [trial for trial in trials if trial.folder == run.folder]
    best = next(iter(ranked(search, trials)), None)
    score = "" if trial.score is None else f"{search.title} {trial.score:.4f} on validation"
    pruned = f", pruned after epoch {len(trial.scores)}" if trial.state == PRUNED else ""
    so_far = f"; best so far {best.score:.4f} (trial {best.number})" if best is not None else ""
    return f"{run.folder.name}, {trial.seconds or 0:.0f} s: {score}{pruned}{so_far}"


def _listed(values: dict[str, object]) -> str:
    return ", ".join(f"{key}={value}" for key, value in values.items())
