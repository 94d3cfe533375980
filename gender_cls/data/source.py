"""Where the data of a configuration are. Imports no pandas, so that a wrong path is found within a second."""

from pathlib import Path

from gender_cls.config.data import DataConfig
from gender_cls.errors import GenderClsError


def find_source(data: DataConfig) -> tuple[Path, Path | None]:
    """The folder that paths are relative to, and `data.csv` if it is set; both absolute.

    Raises:
        GenderClsError: one of them does not exist.
    """
    root = Path(data.root) if data.root is not None else None
    if root is not None and not root.is_dir():
        raise GenderClsError(f"data.root is no folder: {root}.{_demo_hint(data)}")
    csv = Path(data.csv) if data.csv is not None else None
    if csv is not None and not csv.is_file():
        raise GenderClsError(f"data.csv is no file: {csv}.{_demo_hint(data)}")
    folder = root if root is not None else csv.parent if csv is not None else None
    assert folder is not None, "DataConfig.check asks for one of the two"
    return folder, csv


def _demo_hint(data: DataConfig) -> str:
    return " Draw the demo data first: python -m gender_cls.demo." if "demo_data" in str(data.root) else ""
