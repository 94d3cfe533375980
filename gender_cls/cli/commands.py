"""The commands of the package: their names, what each is for, and which version answers."""

from importlib.metadata import version
from platform import python_version

from gender_cls import __version__

COMMANDS = {
    "demo": "draw a small dataset to try everything with",
    "audit": "say what is wrong with a dataset",
    "train": "train and test a classifier; with -m, sweep over several",
    "evaluate": "test finished runs again, with other settings or on other data",
    "compare": "say which of several models is better, and how sure that is",
    "explain": "show what finished runs look at, and measure these maps",
    "predict": "answer for any images with a finished run",
    "export": "write finished runs as files for other programs",
}
"""Name -> what it is for. `gender_cls/NAME.py`, or `gender_cls/NAME/__main__.py`, has its function `main`."""

COMPLETION = "completion"
"""Prints what a shell needs to complete command lines."""

SHELLS = ("bash", "zsh", "fish")

_LIBRARIES = ("torch", "pytorch-lightning", "timm", "hydra-core")


def version_line() -> str:
    """The version, with those of the libraries that matter most in a report of an error. Imports none of them."""
    libraries = ", ".join(f"{name} {version(name)}" for name in _LIBRARIES)
    return f"gender_cls {__version__} ({libraries}, Python {python_version()})"
