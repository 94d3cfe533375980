"""What an exported file says of itself: facts of the run that are known without the training images."""

from importlib.metadata import version
from typing import cast

from gender_cls.config.data import CLASSES
from gender_cls.evaluation.decisions import DecisionRule
from gender_cls.evaluation.schema import Metrics
from gender_cls.models.exported import ANSWERS, Metadata
from gender_cls.pages.model_card import LIMITS
from gender_cls.runs.files import file_sha256
from gender_cls.runs.run import Run
from gender_cls.training.classifier import GenderClassifier


def metadata_of(run: Run, classifier: GenderClassifier, rule: DecisionRule, *, native: bool) -> Metadata:
    """The metadata of a file with float32 weights; the same for the same run."""
    metrics, data = cast(Metrics, run.metrics), classifier.settings.data
    test = metrics["test"]
    return Metadata(
        model=metrics["model"],
        classes=list(CLASSES),
        answers=list(ANSWERS),
        image_size=list(data.image_size),
        resize_mode=data.resize_mode.value,
        mean=classifier.mean.flatten().tolist(),
        std=classifier.std.flatten().tolist(),
        temperature=rule.temperature,
        threshold=rule.threshold,
        band=None if rule.band is None else list(rule.band),
        test_precision=run.answers_from["precision"],
        weights="float32",
        native=native,
        checkpoint_sha256=file_sha256(run.best_checkpoint),
        manifest_sha256=metrics["data"]["manifest_sha256"],
        licence=metrics["data"]["licence"],
        test={
            "images": test["images"],
            "identities": test["identities"],
            "scores": test["scores"],
            "at_threshold": metrics["operating_point"]["test"],
            "abstention": metrics["abstention"]["test"],
        },
        limits=LIMITS,
        gender_cls=version("gender_cls"),
    )
