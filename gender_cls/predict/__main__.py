"""`python -m gender_cls.predict`: answer for any images with finished runs, as their own reports do."""

from pathlib import Path

from gender_cls.cli.command import run_command
from gender_cls.config.predict import PredictConfig
from gender_cls.evaluation.evaluated import require_evaluated
from gender_cls.runs.run import fitted_runs
from gender_cls.system.progress import working
from gender_cls.system.terminal import shortest, show


def predict(config: PredictConfig) -> Path:
    """Answer for the images with all runs that `run` names together, or with an exported model; return the table."""
    runs = [] if config.exported else fitted_runs(config.folders)
    for run in runs:
        require_evaluated(run)
    with working("Importing torch and other libraries"):
        from gender_cls.predict.answering import Answerer, answer_rows
        from gender_cls.predict.conclusions import conclude
        from gender_cls.predict.request import request_of, requested_images
        from gender_cls.predict.store import folder_of

    answerer = Answerer.of(config, runs)
    requested = requested_images(config, answerer)
    request = request_of(config, requested.rows, answerer)
    with folder_of(request, _parent(config) / "predictions", config.name or requested.name) as folder:
        if folder.finished is None:
            answer_rows(requested.rows, answerer, folder, config)
        table = folder.finish(config.format)
        del requested  # of a million images, it takes as much memory as their table
        lines = conclude(folder, answerer, config)
    show("", *lines, f"Table: {shortest(table)}")
    return table


def _parent(config: PredictConfig) -> Path:
    """The folder of the run, the sweep or the exported model; that of all outputs if there are several."""
    named = config.folders[0] if len(config.folders) == 1 else Path(config.output_dir)
    return named.parent if named.is_file() else named


def main() -> None:
    """Answer for images as the command line says."""
    run_command(
        predict,
        "predict",
        PredictConfig,
        instead_of_sweep="images takes a list, and run the folder of a sweep",
        when_interrupted="The same command goes on with the images that are not answered yet.",
    )


if __name__ == "__main__":
    main()
