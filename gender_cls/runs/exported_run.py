"""A run as one of its exported models answers: what `compare` sets next to the run itself."""

from pathlib import Path
from typing import Any

from gender_cls.errors import require
from gender_cls.runs.files import read_json
from gender_cls.runs.result_folder import ResultFolder, chosen_rule
from gender_cls.runs.run import Run

PARITY_FILE = "parity.json"
NOTED = {"report_hash": "other answers", "rule": "another temperature, threshold or band"}
"""What that file notes of the run, and how a change of it reads."""


def answers_file(file: Path) -> Path:
    """The table of a file's answers: `predictions.csv` of `model.onnx`, `predictions_int8.csv` of `model_int8.onnx`."""
    return file.with_name(f"{file.stem.replace('model', 'predictions', 1)}.csv")


def outdated_sentence(file: Path, run: Run) -> str | None:
    """What is wrong if the run was evaluated with another result after the file was exported from it; else None."""
    noted = read_json(file.with_name(PARITY_FILE))
    metrics = run.metrics
    rule = chosen_rule(metrics) if "abstention" in metrics else None  # None: the run was not evaluated
    now = {"report_hash": run.status.get("answers_hash"), "rule": rule}
    changed = [what for name, what in NOTED.items() if noted.get(name, now[name]) != now[name]]
    if not changed:
        return None
    return (
        f"{file} is older than the results of {run.folder}, which now has {' and '.join(changed)}: export the run "
        f"again with python -m gender_cls.export run={run.folder}."
    )


def weights_of(file: Path) -> str:
    """float32, float16 or int8, as the name of an exported file says."""
    return file.stem.partition("_")[2] or "float32"


class ExportedRun(Run):
    """A run's folder, with the answers of one of its exported files in place of its own.

    Raises:
        GenderClsError: the file is none that export wrote into a run's folder, its answers are not there, or the run
            was evaluated anew since, with another result.
    """

    def __init__(self, file: Path) -> None:
        super().__init__(file.parent.parent)
        self.file = file
        self.predictions = answers_file(file)
        exported = self.status_file.is_file() and file.suffix in (".onnx", ".pt2") and file.stem.startswith("model")
        require(
            exported,
            f"{file} is neither the folder of a run nor a model in a run's folder export: name RUN/export/model.onnx, "
            "which python -m gender_cls.export run=RUN writes.",
        )
        require(
            file.suffix == ".onnx" and self.predictions.is_file() and file.with_name(PARITY_FILE).is_file(),
            f"{file} has no answers that can be compared: name the model.onnx there, or export the run again with "
            f"python -m gender_cls.export run={self.folder}.",
        )
        outdated = outdated_sentence(file, Run(self.folder))
        require(not outdated, outdated or "")

    @property
    def title(self) -> str:
        """The format, and the precision of the weights."""
        return f"ONNX {weights_of(self.file)}"

    @property
    def status(self) -> dict[str, Any]:
        """That of the run, with the hash of these answers."""
        return {**super().status, "answers_hash": self._recorded.get("answers_hash")}

    @property
    def metrics(self) -> dict[str, Any]:
        """Those of the run, with the speed of the file; nobody explained it."""
        metrics = super().metrics
        untimed = {name: None for name in metrics.get("cost", {}) if name.startswith("milliseconds")}
        cost = {**metrics.get("cost", {}), **untimed, "disturbed": None, **(self._recorded.get("cost") or {})}
        return {**metrics, "cost": cost, "explanations": None}

    @property
    def tests_elsewhere(self) -> dict[str, ResultFolder]:
        """None: only the run was tested on other data."""
        return {}

    @property
    def _recorded(self) -> dict[str, Any]:
        """What export noted about the file."""
        return dict(read_json(self.file.with_name(PARITY_FILE)).get("files", {}).get(self.file.name, {}))
