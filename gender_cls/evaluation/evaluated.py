"""Whether the results of a run can be used: whether it was evaluated, and by this version; also its tests elsewhere."""

from typing import cast

from gender_cls.errors import GenderClsError
from gender_cls.evaluation.schema import SCHEMA_VERSION, Metrics
from gender_cls.runs.run import Run


def is_evaluated(run: Run) -> bool:
    """Whether this version evaluated the run."""
    return run.metrics.get("schema_version") == SCHEMA_VERSION and run.predictions.is_file()


def not_evaluated_sentence(run: Run) -> str:
    """Why the run counts as not evaluated, and the command that evaluates it."""
    how = "evaluated by another version" if run.metrics else "not evaluated"
    return f"{run.folder} was {how}: run python -m gender_cls.evaluate run={run.folder}."


def require_fitted(run: Run) -> None:
    """Raise GenderClsError unless the run has been trained to its end."""
    if not run.status.get("fitted"):
        raise GenderClsError(f"{run.folder} has not been trained to its end: there is nothing to evaluate yet.")


def require_evaluated(run: Run) -> None:
    """Raise GenderClsError unless this version evaluated the run."""
    require_fitted(run)
    if not is_evaluated(run):
        raise GenderClsError(not_evaluated_sentence(run))


def usable_elsewhere(run: Run, left_out: list[str] | None = None) -> dict[str, Metrics]:
    """The content of `metrics.json` of the run's finished tests on other data, by name.

    Args:
        left_out: gets a sentence for each test that cannot be used: its file is damaged, or of another version.
    """
    found: dict[str, Metrics] = {}
    sentences = [] if left_out is None else left_out
    for name, folder in run.tests_elsewhere.items():
        try:
            metrics = folder.metrics
        except GenderClsError as error:
            sentences.append(str(error))
            continue
        if metrics.get("schema_version") == SCHEMA_VERSION and metrics.get("elsewhere"):
            found[name] = cast(Metrics, metrics)
        else:
            sentences.append(f"{folder.folder} was evaluated by another version, and is left out: evaluate it again.")
    return found
