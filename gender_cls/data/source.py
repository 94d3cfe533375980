"""Where the data of a configuration are. Imports no pandas, so that a wrong path is found within a second."""

from pathlib import Path

from gender_cls.config.data import DataConfig
from gender_cls.errors import require


def find_source(data: DataConfig) -> tuple[Path, Path | None]:
    """The folder that paths are relative to, and `data.csv` if it is set; both absolute.

    Raises:
        GenderClsError: one of them does not exist.
    """
    root, csv = (Path(path) if path is not None else None for path in (data.root, data.csv))
    hint = " Draw the demo data first: python -m gender_cls.demo." if "demo_data" in str(root) else ""
    require(root is None or root.is_dir(), f"data.root is not a folder: {root}.{hint}")
    require(csv is None or csv.is_file(), f"data.csv is not a file: {csv}.")
    folder = root or (csv and csv.parent)
    assert folder is not None, "DataConfig.check asks for one of the two"
    return folder, csv
