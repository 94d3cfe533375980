"""`python -m gender_cls.evaluate`: turn the predictions of finished runs into conclusions, also on other data."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, cast

from gender_cls.cli.command import run_command
from gender_cls.cli.folders import failing_alone, in_turn
from gender_cls.cli.leaderboard import write_leaderboard
from gender_cls.config.evaluation import EvaluateConfig
from gender_cls.config.parsing import recorded_config
from gender_cls.data.source import find_source
from gender_cls.errors import first_few, plural, require
from gender_cls.evaluation.evaluated import require_evaluated
from gender_cls.evaluation.schema import Metrics
from gender_cls.runs.locks import locked
from gender_cls.runs.run import Run, fitted_runs, image_cache
from gender_cls.system.progress import working
from gender_cls.system.terminal import shortest, show

if TYPE_CHECKING:
    from gender_cls.cli.other_data import OtherParts
    from gender_cls.training.predictor import Predictor


def evaluate(config: EvaluateConfig) -> None:
    """Test each run that `run` names, one after the other; then write the leaderboards of their sweeps anew.

    If there are several tests, one that fails does not stop the others; GenderClsError names those in the end.
    """
    runs = fitted_runs(config.folders)
    failed: dict[str, str] = {}
    others = _read_others(config, runs, failed) if config.elsewhere_asked else None
    sweeps = set()
    for run in in_turn(runs):
        with failing_alone(runs, failed, run.folder.name), locked(run.folder):
            if others is None:
                _test_at_home(config, run)
            else:
                _test_elsewhere(config, run, others, failed)
            if run.sweep is not None:
                sweeps.add(run.sweep)
    for sweep in sorted(sweeps):
        from gender_cls.search.report import write_search_page

        write_leaderboard(sweep)
        write_search_page(sweep)
    require(not failed, f"{plural(len(failed), 'test')} failed: {first_few(failed, 20)}; the reasons stand above.")


def _read_others(config: EvaluateConfig, runs: Sequence[Run], failed: dict[str, str]) -> "OtherParts":
    if len(runs) == 1:
        require_evaluated(runs[0])  # before the images are read
    if config.data.named:
        find_source(config.data)
    with working("Importing libraries"):
        from gender_cls.cli.other_data import read_other_parts

    return read_other_parts(config, runs, image_cache(config.output_dir), failed)


def _test_at_home(config: EvaluateConfig, run: Run) -> None:
    with working("Importing torch and other libraries"):
        from gender_cls.pages.on_screen import run_on_screen
        from gender_cls.reports.final_test import evaluate_run

    recorded = recorded_config(run.config_file)
    settings = config.over(recorded.evaluation)
    if not recorded.explain.enabled and config.explained_images is None:
        settings = replace(settings, explained_images=0)
    evaluate_run(
        run, settings, _predictor(config, run), cache=image_cache(config.output_dir), data_root=config.images_now
    )
    show("", *run_on_screen(cast(Metrics, run.metrics)), f"Open {shortest(run.report)}")


def _test_elsewhere(config: EvaluateConfig, run: Run, others: "OtherParts", failed: dict[str, str]) -> None:
    with working("Importing torch and other libraries"):
        from gender_cls.data.elsewhere import unseen
        from gender_cls.pages.on_screen import elsewhere_on_screen
        from gender_cls.reports.elsewhere import evaluate_elsewhere, write_own_pages

    require_evaluated(run)
    settings = config.elsewhere_over(recorded_config(run.config_file).evaluation)
    cache = image_cache(config.output_dir)
    predictor, parts = _predictor(config, run), others.of(run)
    for name, part in parts.items():
        with failing_alone(parts, failed, f"{run.folder.name} on {name}"):
            other = unseen(part, name, run, cache, config.images_now)
            metrics = evaluate_elsewhere(run, other, settings, predictor, adapt=config.adaptations)
            show("", *elsewhere_on_screen(metrics), f"Open {shortest(run.elsewhere(name).report)}")
    write_own_pages(run)


def _predictor(config: EvaluateConfig, run: Run) -> "Predictor":
    """The network of the run, in the precision of its earlier answers unless another one is asked for."""
    from gender_cls.training.predictor import predictor_of

    return predictor_of(
        run,
        accelerator=config.accelerator,
        precision=config.precision,
        threads=config.threads,
        num_workers=config.num_workers,
    )


def main() -> None:
    """Evaluate finished runs as the command line says."""
    run_command(
        evaluate,
        "evaluate",
        EvaluateConfig,
        instead_of_sweep="The folder of a sweep evaluates all its runs",
        when_interrupted="The same command asks the network only what it has not answered yet.",
    )


if __name__ == "__main__":
    main()
