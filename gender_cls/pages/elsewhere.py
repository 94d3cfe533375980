"""A run's tests on other data, as the run's own pages show them."""

from collections.abc import Sequence
from dataclasses import dataclass

from gender_cls.evaluation.elsewhere_schema import Elsewhere
from gender_cls.evaluation.estimate import Estimate
from gender_cls.evaluation.evaluated import usable_elsewhere
from gender_cls.evaluation.schema import Metrics
from gender_cls.pages.links import relative_link
from gender_cls.runs.run import Run


@dataclass(frozen=True)
class ResultElsewhere:
    """A test on other data."""

    metrics: Metrics  # of that test
    report: str  # the address of its report, as pages in the run's folder link to it

    @property
    def found(self) -> Elsewhere:
        """The block `elsewhere` of its `metrics.json`."""
        assert self.metrics["elsewhere"] is not None
        return self.metrics["elsewhere"]


def results_elsewhere(run: Run) -> list[ResultElsewhere]:
    """The finished tests of a run on other data, by name; without those that cannot be used."""
    return [
        ResultElsewhere(metrics, relative_link(run.folder, run.elsewhere(name).report))
        for name, metrics in usable_elsewhere(run).items()
    ]


def balanced_accuracies(results: Sequence[ResultElsewhere]) -> list[Estimate]:
    """Every balanced accuracy that the bars of these tests show."""
    scores = [one.found["scores"]["balanced_accuracy"] for one in results]
    return [score[place] for score in scores for place in ("home", "here")]
