"""The one exception whose message is written for users, and how numbers, lists and names read in a sentence."""

import contextlib
import logging
import re
import textwrap
from collections.abc import Iterable, Iterator

log = logging.getLogger(__name__)


class GenderClsError(Exception):
    """One sentence that names the file, key or value at fault and the way out.

    Commands print it without a traceback and exit with code 1.
    """


def require(condition: bool, sentence: str) -> None:
    """Raise GenderClsError with this sentence unless the condition holds."""
    if not condition:
        raise GenderClsError(sentence)


def count(number: float) -> str:
    """A whole number with commas: `1,200`."""
    return f"{number:,.0f}"


def plural(number: int, one: str, many: str = "") -> str:
    """`1 image`, `1,200 images`; give `many` where adding an s is not enough."""
    return f"{count(number)} {one if number == 1 else many or one + 's'}"


def first_few(values: Iterable[object], most: int = 3) -> str:
    """The first few of many values, each `visible`, and how many more there are, for a sentence."""
    values = list(values)
    return ", ".join(map(visible, values[:most])) + (f" and {len(values) - most} more" if len(values) > most else "")


def visible(value: object) -> str:
    """A name or value from the data as text in which everything can be seen.

    What shows nothing, controls a terminal or is no UTF-8 becomes an escape such as `\\xa0`
    and `\\x1b`. Quotes show blanks at an end, and an empty text.
    """
    text = "".join(letter if letter.isprintable() else _escape(letter) for letter in str(value))
    return text if text and text == text.strip() else f"'{text}'"


def harmless(text: str) -> str:
    """The same lines, with escapes for what controls a terminal and for bytes that are not UTF-8."""
    return _CONTROL.sub(lambda found: _escape(found[0]), text)


_CONTROL = re.compile(
    "\r(?!\n)|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)


def _escape(letter: str) -> str:
    is_byte = "\udc80" <= letter <= "\udcff"  # of a name that is not UTF-8, as Python keeps it
    return f"\\x{ord(letter) - 0xDC00:02x}" if is_byte else letter.encode("unicode_escape").decode()


def error_sentence(error: BaseException) -> str:
    """The message of our own errors; that of others on one line, after their type."""
    text = unbroken(error)
    return text if isinstance(error, GenderClsError) else f"{type(error).__name__}: {text}"


def one_line(message: object) -> str:
    """An error's message as part of a sentence: one line, shortened, without a final full stop."""
    return textwrap.shorten(harmless(str(message)), 200, placeholder=" ...").rstrip(".") or type(message).__name__


def unbroken(message: object) -> str:
    """A message on one line, harmless for a terminal."""
    return " ".join(harmless(str(message)).split())


@contextlib.contextmanager
def noting_failure(problems: dict[str, str], part: str) -> Iterator[None]:
    """Log and note under the name of this part why it failed, instead of raising: the other parts do not need it."""
    try:
        yield
    except Exception as error:  # of any kind, because hours of work may lie behind it
        problems[part] = error_sentence(error)
        log.warning(f"Not made: {part}. {problems[part]}")
        log.debug("The traceback:", exc_info=True)
