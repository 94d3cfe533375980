"""Tables of text in CSV files."""

from pathlib import Path
from typing import Any

import pandas as pd

from gender_cls.errors import GenderClsError, require


def read_text_table(
    file: Path, name: str, columns: tuple[str, ...] = (), content: str = "CSV", **options: Any
) -> pd.DataFrame:
    """All values as strings, empty where nothing stands.

    Args:
        name: of the file in errors.
        columns: that it must have.
        content: what it should hold, for errors.
        options: of pandas.read_csv.

    Raises:
        GenderClsError: it cannot be read, or a column is missing.
    """
    try:
        table = pd.read_csv(file, dtype=str, keep_default_na=False, **options)
    except ValueError as error:  # pandas' parser errors are ValueErrors, and so are wrong encodings
        raise GenderClsError(f"{name} cannot be read as {content}: {error}.") from None
    for column in columns:
        require(column in table, f"{name} has no column '{column}', only {', '.join(table.columns)}.")
    return table
