"""`python -m gender_cls.evaluate`: turn the predictions of finished runs into conclusions."""

from dataclasses import replace
from pathlib import Path
from typing import cast

from gender_cls.cli.command import run_command
from gender_cls.cli.folders import fitted_runs
from gender_cls.cli.sweep import write_leaderboard
from gender_cls.config.evaluation import EvaluateConfig
from gender_cls.config.parsing import recorded_config
from gender_cls.evaluation.schema import Metrics
from gender_cls.runs.run import image_cache
from gender_cls.system.progress import working
from gender_cls.system.terminal import shortest, show


def evaluate(config: EvaluateConfig) -> None:
    """Evaluate each run that `run` names, one after the other; then write the leaderboards of their sweeps anew."""
    sweeps = set()
    for run in fitted_runs(str(config.run)):
        with working("Importing torch and other libraries"):
            from gender_cls.pages.on_screen import run_on_screen
            from gender_cls.reports.final_test import evaluate_run
            from gender_cls.system.resources import choose_resources
            from gender_cls.training.predictor import Predictor

        recorded = recorded_config(run.config_file)
        precision = config.precision or run.answers_from["precision"] or recorded.trainer.precision
        kept = recorded.data.keeps_pixels
        resources = choose_resources(
            config.accelerator, precision, config.threads, config.num_workers, pixels_at_hand=kept
        ).apply()
        predictor = Predictor(run.best_checkpoint, resources, recorded)
        cache = image_cache(config.output_dir)
        data_root = None if config.data_root is None else Path(config.data_root)
        settings = config.over(recorded.evaluation)
        if not recorded.explain.enabled and config.explained_images is None:
            settings = replace(settings, explained_images=0)
        evaluate_run(run, settings, predictor, cache=cache, data_root=data_root)
        show("", *run_on_screen(cast(Metrics, run.metrics)), f"Open {shortest(run.report)}")
        if run.sweep is not None:
            sweeps.add(run.sweep)
    for sweep in sorted(sweeps):
        write_leaderboard(sweep)


if __name__ == "__main__":
    run_command(
        evaluate,
        "evaluate",
        EvaluateConfig,
        instead_of_sweep="The folder of a sweep evaluates all its runs",
        when_interrupted="The same command asks the network only what it has not answered yet.",
    )
