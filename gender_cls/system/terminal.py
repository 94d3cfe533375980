"""What commands print, on a terminal that knows fewer characters than their tables and names have."""

import codecs
import io
import sys

LOOKALIKES = {"±": "+-", "×": "x", "→": "->", "–": "-", "—": "-", "…": "...", "≤": "<=", "≥": ">=", "\u202f": " "}
HANDLER = "gender_cls.lookalike"


def print_on_any_terminal() -> None:
    """Let stdout and stderr write a look-alike or an escape for what their encoding lacks, instead of failing."""
    codecs.register_error(HANDLER, _lookalike)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=HANDLER)


def _lookalike(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeEncodeError), "only writing uses it"
    text = error.object[error.start : error.end]
    return "".join(
        LOOKALIKES.get(sign) or sign.encode("ascii", "backslashreplace").decode() for sign in text
    ), error.end
