"""How a run ended, in a few lines for the terminal."""

from gender_cls.evaluation.estimate import best_baseline
from gender_cls.evaluation.wording import stated
from gender_cls.runs.run import TENSORBOARD, Run


def run_summary(run: Run) -> str:
    """Scores on validation and test, the best trivial baseline, and what to open."""
    metrics = run.metrics
    test, best = metrics["test"], best_baseline(metrics["baselines"])
    assert best is not None, "the majority baseline always has a score"
    score, auroc = test["scores"]["balanced_accuracy"], test["scores"]["auroc"]
    leaky = " LEAKY: see data.leaks in metrics.json." if metrics["data"]["leaky"] else ""
    return (
        f"\nBest epoch {metrics['best_epoch']}: validation {metrics['monitor']} {metrics['best_validation']:.3f}.\n"
        f"Test ({test['images']} images, {test['identities'] or 'unknown'} identities): "
        f"balanced accuracy {stated(score)}, AUROC {stated(auroc)}.{leaky}\n"
        f"The best trivial baseline, {best['title']}, scores {best['balanced_accuracy']:.3f}.\n"
        f"Open {run.report}. Watch: {TENSORBOARD}"
    )
