"""Whether the results of a run can be used: whether it was evaluated, and by this version."""

from gender_cls.errors import GenderClsError
from gender_cls.evaluation.schema import SCHEMA_VERSION
from gender_cls.runs.run import Run


def is_evaluated(run: Run) -> bool:
    """Whether this version evaluated the run."""
    return run.metrics.get("schema_version") == SCHEMA_VERSION and run.predictions.is_file()


def not_evaluated_sentence(run: Run) -> str:
    """Of a run that is not evaluated: why, and the command that does it."""
    how = "evaluated by another version" if run.metrics else "not evaluated"
    return f"{run.folder} was {how}: run python -m gender_cls.evaluate run={run.folder}."


def require_evaluated(run: Run) -> None:
    """Raise GenderClsError unless this version evaluated the run."""
    if not run.status.get("fitted"):
        raise GenderClsError(f"{run.folder} has not been trained to its end: there is nothing to evaluate yet.")
    if not is_evaluated(run):
        raise GenderClsError(not_evaluated_sentence(run))
