"""A run's tests on other data, as the run's own pages show them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from gender_cls.evaluation.elsewhere_schema import Elsewhere
from gender_cls.evaluation.estimate import Estimate
from gender_cls.evaluation.schema import SCHEMA_VERSION, Metrics
from gender_cls.pages.links import relative_link
from gender_cls.runs.run import Run


@dataclass(frozen=True)
class ResultElsewhere:
    """A test on other data."""

    metrics: Metrics  # of that test
    report: str  # the address of its report, as pages in the run's folder link to it

    @property
    def found(self) -> Elsewhere:
        """What is lost there."""
        assert self.metrics["elsewhere"] is not None
        return self.metrics["elsewhere"]


def results_elsewhere(run: Run) -> list[ResultElsewhere]:
    """The finished tests of a run on other data, by name; without those that another version wrote."""
    found = []
    for test in run.tests_elsewhere.values():
        metrics = test.metrics
        if metrics.get("schema_version") == SCHEMA_VERSION and metrics.get("elsewhere") is not None:
            found.append(ResultElsewhere(cast(Metrics, metrics), relative_link(run.folder, test.report)))
    return found


def balanced_accuracies(results: Sequence[ResultElsewhere]) -> list[Estimate]:
    """Every balanced accuracy that the bars of these tests show."""
    scores = [one.found["scores"]["balanced_accuracy"] for one in results]
    return [score[place] for score in scores for place in ("home", "here")]
