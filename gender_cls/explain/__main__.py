"""`python -m gender_cls.explain`: explain the answers of finished runs, for the test split or any images."""

from gender_cls.cli.command import run_command
from gender_cls.cli.folders import in_turn
from gender_cls.config.explain import ExplainRunConfig
from gender_cls.config.parsing import recorded_config
from gender_cls.runs.locks import locked
from gender_cls.runs.run import fitted_runs
from gender_cls.system.progress import working
from gender_cls.system.terminal import shortest, show


def explain(config: ExplainRunConfig) -> None:
    """Explain each run that `run` names, one after the other."""
    for run in in_turn(fitted_runs(config.folders)):
        with working("Importing torch and other libraries"):
            from gender_cls.reports.explanations import explain_on_request
            from gender_cls.system.resources import choose_resources
            from gender_cls.training.predictor import Predictor

        # Mixed precision is for speed, and maps are made without it; but weights stay what they were in the test.
        kept = run.answers_from["precision"] or "32-true"
        precision = kept if kept.endswith("-true") else "32-true"
        resources = choose_resources(config.accelerator, precision, config.threads, 0, pixels_at_hand=True).apply()
        predictor = Predictor.of_run(run, resources, recorded_config(run.config_file))
        with locked(run.folder), working("Explaining"):
            gallery = explain_on_request(run, config, predictor)
        show(f"Open {shortest(gallery)}")


def main() -> None:
    """Explain finished runs as the command line says."""
    run_command(
        explain,
        "explain",
        ExplainRunConfig,
        instead_of_sweep="The folder of a sweep explains all its runs",
        when_interrupted="The same command goes on with the images that are not explained yet.",
    )


if __name__ == "__main__":
    main()
