"""Requests of `predict` for tests."""

import io
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from unittest.mock import patch

from gender_cls.config.data import DataConfig, ResizeMode
from gender_cls.data.input_form import InputForm
from gender_cls.data.requests.crops import CropBatch, crop_batches
from gender_cls.data.requests.requested import Requested, read_requested

DATA = DataConfig(pattern=r"(?P<identity>p\d+)_(?P<camera>c\d)", aliases={"FEMALE": ["women"], "MALE": ["men"]})
FORM = InputForm(32, 16, ResizeMode.stretch)


def request(*names: str | Path, stdin: bytes = b"", root: Path | None = None, **options: Any) -> Requested:
    with patch.object(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin))):
        return read_requested(list(map(str, names)), DATA, root, **options)


def listed(paths: Iterable[str | Path]) -> Requested:
    """The request of these paths on standard input, one per line."""
    return request("-", stdin="".join(f"{path}\n" for path in paths).encode(errors="surrogateescape"))


def records(requested: Requested) -> list[dict[str, Any]]:
    """The rows, without what is empty."""
    rows = requested.rows.astype(object).where(requested.rows.notna(), "")
    return [{name: value for name, value in row.items() if value != ""} for row in rows.to_dict("records")]


def batches(requested: Requested, *, batch_size: int = 4, num_workers: int = 0, **options: Any) -> list[CropBatch]:
    options = {"max_megapixels": 1.0, **options}
    return list(crop_batches(requested.rows, [FORM], batch_size=batch_size, num_workers=num_workers, **options))
