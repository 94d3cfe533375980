"""The one exception whose message is written for users, and help with its wording."""

import textwrap
from collections.abc import Iterable


class GenderClsError(Exception):
    """One sentence that names the file, key or value at fault and the way out.

    Commands print it without a traceback and exit with code 1.
    """


def require(condition: bool, sentence: str) -> None:
    """Raise GenderClsError with this sentence unless the condition holds."""
    if not condition:
        raise GenderClsError(sentence)


def first_few(values: Iterable[object], most: int = 3) -> str:
    """The first few of many values, and how many more there are, for a sentence."""
    values = list(values)
    return ", ".join(map(str, values[:most])) + (f" and {len(values) - most} more" if len(values) > most else "")


def error_sentence(error: BaseException) -> str:
    """The message of our own errors; that of others on one line, after their type."""
    text = " ".join(str(error).split())
    return text if isinstance(error, GenderClsError) else f"{type(error).__name__}: {text}"


def one_line(message: object) -> str:
    """An error's message as part of a sentence: one line, shortened, without a final full stop."""
    return textwrap.shorten(str(message), 200, placeholder=" ...").rstrip(".") or type(message).__name__
