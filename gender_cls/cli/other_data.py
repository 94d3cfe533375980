"""On which data `evaluate` tests each run: its own test split, data that are named, or those of other runs."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hydra.core.hydra_config import HydraConfig

from gender_cls.config.data import dataset_name
from gender_cls.config.evaluation import Datasets, EvaluateConfig
from gender_cls.data.elsewhere import TestedPart, given_part, recorded_part
from gender_cls.errors import first_few, noting_failure, require
from gender_cls.runs.run import Run, find_runs


@dataclass(frozen=True)
class OtherParts:
    """Images to test runs on, by the name of their data; each is read once for all runs."""

    given: dict[str, TestedPart] = field(default_factory=dict)  # that the command names
    recorded: dict[str, TestedPart] = field(default_factory=dict)  # what the runs of each dataset were tested on

    def of(self, run: Run) -> dict[str, TestedPart]:
        """Those that the run is tested on."""
        others = {name: part for name, part in self.recorded.items() if name != run.dataset}
        return {**others, **self.given}


def read_other_parts(config: EvaluateConfig, runs: Sequence[Run], cache: Path, failed: dict[str, str]) -> OtherParts:
    """Read the images of all data that the runs are tested on.

    Args:
        failed: gets the reason for a dataset of other runs that cannot be read; the others are tested all the same.

    Raises:
        GenderClsError: the named data cannot be read, or there are no other datasets.
    """
    parts = OtherParts()
    by_dataset = _runs_by_dataset(runs) if config.elsewhere.datasets is Datasets.all else {}
    if config.data.named:
        name = config.elsewhere.name or dataset_name(config.data, _choice_of_data())
        require(
            name not in by_dataset,
            f"The data that are given and a dataset of the runs are both called {name}: leave out data=..., because "
            "elsewhere=all tests on it, or test on one after the other.",
        )
        parts.given[name] = given_part(config.data, cache)
    for name, of_dataset in by_dataset.items():
        with noting_failure(failed, f"tests on {name}"):
            parts.recorded[name] = recorded_part(of_dataset, cache)
    return parts


def _runs_by_dataset(runs: Sequence[Run]) -> dict[str, list[Run]]:
    """These runs and the others of their sweeps by the dataset that they were trained on.

    Raises:
        GenderClsError: there is one dataset only, or a run was trained on all others already.
    """
    sweeps = sorted({run.sweep for run in runs if run.sweep is not None})
    known = {run.folder: run for run in [*runs, *(find_runs(sweeps) if sweeps else [])]}
    by_dataset: dict[str, list[Run]] = {}
    for run in known.values():
        if run.status.get("fitted"):
            held_out = run.settings.get("data", {}).get("leave_out")
            require(
                held_out is None,
                f"{run.folder.name} was trained without {held_out} and tested on it: this is a test on other data, "
                "and python -m gender_cls.compare shows it. elsewhere=all is for runs that were trained on different "
                "datasets.",
            )
            by_dataset.setdefault(run.dataset, []).append(run)
    require(
        len(by_dataset) > 1,
        f"elsewhere=all tests each run on the datasets of the others, and all were trained on {first_few(by_dataset)}: "
        "name a sweep over datasets (train -m data=A,B) or several runs (run=[FOLDER,FOLDER]), or name the other data: "
        "data=... data.root=FOLDER.",
    )
    return dict(sorted(by_dataset.items()))


def _choice_of_data() -> str:
    """The file in `conf/data/` that was chosen."""
    return HydraConfig.get().runtime.choices["data"] if HydraConfig.initialized() else "folders"
