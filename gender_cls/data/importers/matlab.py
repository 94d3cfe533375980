"""MATLAB files -> Python: fields asked for by name, cells of text, published splits."""

import contextlib
import faulthandler
import signal
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.io import loadmat
from scipy.io.matlab import mat_struct

from gender_cls.config.data import SPLITS
from gender_cls.errors import error_sentence, require
from gender_cls.system.processes import fork_context


class MatFile:
    """A .mat file. Structs are `mat_struct`, cells arrays of objects; axes of length 1 are dropped.

    Raises:
        GenderClsError: it is a MATLAB 7.3 (HDF5) file, or cannot be read; so do the methods if it does not hold what
            they are asked for.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._variables, problem = _read_in_child(path)
        require(not problem, f"{path} {problem}.")

    def has(self, variable: str, *fields: str) -> bool:
        """Whether there is such a variable, or such a field of a struct in it."""
        found: Any = self._variables
        for field in (variable, *fields):
            if field not in (found if isinstance(found, dict) else _fields(found)):
                return False
            found = found[field] if isinstance(found, dict) else getattr(found, field)
        return True

    def value(self, variable: str, *fields: str) -> Any:
        """A variable, or a field of a struct in it."""
        found, names = self._variables, [name for name in self._variables if not name.startswith("__")]
        for field in (variable, *fields):
            others = ", ".join(names) or "nothing"
            require(field in names, f"{self.path} has no '{field}', only {others}: is it another file or version?")
            found = found[field] if isinstance(found, dict) else getattr(found, field)
            names = _fields(found)
        return found

    def texts(self, *names: str) -> list[str]:
        """The texts of a cell array."""
        texts = []
        for value in _entries(self.value(*names)):
            text = value.item() if isinstance(value, np.ndarray) and value.size == 1 else value
            problem = f"{self.path} holds {text!r} where a text was expected: is it another version?"
            require(isinstance(text, str), problem)
            texts.append(text.strip())
        return texts

    def matrix(self, *names: str, rows: int) -> NDArray:
        """Numbers as (rows, columns)."""
        numbers = np.asarray(self.value(*names))
        if rows == 1 and numbers.ndim == 1:
            numbers = numbers[None]  # the axis that reading dropped
        require(
            numbers.dtype.kind in "biuf" and numbers.ndim == 2 and len(numbers) == rows,
            f"{self.path} holds values of shape {numbers.shape} for {rows} images: it must be ({rows}, attributes).",
        )
        return numbers

    def splits(self, *names: str, number: str | None, images: int) -> NDArray[np.object_]:
        """(images,) the split of each image in published partition `number`, from 1; empty if it is in none.

        The partitions are structs with the fields train (or trainval), val and test, with or without `_index` at the
        end; each holds row numbers from 1.
        """
        split = np.full(images, "", dtype=object)
        if number is None:
            return split
        entries = _entries(self.value(*names))
        require(
            1 <= int(number) <= len(entries),
            f"{self.path} holds {len(entries)} published splits: there is no number {number}.",
        )
        entry = entries[int(number) - 1]
        while isinstance(entry, np.ndarray) and entry.size == 1:
            entry = entry.item()
        by_stem = {name.lower().removesuffix("_index"): name for name in _fields(entry)}
        if "train" not in by_stem and "trainval" in by_stem:
            by_stem["train"] = by_stem["trainval"]
        parts = {split: getattr(entry, by_stem[split]) for split in SPLITS if split in by_stem}
        what = f"The published split {number} of {self.path}"
        fields = ", ".join(_fields(entry)) or "none"
        require({"train", "test"} <= set(parts), f"{what} has the fields {fields}: expected train and test.")
        for name, numbers in parts.items():
            rows = np.atleast_1d(np.asarray(numbers)).astype(np.int64) - 1
            require(
                rows.size == 0 or (rows.min() >= 0 and rows.max() < images),
                f"{what} names image {rows.max(initial=0) + 1} in {name}, but there are {images}.",
            )
            require(
                bool((split[rows] == "").all()) and len(np.unique(rows)) == len(rows),
                f"{what} names images twice, some of them in {name}.",
            )
            split[rows] = name
        return split


def _read_in_child(path: Path) -> tuple[dict[str, Any], str]:
    """The variables of a file, or what is wrong with it, as the end of a sentence.

    On damaged bytes scipy reads memory that is not its own, which ends the whole process: here one that does nothing
    else.
    """
    context: Any = fork_context() or get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(target=_send_variables, args=(path, sender), daemon=True)
    child.start()
    sender.close()
    variables: dict[str, Any] = {}
    problem = "cannot be read as a MATLAB file (its damaged content ended the reading process): get it again"
    with contextlib.suppress(EOFError), receiver:
        variables, problem = receiver.recv()
    child.join()
    return variables, problem


def _send_variables(path: Path, sender: Connection) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):  # without the handlers of the parent
        signal.signal(number, signal.SIG_DFL)
    faulthandler.disable()  # the parent says in a sentence what happened
    variables, problem = {}, ""
    try:
        variables = loadmat(path, squeeze_me=True, struct_as_record=False)
    except NotImplementedError:  # what scipy raises for HDF5
        problem = (
            "is a MATLAB 7.3 (HDF5) file, which is not read here: open it in MATLAB or Octave and save it again with "
            "save('-v7', ...)"
        )
    except Exception as error:  # whatever scipy and zlib raise on damaged bytes
        problem = f"cannot be read as a MATLAB file ({error_sentence(error)}): get it again"
    sender.send((variables, problem))


def _fields(value: Any) -> list[str]:
    return value._fieldnames if isinstance(value, mat_struct) else []


def _entries(cell: Any) -> list[Any]:
    return np.atleast_1d(np.asarray(cell, dtype=object)).ravel().tolist()
