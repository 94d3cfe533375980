"""Compare image classifiers on CCTV crops: train, explain, sweep, test, use.

`python -m gender_cls.train` and the other commands do the whole work. In Python:

- `load(run)` answers for images (`predict`) and shows what the answers depend on (`explain`).
- `read_scores(folder)`, `read_metrics(run)`, `read_epochs(run)` and `read_predictions(run)` read results.
- `CropDataModule.from_folder(folder)` and `build_classifier(name)` are for a Lightning Trainer of your own.
- An error that says what to do is a `GenderClsError`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gender_cls.data.datamodule import CropDataModule
    from gender_cls.errors import GenderClsError
    from gender_cls.evaluation.run_tables import read_epochs, read_metrics, read_predictions, read_scores
    from gender_cls.explain.explanation import Explanation
    from gender_cls.predict.api import LoadedModel, load
    from gender_cls.training.build_classifier import build_classifier
    from gender_cls.training.classifier import GenderClassifier

__version__ = "0.1.0"

__all__ = [
    "CropDataModule",
    "Explanation",
    "GenderClassifier",
    "GenderClsError",
    "LoadedModel",
    "build_classifier",
    "load",
    "read_epochs",
    "read_metrics",
    "read_predictions",
    "read_scores",
]

_HOMES = {
    "data.datamodule": ["CropDataModule"],
    "errors": ["GenderClsError"],
    "evaluation.run_tables": ["read_epochs", "read_metrics", "read_predictions", "read_scores"],
    "explain.explanation": ["Explanation"],
    "predict.api": ["LoadedModel", "load"],
    "training.build_classifier": ["build_classifier"],
    "training.classifier": ["GenderClassifier"],
}
"""Module -> public names. They are imported when they are first used: torch alone takes seconds."""

if not TYPE_CHECKING:  # a type checker would take any name for one of these

    def __getattr__(name: str) -> Any:
        for home, names in _HOMES.items():
            if name in names:
                globals()[name] = found = getattr(import_module(f"{__name__}.{home}"), name)
                return found
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
