"""What Optuna decides: the values of the next trial, and whether a trial goes on. Both follow from the trials alone."""

import math
import random
from collections.abc import Sequence
from typing import Any

from gender_cls.config.train import Config
from gender_cls.search.space import value_of
from gender_cls.search.study import Search, Trial, import_optuna, optuna_study

STARTUP_TRIALS = 5  # complete ones before any is pruned


def propose(search: Search, trials: Sequence[Trial], number: int, config: Config) -> dict[str, Any]:
    """The values of a trial by dotted key, with few digits.

    They depend on the seed of the search, the number and the other trials, so that a search that was stopped goes on
    as it would have. The first trial has the values of the configuration, as far as they lie in the space.

    Args:
        trials: those that have begun; this one does not count.
        number: of the trial, from 0.
    """
    optuna = import_optuna()
    seed = random.Random(f"{search.seed} {number}").getrandbits(32)
    sampler = (
        optuna.samplers.RandomSampler(seed=seed)
        if search.sampler == "random"
        else optuna.samplers.TPESampler(seed=seed, multivariate=True, constant_liar=True)
    )
    study = optuna_study(search, [trial for trial in trials if trial.number != number], sampler=sampler)
    if number == 0:
        own = {key: one.parameter(value_of(config, key)) for key, one in search.space.items()}
        study.enqueue_trial({key: parameter for key, parameter in own.items() if parameter is not None})
    proposed = study.ask({key: one.distribution() for key, one in search.space.items()}).params
    return {key: one.recorded(proposed[key]) for key, one in search.space.items()}


def is_hopeless(search: Search, trials: Sequence[Trial], number: int, scores: Sequence[float], warmup: int) -> bool:
    """Whether a trial's best score so far is below the median of the complete trials at the same epoch.

    For a loss, above. The median rule (Golovin et al. 2017, "Google Vizier") needs STARTUP_TRIALS complete trials.
    Hyperband would divide the trials into brackets, and each bracket would need as many.

    Args:
        scores: of the trial after each epoch.
        warmup: no trial is pruned before this epoch, counted from 1.
    """
    optuna = import_optuna()
    pruner = optuna.pruners.MedianPruner(n_startup_trials=STARTUP_TRIALS, n_warmup_steps=warmup)
    study = optuna_study(search, [trial for trial in trials if trial.number != number], pruner=pruner)
    trial = study.ask()
    for epoch, score in enumerate(scores, 1):
        if math.isfinite(score):
            trial.report(score, epoch)
    return trial.should_prune()


def first_epoch_to_prune(config: Config) -> int:
    """The first epoch, from 1, that may end a trial: after a third of all, and not before the backbone warmed up."""
    recipe, epochs = config.recipe, config.trainer.max_epochs
    return max(math.ceil(epochs / 3), math.ceil((recipe.frozen_epochs or 0) + recipe.warmup_epochs))
